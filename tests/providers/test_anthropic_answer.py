"""Anthropic's answers, whole and streamed, in the unified form.

Both are told from one description of a message, whose bytes have the form that the pages of the API show:
https://platform.claude.com/docs/en/api/messages/create and https://platform.claude.com/docs/en/build-with-claude/streaming
"""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tesela.errors import (
    UpstreamError,
    UpstreamFailed,
    UpstreamProtocolError,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)
from tesela.gateway.relay import Source
from tesela.providers.anthropic import ANTHROPIC
from tesela.providers.anthropic_answer import FINISH
from tesela.providers.base import Call, Exchange
from tesela.serving import Origin, Upstream
from tesela.wire import document, usage
from tesela.wire.assemble import Assembler
from tesela.wire.tasks import Task

Block = dict[str, Any]

TEXT: Block = {"type": "text", "text": "Hello \u2028 \U0001f600!"}
THINKING: Block = {"type": "thinking", "thinking": "Let me see.", "signature": "EqQB+/="}
SILENT: Block = {"type": "thinking", "thinking": "", "signature": "EqQC"}
REDACTED: Block = {"type": "redacted_thinking", "data": "Emwk"}
WEATHER: Block = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Paris", "days": [1, 2]}}
CLOCK: Block = {"type": "tool_use", "id": "toolu_2", "name": "clock", "input": {}}
SEARCH: Block = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "rain"}}
HIT = {"type": "web_search_result", "title": "t", "url": "https://e.com", "encrypted_content": "E", "page_age": None}
FOUND: Block = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [HIT]}
PLACE = {"type": "char_location", "cited_text": "rain", "document_index": 0, "document_title": "w", "file_id": None}
PLACE |= {"start_char_index": 3, "end_char_index": 7}
CITED: Block = {"type": "text", "text": "It rains.", "citations": [PLACE]}
USAGE = {
    "input_tokens": 10,
    "output_tokens": 7,
    "cache_creation_input_tokens": 3,
    "cache_read_input_tokens": 20,
    "service_tier": "standard",
    "output_tokens_details": {"thinking_tokens": 4},
}


def exchange(task: Task = Task.CHAT, *, streaming: bool = False) -> Exchange:
    field = b'"messages":[{"role":"user","content":"Hi"}]' if task is Task.CHAT else b'"prompt":"Hi"'
    upstream = Upstream(Origin("https", "api.anthropic.com", 443), "claude-1")
    translate = ANTHROPIC.translations[task]
    assert translate is not None
    return translate(Call(task, document.decode(b"{%b}" % field), streaming, upstream, 5, "abc"))


def message(*blocks: Block, reason: str = "end_turn", **more: Any) -> bytes:
    """A whole answer."""
    told = {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-1-2026", "content": list(blocks),
        "stop_reason": reason, "stop_sequence": None, "usage": USAGE,
    }  # fmt: skip
    return msgspec.json.encode({**told, **more})


def event(kind: str, **told: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **told}))


def deltas(block: Block, size: int) -> tuple[Block, list[Block]]:
    """How a block begins, and the deltas that follow."""

    def cut(text: str) -> list[str]:
        return [text[at : at + size] for at in range(0, len(text), size)]

    kind = block["type"]
    if kind == "text":
        begun = {"type": "text", "text": ""}
        more = [{"type": "citations_delta", "citation": one} for one in block.get("citations", ())]
        return begun, [{"type": "text_delta", "text": piece} for piece in cut(block["text"])] + more
    if kind == "thinking":
        out = [{"type": "thinking_delta", "thinking": piece} for piece in cut(block["thinking"])]
        return {"type": kind, "thinking": "", "signature": ""}, [
            *out,
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    if "input" in block:
        text = json.dumps(block["input"]) if block["input"] else ""
        pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in ["", *cut(text)]]
        return {**block, "input": {}}, pieces
    return block, []


def stream(*blocks: Block, reason: str = "end_turn", size: int = 4, **end: Any) -> list[bytes]:
    """The events of a stream."""
    begun: Block = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-1-2026", "content": []}
    begun |= {"stop_reason": None, "stop_sequence": None, "usage": {**USAGE, "output_tokens": 1}}
    out = [event("message_start", message=begun), event("ping")]
    for index, block in enumerate(blocks):
        start, pieces = deltas(block, size)
        out.append(event("content_block_start", index=index, content_block=start))
        out += [event("content_block_delta", index=index, delta=piece) for piece in pieces]
        out.append(event("content_block_stop", index=index))
    delta = {"stop_reason": reason, "stop_sequence": None, **end}
    told = {"output_tokens": 7, "output_tokens_details": {"thinking_tokens": 4}}
    return [*out, event("message_delta", delta=delta, usage=told), event("message_stop")]


