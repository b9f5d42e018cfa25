"""The MLflow Deployments SDK: predict, predict_stream, list and get."""

from mlflow.deployments import get_deploy_client

client = get_deploy_client("databricks")
inputs = {
    "messages": [{"role": "user", "content": "What is a mosaic?"}],
    "max_tokens": 64,
}

answer = client.predict(endpoint="databricks-meta-llama-3-3-70b-instruct", inputs=inputs)
print(answer["choices"][0]["message"]["content"])

for chunk in client.predict_stream(endpoint="databricks-meta-llama-3-3-70b-instruct", inputs=inputs):
    for choice in chunk["choices"]:
        print(choice["delta"].get("content") or "", end="", flush=True)
print()

vectors = client.predict(endpoint="databricks-gte-large-en", inputs={"input": ["a tile", "a mosaic"]})
print(
    len(vectors["data"]),
    "vectors of",
    len(vectors["data"][0]["embedding"]),
    "dimensions",
)

print(len(client.list_endpoints()), "endpoints")
print(client.get_endpoint("databricks-gte-large-en")["task"])
