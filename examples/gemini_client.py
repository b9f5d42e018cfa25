"""Google's own client: an answer, a stream and a function, by whatever model is behind the endpoint."""

import json
import os

from google import genai
from google.genai import types

MODEL = "databricks-meta-llama-3-3-70b-instruct"
client = genai.Client(
    api_key=os.environ["DATABRICKS_TOKEN"],
    http_options=types.HttpOptions(base_url=os.environ["DATABRICKS_HOST"] + "/serving-endpoints/gemini"),
)
short = types.GenerateContentConfig(max_output_tokens=64, system_instruction="Answer in one sentence.")
answer = client.models.generate_content(model=MODEL, contents="What is a mosaic?", config=short)
print(answer.text)
print(answer.usage_metadata.candidates_token_count, "tokens")

for piece in client.models.generate_content_stream(model=MODEL, contents="What is a tile?", config=short):
    print(piece.text or "", end="", flush=True)
print()

weather = types.FunctionDeclaration(
    name="weather",
    description="The weather in a city.",
    parameters=types.Schema(type="OBJECT", properties={"city": types.Schema(type="STRING")}, required=["city"]),
)
answer = client.models.generate_content(
    model=MODEL,
    contents="What is the weather in Rome?",
    config=types.GenerateContentConfig(
        max_output_tokens=128,
        tools=[types.Tool(function_declarations=[weather])],
        tool_config=types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY")),
    ),
)
call = answer.function_calls[0]
print("tool:", call.name, json.dumps(call.args))
