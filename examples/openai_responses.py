"""The Responses API over a chat model, whole and streamed."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ["DATABRICKS_HOST"] + "/serving-endpoints",
    api_key=os.environ["DATABRICKS_TOKEN"],
)
answer = client.responses.create(
    model="databricks-meta-llama-3-3-70b-instruct",
    input="What is a mosaic?",
    max_output_tokens=64,
)
print(answer.output_text)

stream = client.responses.create(
    model="databricks-meta-llama-3-3-70b-instruct",
    input="What is a tile?",
    max_output_tokens=64,
    stream=True,
)
for event in stream:
    if event.type == "response.output_text.delta":
        print(event.delta, end="", flush=True)
print()
