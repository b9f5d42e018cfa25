"""The OpenAI client that the Databricks SDK makes, with the SDK's own credentials."""

from databricks.sdk import WorkspaceClient

client = WorkspaceClient().serving_endpoints.get_open_ai_client()
answer = client.chat.completions.create(
    model="databricks-meta-llama-3-3-70b-instruct",
    messages=[{"role": "user", "content": "What is a mosaic?"}],
    max_tokens=64,
)
print(answer.choices[0].message.content)
