"""Query endpoints with the Databricks SDK: a chat and an embedding, and the list of what there is."""

from databricks.sdk import WorkspaceClient
from databricks.sdk.service.serving import ChatMessage, ChatMessageRole

w = WorkspaceClient()
answer = w.serving_endpoints.query(
    name="databricks-meta-llama-3-3-70b-instruct",
    messages=[
        ChatMessage(role=ChatMessageRole.SYSTEM, content="You are a helpful assistant."),
        ChatMessage(role=ChatMessageRole.USER, content="What is a mosaic?"),
    ],
    max_tokens=64,
)
print(answer.choices[0].message.content)
print(
    "ended by:",
    answer.choices[0].finish_reason,
    "- served by:",
    answer.served_model_name,
)

vectors = w.serving_endpoints.query(name="databricks-gte-large-en", input=["a tile", "a mosaic"])
print(len(vectors.data), "vectors of", len(vectors.data[0].embedding), "dimensions")

for endpoint in w.serving_endpoints.list():
    print(endpoint.name, endpoint.state.ready.value)
