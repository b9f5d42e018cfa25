#!/bin/sh
# REST with curl: basic credentials (user "token"), a bearer, a stream, and the OpenAI paths.
set -eu

curl --fail-with-body -sS -u "token:$DATABRICKS_TOKEN" -H 'Content-Type: application/json' \
  -d '{"messages":[{"role":"user","content":"What is a mosaic?"}],"max_tokens":64}' \
  "$DATABRICKS_HOST/serving-endpoints/databricks-meta-llama-3-3-70b-instruct/invocations"
echo

curl --fail-with-body -sSN -H "Authorization: Bearer $DATABRICKS_TOKEN" -H 'Content-Type: application/json' \
  -d '{"messages":[{"role":"user","content":"What is a tile?"}],"max_tokens":16,"stream":true}' \
  "$DATABRICKS_HOST/serving-endpoints/databricks-meta-llama-3-3-70b-instruct/invocations"

curl --fail-with-body -sS -H "Authorization: Bearer $DATABRICKS_TOKEN" -H 'Content-Type: application/json' \
  -d '{"model":"databricks-gte-large-en","input":"a tile"}' \
  "$DATABRICKS_HOST/serving-endpoints/embeddings"
echo
