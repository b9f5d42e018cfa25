"""MLflow's client for its own AI gateway, pointed here: code written for that gateway runs too."""

import os

from mlflow.deployments import get_deploy_client

os.environ["MLFLOW_TRACKING_TOKEN"] = os.environ["DATABRICKS_TOKEN"]
client = get_deploy_client(os.environ["DATABRICKS_HOST"])
answer = client.predict(
    endpoint="databricks-meta-llama-3-3-70b-instruct",
    inputs={
        "messages": [{"role": "user", "content": "What is a mosaic?"}],
        "max_tokens": 64,
    },
)
print(answer["choices"][0]["message"]["content"])
print(client.get_endpoint("databricks-meta-llama-3-3-70b-instruct").endpoint_type)
print(len(client.list_endpoints()), "endpoints")
