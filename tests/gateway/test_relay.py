"""One stream through the relay: manners of both kinds of doors, usage, errors of every shape, cuts at every byte."""

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tesela.errors import UpstreamError, UpstreamProtocolError, UpstreamTimeout
from tesela.gateway.doors import Manners
from tesela.gateway.relay import Gather, Relay
from tesela.providers.base import Exchange
from tesela.wire.sse import DONE, Event, frame
from tesela.wire.tasks import Task

DATABRICKS, OPENAI = Manners.DATABRICKS, Manners.OPENAI
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def chunk(delta: Any = None, finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    choice = {"index": index, "delta": {} if delta is None else delta, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice], **more}


def only_usage(**more: Any) -> dict[str, Any]:
    return {"id": "x", "object": "chat.completion.chunk", "choices": [], "usage": USAGE, **more}


def stream(*chunks: Any, done: bool = True, **dump: Any) -> bytes:
    given = [one if isinstance(one, bytes) else json.dumps(one, **dump).encode() for one in chunks]
    return b"".join(map(frame, given)) + (frame(DONE) if done else b"")


ROLE, HEL, LO, STOP = (
    chunk({"role": "assistant", "content": ""}),
    chunk({"content": "Hel"}),
    chunk({"content": "lo"}),
    chunk(finish="stop"),
)
WHOLE = stream(ROLE, HEL, LO, STOP, only_usage())


def relay(manners: Manners = OPENAI, task: Task = Task.CHAT, shown: bool = False, **more: Any) -> Relay:
    return Relay(Exchange("/", b"", True, **more), task, manners, shown)


def run(relay: Relay, *pieces: bytes) -> bytes:
    out = b"".join(map(relay.feed, pieces))
    return out + relay.finish()


EVENT = re.compile(rb"data: ([^\r\n]+)\n\n")


def events(out: bytes) -> list[Any]:
    """What was written, held to the strictest reader's idea of a stream: `data: <json>`, a blank line."""
    found = EVENT.findall(out)
    assert b"".join(map(frame, found)) == out
    return [one.decode() if one == DONE else json.loads(one, object_pairs_hook=unique) for one in found]


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), "a key that is there twice"
    return dict(pairs)


def test_openai_manners_hide_the_usage_that_nobody_asked_for() -> None:
    through = relay()
    assert events(run(through, WHOLE)) == [ROLE, HEL, LO, STOP, "[DONE]"]
    assert through.source.usage is not None
    assert through.source.usage.total_tokens == 5


def test_openai_manners_pass_every_byte_when_usage_is_asked_for() -> None:
    assert run(relay(shown=True), WHOLE) == WHOLE


def test_databricks_manners_put_the_usage_on_the_finish() -> None:
    expected = [ROLE, HEL, LO, {**STOP, "usage": USAGE}, "[DONE]"]
    for shown in (False, True):
        assert events(run(relay(DATABRICKS, shown=shown), WHOLE)) == expected


@pytest.mark.parametrize("manners", Manners)
@pytest.mark.parametrize("task", [Task.CHAT, Task.COMPLETIONS])
def test_cut_at_every_byte_it_says_the_same(manners: Manners, task: Task) -> None:
    text = json.dumps('é\u2028😀"usage":{}', ensure_ascii=False)
    said = b'{"id":"x","choices":[{"index":0,"delta":{"content":%b},"text":%b,"finish_reason":null}],"usage":null}' % (
        text.encode(), text.encode(),
    )  # fmt: skip
    whole = b": hi\n\n" + stream(ROLE, said, LO, done=False) + stream(STOP, only_usage()).replace(b"\n", b"\r\n")
    expected = run(relay(manners, task), whole)
    assert events(expected)[-1] == "[DONE]"
    one = relay(manners, task)
    assert b"".join(one.feed(whole[i : i + 1]) for i in range(len(whole))) + one.finish() == expected
    for cut in range(len(whole)):
        assert run(relay(manners, task), whole[:cut], whole[cut:]) == expected


