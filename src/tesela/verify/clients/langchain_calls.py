"""`databricks-langchain`: ChatDatabricks over the OpenAI paths, DatabricksEmbeddings over invocations."""

from typing import Any

from tesela.verify.clients.installed import client
from tesela.verify.outcome import Call, Target, chat_of, embeddings_of, require
from tesela.verify.questions import SCHEMA, TOOL


def chat_model(target: Target, **settings: Any) -> Any:
    return client("databricks_langchain").ChatDatabricks(endpoint=chat_of(target), max_tokens=64, **settings)


def invoke(target: Target) -> None:
    answer = chat_model(target).invoke("Say hello.")
    require(answer.content, "the message has no text")
    require(
        answer.response_metadata.get("total_tokens") or answer.usage_metadata,
        "no tokens were counted",
    )


def stream(target: Target) -> None:
    chunks = list(chat_model(target).stream("Say hello."))
    require("".join(str(chunk.content) for chunk in chunks), "the stream has no text")


def tools(target: Target) -> None:
    answer = chat_model(target).bind_tools([TOOL], tool_choice="weather").invoke("Weather in Rome?")
    require(
        answer.tool_calls and answer.tool_calls[0]["name"] == "weather",
        "the forced tool was not called",
    )
    require(
        "city" in answer.tool_calls[0]["args"],
        "the arguments do not follow the tool's schema",
    )


def structured(target: Target) -> None:
    schema = {"title": "Answer", "description": "An answer.", **SCHEMA}
    found = chat_model(target).with_structured_output(schema).invoke("Is water wet?")
    require(
        found["answer"] in ("yes", "no"),
        f"the answer does not follow the schema: {found}",
    )


def embeddings(target: Target) -> None:
    model = client("databricks_langchain").DatabricksEmbeddings(endpoint=embeddings_of(target))
    vectors = model.embed_documents([f"text {i}" for i in range(21)])
    require(
        len(vectors) == 21 and vectors[0] != vectors[20],
        "21 texts must give 21 different vectors",
    )
    require(
        len(model.embed_query("one")) == len(vectors[0]),
        "a query and a document differ in dimensions",
    )


CALLS = [
    Call("databricks-langchain", "invoke", invoke),
    Call("databricks-langchain", "stream", stream),
    Call("databricks-langchain", "bind_tools", tools),
    Call("databricks-langchain", "with_structured_output", structured),
    Call("databricks-langchain", "embeddings", embeddings),
]
