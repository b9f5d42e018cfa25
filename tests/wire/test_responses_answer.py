"""Chat answers as Response objects, and the same answers as events: both must say the same."""

import json
from collections import Counter
from itertools import zip_longest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.errors import UpstreamFailed, UpstreamProtocolError, UpstreamRateLimited
from tesela.wire.document import decode
from tesela.wire.responses import Echo, ResponseEvents, answer, echo

USAGE = {
    "prompt_tokens": 3,
    "completion_tokens": 4,
    "total_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def request(**fields: Any) -> Echo:
    return echo(decode(json.dumps({"model": "asked", "input": "hi", **fields}).encode()))


def whole(message: dict[str, Any], finish: str = "stop", logprobs: Any = None) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish, "logprobs": logprobs}
    return json.dumps({"id": "c", "model": "real", "choices": [choice], "usage": USAGE}).encode()


def call(index: int, name: str = "look", arguments: str = '{"a":1}') -> dict[str, Any]:
    return {"id": f"c{index}", "type": "function", "function": {"name": name, "arguments": arguments}}


def deltas(message: dict[str, Any], cut: Any) -> list[dict[str, Any]]:
    """The message as deltas, each text cut by `cut`, a function from text to pieces; the calls' pieces mixed."""
    found: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for key in ("reasoning_content", "content", "refusal"):
        found += [{key: piece} for piece in cut(message.get(key) or "")]
    pieces = []
    for index, one in enumerate(message.get("tool_calls") or []):
        function = {"name": one["function"]["name"], "arguments": ""}
        found.append({"tool_calls": [{**one, "index": index, "function": function}]})
        arguments = cut(one["function"]["arguments"])
        pieces.append([{"tool_calls": [{"index": index, "function": {"arguments": piece}}]} for piece in arguments])
    return found + [piece for turn in zip_longest(*pieces) for piece in turn if piece is not None]


def stream(message: dict[str, Any], finish: str = "stop", cut: Any = list) -> list[bytes]:
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas(message, cut)]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]})
    chunks.append({"choices": [], "usage": USAGE})
    return [json.dumps({"id": "c", "model": "real", **chunk}).encode() for chunk in chunks]


def play(chunks: list[bytes], asked: Echo | None = None) -> list[dict[str, Any]]:
    events = ResponseEvents(asked or request(), "x1", 5)
    out = [event for chunk in chunks for event in events.feed(chunk)]
    return [json.loads(event) for event in out + events.finish()]


def told(message: dict[str, Any], finish: str = "stop", **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(answer(whole(message, finish), request(**fields), "x1", 5))
    return found


def test_a_text() -> None:
    found = told({"content": "Hello"}, instructions="Be short.", metadata={"a": "b"}, store=True)
    assert found["id"] == "resp_x1"
    assert found["object"] == "response"
    assert found["created_at"] == 5
    assert found["model"] == "real"
    assert found["status"] == "completed"
    assert found["store"] is False
    assert found["instructions"] == "Be short."
    assert found["metadata"] == {"a": "b"}
    assert found["error"] is None
    assert found["incomplete_details"] is None
    assert found["output"] == [
        {
            "id": "msg_x1_0",
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}],
        }
    ]
    assert found["usage"] == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 1, "cache_write_tokens": 0},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 7,
    }


def test_calls_and_reasoning_are_items_of_their_own() -> None:
    found = told({"content": "", "reasoning_content": "Hm.", "tool_calls": [call(0), call(1)]}, "tool_calls")
    assert [item["type"] for item in found["output"]] == ["reasoning", "function_call", "function_call"]
    assert found["output"][0]["content"] == [{"type": "reasoning_text", "text": "Hm."}]
    assert found["output"][0]["summary"] == []
    assert found["output"][2] == {
        "id": "fc_x1_2", "type": "function_call", "call_id": "c1", "name": "look", "arguments": '{"a":1}',
        "status": "completed",
    }  # fmt: skip


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_cut_short_is_incomplete(finish: str, reason: str) -> None:
    found = told({"content": "Hel", "reasoning_content": "Hm."}, finish)
    assert found["status"] == "incomplete"
    assert found["incomplete_details"] == {"reason": reason}
    assert [item["status"] for item in found["output"]] == ["completed", "incomplete"]


def test_a_refusal() -> None:
    found = told({"content": None, "refusal": "No."})
    assert found["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]


def test_an_empty_answer_has_an_empty_text() -> None:
    assert told({"content": ""})["output"][0]["content"][0]["text"] == ""


LOGPROBS = [
    {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{"token": "b", "logprob": -1.0, "bytes": None}]},
    {"token": "c", "logprob": -0.25, "bytes": None, "top_logprobs": []},
]