def whole(*blocks: Block, task: Task = Task.CHAT, **more: Any) -> Any:
    read = exchange(task).answer
    assert read is not None
    return json.loads(read(message(*blocks, **more)))


def chunks(events: list[bytes], *, size: int = 10**9, task: Task = Task.CHAT) -> list[bytes]:
    """The unified chunks of a stream whose bytes come in pieces of this size."""
    source, out, data = Source(exchange(task, streaming=True)), [], b"".join(events)
    for at in range(0, len(data), size):
        out += source.feed(data[at : at + size])
    return out + source.finish()


def assembled(events: list[bytes], *, size: int = 10**9, task: Task = Task.CHAT) -> Any:
    assembler = Assembler(task)
    for chunk in chunks(events, size=size, task=task):
        assembler.feed(chunk)
    return json.loads(assembler.finish())


def same(answer: Any) -> Any:
    """What two answers must agree in: not in the spaces of a call's arguments, nor in nulls that are left out."""
    said = answer["choices"][0]["message"]
    for call in said.get("tool_calls", ()):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    said.setdefault("refusal", None)
    return answer


SAID: dict[str, tuple[Block, ...]] = {
    "text": (TEXT,),
    "two texts": (TEXT, TEXT),
    "nothing": (),
    "one call": (WEATHER,),
    "a call without arguments": (CLOCK,),
    "text and parallel calls": (TEXT, WEATHER, CLOCK),
    "thinking": (THINKING, TEXT),
    "thinking that is not shown": (SILENT, TEXT),
    "thoughts in a row": (THINKING, REDACTED, SILENT, THINKING, TEXT),
    "thinking between calls": (THINKING, WEATHER, THINKING, CLOCK),
    "thinking and no more": (THINKING,),
    "a tool of Anthropic's own": (TEXT, SEARCH, FOUND, TEXT),
    "citations": (THINKING, CITED),
    "an unknown block": (TEXT, {"type": "hologram", "depth": 3}),
}


@pytest.mark.parametrize("blocks", SAID.values(), ids=SAID)
def test_a_stream_and_a_whole_answer_say_the_same_however_the_bytes_are_cut(blocks: tuple[Block, ...]) -> None:
    expected = same(whole(*blocks, reason="end_turn"))
    for size in (1, 2, 3, 7, 64, 10**9):
        assert same(assembled(stream(*blocks), size=size)) == expected


def test_a_text() -> None:
    answer = whole(TEXT)
    assert answer == {
        "id": "msg_1",
        "object": "chat.completion",
        "created": 5,
        "model": "claude-1-2026",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello \u2028 \U0001f600!", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 33,
            "completion_tokens": 7,
            "total_tokens": 40,
            "prompt_tokens_details": {"cached_tokens": 20},
            "cache_read_input_tokens": 20,
            "cache_creation_input_tokens": 3,
            "completion_tokens_details": {"reasoning_tokens": 4},
        },
    }


def test_calls() -> None:
    said = whole(WEATHER, CLOCK, reason="tool_use")["choices"][0]
    assert said["finish_reason"] == "tool_calls"
    assert said["message"]["content"] is None
    assert [call["id"] for call in said["message"]["tool_calls"]] == ["toolu_1", "toolu_2"]
    assert [call["function"]["arguments"] for call in said["message"]["tool_calls"]] == [
        '{"city":"Paris","days":[1,2]}',
        "{}",
    ]


def test_thinking_is_a_part_of_the_content_and_goes_back_as_it_came() -> None:
    said = whole(THINKING, REDACTED, TEXT, WEATHER)["choices"][0]["message"]
    assert said["content"] == [
        {
            "type": "reasoning",
            "summary": [
                {"type": "summary_text", "text": "Let me see.", "signature": "EqQB+/="},
                {"type": "summary_encrypted_text", "data": "Emwk"},
            ],
        },
        {"type": "text", "text": "Hello \u2028 \U0001f600!"},
    ]
    assert sent_back(said) == [THINKING, REDACTED, TEXT, WEATHER]


