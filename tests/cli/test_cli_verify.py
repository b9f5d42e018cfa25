"""`tesela verify` and the checks behind it: they must pass on good answers and fail on each bad one."""

import json
from typing import Any

import pytest

from tesela.errors import UpstreamProtocolError
from tesela.verify import matrix, wire_calls
from tesela.verify.outcome import Absent, Call, Target, run

STREAM = "/serving-endpoints/chat/invocations"
FIRST = {
    "choices": [
        {
            "index": 0,
            "delta": {"role": "assistant", "content": "hi"},
            "finish_reason": None,
        }
    ]
}
USAGE = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
LAST = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": USAGE}


def target(server: Any) -> Target:
    return Target(server.host, "x", "chat", "embed")


def test_a_good_stream_passes(server: Any) -> None:
    server.stream(STREAM, FIRST, LAST)
    wire_calls.mlflow_stream(target(server))


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ([{"choices": [{"delta": {"content": "hi"}}]}, LAST], "no role"),
        ([FIRST, {"object": "x"}, LAST], "no choices"),
        ([FIRST, LAST | {"usage": None}], "counts no tokens"),
        ([FIRST, LAST | {"usage": USAGE | {"total_tokens": 9}}], "add up"),
        ([FIRST], "finish_reason"),
        ([], "empty"),
    ],
)
def test_a_bad_stream_fails(server: Any, chunks: list[Any], words: str) -> None:
    server.stream(STREAM, *chunks)
    with pytest.raises(UpstreamProtocolError, match=words):
        wire_calls.mlflow_stream(target(server))


@pytest.mark.parametrize("line", [b": ping\n\n", b"event: message\n", b"id: 1\n"])
def test_lines_that_mlflow_refuses_fail(server: Any, line: bytes) -> None:
    server.answers["POST", STREAM] = (
        200,
        [line, b"data: " + json.dumps(FIRST).encode() + b"\n\ndata: [DONE]\n\n"],
    )
    with pytest.raises(UpstreamProtocolError, match="MLflow refuses"):
        wire_calls.mlflow_stream(target(server))


def test_an_error_key_fails(server: Any) -> None:
    server.answer(
        "POST",
        "/serving-endpoints/no-such-endpoint-anywhere/invocations",
        {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no", "error": {}},
        404,
    )
    with pytest.raises(UpstreamProtocolError, match="error at the top level"):
        wire_calls.unknown_endpoint(target(server))


def test_every_call_fails_on_a_server_that_knows_nothing(server: Any) -> None:
    found = list(run(wire_calls.CALLS, target(server)))
    assert {one.state for one in found} == {"failed"}


def test_a_check_that_does_not_apply_is_skipped_and_stops_nothing() -> None:
    def absent(_: Target) -> None:
        raise Absent("no such call")

    def broken(_: Target) -> None:
        raise KeyError("choices")

    calls = [
        Call("c", "one", absent),
        Call("c", "two", broken),
        Call("c", "three", lambda _: None),
    ]
    found = list(run(calls, Target("", "")))
    assert [one.state for one in found] == ["skipped", "failed", "passed"]
    assert found[1].reason == "KeyError: 'choices'"


def test_endpoints_are_found_by_task(server: Any) -> None:
    ready = {"ready": "READY"}
    listed = [
        {"name": "down", "task": "llm/v1/chat", "state": {"ready": "NOT_READY"}},
        {"name": "talk", "task": "llm/v1/chat", "state": ready},
        {"name": "other", "task": "llm/v1/chat", "state": ready},
        {"name": "embed", "task": "llm/v1/embeddings", "state": ready},
    ]
    server.answer("GET", "/api/2.0/serving-endpoints", {"endpoints": listed})
    found = matrix.find(server.host, "x", "", "")
    assert (found.chat, found.embeddings) == ("talk", "embed")
    assert matrix.find(server.host, "x", "mine", "").chat == "mine"


def test_the_command_says_what_failed_and_why(tesela: Any, server: Any) -> None:
    server.answer("GET", "/api/2.0/serving-endpoints", {"endpoints": []})
    done = tesela("verify", server.host, "--json")
    assert done.returncode == 1, done.stderr
    found = {(one["client"], one["call"]): one for one in json.loads(done.stdout)}
    assert found["databricks-sdk", "list"]["state"] == "passed"
    assert found["openai", "chat"] | {"duration_ms": 0} == {
        "client": "openai",
        "call": "chat",
        "state": "skipped",
        "reason": "the server has no chat endpoint",
        "real": False,
        "version": "",
        "duration_ms": 0,
    }
    assert "answered 404" in found["mlflow", "list_endpoints"]["reason"]
    lines = tesela("verify", server.host).stdout.decode().splitlines()
    assert lines[-1].endswith("skipped")
    assert any(line.startswith("✗ mlflow") for line in lines)


def test_a_server_that_is_not_there(make_tesela: Any) -> None:
    done = make_tesela()("verify", "http://127.0.0.1:9", "--token", "x")
    assert done.returncode == 1
    assert b"cannot reach" in done.stderr
