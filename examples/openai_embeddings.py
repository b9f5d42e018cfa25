"""Embed texts with the OpenAI client and find the closest."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ["DATABRICKS_HOST"] + "/serving-endpoints",
    api_key=os.environ["DATABRICKS_TOKEN"],
)
texts = [
    "How do I bake bread?",
    "A recipe for a sourdough loaf.",
    "The stock market fell today.",
]
answer = client.embeddings.create(model="databricks-gte-large-en", input=texts)
question, *others = [one.embedding for one in answer.data]
scores = [sum(a * b for a, b in zip(question, other, strict=True)) for other in others]
print(len(question), "dimensions")
print("closest:", texts[1 + scores.index(max(scores))])