@pytest.mark.parametrize("manners", Manners)
def test_a_stream_that_ends_anywhere_is_whole_or_an_error(manners: Manners) -> None:
    """Nothing that was written may be a broken event, and only a finished answer may end in [DONE]."""
    for crlf in (False, True):
        whole = WHOLE.replace(b"\n", b"\r\n") if crlf else WHOLE
        outcomes = set()
        for cut in range(len(whole)):
            through = relay(manners)
            out = through.feed(whole[:cut])
            try:
                out += through.finish()
                outcomes.add("whole")
                assert any(choice["finish_reason"] for one in events(out)[:-1] for choice in one["choices"]), cut
                assert events(out)[-1] == "[DONE]"
            except UpstreamProtocolError as error:
                outcomes.add("error")
                told = events(out + through.failure(error))
                assert "[DONE]" not in told, cut
                assert told[-1]["error"]["message"]
        assert outcomes == {"whole", "error"}


@pytest.mark.parametrize("manners", Manners)
def test_the_missing_end_mark_is_put_in_when_the_answer_is_finished(manners: Manners) -> None:
    told = events(run(relay(manners), stream(ROLE, HEL, STOP, done=False)))
    assert told == [ROLE, HEL, STOP, "[DONE]"]
    with_usage = events(run(relay(manners, shown=True), stream(ROLE, STOP, only_usage(), done=False)))
    assert with_usage[-1] == "[DONE]"
    assert any(one.get("usage") == USAGE for one in with_usage[:-1])


@pytest.mark.parametrize("manners", Manners)
@pytest.mark.parametrize("given", [b"", stream(done=False), stream(ROLE, HEL, done=False), b": ping\n\n"])
def test_an_end_in_the_middle_is_an_error(manners: Manners, given: bytes) -> None:
    with pytest.raises(UpstreamProtocolError, match="middle of the answer"):
        run(relay(manners), given)


@pytest.mark.parametrize("manners", Manners)
def test_what_follows_the_end_mark_is_not_passed_on(manners: Manners) -> None:
    through = relay(manners)
    out = through.feed(WHOLE + stream(HEL, only_usage()) + b"data: {broken\n\n")
    assert through.source.done
    assert events(out)[-1] == "[DONE]"
    assert events(out).count("[DONE]") == 1
    assert through.feed(WHOLE) == b""
    assert through.finish() == b""


@pytest.mark.parametrize("manners", Manners)
@pytest.mark.parametrize(
    ("event", "message", "reason"),
    [
        (b'{"error":{"message":"no room","code":"overloaded","param":"n"}}', "no room", "overloaded"),
        (b'{"error":{"message":"no room","code":503}}', "no room", "503"),
        (b'{"error":{"message":"no room","type":"x","code":null}}', "no room", None),
        (b'{"error":{}}', "an error in the middle", None),
        (b'{"error":"no room"}', "no room", None),
        (b'{"error_code":"REQUEST_LIMIT_EXCEEDED","message":"no room"}', "no room", "REQUEST_LIMIT_EXCEEDED"),
        (b'{"error_code":"X"}', "an error in the middle", "X"),
        (b'{"error":["x"]}', "not a JSON object", None),
        (b'{"error":7}', "not a JSON object", None),
        (b"oops", "not a JSON object", None),
        (b"<html>", "not a JSON object", None),
        (b"[1]", "not a JSON object", None),
        (b'{"error":{"message":"\xff"}}', "not a JSON object", None),
        (b"[" * 100_000, "not a JSON object", None),
        (b'{"error":' + b"[" * 100_000, "not a JSON object", None),
    ],
)
def test_a_provider_that_says_in_mid_stream_that_it_failed(
    manners: Manners, event: bytes, message: str, reason: str | None
) -> None:
    through = relay(manners)
    assert events(through.feed(stream(ROLE, HEL, done=False))) == [ROLE, HEL]
    with pytest.raises(UpstreamError, match=message) as caught:
        through.feed(stream(event))
    assert caught.value.reason == reason
    told = events(through.failure(caught.value))
    assert len(told) == 1
    assert message in told[0]["error"]["message"]


def test_a_named_error_event_is_an_error() -> None:
    with pytest.raises(UpstreamError, match="no room"):
        relay().feed(b'event: error\ndata: {"message":"no room"}\n\n')


@pytest.mark.parametrize("data", [b'{"error":null,"type":"ping"}', b'{"type":"ping"}', b"{}", b"{ }", b' {"x":{}} '])
def test_events_that_are_neither_chunks_nor_errors_pass(data: bytes) -> None:
    assert events(run(relay(), stream(data, STOP)))[0] == json.loads(data)
    told = events(run(relay(DATABRICKS), stream(data, ROLE, STOP)))
    assert told[0] == {"choices": [], **json.loads(data)}, "every event has choices: the old clients index them"


