"""What Databricks' SQL has and the engines lack, rewritten: pure."""
