"""One query from its body to the last byte of its answer, with the upstream and the caller in the test's hands."""

import json
import logging
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import ADMIN, JSON, SSE, FakeCaller, Sending, World, endpoint, entity

from tesela.errors import TeselaError, UpstreamProtocolError, UpstreamRejected, UpstreamTimeout, UpstreamUnavailable
from tesela.gateway import invocation as invocation_module
from tesela.gateway.doors import Door, Manners
from tesela.gateway.invocation import Invocation
from tesela.providers.base import Call, Exchange, Provider
from tesela.serving import Endpoint
from tesela.snapshot import Credential, Principal
from tesela.wire.tasks import Task

MESSAGES = [{"role": "user", "content": "Hi"}]
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
ANSWER = json.dumps(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello"}, "finish_reason": "stop"}],
        "usage": USAGE,
    }
).encode()
FAILED = json.dumps({"error": {"message": "it broke", "code": "oops"}}).encode()
OPENAI, DATABRICKS = Door(Manners.OPENAI, Task.CHAT), Door(Manners.DATABRICKS, None, "chat")


def event(data: Any) -> bytes:
    return b"data: " + (data if isinstance(data, bytes) else json.dumps(data).encode()) + b"\n\n"


def chunk(text: str, finish: str | None = None) -> bytes:
    return event(
        {"id": "x", "choices": [{"index": 0, "delta": {"role": "a", "content": text}, "finish_reason": finish}]}
    )


END = event({"choices": [], "usage": USAGE}) + event(b"[DONE]")
GOOD = (chunk("Hel"), chunk("lo"), chunk("", "stop"), END)


def three() -> Endpoint:
    """100 % of the traffic for the first, two to fall back on."""
    return endpoint("chat", entity("one"), entity("two", 0), entity("three", 0), fallback=True)


class Query(FakeCaller):
    """A caller with its invocation."""

    def __init__(self, world: World, door: Door = OPENAI, principal: Principal = ADMIN, **more: Any) -> None:
        super().__init__()
        more.setdefault("model", "chat")
        if door.task is Task.RESPONSES:
            more.setdefault("input", "Hi")
        else:
            more.setdefault("messages", MESSAGES)
        body = json.dumps(more).encode()
        self.invocation: Invocation | None = world.gateway.begin(self, door, Credential(principal), body)

    @property
    def error(self) -> Any:
        assert self.state == "answered"
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        lines = [line.removeprefix("data: ") for line in self.body.decode().split("\n") if line]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]


def counts(world: World) -> list[tuple[str, int, int, int, int]]:
    return [
        (key[1], one.requests, one.failed, one.cancelled, one.prompt_tokens + one.completion_tokens)
        for key, one in sorted(world.tally.counts.items())
    ]


# ------------------------------------------------------------ a whole answer


def test_a_whole_answer_passes_byte_for_byte() -> None:
    world = World()
    query = Query(world, seed=7, x={"y": [1]})
    sent = world.transport.last
    assert (sent.path, sent.headers) == ("/chat/completions", ())
    assert json.loads(sent.body) == {"model": "one-model", "messages": MESSAGES, "seed": 7, "x": {"y": [1]}}
    assert query.state == "waiting"
    sent.whole(ANSWER)
    assert (query.state, query.status, query.body) == ("answered", 200, ANSWER)
    assert query.headers == {
        "content-type": "application/json", "served-model-name": "one", "x-request-id": "id-00000001",
    }  # fmt: skip
    assert counts(world) == [("one", 1, 0, 0, 5)]
    assert world.at_rest()


def test_the_short_form_of_an_answer_is_the_same() -> None:
    for door in (OPENAI, DATABRICKS):
        told = []
        for short in (True, False):
            world = World()
            query = Query(world, door)
            if short:
                world.transport.last.answer(ANSWER)
            else:
                world.transport.last.head(200, JSON).data(ANSWER[:50]).data(ANSWER[50:]).end()
            told.append((query.state, query.status, query.lines, query.body, counts(world), world.at_rest()))
        assert told[0] == told[1]


