"""`mlflow.deployments`, 2 and 3: the Databricks client, and the client of MLflow's own gateway."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tesela.verify.clients.installed import client, raises
from tesela.verify.outcome import Call, Target, chat_of, embeddings_of, require
from tesela.verify.questions import QUESTION


def connect(place: str = "databricks") -> Any:
    return client("mlflow.deployments").get_deploy_client(place)


@contextmanager
def gateway_token(target: Target) -> Iterator[None]:
    """The gateway client takes its token from this variable and from nowhere else."""
    before = os.environ.get("MLFLOW_TRACKING_TOKEN")
    os.environ["MLFLOW_TRACKING_TOKEN"] = target.access_token
    try:
        yield
    finally:
        if before is None:
            del os.environ["MLFLOW_TRACKING_TOKEN"]
        else:
            os.environ["MLFLOW_TRACKING_TOKEN"] = before


def predict(target: Target) -> None:
    answer = connect().predict(endpoint=chat_of(target), inputs={"messages": QUESTION, "max_tokens": 8})
    require(answer["choices"][0]["message"]["content"], "the message has no text")


def predict_embeddings(target: Target) -> None:
    answer = connect().predict(endpoint=embeddings_of(target), inputs={"input": ["one", "two"]})
    require(
        len(answer["data"]) == 2 and isinstance(answer["data"][0]["embedding"], list),
        "no lists of numbers came",
    )


def predict_stream(target: Target) -> None:
    inputs = {"messages": QUESTION, "max_tokens": 8}
    chunks = list(connect().predict_stream(endpoint=chat_of(target), inputs=inputs))
    texts = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
    require("".join(texts), "the stream has no text")
    require([chunk for chunk in chunks if chunk.get("usage")], "no chunk has the usage")


def list_and_get(target: Target) -> None:
    names = [one["name"] for one in connect().list_endpoints()]
    require(chat_of(target) in names, "the chat endpoint is not in the list")
    require(
        connect().get_endpoint(chat_of(target))["name"] == chat_of(target),
        "another endpoint came",
    )


def gateway(target: Target) -> None:
    with gateway_token(target):
        server = connect(target.host)
        require(
            chat_of(target) in [one.name for one in server.list_endpoints()],
            "the endpoint is not in the list",
        )
        require(
            server.get_endpoint(chat_of(target)).endpoint_type == "llm/v1/chat",
            "the endpoint has another type",
        )
        answer = server.predict(endpoint=chat_of(target), inputs={"messages": QUESTION, "max_tokens": 8})
    require(answer["choices"][0]["message"]["content"], "the message has no text")


def errors(target: Target) -> None:
    http_error = client("requests").HTTPError
    for endpoint, inputs, status in (
        ("no-such-endpoint-anywhere", {"messages": QUESTION}, 404),
        (chat_of(target), {"messages": "not a list"}, 400),
    ):
        try:
            connect().predict(endpoint=endpoint, inputs=inputs)
        except http_error as exc:
            require(
                exc.response.status_code == status,
                f"the status is {exc.response.status_code}, not {status}",
            )
        else:
            raises(http_error, lambda: None)


CALLS = [
    Call("mlflow", "predict", predict),
    Call("mlflow", "predict embeddings", predict_embeddings),
    Call("mlflow", "predict_stream", predict_stream),
    Call("mlflow", "list and get", list_and_get),
    Call("mlflow", "gateway client", gateway),
    Call("mlflow", "errors", errors),
]