def test_logprobs_only_when_asked_for() -> None:
    body = whole({"content": "ac"}, logprobs={"content": LOGPROBS})
    without = json.loads(answer(body, request(), "x1", 5))
    assert without["output"][0]["content"][0]["logprobs"] == []
    asked = request(include=["message.output_text.logprobs"])
    found = json.loads(answer(body, asked, "x1", 5))["output"][0]["content"][0]["logprobs"]
    assert [one["bytes"] for one in found] == [[97], []]
    assert found[0]["top_logprobs"] == [{"token": "b", "logprob": -1.0, "bytes": []}]


def test_logprobs_of_a_stream_are_those_of_the_whole() -> None:
    asked = request(include=["message.output_text.logprobs"])
    chunks: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"role": "assistant"}}]},
        *(
            {"choices": [{"index": 0, "delta": {"content": one["token"]}, "logprobs": {"content": [one]}}]}
            for one in LOGPROBS
        ),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": USAGE},
    ]
    events = play([json.dumps({"model": "real", **chunk}).encode() for chunk in chunks], asked)
    body = whole({"content": "ac"}, logprobs={"content": LOGPROBS})
    assert events[-1]["response"] == json.loads(answer(body, asked, "x1", 5))
    spoken = [event["logprobs"][0]["token"] for event in events if event["type"] == "response.output_text.delta"]
    assert spoken == ["a", "c"]


def test_usage_may_be_unknown() -> None:
    body = json.dumps({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}).encode()
    found = json.loads(answer(body, request(), "x1", 5))
    assert found["usage"] is None
    assert found["model"] == "asked"