def test_a_failure_lets_go_of_what_was_held() -> None:
    through = relay(DATABRICKS)
    assert events(through.feed(stream(ROLE, STOP, done=False))) == [ROLE]
    assert events(through.failure(UpstreamTimeout("late"))) == [
        STOP,
        {"error": {"message": "late", "type": "upstream_error", "param": None, "code": "DEADLINE_EXCEEDED"}},
    ]


def test_every_finish_of_several_answers_arrives_and_the_last_has_the_usage() -> None:
    chunks = [
        chunk({"role": "assistant", "content": "a"}, index=0), chunk({"role": "assistant", "content": "b"}, index=1),
        chunk(finish="stop", index=1), chunk({"content": "c"}, index=0), chunk(finish="length", index=0), only_usage(),
    ]  # fmt: skip
    told = events(run(relay(DATABRICKS), stream(*chunks)))
    assert told == [*chunks[:4], {**chunks[4], "usage": USAGE}, "[DONE]"]


def test_a_finish_waits_and_nothing_else_does() -> None:
    through = relay(DATABRICKS)
    assert events(through.feed(stream(ROLE, HEL, done=False))) == [ROLE, HEL]
    assert through.feed(stream(STOP, done=False)) == b""
    assert events(through.feed(stream(only_usage(), done=False))) == [{**STOP, "usage": USAGE}]
    assert events(through.feed(frame(DONE))) == ["[DONE]"]


@pytest.mark.parametrize("given", [chunk(finish="stop", usage=None), chunk(finish="stop", usage=USAGE)])
@pytest.mark.parametrize("dump", [{"separators": (",", ":")}, {}, {"separators": (" , ", " : ")}])
def test_the_finish_has_one_usage(given: Any, dump: Any) -> None:
    told = events(run(relay(DATABRICKS), stream(ROLE, given, only_usage(), **dump)))
    assert told[1] == {**STOP, "usage": USAGE}
    without_one = events(run(relay(DATABRICKS), stream(ROLE, given, **dump)))
    assert without_one[1] == given


def test_usage_in_the_finish_is_counted_and_stays() -> None:
    through = relay()
    last = chunk(finish="stop", usage=USAGE)
    assert events(run(through, stream(ROLE, last))) == [ROLE, last, "[DONE]"]
    assert through.source.usage is not None


def test_the_last_of_several_counts_is_the_one() -> None:
    through = relay()
    growing = [chunk({"content": "x"}, usage={**USAGE, "total_tokens": n}) for n in (3, 4)]
    run(through, stream(ROLE, *growing, STOP, only_usage()))
    assert through.source.usage is not None
    assert through.source.usage.total_tokens == 5


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"content": "Hi"}, {"role": "assistant", "content": "Hi"}),
        ({}, {"role": "assistant"}),
        ({"content": "role"}, {"role": "assistant", "content": "role"}),
        ({"role": "tool", "content": "x"}, {"role": "tool", "content": "x"}),
    ],
)
@pytest.mark.parametrize("dump", [{"separators": (",", ":")}, {"indent": None}, {"separators": (" , ", " : ")}])
def test_the_first_delta_has_a_role(delta: Any, expected: Any, dump: Any) -> None:
    told = events(run(relay(DATABRICKS), stream(chunk(delta), HEL, STOP, **dump)))
    assert told[0]["choices"][0]["delta"] == expected
    assert told[1] == HEL
    assert events(run(relay(OPENAI), stream(chunk(delta), HEL, STOP, **dump)))[0] == chunk(delta)


@pytest.mark.parametrize(
    "before", [only_usage(usage=None), {"choices": [], "prompt_filter_results": []}, {"type": "ping"}]
)
def test_the_first_delta_may_come_after_something_without_one(before: Any) -> None:
    told = events(run(relay(DATABRICKS), stream(before, HEL, STOP)))
    assert told[1]["choices"][0]["delta"] == {"role": "assistant", "content": "Hel"}


def test_completions_have_no_role() -> None:
    given = {"choices": [{"index": 0, "text": "x", "finish_reason": None}]}
    last = {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]}
    assert events(run(relay(DATABRICKS, Task.COMPLETIONS), stream(given, last))) == [given, last, "[DONE]"]


