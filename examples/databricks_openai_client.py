"""DatabricksOpenAI: OpenAI's client with the Databricks SDK's credentials, also through the AI gateway paths."""

from databricks_openai import DatabricksOpenAI

MESSAGES = [{"role": "user", "content": "What is a mosaic?"}]

for client in (DatabricksOpenAI(), DatabricksOpenAI(use_ai_gateway=True)):
    answer = client.chat.completions.create(
        model="databricks-meta-llama-3-3-70b-instruct", messages=MESSAGES, max_tokens=64
    )
    print(answer.choices[0].message.content)
