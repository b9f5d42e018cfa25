"""DatabricksEmbeddings: documents and a query."""

from databricks_langchain import DatabricksEmbeddings

model = DatabricksEmbeddings(endpoint="databricks-gte-large-en")
documents = ["A recipe for a sourdough loaf.", "The stock market fell today."]
vectors = model.embed_documents(documents)
question = model.embed_query("How do I bake bread?")
scores = [sum(a * b for a, b in zip(question, vector, strict=True)) for vector in vectors]
print(len(question), "dimensions")
print("closest:", documents[scores.index(max(scores))])
