"""Make the model answer in JSON that follows a schema."""

import json
import os

from openai import OpenAI

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "enum": ["Rome", "Oslo", "Lima"]},
        "sunny": {"type": "boolean"},
    },
    "required": ["city", "sunny"],
    "additionalProperties": False,
}

client = OpenAI(
    base_url=os.environ["DATABRICKS_HOST"] + "/serving-endpoints",
    api_key=os.environ["DATABRICKS_TOKEN"],
)
answer = client.chat.completions.create(
    model="databricks-meta-llama-3-3-70b-instruct",
    messages=[
        {
            "role": "user",
            "content": "It is a bright day in Rome. Which city, and is it sunny?",
        }
    ],
    response_format={
        "type": "json_schema",
        "json_schema": {"name": "report", "strict": True, "schema": SCHEMA},
    },
    max_tokens=64,
)
report = json.loads(answer.choices[0].message.content)
print(report["city"], report["sunny"])
