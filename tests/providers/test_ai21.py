"""AI21's chat API: what is sent, and its answers, whole and streamed, in the unified form.

Answers have the form of https://docs.ai21.com/reference/jamba-1-6-api-ref.
"""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.peers import looped
from tests.providers.exchanges import HELLO, SIZES, assembled, called, chunks, exchange, whole

from tesela.errors import ConfigError, InvalidRequest, RequestError, Unsupported, UpstreamError, UpstreamProtocolError
from tesela.providers.ai21 import AI21
from tesela.providers.registry import PROVIDERS, resolve
from tesela.serving import ExternalModel, Origin, Timeouts, Upstream
from tesela.wire import usage
from tesela.wire.tasks import Task

Part = dict[str, Any]
USAGE = {"prompt_tokens": 107, "completion_tokens": 26, "total_tokens": 133}
TEXT = "Hello \u2028 \U0001f600!"
CALL = {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}}
CLOCK = {"type": "function", "function": {"name": "clock"}}


def sent(**fields: Any) -> Any:
    return json.loads(exchange(AI21, fields).body)


def refused(kind: type[RequestError], **fields: Any) -> RequestError:
    with pytest.raises(kind) as caught:
        sent(**fields)
    return caught.value


def answer(*texts: str, reason: str = "stop", **more: Any) -> bytes:
    choices = [
        {"index": index, "message": {"role": "assistant", "content": text, **more}, "finish_reason": reason}
        for index, text in enumerate(texts)
    ]
    return msgspec.json.encode(
        {"id": "chat-1", "choices": choices, "usage": USAGE, "meta": {"requestDurationMillis": 5}}
    )


def stream(*texts: str, reason: str = "stop", size: int = 4) -> list[bytes]:
    def chunk(index: int, delta: Part, **more: Any) -> Part:
        return {"id": "chat-1", "choices": [{"index": index, "delta": delta, "finish_reason": None, **more}]}

    out = [chunk(index, {"role": "assistant"}) for index in range(len(texts))]
    for index, text in enumerate(texts):
        out += [chunk(index, {"content": text[at : at + size]}) for at in range(0, len(text), size)]
    out += [chunk(index, {"content": ""}, finish_reason=reason) for index in range(len(texts))]
    out[-1]["usage"] = USAGE
    return [b"data: %b\n\n" % msgspec.json.encode(one) for one in out] + [b"data: [DONE]\n\n"]


@pytest.mark.parametrize("task", [Task.CHAT, Task.COMPLETIONS])
@pytest.mark.parametrize("texts", [(TEXT,), ("",), ("one", "two")])
def test_a_stream_and_a_whole_answer_say_the_same_however_the_bytes_are_cut(texts: tuple[str, ...], task: Task) -> None:
    expected = whole(exchange(AI21, task=task), answer(*texts))
    for size in SIZES:
        made = exchange(AI21, task=task, streaming=True)
        assert assembled(made, b"".join(stream(*texts)), size=size, task=task) == expected


def test_a_text() -> None:
    assert whole(exchange(AI21), answer(TEXT)) == {
        "id": "chat-1",
        "object": "chat.completion",
        "created": 5,
        "model": "model-1",
        "choices": [
            {"logprobs": None, "index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
        ],
        "usage": USAGE,
    }
    told = whole(exchange(AI21, task=Task.COMPLETIONS), answer(TEXT, reason="length"))
    assert told["choices"] == [{"text": TEXT, "index": 0, "logprobs": None, "finish_reason": "length"}]


def test_calls_and_the_usage_of_a_stream() -> None:
    said = whole(exchange(AI21), answer("", reason="tool_calls", tool_calls=[CALL]))["choices"][0]
    assert (said["message"]["tool_calls"], said["finish_reason"]) == ([CALL], "tool_calls")
    out = chunks(exchange(AI21, streaming=True), b"".join(stream(TEXT)))
    assert usage.find(out[-1]) == usage.Usage(107, 26, 133)
    assert all(b"usage" not in chunk for chunk in out[:-1])
    assert json.loads(out[0])["object"] == "chat.completion.chunk"


@pytest.mark.parametrize("kept", range(len(stream(TEXT)) - 2))
def test_a_stream_that_ends_early_is_an_error_wherever_it_ends(kept: int) -> None:
    with pytest.raises(UpstreamProtocolError):
        chunks(exchange(AI21, streaming=True), b"".join(stream(TEXT)[:kept]))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"<html>", b"{}", b'{"choices":[]}', b'{"choices":[5]}', b"\xff"])
