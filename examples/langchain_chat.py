"""ChatDatabricks: invoke, stream, and count the tokens."""

from databricks_langchain import ChatDatabricks

model = ChatDatabricks(endpoint="databricks-meta-llama-3-3-70b-instruct", max_tokens=64)
answer = model.invoke("What is a mosaic?")
print(answer.content)
print(answer.usage_metadata["total_tokens"], "tokens")

for chunk in model.stream("What is a tile?"):
    print(chunk.content, end="", flush=True)
print()
