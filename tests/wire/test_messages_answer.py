"""Chat answers as Anthropic's messages, and the same answers as events: both must say the same."""

import json
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.errors import RateLimited, UpstreamFailed, UpstreamProtocolError
from tesela.wire.messages import Asked, MessageEvents, answer, failure

ASKED = Asked("asked")
USAGE = {
    "prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13, "prompt_tokens_details": {"cached_tokens": 2},
    "cache_creation_input_tokens": 1,
}  # fmt: skip


def whole(message: dict[str, Any], finish: str | None = "stop") -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    return json.dumps({"id": "c", "model": "real", "choices": [choice], "usage": USAGE}).encode()


def told(message: dict[str, Any], finish: str | None = "stop") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer(whole(message, finish), ASKED, "x1"))
    return found


def call(index: int, arguments: str = '{"a":1}') -> dict[str, Any]:
    return {"id": f"c{index}", "type": "function", "function": {"name": "look", "arguments": arguments}}


def deltas(message: dict[str, Any], *, mixed: bool) -> list[dict[str, Any]]:
    """The message a character at a time; the pieces of its calls one call after the other, or mixed."""
    found: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for key in ("reasoning_content", "content", "refusal"):
        pieces = message.get(key) or ""
        found += [{key: piece} for piece in pieces] if isinstance(pieces, str) else [{key: [one]} for one in pieces]
    calls = []
    for index, one in enumerate(message.get("tool_calls") or []):
        head = {**one, "index": index, "function": {"name": one["function"]["name"], "arguments": ""}}
        rest = [{"index": index, "function": {"arguments": piece}} for piece in one["function"]["arguments"]]
        calls.append([{"tool_calls": [piece]} for piece in [head, *rest]])
    if mixed:
        return found + [piece for turn in zip_longest(*calls) for piece in turn if piece is not None]
    return found + [piece for one in calls for piece in one]


def stream(message: dict[str, Any], finish: str | None = "stop", *, mixed: bool = False) -> list[bytes]:
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": one}]} for one in deltas(message, mixed=mixed)]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append({"choices": [], "usage": USAGE})
    return [json.dumps({"id": "c", "model": "real", **chunk}).encode() for chunk in chunks]


def play(chunks: list[bytes]) -> list[dict[str, Any]]:
    events = MessageEvents(ASKED, "x1")
    out = [event for chunk in chunks for event in events.feed(chunk)]
    return [json.loads(event) for event in out + events.finish()]


def assembled(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What a client makes of them, which holds them to Anthropic's order: one block at a time, in order."""
    first, *rest, last = events
    assert (first["type"], last["type"]) == ("message_start", "message_stop")
    message: dict[str, Any] = first["message"]
    open_block, pieces, ended = False, "", False
    for event in rest:
        assert not ended
        kind = event["type"]
        if kind == "message_delta":
            assert not open_block
            message |= {**event["delta"], "usage": event["usage"]}
            ended = True
            continue
        block: dict[str, Any]
        if kind == "content_block_start":
            assert not open_block
            assert event["index"] == len(message["content"])
            message["content"].append(event["content_block"])
            open_block, pieces = True, ""
            continue
        assert open_block
        block = message["content"][-1]
        assert event["index"] == len(message["content"]) - 1
        if kind == "content_block_stop":
            open_block = False
            if pieces:
                block["input"] = json.loads(pieces)
            continue
        delta = event["delta"]
        match delta["type"]:
            case "text_delta":
                block["text"] += delta["text"]
            case "thinking_delta":
                block["thinking"] += delta["thinking"]
            case "signature_delta":
                block["signature"] += delta["signature"]
            case "citations_delta":
                block.setdefault("citations", []).append(delta["citation"])
            case "input_json_delta":
                pieces += delta["partial_json"]
    assert ended
    return message


def test_a_text() -> None:
    assert told({"content": "Hello"}) == {
        "id": "msg_x1", "type": "message", "role": "assistant", "model": "real",
        "content": [{"type": "text", "text": "Hello"}], "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {
            "input_tokens": 6, "cache_creation_input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": 4,
        },
    }  # fmt: skip