def test_answers_that_are_none(body: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        whole(exchange(AI21), body)


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["index", "delta", "message", "content", "finish_reason"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@settings(max_examples=100)
@given(st.lists(ODD, max_size=3), st.sampled_from([Task.CHAT, Task.COMPLETIONS]))
def test_choices_of_any_shape_are_read_or_are_an_error(choices: list[Any], task: Task) -> None:
    body = msgspec.json.encode({"choices": choices})
    for read in (
        lambda: whole(exchange(AI21, task=task), body),
        lambda: chunks(exchange(AI21, task=task, streaming=True), b"data: %b\n\n" % body),
    ):
        try:
            read()
        except UpstreamError as error:
            assert error.message  # noqa: PT017 - whatever it is, it is the provider's fault


@settings(max_examples=60)
@given(st.binary(max_size=60), st.integers(0, 8))
def test_bytes_in_the_middle_of_a_stream_break_nothing_else(noise: bytes, at: int) -> None:
    out = stream(TEXT)
    out.insert(at, noise + b"\n\n")
    try:
        chunks(exchange(AI21, streaming=True), b"".join(out))
    except UpstreamError as error:
        assert error.message  # noqa: PT017 - most noise is passed over, as framing demands


def test_what_is_sent() -> None:
    made = exchange(AI21, {"temperature": 0, "top_p": 0, "n": 2, "stop": "", "max_completion_tokens": 0})
    assert (made.path, made.streaming) == ("/chat/completions", False)
    assert json.loads(made.body) == {
        "model": "model-1", "messages": [HELLO], "temperature": 0, "top_p": 0, "n": 2, "stop": [""], "max_tokens": 0,
    }  # fmt: skip
    assert json.loads(exchange(AI21, {"stream_options": {}}, streaming=True).body)["stream"] is True
    assert sent(documents=[{"content": "x"}])["documents"] == [{"content": "x"}]


def test_messages_and_tools() -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "Be "}, {"type": "text", "text": "short."}]},
        {"role": "assistant", "content": [thought], "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "t1", "content": "rain"},
    ]
    body = sent(messages=messages, tools=[CLOCK], tool_choice="auto", response_format={"type": "json_object"})
    assert body["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": "rain", "tool_call_id": "t1"},
    ]
    empty = {"type": "object", "properties": {}}
    assert body["tools"] == [{"type": "function", "function": {"name": "clock", "parameters": empty}}]
    assert body["response_format"] == {"type": "json_object"}
    assert "tools" not in sent(tools=[CLOCK], tool_choice="none")
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    error = refused(Unsupported, messages=[{"role": "user", "content": [image]}])
    assert error.param == "messages[0].content[0].image_url"


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("seed", 0), ("logit_bias", {"5": 1}), ("logprobs", True), ("store", True), ("presence_penalty", 1),
        ("parallel_tool_calls", False), ("reasoning_effort", "high"), ("functions", []),
        ("response_format", {"type": "json_schema", "json_schema": {"schema": {}}}),
    ],
)  # fmt: skip
def test_what_ai21_cannot_be_told_is_refused_by_name_unless_it_is_ignored(field: str, given: Any) -> None:
    error = refused(Unsupported, **{field: given})
    assert error.param == field
    assert "ignore" in error.message
    assert json.loads(exchange(AI21, {field: given}, ignore=frozenset({field})).body) == sent()


def test_a_forced_choice_is_refused() -> None:
    assert refused(Unsupported, tools=[CLOCK], tool_choice="required").param == "tool_choice"
    assert refused(InvalidRequest, tool_choice="required").param == "tool_choice"


def test_settings() -> None:
    def read(config: dict[str, Any]) -> Upstream:
        model = ExternalModel("jamba-large", "ai21labs", "llm/v1/chat", ai21labs_config=config)
        found = resolve(model, at="m", place=lambda path: f"<{path}>", secrets={"env:K": "k-1"}, timeouts=Timeouts())
        assert found.provider in PROVIDERS
        return found.upstream

    upstream = read({"ai21labs_api_key": "env:K"})
    assert (upstream.origin.authority, upstream.base_path) == ("api.ai21.com", "/studio/v1")
    assert upstream.headers == (("authorization", "Bearer k-1"),)
    with pytest.raises(ConfigError):
        read({})


@looped
async def test_a_whole_answer_over_a_real_connection() -> None:
    upstream = Upstream(Origin("http", "h", 80), "model-1", "/studio/v1", (("authorization", "Bearer k"),))
    made = exchange(AI21, upstream=upstream)
    request, data = await called(made, answer(TEXT), upstream=upstream, kind="application/json")
    assert request.head.startswith(b"POST /studio/v1/chat/completions HTTP/1.1\r\n")
    assert whole(made, data)["choices"][0]["message"]["content"] == TEXT
