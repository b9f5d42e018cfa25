"""`langchain-databricks` 0.1.2: everything over invocations, through MLflow's deployments client."""

from typing import Any

from tesela.verify.clients.installed import client
from tesela.verify.outcome import Call, Target, chat_of, embeddings_of, require
from tesela.verify.questions import SCHEMA, TOOL


def chat_model(target: Target) -> Any:
    return client("langchain_databricks").ChatDatabricks(endpoint=chat_of(target), max_tokens=64)


def invoke(target: Target) -> None:
    answer = chat_model(target).invoke("Say hello.")
    require(answer.content, "the message has no text")
    require(answer.response_metadata.get("total_tokens"), "no tokens were counted")


def stream(target: Target) -> None:
    chunks = list(chat_model(target).stream("Say hello.", stream_usage=True))
    require("".join(str(chunk.content) for chunk in chunks), "the stream has no text")
    counted = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    require(
        len(counted) == 1,
        f"usage came {len(counted)} times: it is added up, so it must come once",
    )


def tools(target: Target) -> None:
    answer = chat_model(target).bind_tools([TOOL], tool_choice="weather").invoke("Weather in Rome?")
    require(
        answer.tool_calls and answer.tool_calls[0]["name"] == "weather",
        "the forced tool was not called",
    )


def structured(target: Target) -> None:
    schema = {"title": "Answer", "description": "An answer.", **SCHEMA}
    found = chat_model(target).with_structured_output(schema).invoke("Is water wet?")
    require(
        found["answer"] in ("yes", "no"),
        f"the answer does not follow the schema: {found}",
    )


def embeddings(target: Target) -> None:
    model = client("langchain_databricks").DatabricksEmbeddings(endpoint=embeddings_of(target))
    vectors = model.embed_documents([f"text {i}" for i in range(21)])
    require(
        len(vectors) == 21 and vectors[0] != vectors[20],
        "21 texts must give 21 different vectors",
    )


CALLS = [
    Call("langchain-databricks", "invoke", invoke),
    Call("langchain-databricks", "stream", stream),
    Call("langchain-databricks", "bind_tools", tools),
    Call("langchain-databricks", "with_structured_output", structured),
    Call("langchain-databricks", "embeddings", embeddings),
]
