"""Anthropic's own client: a message, a stream and a tool, by whatever model is behind the endpoint."""

import json
import os

from anthropic import Anthropic

MODEL = "databricks-meta-llama-3-3-70b-instruct"
client = Anthropic(
    base_url=os.environ["DATABRICKS_HOST"] + "/serving-endpoints/anthropic",
    auth_token=os.environ["DATABRICKS_TOKEN"],
)
message = client.messages.create(
    model=MODEL,
    max_tokens=64,
    system="Answer in one sentence.",
    messages=[{"role": "user", "content": "What is a mosaic?"}],
)
print(message.content[0].text)
print(message.usage.output_tokens, "tokens")

question = {"role": "user", "content": "What is a tile?"}
with client.messages.stream(model=MODEL, max_tokens=64, messages=[question]) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
print()

weather = {
    "name": "weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
message = client.messages.create(
    model=MODEL,
    max_tokens=128,
    messages=[{"role": "user", "content": "What is the weather in Rome?"}],
    tools=[weather],
    tool_choice={"type": "tool", "name": "weather"},
)
call = next(block for block in message.content if block.type == "tool_use")
print("tool:", call.name, json.dumps(call.input))