def test_an_invocation_answer_has_the_twin_of_its_finish_reason() -> None:
    world = World()
    query = Query(world, DATABRICKS)
    world.transport.last.answer(ANSWER)
    assert json.loads(query.body)["choices"][0]["finishReason"] == "stop"


@pytest.mark.parametrize("body", [b"", b"[]", b"not JSON", b"<html>", ANSWER[:-20], b"\xff\xfe", b"null", b"{}"])
@pytest.mark.parametrize("door", [OPENAI, DATABRICKS, Door(Manners.OPENAI, Task.RESPONSES)])
@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("slow", [True, False])
def test_whatever_an_upstream_answers_every_caller_hears_an_end(
    body: bytes, door: Door, short: bool, slow: bool
) -> None:
    world = World(endpoint("chat", entity(limit=3)))
    query = Query(world, door)
    if slow:
        world.clock.move(100)
    if short:
        world.transport.last.answer(body)
    else:
        world.transport.last.whole(body)
    assert query.state in ("answered", "closed", "aborted")
    assert query.status in (200, 502), "what an upstream answers is never our own fault"
    assert world.at_rest()
    assert sum(one.requests for one in world.tally.counts.values()) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 300, 304])
@pytest.mark.parametrize("streaming", [True, False])
def test_a_redirect_is_no_answer(status: int, streaming: bool) -> None:
    world = World()
    query = Query(world, stream=streaming)
    world.transport.last.head(status, {b"location": b"/", b"content-type": b"text/event-stream"}).data(b"<html>").end()
    assert query.status == 502
    assert query.error["error_code"] == "INTERNAL_ERROR"
    assert str(status) in query.error["message"] or "stream" in query.error["message"]


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"Gzip"])
@pytest.mark.parametrize("streaming", [True, False])
def test_a_compressed_answer_is_refused(encoding: bytes, streaming: bool) -> None:
    world = World()
    query = Query(world, stream=streaming)
    world.transport.last.head(200, {**(SSE if streaming else JSON), b"content-encoding": encoding})
    assert (query.status, world.transport.last.cancelled) == (502, True)
    assert "compressed" in query.error["message"]
    assert world.at_rest()


def test_identity_is_no_compression() -> None:
    world = World()
    query = Query(world)
    world.transport.last.head(200, {**JSON, b"content-encoding": b"identity"}).data(ANSWER).end()
    assert query.body == ANSWER