def sent_back(said: Any) -> Any:
    """The blocks that Anthropic gets when an answer is sent back."""
    translate = ANTHROPIC.translations[Task.CHAT]
    assert translate is not None
    upstream = Upstream(Origin("https", "api.anthropic.com", 443), "claude-1")
    asked = {"messages": [{"role": "user", "content": "Hi"}, said, {"role": "user", "content": "And?"}]}
    decoded = document.decode(msgspec.json.encode(asked))
    return json.loads(translate(Call(Task.CHAT, decoded, False, upstream, 5, "abc")).body)["messages"][1]["content"]


BLOCKS = st.lists(
    st.sampled_from([THINKING, SILENT, REDACTED, SEARCH, FOUND])
    | st.builds(lambda text: {"type": "text", "text": text}, st.text(min_size=1, max_size=12)),
    min_size=1,
    max_size=6,
).map(lambda blocks: [THINKING, *blocks])
ARGUMENTS = st.dictionaries(st.text(max_size=4), st.integers(-(2**53), 2**53) | st.text(max_size=6), max_size=3)


@settings(max_examples=60)
@given(BLOCKS, st.lists(ARGUMENTS, max_size=2), st.integers(1, 40))
def test_whatever_was_said_comes_back_whole_from_both_ways(blocks: list[Block], calls: list[Any], size: int) -> None:
    made = [{"type": "tool_use", "id": f"t{n}", "name": "f", "input": given} for n, given in enumerate(calls)]
    expected = joined([*blocks, *made])
    assert sent_back(whole(*blocks, *made)["choices"][0]["message"]) == expected
    assert sent_back(assembled(stream(*blocks, *made, size=3), size=size)["choices"][0]["message"]) == expected


def joined(blocks: list[Block]) -> list[Block]:
    """Neighbouring texts are one text in our form."""
    out: list[Block] = []
    for block in blocks:
        if out and block["type"] == out[-1]["type"] == "text":
            out[-1] = {"type": "text", "text": out[-1]["text"] + block["text"]}
        else:
            out.append(block)
    return out


@pytest.mark.parametrize(("reason", "finish"), FINISH.items())
def test_every_reason_to_stop(reason: str, finish: str) -> None:
    assert whole(TEXT, reason=reason)["choices"][0]["finish_reason"] == finish
    assert assembled(stream(TEXT, reason=reason))["choices"][0]["finish_reason"] == finish


def test_a_reason_that_nobody_has_heard_of_is_an_end() -> None:
    assert whole(TEXT, reason="bored")["choices"][0]["finish_reason"] == "stop"


def test_refusals() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "I must not."}
    expected = {"role": "assistant", "content": None, "refusal": "I must not."}
    assert whole(reason="refusal", stop_details=details)["choices"][0]["message"] == expected
    said = assembled(stream(reason="refusal", stop_details=details))["choices"][0]
    assert (said["message"], said["finish_reason"]) == (expected, "content_filter")
    assert whole(TEXT, reason="refusal")["choices"][0]["message"]["refusal"] == "The model refused to answer."


def test_the_chunks_of_a_text() -> None:
    out = [json.loads(chunk) for chunk in chunks(stream({"type": "text", "text": "abcd"}, size=2))]
    assert [chunk["choices"][0]["delta"] for chunk in out[:-1]] == [
        {"role": "assistant", "content": None},
        {"content": "ab"},
        {"content": "cd"},
        {},
    ]
    assert {(chunk["id"], chunk["object"], chunk["created"], chunk["model"]) for chunk in out} == {
        ("msg_1", "chat.completion.chunk", 5, "claude-1-2026")
    }
    assert [chunk["choices"][0]["finish_reason"] for chunk in out[:-1]] == [None, None, None, "stop"]
    assert out[-1]["choices"] == []
    assert out[-1]["usage"] == whole(TEXT)["usage"]


def test_the_usage_of_both_is_found_without_parsing() -> None:
    read = exchange().answer
    assert read is not None
    for found in (read(message(TEXT)), chunks(stream(TEXT))[-1]):
        assert usage.find(found) == usage.Usage(33, 7, 40)


