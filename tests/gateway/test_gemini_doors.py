"""Google's generateContent at its doors: passed on to Gemini as it came, answered by any model behind."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import ADMIN, JSON, SSE, FakeCaller, World, endpoint, entity

from tesela.errors import UpstreamUnavailable
from tesela.gateway.doors import GEMINI_BASES, GEMINI_VERSIONS, METHODS, Door, find
from tesela.gateway.native import enter
from tesela.serving import Endpoint
from tesela.snapshot import Credential
from tesela.wire.tasks import Native, Task

BASE = "/serving-endpoints/gemini/v1beta/models/"
CHAT = frozenset({Task.CHAT})
ASKED = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
CHUNKS = (
    b'data: {"id":"x","model":"m","choices":[{"index":0,"delta":{"content":"Hel"}}]}\n\n'
    b'data: {"id":"x","model":"m","choices":[{"index":0,"delta":{"content":"lo"}}]}\n\n'
    b'data: {"id":"x","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"id":"x","model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n'
    b"data: [DONE]\n\n"
)
WHOLE = (
    b'{"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
)
OWN = (
    b'{"candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}], "new": {"a": 1}, '
    b'"usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 1, "thoughtsTokenCount": 1}}'
)
EVENTS = (
    b'data: {"candidates": [{"content": {"parts": [{"text": "\xc3\xa9"}]}}], '
    b'"usageMetadata": {"promptTokenCount": 7}}\r\n\r\n'
    b'data: {"something": "new"}\r\n\r\n'
    b'data: {"candidates": [{"content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}], '
    b'"usageMetadata": {"promptTokenCount": 7, "candidatesTokenCount": 2}}\r\n\r\n'
)


def door(method: str = "generateContent", **headers: str) -> Door:
    query = "?alt=sse" if method == "streamGenerateContent" else ""
    found = find(f"{BASE}chat:{method}{query}".encode())
    assert found is not None
    return enter(found, {name.replace("_", "-").encode(): content.encode() for name, content in headers.items()})


class Query(FakeCaller):
    def __init__(self, world: World, method: str = "generateContent", at: Door | None = None, **more: Any) -> None:
        super().__init__()
        self.body_sent = json.dumps({**ASKED, **more}).encode()
        self.invocation = world.gateway.begin(self, at or door(method), Credential(ADMIN), self.body_sent)

    @property
    def told(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        lines = self.body.decode().replace("\r\n", "\n").split("\n")
        return [json.loads(line.removeprefix("data: ")) for line in lines if line]


def own(**more: Any) -> Endpoint:
    return endpoint("chat", entity(provider="google-cloud-vertex-ai", tasks=CHAT, **more))


def counts(world: World) -> list[tuple[int, int, int]]:
    return [(one.requests, one.prompt_tokens, one.completion_tokens) for one in world.tally.counts.values()]


def test_these_are_the_doors() -> None:
    for base in GEMINI_BASES:
        for version in GEMINI_VERSIONS:
            for method, native in METHODS.items():
                found = find(f"{base}/{version}/models/my%2Dchat:{method.decode()}".encode())
                assert found is not None
                assert (found.native, found.endpoint, found.task) == (native, "my-chat", None)
    stream = find(f"{BASE}chat:streamGenerateContent?alt=sse".encode())
    assert stream is not None
    assert (stream.native, stream.query) == (Native.STREAM_GENERATE, b"alt=sse")
    for nothing in ("chat", "chat:", ":generateContent", "chat:generate", "chat/generateContent"):
        assert find((BASE + nothing).encode()) is None
    assert find(b"/serving-endpoints/gemini/v2/models/chat:generateContent") is None
    assert find(b"/serving-endpoints/gemini/invocations") is not None, "an endpoint of that name"


def test_the_key_of_its_clients_is_the_bearer() -> None:
    for given_headers, expected in (
        ({b"x-goog-api-key": b"t"}, b"Bearer t"),
        ({b"x-goog-api-key": b"t", b"authorization": b"Bearer u"}, b"Bearer u"),
        ({b"x-api-key": b"t"}, None),
    ):
        headers = dict(given_headers)
        found = find(f"{BASE}chat:generateContent".encode())
        assert found is not None
        enter(found, headers)
        assert headers.get(b"authorization") == expected


def test_a_model_that_speaks_chat() -> None:
    world = World()
    query = Query(world, systemInstruction={"parts": [{"text": "Be short."}]})
    assert json.loads(world.transport.last.body) == {
        "model": "one-model",
        "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}],
    }
    world.transport.last.whole(WHOLE)
    assert query.told["candidates"][0]["content"]["parts"] == [{"text": "Hello"}]
    assert query.told["usageMetadata"]["totalTokenCount"] == 5
    assert query.headers["served-model-name"] == "one"
    assert counts(world) == [(1, 3, 2)]
    assert world.at_rest()


def test_a_stream_of_a_model_that_speaks_chat() -> None:
    world = World()
    query = Query(world, "streamGenerateContent")
    assert json.loads(world.transport.last.body)["stream_options"] == {"include_usage": True}
    world.transport.last.stream(CHUNKS)
    assert [one["candidates"][0]["content"]["parts"] for one in query.events] == [
        [{"text": "Hel"}],
        [{"text": "lo"}],
        [],
    ]
    assert query.events[-1]["candidates"][0]["finishReason"] == "STOP"
    assert query.events[-1]["usageMetadata"]["candidatesTokenCount"] == 2
    assert query.headers["content-type"] == "text/event-stream"
    assert query.state == "closed"
    assert counts(world) == [(1, 3, 2)]


def test_a_stream_must_be_asked_for_as_events() -> None:
    world = World()
    query = Query(world, at=find(f"{BASE}chat:streamGenerateContent".encode()))
    assert (query.status, query.told["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert "alt=sse" in query.told["error"]["message"]


@pytest.mark.parametrize("method", ["generateContent", "countTokens"])
def test_to_gemini_itself_everything_passes(method: str) -> None:
    world = World(own())
    query = Query(world, method, model="models/chat", brandNew={"x": [1, 2.5]})
    sent = world.transport.last
    assert sent.path == f":{method}"
    assert json.loads(sent.body) == {**ASKED, "brandNew": {"x": [1, 2.5]}}
    sent.whole(OWN)
    assert query.body == OWN
    assert counts(world) == [(1, 7, 2)]


@given(st.lists(st.integers(0, len(EVENTS)), max_size=6))
def test_its_events_pass_however_they_are_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(EVENTS)]
    world = World(own())
    query = Query(world, "streamGenerateContent")
    assert world.transport.last.path == ":streamGenerateContent?alt=sse"
    world.transport.last.stream(*(EVENTS[a:b] for a, b in pairwise(places) if a < b))
    assert query.body == EVENTS
    assert query.state == "closed"
    assert counts(world) == [(1, 7, 2)]


def test_a_stream_of_geminis_that_breaks() -> None:
    world = World(own())
    query = Query(world, "streamGenerateContent")
    first = EVENTS[: EVENTS.index(b"\r\n\r\n") + 4]
    world.transport.last.head(200, SSE).data(first).end()
    assert query.body.startswith(first)
    assert query.events[-1]["error"]["code"] == 502
    query = Query(world, "streamGenerateContent")
    world.transport.last.head(200, SSE).data(first)
    world.transport.last.data(b'data: {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}\n\n')
    assert (query.events[-1]["error"]["code"], query.events[-1]["error"]["message"]) == (503, "busy")


def test_a_blocked_prompt_is_an_end() -> None:
    world = World(own())
    query = Query(world, "streamGenerateContent")
    world.transport.last.stream(b'data: {"promptFeedback": {"blockReason": "SAFETY"}}\n\n')
    assert query.state == "closed"
    assert "error" not in query.events[-1]


def test_a_fallback_from_gemini_to_a_model_that_speaks_chat() -> None:
    first = entity(provider="google-cloud-vertex-ai", tasks=CHAT)
    world = World(endpoint("chat", first, entity("two", 0, tasks=CHAT), fallback=True))
    query = Query(world)
    world.transport.last.fail(UpstreamUnavailable("gone"))
    assert json.loads(world.transport.last.body)["messages"] == [{"role": "user", "content": "Hi"}]
    world.transport.last.whole(WHOLE)
    assert query.told["candidates"][0]["content"]["parts"] == [{"text": "Hello"}]
    assert query.headers["served-model-name"] == "two"


@pytest.mark.parametrize(
    ("status", "ours", "word"),
    [(400, 400, "INVALID_ARGUMENT"), (401, 502, "UNAVAILABLE"), (429, 429, "RESOURCE_EXHAUSTED"),
     (500, 502, "UNAVAILABLE"), (503, 503, "UNAVAILABLE")],
)  # fmt: skip
@pytest.mark.parametrize("served", [own, lambda: endpoint("chat")])
def test_failures_are_googles(status: int, ours: int, word: str, served: Any) -> None:
    world = World(served())
    query = Query(world)
    world.transport.last.whole(b'{"error":{"message":"no"}}', status, JSON)
    assert (query.status, query.told["error"]["code"], query.told["error"]["status"]) == (ours, ours, word)


def test_what_it_cannot_do() -> None:
    query = Query(World(), "countTokens")
    assert (query.status, query.told["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert "cannot count tokens" in query.told["error"]["message"]
    query = Query(World(endpoint("chat", entity(tasks=frozenset({Task.EMBEDDINGS})))))
    assert "does not serve llm/v1/chat" in query.told["error"]["message"]
    query = Query(World(), contents=[])
    assert query.status == 400


def test_embeddings() -> None:
    world = World(endpoint("chat", entity(tasks=frozenset({Task.EMBEDDINGS}))))
    answer = b'{"object":"list","data":[{"index":0,"embedding":[1.5]}],"usage":{"prompt_tokens":2,"total_tokens":2}}'
    one = Query(world, "embedContent", content={"parts": [{"text": "a"}]})
    assert one.status == 400, "'contents' is no field of it"
    for method, body, told in (
        ("embedContent", {"content": {"parts": [{"text": "a"}]}}, {"embedding": {"values": [1.5]}}),
        (
            "batchEmbedContents",
            {"requests": [{"content": {"parts": [{"text": "a"}]}}]},
            {"embeddings": [{"values": [1.5]}]},
        ),
    ):
        caller = FakeCaller()
        world.gateway.begin(caller, door(method), Credential(ADMIN), json.dumps(body).encode())
        sent = world.transport.last
        assert (sent.path, json.loads(sent.body)) == ("/embeddings", {"model": "one-model", "input": ["a"]})
        sent.whole(answer)
        assert json.loads(caller.body) == {**told, "usageMetadata": {"promptTokenCount": 2}}
    assert counts(world)[0][1] == 4