def test_an_answer_without_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    piece = b"x" * (1024 * 1024)
    world = World()
    query = Query(world)
    sent = world.transport.last.head(200, JSON)
    for _ in range(invocation_module.MAX_ANSWER // len(piece)):
        sent.data(piece)
        assert query.state == "waiting"
    sent.data(b"x")
    assert (query.status, sent.cancelled) == (502, True)
    assert str(invocation_module.MAX_ANSWER) in query.error["message"]
    assert world.at_rest()


# ------------------------------------------------------------ failures before the first byte


@pytest.mark.parametrize(
    ("status", "mine", "code"),
    [
        (400, 400, "INVALID_PARAMETER_VALUE"), (404, 404, "INVALID_PARAMETER_VALUE"),
        (413, 413, "INVALID_PARAMETER_VALUE"), (422, 422, "INVALID_PARAMETER_VALUE"),
        (401, 502, "INTERNAL_ERROR"), (403, 502, "INTERNAL_ERROR"), (408, 504, "DEADLINE_EXCEEDED"),
        (429, 429, "REQUEST_LIMIT_EXCEEDED"), (500, 502, "INTERNAL_ERROR"), (503, 503, "TEMPORARILY_UNAVAILABLE"),
        (504, 504, "DEADLINE_EXCEEDED"), (529, 503, "TEMPORARILY_UNAVAILABLE"), (599, 502, "INTERNAL_ERROR"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("streaming", [True, False])
def test_an_upstream_that_refuses(status: int, mine: int, code: str, streaming: bool) -> None:
    world = World()
    query = Query(world, stream=streaming)
    world.transport.last.whole(FAILED, status, {b"retry-after": b"7", b"content-type": b"text/html"})
    assert (query.status, query.error["error_code"]) == (mine, code)
    if status in (401, 403):
        assert "it broke" not in query.error["message"], "what a provider says of our key is not the caller's to read"
    else:
        assert "it broke" in query.error["message"]
    told = "(the provider's answer to a POST to http://one.test/chat" in query.error["message"]
    assert told == (status == 404), "a base without its /v1 is found by the address"
    assert counts(world) == [("one", 1, 1, 0, 0)]
    assert world.at_rest()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (b"7", "7"), (b" 7 ", "7"), (b"0", "0"), (b"999999999", "86400"), (b"9" * 5000, "86400"), (b"-1", None),
        (b"1.5", None), (b"Wed, 21 Oct 2015 07:28:00 GMT", "0"), (b"Fri, 31 Dec 9999 23:59:59 GMT", "86400"),
        (b"", None), (b"\xb2", None), (b"Wed, 21 Oct 99999999 07:28:00 GMT", None), (b"soon", None),
    ],
)  # fmt: skip
def test_retry_after_is_passed_on_as_whole_seconds(given: bytes, told: str | None) -> None:
    world = World()
    query = Query(world)
    world.transport.last.whole(FAILED, 429, {b"retry-after": given})
    assert (query.status, query.headers.get("retry-after")) == (429, told)


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    "failure",
    [
        lambda sent: sent.whole(FAILED, 500),
        lambda sent: sent.whole(FAILED, 429),
        lambda sent: sent.whole(FAILED, 401),
        lambda sent: sent.fail(UpstreamUnavailable("gone")),
        lambda sent: sent.head(200, {**SSE, b"content-encoding": b"gzip"}),
        lambda sent: sent.head(500).data(b"x").fail(UpstreamTimeout("late")),
        lambda sent: sent.head(200, SSE).fail(UpstreamTimeout("late")),
    ],
)
def test_the_next_entity_is_tried_in_order_while_the_caller_has_nothing(failure: Any, streaming: bool) -> None:
    world = World(three())
    query = Query(world, stream=streaming, seed=7)
    for name in ("one", "two"):
        assert world.transport.last.upstream.origin.host == f"{name}.test"
        assert json.loads(world.transport.last.body)["model"] == f"{name}-model"
        assert json.loads(world.transport.last.body)["seed"] == 7
        failure(world.transport.last)
        assert query.state == "waiting"
    assert len(world.transport.sent) == 3
    if streaming:
        world.transport.last.stream(*GOOD)
        assert query.events[-1] == "[DONE]"
        assert b"it broke" not in query.body
    else:
        world.transport.last.whole(ANSWER)
        assert query.body == ANSWER
    assert query.headers["served-model-name"] == "three"
    assert counts(world) == [("three", 1, 0, 0, 5)], "one invocation is one record, by the entity that answered"
    assert world.at_rest()


def test_when_all_fail_the_last_error_is_told_once() -> None:
    world = World(three())
    query = Query(world)
    for status in (500, 503, 429):
        world.transport.last.whole(FAILED, status)
    assert (query.status, query.error["error_code"]) == (429, "REQUEST_LIMIT_EXCEEDED")
    assert len(world.transport.sent) == 3
    assert counts(world) == [("three", 1, 1, 0, 0)]


@pytest.mark.parametrize("status", [400, 404, 413, 422])
def test_what_the_caller_must_mend_is_not_tried_elsewhere(status: int) -> None:
    world = World(three())
    query = Query(world)
    world.transport.last.whole(FAILED, status)
    assert (query.status, len(world.transport.sent)) == (status, 1)


def test_without_fallback_nothing_else_is_tried() -> None:
    world = World(endpoint("chat", entity("one"), entity("two", 0)))
    query = Query(world)
    world.transport.last.whole(FAILED, 500)
    assert (query.status, len(world.transport.sent)) == (502, 1)


def test_the_next_entity_may_be_one_that_cannot_be_sent_to(caplog: pytest.LogCaptureFixture) -> None:
    def refuses(call: Call) -> Exchange:
        raise UpstreamRejected("'seed' cannot be said here", param="seed")

    def breaks(call: Call) -> Exchange:
        raise ZeroDivisionError("a bug")

    for translation, status in ((refuses, 400), (breaks, 500)):
        provider = Provider("odd", {Task.CHAT: translation})
        world = World(
            endpoint("chat", entity("one"), entity("two", 0, provider="odd"), fallback=True),
            providers={"odd": provider},
        )
        query = Query(world)
        world.transport.last.whole(FAILED, 500)
        assert query.status == status
        assert len(counts(world)) == 1
        assert counts(world)[0][1:3] == (1, 1)
        assert world.at_rest()
    assert "ZeroDivisionError" in caplog.text
    assert "a bug" not in query.body.decode()
    assert query.headers["x-request-id"] in query.error["message"]


def test_a_translation_may_not_change_what_the_next_one_reads() -> None:
    def strips(call: Call) -> Exchange:
        call.document.clear()
        return Exchange("/odd", b"{}", False)

    world = World(
        endpoint("chat", entity("one", provider="odd"), entity("two", 0), fallback=True),
        providers={"odd": Provider("odd", {Task.CHAT: strips})},
    )
    Query(world, seed=7)
    world.transport.last.fail(UpstreamUnavailable("gone"))
    assert json.loads(world.transport.last.body) == {"model": "two-model", "messages": MESSAGES, "seed": 7}


# ------------------------------------------------------------ streams


@pytest.mark.parametrize("door", [OPENAI, DATABRICKS])
def test_a_stream(door: Door) -> None:
    world = World()
    query = Query(world, door, stream=True)
    assert json.loads(world.transport.last.body)["stream_options"] == {"include_usage": True}
    sent = world.transport.last.head(200, SSE)
    assert query.state == "waiting", "nothing is promised before there is something to say"
    sent.data(chunk("Hel"))
    assert (query.state, query.status) == ("open", 200)
    assert query.headers == {
        "content-type": "text/event-stream", "cache-control": "no-cache", "served-model-name": "one",
        "x-request-id": "id-00000001",
    }  # fmt: skip
    sent.data(chunk("lo")).data(chunk("", "stop")).data(END)
    assert query.state == "closed", "the caller does not wait for the end of the upstream's framing"
    assert world.at_rest()
    before = list(query.pieces)
    sent.data(b"\n").data(chunk("more")).end()
    assert query.pieces == before
    assert query.events[-1] == "[DONE]"
    assert counts(world) == [("one", 1, 0, 0, 5)]


def test_events_cut_anywhere_are_passed_on_as_soon_as_they_are_whole() -> None:
    whole = b"".join(GOOD)
    world = World()
    expected = Query(world, stream=True)
    world.transport.last.stream(whole)
    for size in (1, 2, 3, 7, 50):
        query = Query(world, stream=True)
        world.transport.last.stream(*(whole[i : i + size] for i in range(0, len(whole), size)))
        assert query.body == expected.body


def test_the_headers_of_a_stream_that_says_nothing_for_long() -> None:
    world = World()
    query = Query(world, DATABRICKS, stream=True)
    world.transport.last.head(200, SSE)
    world.clock.move(1000)
    assert query.pieces == [], "the white space is for whole answers: MLflow's reader of streams would raise on it"


@pytest.mark.parametrize("fallback", [True, False])
def test_after_the_first_byte_a_failure_is_one_error_event(fallback: bool) -> None:
    world = World(three() if fallback else endpoint("chat"))
    query = Query(world, stream=True)
    world.transport.last.head(200, SSE).data(chunk("Hel")).fail(UpstreamTimeout("it fell silent"))
    assert query.state == "closed"
    assert query.events[1:] == [
        {"error": {"message": "it fell silent", "type": "upstream_error", "param": None, "code": "DEADLINE_EXCEEDED"}}
    ]
    assert len(world.transport.sent) == 1
    assert counts(world) == [("one", 1, 1, 0, 0)]
    assert world.at_rest()


@pytest.mark.parametrize(
    "bad",
    [event({"error": {"message": "no room"}}), event(b"nonsense"), b"x" * (17 * 1024 * 1024)],
    ids=["error", "junk", "size"],
)
def test_a_bad_event_ends_the_stream_and_the_call(bad: bytes) -> None:
    world = World()
    query = Query(world, stream=True)
    sent = world.transport.last.head(200, SSE).data(chunk("Hel")).data(bad)
    assert sent.cancelled
    assert query.state == "closed"
    assert [type(one) for one in query.events] == [dict, dict]
    assert query.events[-1]["error"]["message"]
    assert world.at_rest()


def test_an_error_in_place_of_the_first_event_is_tried_elsewhere() -> None:
    world = World(three())
    query = Query(world, stream=True)
    world.transport.last.head(200, SSE).data(event({"error": {"message": "no room"}}))
    assert (query.state, len(world.transport.sent)) == ("waiting", 2)
    world.transport.last.stream(*GOOD)
    assert query.events[-1] == "[DONE]"


@pytest.mark.parametrize("pieces", [(), (chunk("Hel"),)])
def test_a_stream_that_ends_too_early(pieces: tuple[bytes, ...]) -> None:
    world = World()
    query = Query(world, stream=True)
    world.transport.last.stream(*pieces)
    if pieces:
        assert query.events[-1]["error"]["code"] == "INTERNAL_ERROR"
        assert "[DONE]" not in query.events
    else:
        assert query.status == 502
    assert counts(world) == [("one", 1, 1, 0, 0)]


@pytest.mark.parametrize("short", [True, False])
def test_asked_for_a_stream_and_answered_whole(short: bool) -> None:
    world = World(three())
    query = Query(world, stream=True)
    for _ in range(3):
        if short:
            world.transport.last.answer(ANSWER)
        else:
            world.transport.last.head(200, JSON)
    assert query.status == 502
    assert "did not answer with one" in query.error["message"]
    assert world.at_rest()


def test_usage_that_came_before_a_failure_is_recorded() -> None:
    world = World()
    usage = event({"choices": [{"delta": {"content": "x"}}], "usage": USAGE})
    Query(world, stream=True)
    world.transport.last.head(200, SSE).data(usage).fail(UpstreamTimeout("late"))
    Query(world, stream=True).invocation.cancel()  # type: ignore[union-attr]
    cancelled = Query(world, stream=True)
    world.transport.last.head(200, SSE).data(usage)
    assert cancelled.invocation is not None
    cancelled.invocation.cancel()
    assert counts(world) == [("one", 3, 1, 2, 10)]


def gathers(call: Call) -> Exchange:
    """A translation whose upstream always streams, as the local engine does."""
    return Exchange("/engine", b"{}", True)


def streamed() -> World:
    return World(endpoint("chat", entity(provider="odd")), providers={"odd": Provider("odd", {Task.CHAT: gathers})})


def test_a_whole_answer_gathered_from_a_stream() -> None:
    world = streamed()
    query = Query(world)
    world.transport.last.stream(*GOOD)
    assert json.loads(query.body)["choices"][0]["message"]["content"] == "Hello"
    assert query.headers["content-type"] == "application/json"
    assert counts(world) == [("one", 1, 0, 0, 5)]


@pytest.mark.parametrize("pieces", [(), (chunk("Hel"),), (chunk("Hel"), event(b"junk"))])
def test_half_a_stream_is_no_whole_answer(pieces: tuple[bytes, ...]) -> None:
    world = streamed()
    query = Query(world)
    world.transport.last.stream(*pieces)
    assert query.status == 502
    assert b"Hel" not in query.body
    assert world.at_rest()


# ------------------------------------------------------------ the caller leaves, or reads slowly


@pytest.mark.parametrize("streaming", [True, False])
def test_a_caller_that_leaves_takes_its_call_along(streaming: bool) -> None:
    world = World(three())
    query = Query(world, stream=streaming)
    assert query.invocation is not None
    query.invocation.cancel()
    assert world.transport.last.cancelled
    assert (query.state, len(world.transport.sent)) == ("waiting", 1)
    assert counts(world) == [("one", 1, 0, 1, 0)]
    assert world.at_rest()
    query.invocation.cancel()
    query.invocation.pause()
    query.invocation.resume()
    query.invocation.reassure(1e9)
    assert counts(world) == [("one", 1, 0, 1, 0)]


def test_a_failure_that_comes_after_the_caller_left_is_nobodys() -> None:
    world = World(three())
    query = Query(world)
    assert query.invocation is not None
    query.invocation.cancel()
    query.invocation.on_failure(UpstreamTimeout("late"))
    assert (query.state, len(world.transport.sent)) == ("waiting", 1)
    assert counts(world) == [("one", 1, 0, 1, 0)]


def test_leaving_after_the_end_changes_nothing() -> None:
    world = World()
    query = Query(world)
    world.transport.last.whole(ANSWER)
    assert query.invocation is not None
    query.invocation.cancel()
    assert not world.transport.last.cancelled
    assert counts(world) == [("one", 1, 0, 0, 5)]


def test_a_slow_reader_holds_the_upstream_back() -> None:
    world = World()
    query = Query(world, stream=True)
    assert query.invocation is not None
    sent = world.transport.last.head(200, SSE).data(GOOD[0])
    query.invocation.pause()
    assert sent.paused
    for piece in GOOD[1:]:
        sent.data(piece)
    sent.end()
    assert len(query.pieces) == 1
    query.invocation.resume()
    assert query.state == "closed"


def test_a_reader_that_was_slow_at_the_end_does_not_hold_the_upstream_for_ever() -> None:
    """The caller pauses while the last event is written; what is left of the framing must still be read."""
    world = World()
    query = Query(world, stream=True)
    invocation = query.invocation
    assert invocation is not None

    class Slow(Sending):
        """As a real connection: what was read before the pause is still delivered."""

        def pause(self) -> None:
            self.was_paused = True
            self.held_back = True

        def resume(self) -> None:
            self.held_back = False

    sent = world.transport.last
    sent.__class__ = Slow
    sent.head(200, SSE).data(GOOD[0])
    invocation.pause()
    for piece in GOOD[1:]:
        sent.data(piece)
    assert query.state == "closed"
    assert not sent.held_back  # type: ignore[attr-defined]


# ------------------------------------------------------------ white space for those who wait


def test_a_caller_who_waits_long_is_sent_white_space() -> None:
    world = World()
    query = Query(world, DATABRICKS)
    world.clock.move(44)
    assert query.state == "waiting"
    world.clock.move(7)
    assert (query.state, query.status, query.body) == ("open", 200, b" ")
    assert query.headers["content-type"] == "application/json"
    gaps = []
    for _ in range(200):
        before = len(query.pieces)
        world.clock.move(1)
        gaps.append(len(query.pieces) - before)
    assert max(len(run) for run in "".join(map(str, gaps)).split("1")) < 59, "the SDK gives up after 60 s of silence"
    world.transport.last.whole(ANSWER)
    assert query.state == "closed"
    assert json.loads(query.body)["choices"][0]["finishReason"] == "stop"
    assert world.at_rest()
    world.clock.move(100)
    assert world.clock.waiting() == 0, "no timer when nobody waits"


def test_white_space_is_for_invocation_doors_only() -> None:
    world = World()
    waiting = Query(world, DATABRICKS)
    others = [Query(world, OPENAI), Query(world, OPENAI, stream=True), Query(world, DATABRICKS, stream=True)]
    world.clock.move(500)
    assert waiting.state == "open"
    assert {one.state for one in others} == {"waiting"}


@pytest.mark.parametrize("fail", [lambda sent: sent.fail(UpstreamTimeout("x")), lambda sent: sent.whole(FAILED, 500)])
def test_a_failure_after_white_space_breaks_the_connection(fail: Any) -> None:
    world = World(three())
    query = Query(world, DATABRICKS)
    world.clock.move(60)
    fail(world.transport.last)
    assert query.state == "aborted"
    assert query.body.strip() == b""
    assert len(world.transport.sent) == 1, "a fallback could still come: but its headers are out"
    assert counts(world) == [("one", 1, 1, 0, 0)]
    assert world.at_rest()


def test_a_fallback_is_waited_for_too() -> None:
    world = World(three())
    query = Query(world, DATABRICKS)
    world.clock.move(30)
    world.transport.last.fail(UpstreamTimeout("x"))
    world.clock.move(30)
    assert query.state == "open", "the caller's patience runs from its own request, not from the attempt"
    assert query.headers["served-model-name"] == "two"
    world.transport.last.whole(ANSWER)
    assert query.state == "closed"


# ------------------------------------------------------------ limits, records, separation


def test_beyond_the_limit_callers_are_told_when_to_come_back() -> None:
    world = World(endpoint("chat", entity(limit=2)))
    first, second, third = Query(world), Query(world), Query(world)
    assert third.status == 429
    assert third.headers["retry-after"] == "1"
    assert (third.error["error_code"], third.invocation) == ("REQUEST_LIMIT_EXCEEDED", None)
    assert len(world.transport.sent) == 2
    world.transport.sent[0].whole(ANSWER)
    fourth = Query(world)
    assert fourth.state == "waiting"
    for sent in world.transport.sent[1:]:
        sent.whole(ANSWER)
    assert [one.status for one in (first, second, fourth)] == [200, 200, 200]
    assert world.at_rest()


def test_endpoints_over_one_model_share_its_limit() -> None:
    world = World(
        endpoint("chat", entity("a", limit=1, admission="m")), endpoint("other", entity("b", limit=1, admission="m"))
    )
    Query(world)
    assert Query(world, Door(Manners.DATABRICKS, None, "other")).status == 429


def test_a_refused_request_is_recorded_by_whoever_asked() -> None:
    world = World(endpoint("chat", entity(limit=1)))
    other = Principal("2", "b@example.com", admin=True)
    Query(world)
    Query(world, principal=other)
    assert {key[2]: (one.requests, one.failed) for key, one in world.tally.counts.items()} == {"2": (1, 1)}
    world.transport.last.whole(ANSWER)
    assert {key[2]: one.requests for key, one in world.tally.counts.items()} == {"1": 1, "2": 1}


def test_faults_of_ours_name_the_request_and_tell_nothing(caplog: pytest.LogCaptureFixture) -> None:
    world = World(endpoint("chat", entity(provider="nowhere", limit=1)))
    with caplog.at_level(logging.ERROR):
        query = Query(world)
    assert query.status == 500
    assert "nowhere" not in query.body.decode()
    assert query.headers["x-request-id"] in query.error["message"]
    assert query.headers["x-request-id"] in caplog.text
    assert world.at_rest()


def test_ids_differ_and_carry_the_worker() -> None:
    world = World()
    seen = set()
    for _ in range(50):
        query = Query(world)
        world.transport.last.answer(ANSWER)
        seen.add(query.headers["x-request-id"])
        refused = FakeCaller()
        world.gateway.begin(refused, OPENAI, Credential(ADMIN), b"{")
        seen.add(refused.headers["x-request-id"])
    assert len(seen) == 100
    assert all(one.startswith("id-") for one in seen)


class Several:
    """Queries under way at once, each with a mark of its own in all that is said to it."""

    def __init__(self, limit: int) -> None:
        entities = entity("one", limit=limit), entity("two", 0, limit=limit)
        self.world = World(endpoint("chat", *entities, fallback=True))
        self.queries: list[Query] = []

    def begin(self, door: Door, streaming: bool) -> None:
        self.queries.append(Query(self.world, door, stream=streaming, user=f"mark-{len(self.queries)}-"))

    def take(self, slot: int, step: str) -> None:
        if step in BEGINNINGS:
            self.begin(*BEGINNINGS[step])
        elif step == "wait":
            self.world.clock.move(20)
        elif self.queries:
            number = slot % len(self.queries)
            query = self.queries[number]
            mine = [one for one in self.world.transport.sent if one.listener is query.invocation]
            if query.invocation is not None and mine:
                MOVES[step](query.invocation, mine[-1], f"mark-{number}-")


def head(_: Invocation, sent: Sending, mark: str) -> None:
    sent.head(200, SSE if json.loads(sent.body).get("stream") else JSON)


BEGINNINGS = {"begin": (OPENAI, False), "stream": (OPENAI, True), "chat": (DATABRICKS, False)}
MOVES: dict[str, Any] = {
    "head": head,
    "data": lambda _, sent, mark: sent.data(chunk(mark)),
    "done": lambda _, sent, mark: sent.data(chunk(mark, "stop") + END),
    "junk": lambda _, sent, mark: sent.data(event(b"junk")),
    "answer": lambda _, sent, mark: sent.answer(json.dumps({"said": mark}).encode()),
    "end": lambda _, sent, mark: sent.end(),
    "fail": lambda _, sent, mark: sent.fail(UpstreamUnavailable("gone")),
    "refuse": lambda _, sent, mark: sent.whole(FAILED, 500),
    "reject": lambda _, sent, mark: sent.whole(FAILED, 400),
    "leave": lambda invocation, sent, mark: invocation.cancel(),
    "pause": lambda invocation, sent, mark: invocation.pause(),
    "resume": lambda invocation, sent, mark: invocation.resume(),
}
STEPS = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from([*BEGINNINGS, *MOVES, "wait", "begin", "data"])), max_size=60
)


