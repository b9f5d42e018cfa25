"""Continue a text with the older completions call."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ["DATABRICKS_HOST"] + "/serving-endpoints",
    api_key=os.environ["DATABRICKS_TOKEN"],
)
answer = client.completions.create(
    model="databricks-meta-llama-3-3-70b-instruct",
    prompt="Once upon a time",
    max_tokens=32,
)
print(answer.choices[0].text)
