"""Responses and their events, read by the OpenAI client's own types: strictly, and through its stream helper.

Runs in the clients' environment; elsewhere there is nothing to test with.
"""

import importlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

openai = pytest.importorskip("openai", reason="the official clients live in their own environment")
types = pytest.importorskip("openai.types.responses", reason="this client is older than the Responses API")
pydantic = pytest.importorskip("pydantic")

HERE = Path(__file__).parent
TESELA = Path(os.environ.get("TESELA_BIN") or HERE.parents[1] / ".venv" / "bin" / "tesela")
BEYOND = {"store", "bytes", "name", "cache_write_tokens"}
"""Fields that OpenAI's service sends and its client's types, or those of some versions, leave out."""

EXAMPLES = (
    "text", "logprobs", "reasoning", "refusal", "call", "forced call", "schema", "cut short", "empty", "no usage",
    "unicode",
)  # fmt: skip


@pytest.fixture(scope="module")
def examples() -> Any:
    command = [str(TESELA.with_name("python")), str(HERE / "responses_examples.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


def known(value: Any) -> None:
    """No field anywhere that the client's types do not have."""
    if isinstance(value, pydantic.BaseModel):
        assert set(value.model_extra or {}) <= BEYOND, value
        for name in type(value).model_fields:
            known(getattr(value, name))
    elif isinstance(value, list):
        for one in value:
            known(one)


def text_of(response: Any) -> str:
    parts = [part for item in response["output"] if item["type"] == "message" for part in item["content"]]
    return "".join(part["text"] for part in parts if part["type"] == "output_text")


def test_all_examples_are_here(examples: Any) -> None:
    assert tuple(examples["made"]) == EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_response_obeys_the_types(examples: Any, name: str) -> None:
    made = examples["made"][name]["response"]
    found = types.Response.model_validate(made)
    known(found)
    assert found.output_text == text_of(made)
    assert (found.usage is None) is (name == "no usage")
    assert found.status == ("incomplete" if name == "cut short" else "completed")


@pytest.mark.parametrize("name", EXAMPLES)
def test_events_obey_the_types(examples: Any, name: str) -> None:
    adapter = pydantic.TypeAdapter(types.ResponseStreamEvent)
    for event in examples["made"][name]["events"]:
        known(adapter.validate_python(event))


def test_a_failure_obeys_the_types(examples: Any) -> None:
    adapter = pydantic.TypeAdapter(types.ResponseStreamEvent)
    found = [adapter.validate_python(event) for event in examples["failure"]]
    for event in found:
        known(event)
    assert [event.type for event in found[-2:]] == ["response.failed", "error"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_clients_stream_helper(examples: Any, name: str) -> None:
    """The helper keeps a snapshot of its own from the events, and raises when one does not fit."""
    events = examples["made"][name]["events"]
    frames = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    seen: list[str] = []
    with client(frames + b"data: [DONE]\n\n") as made, made.responses.stream(model="m", input="hi") as stream:
        seen = [event.type for event in stream]
    assert seen == [event["type"] for event in events]
    assert seen[-1] == ("response.incomplete" if name == "cut short" else "response.completed")


@pytest.mark.parametrize("name", ["text", "call", "unicode"])
def test_the_helpers_final_response(examples: Any, name: str) -> None:
    events = examples["made"][name]["events"]
    frames = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    with client(frames) as made, made.responses.stream(model="m", input="hi") as stream:
        final = stream.get_final_response()
    assert final.output_text == text_of(events[-1]["response"])
    assert [item.type for item in final.output] == [item["type"] for item in events[-1]["response"]["output"]]


def client(body: bytes) -> Any:
    """An OpenAI client that gets this stream.  From version 3 on it is built on another HTTP library."""
    http: Any = importlib.import_module("httpx2" if int(openai.__version__.split(".")[0]) >= 3 else "httpx")

    def reply(_: Any) -> Any:
        return http.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    return openai.OpenAI(
        api_key="k", base_url="http://localhost", http_client=http.Client(transport=http.MockTransport(reply))
    )