@given(STEPS, st.integers(0, 3))
@settings(max_examples=400)
def test_whatever_happens_in_whatever_order_nothing_is_left_and_nothing_is_mixed(
    steps: list[tuple[int, str]], limit: int
) -> None:
    several = Several(limit)
    world, queries = several.world, several.queries
    for slot, step in steps:
        several.take(slot, step)
    for query in queries:
        if query.invocation is not None:
            query.invocation.cancel()
    assert world.at_rest()
    assert all(count == 0 for count in world.gateway.in_flight.values())
    assert sum(one.requests for one in world.tally.counts.values()) == len(queries)
    for number, query in enumerate(queries):
        said = query.body.decode()
        assert said.count("mark-") == said.count(f"mark-{number}-")
    world.clock.move(1000)
    assert world.clock.waiting() == 0


def test_errors_of_the_tree_keep_their_class() -> None:
    """What a transport reports reaches the caller with its own status, whichever it is."""

    def kinds(root: type[TeselaError]) -> list[type[TeselaError]]:
        return [root, *(below for kind in root.__subclasses__() for below in kinds(kind))]

    for kind in kinds(TeselaError):
        world = World()
        query = Query(world)
        world.transport.last.fail(kind("so it is"))
        assert (query.status, query.error["error_code"], query.error["message"]) == (kind.status, kind.code, "so it is")


def test_a_protocol_error_before_the_first_byte_is_told_with_its_reason() -> None:
    world = World()
    query = Query(world)
    world.transport.last.fail(UpstreamProtocolError("no", param="n", reason="why"))
    assert (query.error["param"], query.error["code"]) == ("n", "why")


def test_a_full_entity_leaves_its_requests_to_the_next() -> None:
    world = World(endpoint("chat", entity("one", limit=1, admission="m"), entity("two", 0), fallback=True))
    first, second = Query(world), Query(world)
    assert len(world.transport.sent) == 2
    world.transport.sent[1].whole(ANSWER)
    assert (second.status, second.headers["served-model-name"]) == (200, "two")
    assert first.state == "waiting"
