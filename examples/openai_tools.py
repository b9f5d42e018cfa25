"""Let the model call a function, run it, and give the result back."""

import json
import os

from openai import OpenAI

MODEL = "databricks-meta-llama-3-3-70b-instruct"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "The weather in a city.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo", "Lima"]}},
                "required": ["city"],
                "additionalProperties": False,
            },
        },
    }
]


def weather(city: str) -> str:
    return f"It is sunny in {city}."


client = OpenAI(
    base_url=os.environ["DATABRICKS_HOST"] + "/serving-endpoints",
    api_key=os.environ["DATABRICKS_TOKEN"],
)
messages = [{"role": "user", "content": "What is the weather in Rome?"}]
asked = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS, tool_choice="required")
messages.append(asked.choices[0].message.model_dump(exclude_none=True))
for call in asked.choices[0].message.tool_calls:
    result = weather(**json.loads(call.function.arguments))
    print("tool:", call.function.name, call.function.arguments, "->", result)
    messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
answer = client.chat.completions.create(model=MODEL, messages=messages, max_tokens=64)
print(answer.choices[0].message.content)