@pytest.mark.parametrize("body", [b"", b"[]", b'{"choices":[]}', b'{"choices":[{}]}', b'{"choices":', b"\xff"])
def test_what_is_no_chat_answer_is_the_providers_fault(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        answer(body, request(), "x1", 5)


def test_the_events_of_a_text() -> None:
    events = play(stream({"content": "Hi"}))
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert events[0]["response"]["status"] == "in_progress"
    assert events[0]["response"]["output"] == []
    assert events[0]["response"]["model"] == "real"
    assert events[2]["item"]["status"] == "in_progress"


def test_a_call_is_announced_and_done_with_its_arguments() -> None:
    events = play(stream({"tool_calls": [call(0)]}, "tool_calls"))
    kinds = Counter(event["type"] for event in events)
    assert kinds["response.function_call_arguments.delta"] == len('{"a":1}')
    done = next(event for event in events if event["type"] == "response.function_call_arguments.done")
    assert done["arguments"] == '{"a":1}'
    added = next(event for event in events if event["type"] == "response.output_item.added")
    assert added["item"]["arguments"] == ""
    assert added["item"]["call_id"] == "c0"


def test_a_text_is_done_before_a_call_begins() -> None:
    """ChatDatabricks shows a text twice when another item's event stands between its last delta and its end."""
    kinds = [event["type"] for event in play(stream({"content": "Hi", "tool_calls": [call(0)]}, "tool_calls"))]
    first_call_event = kinds.index("response.output_item.done") + 1
    assert kinds[first_call_event] == "response.output_item.added"
    assert kinds[first_call_event - 3] == "response.output_text.done"


texts = st.text(max_size=12)
answers = st.fixed_dictionaries(
    {},
    optional={
        "reasoning_content": texts,
        "content": st.none() | texts,
        "refusal": st.none() | texts,
        "tool_calls": st.lists(st.builds(call, st.integers(0, 99), st.sampled_from(["f", "g"]), texts), max_size=3),
    },
)


@given(answers, st.sampled_from(["stop", "length", "tool_calls", "content_filter"]), st.integers(1, 5))
def test_a_stream_and_a_whole_answer_say_the_same(message: dict[str, Any], finish: str, size: int) -> None:
    def cut(text: str) -> list[str]:
        return [text[at : at + size] for at in range(0, len(text), size)]

    events = play(stream(message, finish, cut))
    final = events[-1]["response"]
    assert final == told(message, finish)
    check_protocol(events)


def check_protocol(events: list[dict[str, Any]]) -> None:
    """What a client may rely on: numbers without gaps, items and parts opened once and closed with what was said."""
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    opened: dict[int, dict[str, Any]] = {}
    said: dict[tuple[int, int, str], str] = {}
    done: dict[int, dict[str, Any]] = {}
    for event in events[2:-1]:
        kind, at = event["type"], event["output_index"]
        if kind == "response.output_item.added":
            assert at == len(opened)
            opened[at] = event["item"]
        elif kind == "response.output_item.done":
            assert at not in done
            assert event["item"]["id"] == opened[at]["id"]
            done[at] = event["item"]
        else:
            assert at in opened
            assert at not in done
            assert event["item_id"] == opened[at]["id"]
        if kind.endswith(".delta"):
            key = (at, event.get("content_index", 0), kind.removesuffix(".delta"))
            assert event["delta"]
            said[key] = said.get(key, "") + event["delta"]
        elif kind.endswith("content_part.done"):
            part = event["part"]
            key = (at, event["content_index"], "response." + part["type"])
            assert said.get(key, "") == (part["refusal"] if part["type"] == "refusal" else part["text"])
        elif kind == "response.function_call_arguments.done":
            assert said.get((at, 0, "response.function_call_arguments"), "") == event["arguments"]
    assert [done[at] for at in sorted(done)] == events[-1]["response"]["output"]
    assert len(done) == len(opened)


def test_pieces_of_parallel_calls_may_come_mixed() -> None:
    def piece(index: int, arguments: str, **more: Any) -> dict[str, Any]:
        function = {"arguments": arguments, **({"name": more.pop("name")} if "name" in more else {})}
        return {"choices": [{"delta": {"tool_calls": [{"index": index, "function": function, **more}]}}]}

    chunks = [
        piece(0, "", id="a", name="f"), piece(1, "", id="b", name="g"), piece(0, "{"), piece(1, "["), piece(0, "}"),
        piece(1, "]"), {"choices": [{"delta": {}, "finish_reason": "tool_calls"}]},
    ]  # fmt: skip
    events = play([json.dumps(chunk).encode() for chunk in chunks])
    assert [item["arguments"] for item in events[-1]["response"]["output"]] == ["{}", "[]"]
    check_protocol(events)


def test_reasoning_that_comes_back_is_a_new_item() -> None:
    said = [{"reasoning": "a"}, {"content": "b"}, {"reasoning": "c"}, {"content": "d"}]
    chunks: list[dict[str, Any]] = [{"choices": [{"delta": delta}]} for delta in said]
    chunks.append({"choices": [{"delta": {}, "finish_reason": "stop"}]})
    events = play([json.dumps(chunk).encode() for chunk in chunks])
    assert [item["type"] for item in events[-1]["response"]["output"]] == ["reasoning", "message"] * 2
    check_protocol(events)


def test_other_choices_are_not_mixed_in() -> None:
    chunk = {"choices": [{"index": 1, "delta": {"content": "x"}}, {"index": 0, "delta": {"content": "a"}}]}
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    events = play([json.dumps(chunk).encode(), json.dumps(end).encode()])
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "a"


def test_a_stream_without_an_end_is_not_completed() -> None:
    events = ResponseEvents(request(), "x1", 5)
    for chunk in stream({"content": "Hi"})[:-2]:
        events.feed(chunk)
    with pytest.raises(UpstreamProtocolError):
        events.finish()


@pytest.mark.parametrize("chunk", [b"{", b"[]", b"\xff"])
def test_broken_chunks_are_the_providers_fault(chunk: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        ResponseEvents(request(), "x1", 5).feed(chunk)


@pytest.mark.parametrize("error", [{"message": "boom"}, "boom"])
def test_an_error_in_the_stream_is_raised(error: Any) -> None:
    with pytest.raises(UpstreamFailed, match="boom"):
        ResponseEvents(request(), "x1", 5).feed(json.dumps({"error": error}).encode())


def test_a_failure_keeps_what_was_said() -> None:
    events = ResponseEvents(request(), "x1", 5)
    for chunk in stream({"content": "Hi", "tool_calls": [call(0)]})[:-2]:
        events.feed(chunk)
    failed, error = map(json.loads, events.failed(UpstreamRateLimited("busy", retry_after_s=1)))
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": "rate_limit_exceeded", "message": "busy"}
    text, cut = failed["response"]["output"]
    assert (text["status"], text["content"][0]["text"]) == ("completed", "Hi")
    assert (cut["status"], cut["arguments"]) == ("incomplete", '{"a":1}')
    assert (error["type"], error["message"], error["code"]) == ("error", "busy", "REQUEST_LIMIT_EXCEEDED")
    assert error["sequence_number"] == failed["sequence_number"] + 1


def test_a_failure_before_the_first_chunk_is_whole_too() -> None:
    events = ResponseEvents(request(), "x1", 5).failed(UpstreamProtocolError("cut"))
    assert [json.loads(event)["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.failed",
        "error",
    ]
