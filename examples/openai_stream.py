"""Stream a chat with the OpenAI client, and count its tokens."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ["DATABRICKS_HOST"] + "/serving-endpoints",
    api_key=os.environ["DATABRICKS_TOKEN"],
)
stream = client.chat.completions.create(
    model="databricks-meta-llama-3-3-70b-instruct",
    messages=[{"role": "user", "content": "What is a mosaic?"}],
    max_tokens=64,
    stream=True,
    stream_options={"include_usage": True},
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
    if chunk.usage:
        print()
        print(chunk.usage.total_tokens, "tokens")