def test_parallel_calls_and_reasoning() -> None:
    found = told({"content": "", "reasoning_content": "Hm.", "tool_calls": [call(0), call(1, "")]}, "tool_calls")
    assert found["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": ""},
        {"type": "tool_use", "id": "c0", "name": "look", "input": {"a": 1}},
        {"type": "tool_use", "id": "c1", "name": "look", "input": {}},
    ]
    assert found["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("message", "finish", "reason"),
    [
        ({"content": "a"}, "length", "max_tokens"),
        ({"content": "a"}, "content_filter", "refusal"),
        ({"refusal": "No."}, "stop", "refusal"),
        ({"tool_calls": [call(0)]}, "stop", "tool_use"),
        ({"content": "a"}, "something", "end_turn"),
        ({"content": ""}, "stop", "end_turn"),
        ({"tool_calls": [call(0, '{"a":')]}, "length", "max_tokens"),
    ],
)
def test_reasons_to_stop(message: dict[str, Any], finish: str, reason: str) -> None:
    assert told(message, finish)["stop_reason"] == reason
    assert next(event for event in play(stream(message, finish)) if event["type"] == "message_delta")["delta"] == {
        "stop_reason": reason,
        "stop_sequence": None,
    }


def test_arguments_that_are_no_object_are_the_models_fault() -> None:
    broken = {"tool_calls": [call(0, "[1]")]}
    with pytest.raises(UpstreamProtocolError, match="'look'"):
        told(broken, "tool_calls")
    with pytest.raises(UpstreamProtocolError, match="'look'"):
        play(stream(broken, "tool_calls"))


@pytest.mark.parametrize("body", [b"", b"x", b"[]", b"{}", b'{"choices":[]}', b'{"choices":[{"index":0}]}'])
def test_what_is_no_chat_answer(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        answer(body, ASKED, "x1")


def test_the_events_of_a_text() -> None:
    events = play(stream({"content": "Hi"}))
    assert [event["type"] for event in events] == [
        "message_start", "content_block_start", "content_block_delta", "content_block_delta", "content_block_stop",
        "message_delta", "message_stop",
    ]  # fmt: skip
    assert assembled(events) == told({"content": "Hi"})


def test_the_first_call_of_a_mixed_pair_comes_live() -> None:
    events = MessageEvents(ASKED, "x1")
    chunks = stream({"tool_calls": [call(0), call(1)]}, mixed=True)
    seen = [json.loads(event) for chunk in chunks[:7] for event in events.feed(chunk)]
    assert [event["delta"]["partial_json"] for event in seen if "delta" in event] == ["{", '"']


def test_a_stream_that_ends_early() -> None:
    events = MessageEvents(ASKED, "x1")
    for chunk in stream({"content": "Hi"})[:2]:
        events.feed(chunk)
    with pytest.raises(UpstreamProtocolError, match="before the answer was complete"):
        events.finish()


def test_a_failure_in_mid_stream() -> None:
    events = MessageEvents(ASKED, "x1")
    with pytest.raises(UpstreamFailed, match="it broke"):
        events.feed(b'{"error":{"message":"it broke"}}')
    [told] = [json.loads(event) for event in events.failed(RateLimited("slow down"))]
    assert told == {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}


def test_errors_have_anthropics_shape() -> None:
    assert json.loads(failure(RateLimited("slow down"), "id-1")) == {
        "type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}, "request_id": "id-1",
    }  # fmt: skip


def test_a_model_that_goes_on_with_a_call_it_has_left() -> None:
    pieces: list[dict[str, Any]] = [
        {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": "{}"}}]},
        {"content": "Well."},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1"}}]},
    ]
    with pytest.raises(UpstreamProtocolError, match="'f'"):
        play([json.dumps({"choices": [{"index": 0, "delta": one}]}).encode() for one in pieces])


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
SUMMARY = st.lists(
    st.fixed_dictionaries({"type": st.just("summary_text"), "text": TEXT, "signature": st.text("ab", min_size=1)})
    | st.fixed_dictionaries({"type": st.just("summary_encrypted_text"), "data": TEXT}),
    max_size=2,
)
PARTS = st.lists(
    st.fixed_dictionaries({"type": st.just("text"), "text": TEXT})
    | st.fixed_dictionaries({"type": st.just("text"), "text": TEXT, "citations": st.just([{"cited_text": "x"}])})
    | st.fixed_dictionaries({"type": st.just("reasoning"), "summary": SUMMARY})
    | st.fixed_dictionaries({"type": st.just("server_tool_use"), "id": TEXT}),
    max_size=5,
)
ARGUMENTS = st.dictionaries(TEXT, st.integers() | TEXT, max_size=3).map(json.dumps) | st.just("")
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "reasoning_content": TEXT,
        "content": TEXT | PARTS | st.none(),
        "refusal": TEXT,
        "tool_calls": st.lists(ARGUMENTS, max_size=4).map(
            lambda found: [call(index, one) for index, one in enumerate(found)]
        ),
    },
)


@given(MESSAGE, st.sampled_from(["stop", "length", "tool_calls", "content_filter"]), st.booleans())
def test_a_stream_and_a_whole_answer_say_the_same(message: dict[str, Any], finish: str, mixed: bool) -> None:
    assert assembled(play(stream(message, finish, mixed=mixed))) == told(message, finish)