def test_two_calls_stream_by_index() -> None:
    out = [json.loads(chunk) for chunk in chunks(stream(TEXT, WEATHER, CLOCK, reason="tool_use"))]
    pieces = [call for chunk in out[:-1] for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert {piece["index"] for piece in pieces} == {0, 1}
    assert [piece["id"] for piece in pieces if "id" in piece] == ["toolu_1", "toolu_2"]
    first = "".join(piece["function"]["arguments"] for piece in pieces if piece["index"] == 0)
    assert json.loads(first) == WEATHER["input"]


def test_events_and_deltas_that_nobody_has_heard_of() -> None:
    events = stream(TEXT)
    events.insert(3, event("weather_report", sky="blue"))
    events.insert(4, event("content_block_delta", index=0, delta={"type": "smell_delta", "smell": "x"}))
    assert same(assembled(events)) == same(whole(TEXT))


# ------------------------------------------------------------ completions


def test_completions_have_text_only() -> None:
    answer = whole(THINKING, TEXT, task=Task.COMPLETIONS)
    assert answer["object"] == "text_completion"
    assert answer["choices"] == [
        {"text": "Hello \u2028 \U0001f600!", "index": 0, "logprobs": None, "finish_reason": "stop"}
    ]
    for size in (1, 50, 10**9):
        assert assembled(stream(THINKING, TEXT), size=size, task=Task.COMPLETIONS) == answer
    assert whole(task=Task.COMPLETIONS)["choices"][0]["text"] == ""


# ------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", UpstreamUnavailable),
        ("rate_limit_error", UpstreamRateLimited),
        ("api_error", UpstreamFailed),
        ("something_new", UpstreamFailed),
        ("invalid_request_error", UpstreamRejected),
        ("authentication_error", UpstreamUnauthorized),
    ],
)
def test_an_error_in_mid_stream_and_in_a_whole_answer(kind: str, expected: type[UpstreamError]) -> None:
    told = {"error": {"type": kind, "message": "key sk-ant-1 is bad"}, "request_id": "req_1"}
    events = [*stream(TEXT)[:5], event("error", **told)]
    with pytest.raises(expected) as caught:
        chunks(events)
    assert ("sk-ant-1" in caught.value.message) == (expected is not UpstreamUnauthorized)
    read = exchange().answer
    assert read is not None
    with pytest.raises(expected):
        read(msgspec.json.encode({"type": "error", **told}))


@pytest.mark.parametrize("kept", range(len(stream(TEXT, WEATHER)) - 1))
def test_a_stream_that_ends_early_is_an_error_wherever_it_ends(kept: int) -> None:
    with pytest.raises(UpstreamProtocolError):
        chunks(stream(TEXT, WEATHER)[:kept])


@pytest.mark.parametrize(
    "events",
    [
        [event("content_block_delta", index=0, delta={"type": "text_delta", "text": "x"})],
        [*stream(TEXT)[:2], b"data: {\n\n"],
        [*stream(TEXT)[:2], b"data: []\n\n"],
        [*stream(TEXT)[:3], event("content_block_delta", index=0, delta={"type": "text_delta", "text": 5})],
        [*stream(TEXT)[:3], b"data: " + b"[" * 20000 + b"\n\n"],
    ],
)
def test_events_that_cannot_be_read(events: list[bytes]) -> None:
    with pytest.raises(UpstreamProtocolError):
        chunks(events)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"<html>", b"{}", b'{"type":"message","content":5}', b'{"choices":[]}', b"\xff"]
)
def test_answers_that_are_none(body: bytes) -> None:
    read = exchange().answer
    assert read is not None
    with pytest.raises(UpstreamProtocolError):
        read(body)


def test_an_unknown_answer_is_told_by_its_request_and_not_by_its_body() -> None:
    read = exchange().answer
    assert read is not None
    with pytest.raises(UpstreamProtocolError) as caught:
        read(b'{"type":"report","request_id":"req_1","secret":"x1y2"}')
    assert "req_1" in caught.value.message
    assert "x1y2" not in caught.value.message


@settings(max_examples=100)
@given(st.binary(max_size=60), st.integers(0, 12))
def test_bytes_in_the_middle_of_a_stream_break_nothing_else(noise: bytes, at: int) -> None:
    events = stream(TEXT, CLOCK, size=20)
    events.insert(at, noise + b"\n\n")
    try:
        chunks(events)
    except UpstreamError as error:
        assert error.message  # noqa: PT017 - most noise is passed over, as framing demands


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, UpstreamRejected), (401, UpstreamUnauthorized), (403, UpstreamUnauthorized), (404, UpstreamRejected),
     (413, UpstreamRejected), (429, UpstreamRateLimited), (500, UpstreamFailed), (529, UpstreamUnavailable)],
)  # fmt: skip
def test_the_status_of_a_refusal_decides(status: int, expected: type[UpstreamError]) -> None:
    body = b'{"type":"error","error":{"type":"rate_limit_error","message":"max_tokens: too large"},"request_id":"r"}'
    error = ANTHROPIC.failure(status, body, 3)
    assert type(error) is expected
    if expected is not UpstreamUnauthorized:
        assert (error.message, error.retry_after_s) == ("max_tokens: too large", 3)
