"""A stream and a whole answer say the same thing."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.errors import UpstreamFailed, UpstreamProtocolError
from tesela.wire.assemble import Assembler
from tesela.wire.sse import EventParser, frame
from tesela.wire.tasks import Task

encode = msgspec.json.encode
decode = msgspec.json.decode


def assemble(task: Task, *chunks: Any) -> Any:
    assembler = Assembler(task)
    for chunk in chunks:
        assembler.feed(encode(chunk))
    return decode(assembler.finish())


def chunk(*choices: Any, **more: Any) -> dict[str, Any]:
    top = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5, "model": "m", "choices": list(choices)}
    return {**top, **more}


def choice(delta: dict[str, Any], index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish, **more}


def test_plain_text() -> None:
    answer = assemble(
        Task.CHAT,
        chunk(choice({"role": "assistant", "content": ""})),
        chunk(choice({"content": "Hel"})),
        chunk(choice({"content": "lo"})),
        chunk(choice({}, finish="stop")),
        chunk(usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}, system_fingerprint="fp"),
    )
    assert answer == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 5,
        "model": "m",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello"},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        "system_fingerprint": "fp",
    }
    assert list(answer) == ["id", "object", "created", "model", "choices", "usage", "system_fingerprint"]


def test_choices_interleave_and_come_out_in_order() -> None:
    answer = assemble(
        Task.CHAT,
        chunk(choice({"content": "b"}, 1)),
        chunk(choice({"content": "a"}, 0), choice({"content": "B"}, 1)),
        chunk(choice({}, 1, "length")),
        chunk(choice({"content": "A"}, 0, "stop")),
    )
    assert [(c["index"], c["message"]["content"], c["finish_reason"]) for c in answer["choices"]] == [
        (0, "aA", "stop"),
        (1, "bB", "length"),
    ]
    assert "usage" not in answer


def test_tool_calls_merge_by_index_and_content_stays_null() -> None:
    first = {"index": 0, "id": "call_a", "type": "function", "function": {"name": "f", "arguments": ""}}
    other = {"index": 1, "id": "call_b", "type": "function", "function": {"name": "g", "arguments": "{}"}}
    answer = assemble(
        Task.CHAT,
        chunk(choice({"role": "assistant", "content": None, "tool_calls": [first]})),
        chunk(choice({"tool_calls": [{"index": 0, "function": {"arguments": '{"a"'}}]})),
        chunk(choice({"tool_calls": [other, {"index": 0, "function": {"arguments": ":1}"}}]})),
        chunk(choice({}, finish="tool_calls")),
    )
    assert answer["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_a", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}},
            {"id": "call_b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
        ],
    }


def test_a_server_that_repeats_id_type_and_name_in_every_delta() -> None:
    piece = {"index": 0, "id": "call_a", "type": "function", "function": {"name": "f", "arguments": "1"}}
    answer = assemble(Task.CHAT, chunk(choice({"tool_calls": [piece]})), chunk(choice({"tool_calls": [piece]})))
    assert answer["choices"][0]["message"]["tool_calls"] == [
        {"id": "call_a", "type": "function", "function": {"name": "f", "arguments": "11"}}
    ]


def test_tool_calls_without_an_index() -> None:
    answer = assemble(
        Task.CHAT,
        chunk(choice({"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]})),
        chunk(choice({"tool_calls": [{"function": {"arguments": "}"}}]})),
        chunk(choice({"tool_calls": [{"id": "b", "function": {"name": "g", "arguments": "{}"}}]})),
    )
    assert answer["choices"][0]["message"]["tool_calls"] == [
        {"id": "a", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "function": {"name": "g", "arguments": "{}"}},
    ]


def test_function_call_reasoning_refusal_and_fields_that_nobody_here_has_heard_of() -> None:
    answer = assemble(
        Task.CHAT,
        chunk(
            choice({"reasoning_content": "th", "refusal": "n", "function_call": {"name": "f", "arguments": "{"}}),
            service_tier="default",
            citations=["x"],
        ),
        chunk(
            choice(
                {"reasoning_content": "ink", "refusal": "o", "function_call": {"arguments": "}"}, "novel": "a", "k": 1}
            )
        ),
        chunk(choice({"novel": "b", "k": 2}, stop_reason=7), citations=["y"]),
    )
    assert answer["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "refusal": "no",
        "reasoning_content": "think",
        "function_call": {"name": "f", "arguments": "{}"},
        "novel": "ab",
        "k": 2,
    }
    assert answer["choices"][0]["stop_reason"] == 7
    assert answer["service_tier"] == "default"
    assert answer["citations"] == ["y"]


def test_content_in_parts_joins_parts_of_one_type() -> None:
    answer = assemble(
        Task.CHAT,
        chunk(choice({"content": [{"type": "reasoning", "summary": "a"}]})),
        chunk(choice({"content": [{"type": "reasoning", "summary": "b"}]})),
        chunk(choice({"content": "x"})),
        chunk(choice({"content": [{"type": "text", "text": "y"}]})),
    )
    assert answer["choices"][0]["message"]["content"] == [
        {"type": "reasoning", "summary": "ab"},
        {"type": "text", "text": "xy"},
    ]


def test_log_probabilities_of_chat_and_of_completions() -> None:
    one, two = {"token": "a", "logprob": -1.0}, {"token": "b", "logprob": -2.0}
    answer = assemble(
        Task.CHAT,
        chunk(choice({"content": "a"}, logprobs={"content": [one], "refusal": None})),
        chunk(choice({"content": "b"}, logprobs={"content": [two], "refusal": None})),
        chunk(choice({}, finish="stop", logprobs=None)),
    )
    assert answer["choices"][0]["logprobs"] == {"content": [one, two], "refusal": None}
    legacy = [
        {"tokens": [t], "token_logprobs": [-1.0], "top_logprobs": [{t: -1.0}], "text_offset": [at]}
        for at, t in enumerate("ab")
    ]
    answer = assemble(
        Task.COMPLETIONS,
        *({"choices": [{"index": 0, "text": "x", "logprobs": column, "finish_reason": None}]} for column in legacy),
    )
    assert answer["choices"][0] == {
        "text": "xx",
        "index": 0,
        "logprobs": {
            "tokens": ["a", "b"],
            "token_logprobs": [-1.0, -1.0],
            "top_logprobs": [{"a": -1.0}, {"b": -1.0}],
            "text_offset": [0, 1],
        },
        "finish_reason": None,
    }
    assert answer["object"] == "text_completion"


def test_the_last_usage_counts() -> None:
    answer = assemble(
        Task.CHAT,
        chunk(choice({"content": "a"}), usage={"total_tokens": 1}),
        chunk(choice({"content": "b"}), usage={"total_tokens": 2}),
        chunk(choice({}, finish="stop"), usage=None),
    )
    assert answer["usage"] == {"total_tokens": 2}


@pytest.mark.parametrize("chunks", [[], [None], [chunk()], [chunk(usage={"total_tokens": 1})]])
def test_no_choice_is_no_answer(chunks: list[Any]) -> None:
    with pytest.raises(UpstreamProtocolError):
        assemble(Task.CHAT, *chunks)


@pytest.mark.parametrize("bad", [b"", b"{", b"[]", b"1", b'"x"', b'{"choices":[1]}', b'{"choices":["\xff"]}'])
def test_what_is_no_chunk_is_refused(bad: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        Assembler(Task.CHAT).feed(bad)


def test_an_error_in_the_stream_is_raised_with_its_message() -> None:
    with pytest.raises(UpstreamFailed, match="out of memory"):
        assemble(Task.CHAT, chunk(choice({"content": "a"})), {"error": {"message": "out of memory"}})


def test_only_tasks_with_chunks() -> None:
    with pytest.raises(ValueError, match="embeddings"):
        Assembler(Task.EMBEDDINGS)


words = st.text(st.characters(codec="utf-8"), max_size=12)
calls = st.lists(
    st.fixed_dictionaries(
        {
            "id": words.filter(bool),
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": words.filter(bool), "arguments": words}),
        }
    ),
    min_size=1,
    max_size=3,
)
messages = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": st.none() | words},
    optional={"refusal": words, "reasoning_content": words, "tool_calls": calls},
)
logprobs = st.none() | st.fixed_dictionaries(
    {"content": st.lists(st.fixed_dictionaries({"token": words, "logprob": st.floats(-50, 0)}), min_size=1, max_size=4)}
)
answers = st.fixed_dictionaries(
    {
        "id": words,
        "object": st.just("chat.completion"),
        "created": st.integers(0, 2**40),
        "model": words,
        "choices": st.lists(
            st.fixed_dictionaries(
                {"message": messages, "logprobs": logprobs, "finish_reason": st.sampled_from(["stop", "length"])}
            ),
            min_size=1,
            max_size=3,
        ),
    },
    optional={"usage": st.fixed_dictionaries({"total_tokens": st.integers(0, 9)}), "service_tier": words},
)


def pieces(draw: Any, text: str) -> list[str]:
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


def cut(draw: Any, index: int, whole: dict[str, Any]) -> list[dict[str, Any]]:
    """One choice of a whole answer as the deltas of a stream."""
    out: list[dict[str, Any]] = [choice({"role": "assistant"}, index)]
    for name in ("content", "refusal", "reasoning_content"):
        if isinstance(whole["message"].get(name), str):
            out += [choice({name: piece}, index) for piece in pieces(draw, whole["message"][name])]
    for at, call in enumerate(whole["message"].get("tool_calls", ())):
        head, *tail = pieces(draw, call["function"]["arguments"])
        begin = {"index": at, "id": call["id"], "type": "function"}
        begin["function"] = {"name": call["function"]["name"], "arguments": head}
        out.append(choice({"tool_calls": [begin]}, index))
        out += [choice({"tool_calls": [{"index": at, "function": {"arguments": piece}}]}, index) for piece in tail]
    for entry in (whole["logprobs"] or {}).get("content", ()):
        out.append(choice({}, index, logprobs={"content": [entry]}))
    out.append(choice({}, index, whole["finish_reason"]))
    return out


@given(st.data(), answers)
def test_any_answer_cut_into_chunks_comes_back(data: st.DataObject, answer: dict[str, Any]) -> None:
    for index, whole in enumerate(answer["choices"]):
        whole["index"] = index
    queues = [cut(data.draw, index, whole) for index, whole in enumerate(answer["choices"])]
    chunks = []
    while any(queues):
        queue = data.draw(st.sampled_from([queue for queue in queues if queue]))
        chunks.append(chunk(queue.pop(0), id=answer["id"], created=answer["created"], model=answer["model"]))
    rest = {key: answer[key] for key in ("usage", "service_tier") if key in answer}
    chunks.append(chunk(id=answer["id"], created=answer["created"], model=answer["model"], **rest))
    assert assemble(Task.CHAT, *chunks) == answer


def test_byte_at_a_time_over_the_event_stream() -> None:
    chunks = [chunk(choice({"content": text})) for text in ("a\u2028", "é😀", "\r\n", '"\\')]
    stream = b"".join(frame(encode(part)) for part in chunks)
    whole = assemble(Task.CHAT, *chunks)
    for size in (1, 2, 3, 7, len(stream)):
        parser, assembler = EventParser(), Assembler(Task.CHAT)
        for at in range(0, len(stream), size):
            for event in parser.feed(stream[at : at + size]):
                assembler.feed(event.data)
        assert decode(assembler.finish()) == whole