def test_events_of_the_responses_api_pass_as_they_are() -> None:
    """They have names, and no end mark: the last one is `response.completed`."""
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    given = [
        (b"response.created", {"type": "response.created", "response": {"id": "r", "status": "in_progress"}}),
        (b"response.output_text.delta", {"type": "response.output_text.delta", "delta": "Hi"}),
        (b"response.completed", {"type": "response.completed", "response": {"id": "r", "usage": usage}}),
    ]
    raw = b"".join(b"event: %b\ndata: %b\n\n" % (name, json.dumps(data).encode()) for name, data in given)
    assert run(relay(task=Task.RESPONSES), raw) == raw
    with pytest.raises(UpstreamProtocolError, match="middle"):
        run(relay(task=Task.RESPONSES), raw[: raw.index(b"event: response.completed")])


CHUNKS = st.lists(
    st.builds(
        chunk,
        st.fixed_dictionaries({"content": st.text(st.characters(codec="utf-8"), max_size=8)}),
        st.sampled_from([None, None, None, "stop", "length"]),
        st.integers(0, 1),
    )
    | st.just(only_usage())
    | st.just({"type": "ping"}),
    max_size=8,
)


@given(CHUNKS, st.sampled_from(list(Manners)), st.booleans(), st.booleans(), st.lists(st.integers(0, 4000), max_size=6))
@settings(max_examples=300)
def test_any_stream_in_any_pieces(
    chunks: Any, manners: Manners, shown: bool, ascii_only: bool, places: list[int]
) -> None:
    whole = stream(ROLE, *chunks, STOP, only_usage(), ensure_ascii=ascii_only)
    edges = [0, *sorted(place % len(whole) for place in places), len(whole)]
    through = relay(manners, shown=shown)
    out = run(through, *(whole[a:b] for a, b in pairwise(edges)))
    assert out == run(relay(manners, shown=shown), whole)
    told = events(out)
    assert told.count("[DONE]") == 1
    assert told[-1] == "[DONE]"

    def said(given: Any) -> Any:
        return [
            (c["index"], c["delta"].get("content"), c["finish_reason"]) for one in given for c in one.get("choices", [])
        ]

    assert said(told[:-1]) == said([ROLE, *chunks, STOP])
    assert through.source.usage is not None


class Recording:
    """A translation's stream that writes down what it is fed."""

    ended = False

    def __init__(self) -> None:
        self.fed: list[Event] = []
        self.finished = 0

    def feed(self, event: Event) -> list[bytes]:
        self.fed.append(event)
        return [json.dumps(chunk({"content": event.data.decode()})).encode()]

    def finish(self) -> list[bytes]:
        self.finished += 1
        return [json.dumps(STOP).encode(), json.dumps(only_usage()).encode()]


@pytest.mark.parametrize("given", [b"event: x\ndata: a\n\ndata: [DONE]\n\n", b"event: x\ndata: a\n\n"])
def test_a_translation_is_finished_once_and_never_sees_the_end_mark(given: bytes) -> None:
    chunks = Recording()
    through = relay(DATABRICKS, chunks=chunks)
    told = events(run(through, given))
    through.finish()
    assert chunks.fed == [Event(b"x", b"a")]
    assert chunks.finished == 1
    assert told[-2:] == [{**STOP, "usage": USAGE}, "[DONE]"]


# ------------------------------------------------------------ a whole answer from a stream


@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_gathered(step: int) -> None:
    gather = Gather(Exchange("/", b"", True), Task.CHAT)
    for i in range(0, len(WHOLE), step):
        gather.feed(WHOLE[i : i + step])
    whole = json.loads(gather.finish())
    assert whole["choices"][0]["message"]["content"] == "Hello"
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"] == USAGE
    assert gather.source.usage is not None


@pytest.mark.parametrize("given", [b"", stream(ROLE, HEL, done=False), stream(ROLE, b'{"error":"no room"}')])
def test_half_an_answer_is_never_gathered(given: bytes) -> None:
    gather = Gather(Exchange("/", b"", True), Task.CHAT)

    def play() -> bytes:
        gather.feed(given)
        return gather.finish()

    with pytest.raises(UpstreamError):
        play()
