"""Cohere, AI21, Gemini and Bedrock through the whole data plane: both manners, streams, and fallback among them."""

import json
from typing import Any

import pytest
from tests.fakes import JSON, World, endpoint, entity
from tests.gateway.test_invocation import DATABRICKS, OPENAI, Query
from tests.providers import test_ai21, test_bedrock, test_cohere, test_vertex

from tesela.serving import Origin, ServedEntity, Upstream
from tesela.wire.tasks import Task

EVENTS = {b"content-type": b"application/vnd.amazon.eventstream"}
SSE = {b"content-type": b"text/event-stream; charset=utf-8"}
TEXT = "Hello \u2028 \U0001f600!"
PART = {"type": "text", "text": TEXT}

ANSWERS: dict[str, tuple[bytes, list[bytes], dict[bytes, bytes]]] = {
    "cohere": (test_cohere.message(PART), test_cohere.events(PART), SSE),
    "ai21labs": (test_ai21.answer(TEXT), test_ai21.stream(TEXT), SSE),
    "google-cloud-vertex-ai": (test_vertex.message({"text": TEXT}), test_vertex.events({"text": TEXT}), SSE),
    "amazon-bedrock": (test_bedrock.message({"text": TEXT}), test_bedrock.events({"text": TEXT}), EVENTS),
}


def served(provider: str, percentage: int = 100) -> ServedEntity:
    upstream = Upstream(Origin("https", f"{provider}.test", 443), "model-1")
    return entity(provider, percentage, provider=provider, upstream=upstream, tasks=frozenset({Task.CHAT}))


@pytest.mark.parametrize("provider", ANSWERS)
@pytest.mark.parametrize("door", [OPENAI, DATABRICKS])
def test_a_whole_answer(provider: str, door: Any) -> None:
    world = World(endpoint("chat", served(provider)))
    query = Query(world, door)
    world.transport.last.whole(ANSWERS[provider][0])
    answer = json.loads(query.body)
    assert (query.state, query.status) == ("answered", 200)
    assert answer["choices"][0]["message"]["content"] == TEXT
    assert answer["usage"]["total_tokens"] > 0
    assert world.at_rest()


@pytest.mark.parametrize("provider", ANSWERS)
@pytest.mark.parametrize("door", [OPENAI, DATABRICKS])
@pytest.mark.parametrize("size", [1, 50, 10**9])
def test_a_stream(provider: str, door: Any, size: int) -> None:
    world = World(endpoint("chat", served(provider)))
    query = Query(world, door, stream=True, stream_options={"include_usage": True})
    sent, raw = world.transport.last, b"".join(ANSWERS[provider][1])
    sent.head(200, ANSWERS[provider][2])
    for at in range(0, len(raw), size):
        sent.data(raw[at : at + size])
    sent.end()
    told = query.events
    assert told[-1] == "[DONE]"
    choices = [chunk["choices"][0] for chunk in told[:-1] if chunk["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == TEXT
    assert choices[-1]["finish_reason"] == "stop"
    assert any((chunk.get("usage") or {}).get("total_tokens") for chunk in told[:-1])
    assert world.at_rest()


@pytest.mark.parametrize("provider", ANSWERS)
def test_a_stream_that_ends_early_is_told_so(provider: str) -> None:
    world = World(endpoint("chat", served(provider)))
    query = Query(world, stream=True)
    sent = world.transport.last
    sent.head(200, ANSWERS[provider][2])
    sent.data(b"".join(ANSWERS[provider][1][:3]))
    sent.end()
    assert "middle of the answer" in query.body.decode()
    assert "[DONE]" not in query.body.decode()
    assert world.at_rest()


def test_each_is_tried_in_its_turn_and_gets_the_request_in_its_own_form() -> None:
    entities = [served(provider, 100 if not number else 0) for number, provider in enumerate(ANSWERS)][:3]
    world = World(endpoint("chat", *entities, fallback=True))
    query = Query(world, max_tokens=5)
    world.transport.last.whole(b'{"message":"slow down"}', 429, JSON)
    world.transport.last.whole(b'{"detail":"broken"}', 500, JSON)
    world.transport.last.whole(ANSWERS["google-cloud-vertex-ai"][0])
    first, second, third = world.transport.sent
    assert [one.path for one in world.transport.sent] == ["/v2/chat", "/chat/completions", ":generateContent"]
    assert json.loads(first.body)["max_tokens"] == json.loads(second.body)["max_tokens"] == 5
    assert json.loads(third.body)["generationConfig"] == {"maxOutputTokens": 5}
    assert (query.status, query.headers["served-model-name"]) == (200, "google-cloud-vertex-ai")


@pytest.mark.parametrize("provider", ANSWERS)
def test_a_refused_key_is_the_owners_and_a_bad_request_the_callers(provider: str) -> None:
    for status, told in ((401, 502), (403, 502), (400, 400)):
        world = World(endpoint("chat", served(provider)))
        query = Query(world)
        world.transport.last.whole(b'{"message":"odd temperature"}', status, JSON)
        assert query.status == told
        assert ("odd temperature" in query.body.decode()) == (status == 400)
        assert ("endpoint's owner" in query.body.decode()) == (status != 400)
