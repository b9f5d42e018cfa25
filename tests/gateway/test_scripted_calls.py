"""Scripted models through the gateway itself: fallback, faults in mid-stream, structured output, the Responses API."""

import asyncio
import json
from typing import Any

import pytest

from tesela.gateway.doors import Door, Manners
from tesela.gateway.invoke import Gateway
from tesela.gateway.player import Player
from tesela.providers.registry import PROVIDERS
from tesela.providers.scripted import script_from
from tesela.serving import Endpoint, EndpointConfig, Origin, ServedEntity, ServedEntityInput, ServingEndpoint, Upstream
from tesela.snapshot import Credential, Principal, Snapshot
from tesela.telemetry.tally import Tally
from tesela.wire.sse import DONE, EventParser
from tesela.wire.tasks import Task

ADMIN = Credential(Principal("1", "admin@example.com", admin=True))


class Told:
    """A caller that collects its answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.done: asyncio.Future[None] = loop.create_future()
        self.status = 0
        self.data = b""

    def answer(self, status: int, lines: bytes, body: bytes) -> None:
        self.open(status, lines)
        self.send(body)
        self.close()

    def open(self, status: int, lines: bytes) -> None:
        self.status = status

    def send(self, data: bytes) -> None:
        self.data += data

    def close(self) -> None:
        self.done.set_result(None)

    def abort(self) -> None:
        self.done.set_exception(ConnectionAbortedError())


def endpoint(*models: str) -> Endpoint:
    entities = tuple(
        ServedEntity(
            name=f"entity-{index}",
            config=ServedEntityInput(),
            provider="scripted",
            tasks=frozenset({Task.CHAT}),
            upstream=Upstream(Origin("scripted", str(index)), model, script=script_from(None, model)),
            percentage=0 if index else 100,
        )
        for index, model in enumerate(models)
    )
    return Endpoint("e", Task.CHAT, entities, ServingEndpoint("e", EndpointConfig()), fallback=True)


def ask(*models: str, door: Door | None = None, times: int = 1, **fields: Any) -> list[Told]:
    """Ask an endpoint over these models the same several times."""

    async def main() -> list[Told]:
        loop = asyncio.get_running_loop()
        snapshot = Snapshot(1, {"e": endpoint(*models)}, {})
        gateway = Gateway(loop, snapshot, PROVIDERS, {"scripted": Player(loop)}, Tally(), id_prefix="t")
        found = []
        for _ in range(times):
            caller = Told(loop)
            gateway.begin(
                caller, door or Door(Manners.OPENAI, Task.CHAT), ADMIN, json.dumps({"model": "e", **fields}).encode()
            )
            async with asyncio.timeout(10):
                await caller.done
            found.append(caller)
        assert not gateway.under_way
        return found

    return asyncio.run(main())


HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello there"}]}


def content(told: Told) -> Any:
    return json.loads(told.data)["choices"][0]["message"]["content"]


def events(told: Told) -> list[Any]:
    return [json.loads(event.data) for event in EventParser().feed(told.data) if event.data != DONE]


def test_flaky_models_recover() -> None:
    found = ask("flaky-2+echo", times=3, **HELLO)
    assert [told.status for told in found] == [503, 503, 200]
    assert content(found[2]) == "Hello there"


@pytest.mark.parametrize("first", ["error-429", "error-500", "error-401", "cut-after-0", "cut-after-2"])
def test_another_entity_answers_for_one_that_fails(first: str) -> None:
    (told,) = ask(first, "echo", **HELLO)
    assert (told.status, content(told)) == (200, "Hello there")


def test_what_the_model_refuses_is_the_callers() -> None:
    (told,) = ask("error-422", "echo", **HELLO)
    assert told.status == 422
    assert "422" in json.loads(told.data)["message"]


def test_a_stream_that_breaks_ends_with_an_error() -> None:
    (told,) = ask("echo+cut-after-2", stream=True, **HELLO)
    assert DONE not in told.data
    *_, last = events(told)
    assert "broke off" in last["error"]["message"]


def test_structured_output_passes_the_gateway() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    (told,) = ask("m", response_format=wanted, **HELLO)
    assert json.loads(content(told)) == {"n": 1}
    (wrong,) = ask("m", response_format="json", **HELLO)
    assert (wrong.status, json.loads(wrong.data)["param"]) == (400, "response_format")


RESPONSES = Door(Manners.OPENAI, Task.RESPONSES)


def test_responses_over_chat() -> None:
    (told,) = ask("echo", door=RESPONSES, input="Hello there")
    made = json.loads(told.data)
    assert made["object"] == "response"
    assert made["output"][0]["content"][0]["text"] == "Hello there"
    assert made["usage"]["total_tokens"] == 4


def test_a_responses_stream_over_chat() -> None:
    (told,) = ask("echo", door=RESPONSES, input="Hello there", stream=True)
    found = events(told)
    assert found[-1]["type"] == "response.completed"
    assert found[-1]["response"]["usage"]["total_tokens"] == 4
    (broken,) = ask("echo+cut-after-3", door=RESPONSES, input="Hello there", stream=True)
    assert [event["type"] for event in events(broken)[-2:]] == ["response.failed", "error"]


def test_what_responses_cannot_be_over_chat_is_refused() -> None:
    (told,) = ask("echo", door=RESPONSES, input="x", previous_response_id="resp_1")
    assert (told.status, json.loads(told.data)["param"]) == (400, "previous_response_id")
