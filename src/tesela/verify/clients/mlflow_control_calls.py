"""`mlflow.deployments`, 2 and 3, makes, changes and deletes endpoints: for a server of one's own."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from tesela.verify.clients.installed import client, raises
from tesela.verify.clients.mlflow_calls import connect
from tesela.verify.outcome import Call, Target, chat_of, require
from tesela.verify.questions import QUESTION

SPREAD_S = 5.0
"""How long a change may take to be known everywhere on the server."""


def entity(target: Target, name: str) -> dict[str, Any]:
    """A served entity on the server's own chat endpoint, by its OpenAI paths."""
    settings = {"openai_api_base": target.host + "/serving-endpoints", "openai_api_key_plaintext": target.access_token}
    model = {"name": chat_of(target), "provider": "openai", "task": "llm/v1/chat", "openai_config": settings}
    return {"name": name, "external_model": model}


@contextmanager
def made(target: Target) -> Iterator[Any]:
    """An endpoint, in the form that all versions take."""
    name = f"conformance-mlflow-{uuid4().hex[:8]}"
    found = connect().create_endpoint(name=name, config={"served_entities": [entity(target, "one")]})
    try:
        yield found
    finally:
        connect().delete_endpoint(name)


def create_get_delete(target: Target) -> None:
    with made(target) as endpoint:
        name = endpoint["name"]
        require(connect().get_endpoint(name)["id"] == endpoint["id"], "get gives another endpoint")
        require(name in [one["name"] for one in connect().list_endpoints()], "it is not in the list")
        end = time.monotonic() + SPREAD_S
        while True:
            try:
                answer = connect().predict(endpoint=name, inputs={"messages": QUESTION, "max_tokens": 4})
                break
            except client("requests").HTTPError as exc:
                if exc.response.status_code != 404 or time.monotonic() > end:
                    raise
            time.sleep(0.1)
        require(answer["choices"], "there is no answer")
    raises(client("requests").HTTPError, connect().get_endpoint, name)


def update_endpoint(target: Target) -> None:
    server = connect()
    wanted = {"served_entities": [entity(target, "two")]}
    with made(target) as endpoint:
        # The newer name of the older method.
        update = getattr(server, "update_endpoint_config", None) or server.update_endpoint
        update(endpoint=endpoint["name"], config=wanted)
        found = server.get_endpoint(endpoint["name"])
        require([one["name"] for one in found["config"]["served_entities"]] == ["two"], "the entities are others")
        limits = {"rate_limits": [{"calls": 9, "key": "endpoint", "renewal_period": "minute"}]}
        server.update_endpoint(endpoint=endpoint["name"], config=limits)
        require(server.get_endpoint(endpoint["name"])["rate_limits"][0]["calls"] == 9, "the limit is another")


CALLS = [
    Call("mlflow", "create / get / list / delete endpoint", create_get_delete),
    Call("mlflow", "update_endpoint", update_endpoint),
]
