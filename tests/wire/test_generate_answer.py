"""Chat answers as GenerateContentResponses, whole and as events: a stream and a whole answer say the same thing."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.errors import NotFound, RateLimited, UpstreamFailed, UpstreamProtocolError, UpstreamTimeout
from tesela.wire import generate_answer, generate_embed, generate_events, generate_problem
from tesela.wire.generate_answer import Asked

SHOWN = Asked("chat", thoughts=True)
USAGE = {
    "prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12,
    "prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 2},
}  # fmt: skip
COUNTED = {
    "promptTokenCount": 7, "candidatesTokenCount": 3, "totalTokenCount": 12, "thoughtsTokenCount": 2,
    "cachedContentTokenCount": 4,
}  # fmt: skip


def whole(message: Any, finish: str | None = "stop", asked: Asked = SHOWN, **choice: Any) -> Any:
    body = {
        "model": "m",
        "usage": USAGE,
        "choices": [{"index": 0, "message": message, "finish_reason": finish, **choice}],
    }
    return json.loads(generate_answer.answer(json.dumps(body).encode(), asked, "abc"))


def chunk(delta: Any = None, finish: str | None = None, index: int = 0, **more: Any) -> Any:
    return {"model": "m", "choices": [{"index": index, "delta": delta or {}, "finish_reason": finish, **more}]}


def events(*chunks: Any, asked: Asked = SHOWN) -> list[Any]:
    state = generate_events.GenerateEvents(asked, "abc")
    out = [event for one in chunks for event in state.feed(json.dumps(one).encode())]
    return [json.loads(event) for event in out + state.finish()]


def assembled(found: list[Any]) -> Any:
    """What a client makes of the events: parts in their order, texts of one kind joined, the last of all else."""
    candidates: dict[int, Any] = {}
    for event in found:
        for one in event["candidates"]:
            kept = candidates.setdefault(
                one["index"], {"content": {"role": "model", "parts": []}, "index": one["index"]}
            )
            kept["content"]["parts"] += one["content"]["parts"]
            kept |= {name: inner for name, inner in one.items() if name not in ("content", "index")}
    for kept in candidates.values():
        parts = generate_answer.merged([part for part in kept["content"]["parts"] if part.get("text") != ""
                                        or "thoughtSignature" in part])  # fmt: skip
        kept["content"]["parts"] = _signatures(parts)
    last = found[-1]
    return {**last, "candidates": [candidates[index] for index in sorted(candidates)]}


def _signatures(parts: list[Any]) -> list[Any]:
    """A signature in an empty part belongs to the text before it."""
    out: list[Any] = []
    for part in parts:
        if part.get("text") == "" and out and "text" in out[-1]:
            out[-1] = {**out[-1], **{name: one for name, one in part.items() if name != "text"}}
        else:
            out.append(part)
    return out


def test_a_text() -> None:
    assert whole({"content": "Hello"}) == {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "Hello"}]}, "index": 0, "finishReason": "STOP"},
        ],
        "usageMetadata": COUNTED, "modelVersion": "m", "responseId": "abc",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("finish", "told"),
    [("stop", "STOP"), ("length", "MAX_TOKENS"), ("tool_calls", "STOP"), ("function_call", "STOP"),
     ("content_filter", "SAFETY"), (None, "STOP"), ("something_new", "OTHER")],
)  # fmt: skip
def test_every_reason(finish: str | None, told: str) -> None:
    assert whole({"content": "a"}, finish)["candidates"][0]["finishReason"] == told
    if finish is not None:
        assert events(chunk({"content": "a"}), chunk(finish=finish))[-1]["candidates"][0]["finishReason"] == told


CASES: dict[str, tuple[Any, list[Any], str]] = {
    "text": ({"content": "Hello"}, [{"content": "Hel"}, {"content": "lo"}], "stop"),
    "thoughts": (
        {"reasoning_content": "Hm. Well.", "content": "A"},
        [{"reasoning_content": "Hm. "}, {"reasoning": "Well."}, {"content": "A"}],
        "stop",
    ),
    "signed thoughts": (
        {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm.", "signature": "s"}]},
                     {"type": "text", "text": "A"}]},
        [{"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm."}]}]},
         {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "signature": "s"}]}]},
         {"content": "A"}],
        "stop",
    ),
    "calls side by side": (
        {"content": "", "tool_calls": [
            {"id": "a", "function": {"name": "f", "arguments": '{"x":1}'},
             "extra_content": {"google": {"thought_signature": "s"}}},
            {"id": "b", "function": {"name": "g", "arguments": ""}}]},
        [{"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""},
                          "extra_content": {"google": {"thought_signature": "s"}}}]},
         {"tool_calls": [{"index": 1, "id": "b", "function": {"name": "g"}}]},
         {"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]},
         {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]}],
        "tool_calls",
    ),
    "a call that was cut": (
        {"tool_calls": [{"id": "a", "function": {"name": "f", "arguments": '{"x":'}}]},
        [{"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x":'}}]}],
        "length",
    ),
    "a refusal": ({"refusal": "No."}, [{"refusal": "No."}], "stop"),
    "a picture": (
        {"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
        [{"content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}],
        "stop",
    ),
    "a signature of the message": (
        {"content": "A", "extra_content": {"google": {"thought_signature": "t"}}},
        [{"content": "A"}, {"extra_content": {"google": {"thought_signature": "t"}}}],
        "stop",
    ),
    "nothing": ({"content": ""}, [{"content": ""}], "stop"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_stream_says_what_a_whole_answer_says(name: str) -> None:
    message, deltas, finish = CASES[name]
    told = whole(message, finish)
    stream = events(*map(chunk, deltas), chunk(finish=finish), {"choices": [], "usage": USAGE})
    assert assembled(stream) == told
    assert all("usageMetadata" not in event for event in stream[:-1])


def test_calls_and_their_signatures() -> None:
    message, _, finish = CASES["calls side by side"]
    assert whole(message, finish)["candidates"][0]["content"]["parts"] == [
        {"functionCall": {"id": "a", "name": "f", "args": {"x": 1}}, "thoughtSignature": "s"},
        {"functionCall": {"id": "b", "name": "g", "args": {}}},
    ]


def test_thoughts_are_for_those_who_ask() -> None:
    message, deltas, finish = CASES["thoughts"]
    assert whole(message, finish, Asked("chat"))["candidates"][0]["content"]["parts"] == [{"text": "A"}]
    stream = events(*map(chunk, deltas), chunk(finish=finish), asked=Asked("chat"))
    assert [event["candidates"][0]["content"]["parts"] for event in stream] == [[{"text": "A"}], []]


def test_several_candidates() -> None:
    body = {"choices": [{"index": i, "message": {"content": str(i)}, "finish_reason": "stop"} for i in range(2)]}
    told = json.loads(generate_answer.answer(json.dumps(body).encode(), Asked("chat"), "abc"))
    assert [one["content"]["parts"] for one in told["candidates"]] == [[{"text": "0"}], [{"text": "1"}]]
    assert (told["modelVersion"], "usageMetadata" in told) == ("chat", False)
    stream = events(
        chunk({"content": "0"}), chunk({"content": "1"}, index=1), chunk(finish="stop"), chunk(finish="stop", index=1)
    )
    assert [one["finishReason"] for one in stream[-1]["candidates"]] == ["STOP", "STOP"]


def test_log_probabilities() -> None:
    content = [
        {"token": "a", "logprob": -1, "top_logprobs": [{"token": "a", "logprob": -1}]},
        {"token": "b", "logprob": -3},
    ]
    told = whole({"content": "ab"}, logprobs={"content": content})["candidates"][0]
    assert told["avgLogprobs"] == -2
    assert told["logprobsResult"] == {
        "chosenCandidates": [{"token": "a", "logProbability": -1}, {"token": "b", "logProbability": -3}],
        "topCandidates": [{"candidates": [{"token": "a", "logProbability": -1}]}, {"candidates": []}],
    }
    stream = events(
        *(chunk({"content": one["token"]}, logprobs={"content": [one]}) for one in content), chunk(finish="stop")
    )
    assert stream[-1]["candidates"][0]["logprobsResult"] == told["logprobsResult"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"choices":[]}', b'{"choices":[{"index":0}]}', b'{"choices":7}', b"\xff"]
)
def test_what_is_no_chat_answer(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        generate_answer.answer(body, SHOWN, "abc")


def test_arguments_that_are_no_object() -> None:
    call = {"id": "a", "function": {"name": "f", "arguments": "[1]"}}
    with pytest.raises(UpstreamProtocolError, match="'f'"):
        whole({"tool_calls": [call]})
    with pytest.raises(UpstreamProtocolError, match="'f'"):
        events(chunk({"tool_calls": [{"index": 0, **call}]}), chunk(finish="tool_calls"))


def test_streams_that_break() -> None:
    with pytest.raises(UpstreamProtocolError):
        events(chunk({"content": "a"}))
    with pytest.raises(UpstreamProtocolError):
        events()
    with pytest.raises(UpstreamFailed, match="it broke"):
        events({"error": {"message": "it broke"}})
    state = generate_events.GenerateEvents(SHOWN, "abc")
    (told,) = state.failed(UpstreamTimeout("late"))
    assert json.loads(told) == {"error": {"code": 504, "message": "late", "status": "DEADLINE_EXCEEDED"}}


def test_errors_are_googles() -> None:
    told = json.loads(generate_problem.failure(NotFound("none"), "r-1"))["error"]
    assert (told["code"], told["status"], told["message"]) == (404, "NOT_FOUND", "none")
    assert told["details"][0]["requestId"] == "r-1"
    assert json.loads(generate_problem.failure(RateLimited("later"), "r"))["error"]["status"] == "RESOURCE_EXHAUSTED"


@given(st.lists(st.text(min_size=1, max_size=4), min_size=1, max_size=6), st.sampled_from(["stop", "length"]))
def test_any_cut_of_a_text_is_the_same_text(texts: list[str], finish: str) -> None:
    stream = events(
        *(chunk({"content": text}) for text in texts), chunk(finish=finish), {"choices": [], "usage": USAGE}
    )
    assert assembled(stream) == whole({"content": "".join(texts)}, finish)


def test_embeddings() -> None:
    body = json.dumps({"data": [{"index": 1, "embedding": [2.0]}, {"index": 0, "embedding": [1.0]}],
                       "usage": {"prompt_tokens": 3}}).encode()  # fmt: skip
    counted = {"usageMetadata": {"promptTokenCount": 3}}
    assert json.loads(generate_embed.answer_batch(body)) == {
        "embeddings": [{"values": [1.0]}, {"values": [2.0]}],
        **counted,
    }
    assert json.loads(generate_embed.answer_one(body)) == {"embedding": {"values": [1.0]}, **counted}
    for broken in (b"{}", b'{"data":[]}', b"x", b'{"data":[{"embedding":"AAAA"}]}'):
        with pytest.raises(UpstreamProtocolError):
            generate_embed.answer_one(broken)


CROOKED = [
    {"usage": {"completion_tokens_details": ["x"]}},
    {"usage": {"prompt_tokens": "many"}},
    {"usage": 3},
    {"logprobs": {"content": [{"token": "a", "logprob": "low"}]}},
    {"logprobs": {"content": [{"token": "a", "logprob": -1, "top_logprobs": ["z"]}]}},
]


@pytest.mark.parametrize("wrong", CROOKED)
@pytest.mark.parametrize("place", ["message", "delta"])
def test_counts_and_logprobs_that_are_none_are_the_providers_fault(wrong: Any, place: str) -> None:
    more = {name: found for name, found in wrong.items() if name == "logprobs"}
    choice = {"index": 0, place: {"role": "assistant", "content": "x"}, "finish_reason": "stop", **more}
    body = json.dumps({"usage": USAGE, **wrong, "choices": [choice]}).encode()
    events_of = generate_events.GenerateEvents(SHOWN, "abc")
    read = events_of.feed if place == "delta" else lambda given: generate_answer.answer(given, SHOWN, "abc")
    with pytest.raises(UpstreamProtocolError):
        read(body)
