"""Anthropic's Messages API at its doors: passed on to Anthropic as it came, answered by any chat model behind."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import ACCESS_TOKEN, ADMIN, JSON, SSE, FakeCaller, World, endpoint, entity

from tesela.errors import UpstreamUnavailable
from tesela.gateway.doors import NATIVE_DOORS, Door, find
from tesela.gateway.native import enter
from tesela.providers import anthropic_native
from tesela.serving import Endpoint
from tesela.snapshot import Credential
from tesela.wire.tasks import Native, Task

BASE = "/serving-endpoints/anthropic/v1"
CHAT = frozenset({Task.CHAT})
ASKED = {"model": "chat", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
CHUNKS = (
    b'data: {"id":"x","model":"m","choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n'
    b'data: {"id":"x","model":"m","choices":[{"index":0,"delta":{"content":"lo"}}]}\n\n'
    b'data: {"id":"x","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"x","model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n'
    b"data: [DONE]\n\n"
)
WHOLE = json.dumps(
    {
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
).encode()
OWN = (
    b'{"type": "message", "new": {"a": 1}, "usage": {"input_tokens": 3, "cache_read_input_tokens": 4, '
    b'"output_tokens": 2, "cache_creation": {"x": 0}}}'
)
EVENTS = (
    b'event: message_start\ndata: {"type":"message_start","message":{"usage":{"input_tokens":3,"output_tokens":1}}}\n\n'
    b'event: ping\ndata: {"type": "ping"}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"text":"\xc3\xa9"}}\n\n'
    b'event: something_new\ndata: {"type":"something_new"}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{},"usage":{"output_tokens":2}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)


def door(path: str = "/messages", **headers: str) -> Door:
    found = find((BASE + path).encode())
    assert found is not None
    return enter(found, {name.replace("_", "-").encode(): content.encode() for name, content in headers.items()})


class Query(FakeCaller):
    def __init__(self, world: World, at: Door | None = None, **more: Any) -> None:
        super().__init__()
        self.body_sent = json.dumps({**ASKED, **more}).encode()
        self.invocation = world.gateway.begin(self, at or door(), Credential(ADMIN), self.body_sent)

    @property
    def told(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        names, data = [], []
        for line in self.body.decode().split("\n"):
            names += [line.removeprefix("event: ")] if line.startswith("event: ") else []
            data += [json.loads(line.removeprefix("data: "))] if line.startswith("data: ") else []
        assert names == [one["type"] for one in data]
        return data


def own(**more: Any) -> Endpoint:
    return endpoint("chat", entity(provider="anthropic", tasks=CHAT, **more))


def counts(world: World) -> list[tuple[int, int, int]]:
    return [(one.requests, one.prompt_tokens, one.completion_tokens) for one in world.tally.counts.values()]


def test_these_are_the_doors() -> None:
    both = (BASE, "/ai-gateway/anthropic/v1")
    assert {path.decode() for path in NATIVE_DOORS} == {
        f"{base}{end}" for base in both for end in ("/messages", "/messages/count_tokens")
    }
    assert door().native is Native.MESSAGES
    assert find(b"/serving-endpoints/anthropic/v1/messages/") is None


def test_a_model_that_speaks_chat() -> None:
    world = World()
    query = Query(world, system="Be short.")
    sent = json.loads(world.transport.last.body)
    assert sent == {
        "model": "one-model", "max_tokens": 9,
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}],
    }  # fmt: skip
    world.transport.last.whole(WHOLE)
    assert query.told["content"] == [{"type": "text", "text": "Hello"}]
    assert query.told["usage"]["input_tokens"] == 3
    assert query.headers["served-model-name"] == "one"
    assert counts(world) == [(1, 3, 2)]
    assert world.at_rest()


def test_a_stream_of_a_model_that_speaks_chat() -> None:
    world = World()
    query = Query(world, stream=True)
    assert json.loads(world.transport.last.body)["stream_options"] == {"include_usage": True}
    world.transport.last.stream(CHUNKS)
    kinds = [event["type"] for event in query.events]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    assert query.events[-2]["usage"]["output_tokens"] == 2
    assert query.state == "closed"
    assert counts(world) == [(1, 3, 2)]


def test_cut_at_every_byte_the_stream_says_the_same() -> None:
    world = World()
    query = Query(world, stream=True)
    world.transport.last.stream(*(CHUNKS[i : i + 1] for i in range(len(CHUNKS))))
    other = Query(world, stream=True)
    world.transport.last.stream(CHUNKS)
    assert [{**one, "message": 0} for one in query.events] == [{**one, "message": 0} for one in other.events]


def test_to_anthropic_it_goes_as_it_came() -> None:
    world = World(own())
    more = {"new": {"a": [1.50]}, "thinking": {"type": "adaptive"}, "tools": [{"type": "web_search_20250305"}]}
    query = Query(world, door(anthropic_version="2099-01-01", anthropic_beta="a,b", other="x"), **more)
    sending = world.transport.last
    assert sending.path == "/v1/messages"
    assert json.loads(sending.body) == {**json.loads(query.body_sent), "model": "one-model"}
    assert b'{"a": [1.5]}' in sending.body
    assert sending.headers == (("anthropic-version", "2099-01-01"), ("anthropic-beta", "a,b"))
    sending.whole(OWN)
    assert query.body == OWN
    assert counts(world) == [(1, 7, 2)]


def test_a_version_is_named_when_the_caller_names_none() -> None:
    world = World(own())
    Query(world)
    assert world.transport.last.headers == anthropic_native.HEADERS


@given(st.lists(st.integers(0, len(EVENTS)), max_size=8))
def test_events_pass_as_bytes_however_they_are_cut(places: list[int]) -> None:
    world = World(own())
    query = Query(world, stream=True)
    world.transport.last.stream(*(EVENTS[a:b] for a, b in pairwise([0, *sorted(places), len(EVENTS)]) if a < b))
    assert query.body == EVENTS
    assert query.state == "closed"
    assert counts(world) == [(1, 3, 2)]


def test_byte_at_a_time_and_with_other_line_ends() -> None:
    for given_events in (EVENTS, EVENTS.replace(b"\n", b"\r\n"), EVENTS[:-1]):
        world = World(own())
        query = Query(world, stream=True)
        world.transport.last.stream(*(given_events[i : i + 1] for i in range(len(given_events))))
        assert query.body.strip() == given_events.strip()


@pytest.mark.parametrize("end", [len(EVENTS) - 60, len(EVENTS) - 20, len(EVENTS) - 4, 150])
def test_a_stream_that_is_cut_ends_with_an_error_of_its_own(end: int) -> None:
    world = World(own())
    query = Query(world, stream=True)
    world.transport.last.stream(EVENTS[:end])
    assert query.events[-1]["type"] == "error"
    assert query.events[-1]["error"]["type"] == "api_error"
    assert query.state == "closed"


def test_an_error_in_mid_stream() -> None:
    world = World(own())
    query = Query(world, stream=True)
    error = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Too much"}}\n\n'
    world.transport.last.head(200, SSE).data(EVENTS[:150]).data(EVENTS[150:300]).data(EVENTS[300:] + error)
    assert query.events[-1]["error"] == {"type": "overloaded_error", "message": "Too much"}


def test_it_falls_back_to_a_model_that_speaks_chat() -> None:
    first = entity("one", provider="anthropic", tasks=CHAT)
    world = World(endpoint("chat", first, entity("two", 0), fallback=True))
    query = Query(world)
    world.transport.last.fail(UpstreamUnavailable("away"))
    assert world.transport.last.path == "/chat/completions"
    world.transport.last.whole(WHOLE)
    assert query.told["content"][0]["text"] == "Hello"
    assert query.told["model"] == "m"


def test_and_back_to_one_that_passes() -> None:
    second = entity("two", 0, provider="anthropic", tasks=CHAT)
    world = World(endpoint("chat", entity("one"), second, fallback=True))
    query = Query(world)
    world.transport.last.fail(UpstreamUnavailable("away"))
    assert json.loads(world.transport.last.body) == {**ASKED, "model": "two-model"}
    world.transport.last.whole(OWN)
    assert query.body == OWN


@pytest.mark.parametrize(
    ("more", "status", "kind"),
    [
        ({"model": "nope"}, 404, "not_found_error"),
        ({"max_tokens": None}, 400, "invalid_request_error"),
        ({"messages": []}, 400, "invalid_request_error"),
        ({"temperature": "x"}, 400, "invalid_request_error"),
        ({"mcp_servers": [{}]}, 400, "invalid_request_error"),
    ],
)
def test_errors_have_anthropics_shape(more: dict[str, Any], status: int, kind: str) -> None:
    query = Query(World(), **more)
    assert query.status == status
    assert query.told["type"] == "error"
    assert query.told["error"]["type"] == kind
    assert query.told["request_id"] == query.headers["x-request-id"]


@pytest.mark.parametrize(("status", "ours", "kind"), [(429, 429, "rate_limit_error"), (401, 502, "api_error")])
def test_a_provider_that_refuses(status: int, ours: int, kind: str) -> None:
    for served in (own(), endpoint("chat")):
        world = World(served)
        query = Query(world)
        world.transport.last.whole(b'{"error":{"message":"no"}}', status, JSON)
        assert query.status == ours
        assert query.told["error"]["type"] == kind


def test_tokens_are_counted_by_anthropic_alone() -> None:
    world = World(own())
    query = Query(world, door("/messages/count_tokens"), max_tokens=None, stream=True)
    assert world.transport.last.path == "/v1/messages/count_tokens"
    world.transport.last.whole(b'{"input_tokens": 12}')
    assert query.body == b'{"input_tokens": 12}'
    refused = Query(World(), door("/messages/count_tokens"))
    assert (refused.status, refused.told["error"]["type"]) == (400, "invalid_request_error")
    assert "cannot count tokens" in refused.told["error"]["message"]


def test_a_long_silence_in_a_stream_is_filled_with_pings() -> None:
    for served, data in ((own(), EVENTS), (endpoint("chat"), CHUNKS)):
        world = World(served)
        query = Query(world, stream=True)
        world.clock.move(100)
        assert query.state == "waiting"
        world.transport.last.head(200, SSE).data(data[:100])
        held = data[100:]
        world.transport.last.data(held[: held.index(b"\n\n") + 2])
        world.clock.move(100)
        assert query.events[-1] == {"type": "ping"}
        world.transport.last.data(held[held.index(b"\n\n") + 2 :]).end()
        assert query.events[-1] == {"type": "message_stop"}
        assert world.at_rest()


def test_the_key_header_holds_an_access_token() -> None:
    headers = {b"x-api-key": ACCESS_TOKEN}
    found = find((BASE + "/messages").encode())
    assert found is not None
    assert enter(found, headers) is found
    assert headers[b"authorization"] == b"Bearer " + ACCESS_TOKEN
    both = {b"x-api-key": b"any", b"authorization": b"Bearer b"}
    enter(found, both)
    assert both[b"authorization"] == b"Bearer b"


def test_a_fault_of_the_answer_is_told_in_the_same_shape() -> None:
    world = World()
    query = Query(world)
    world.transport.last.whole(b"{}")
    assert (query.status, query.told["error"]["type"]) == (502, "api_error")
