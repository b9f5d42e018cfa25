"""Chat with the OpenAI client, pointed at the server by nothing but its address."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ["DATABRICKS_HOST"] + "/serving-endpoints",
    api_key=os.environ["DATABRICKS_TOKEN"],
)
answer = client.chat.completions.create(
    model="databricks-meta-llama-3-3-70b-instruct",
    messages=[
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": "What is a mosaic?"},
    ],
    max_tokens=64,
)
print(answer.choices[0].message.content)
print(answer.usage.total_tokens, "tokens")
