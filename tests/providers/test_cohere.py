"""Cohere's second API: what is sent, and its answers, whole and streamed, in the unified form.

Answers have the form of https://docs.cohere.com/reference/chat, https://docs.cohere.com/v2/docs/streaming and
https://docs.cohere.com/reference/embed.
"""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.peers import looped
from tests.providers.exchanges import HELLO, SIZES, assembled, called, chunks, exchange, same, whole

from tesela.errors import (
    ConfigError,
    InvalidRequest,
    RequestError,
    Unsupported,
    UpstreamError,
    UpstreamFailed,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnauthorized,
)
from tesela.providers.cohere import COHERE
from tesela.providers.cohere_answer import FINISH
from tesela.providers.registry import PROVIDERS, resolve
from tesela.serving import ExternalModel, Origin, Timeouts, Upstream
from tesela.wire import usage
from tesela.wire.tasks import Task

Part = dict[str, Any]
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Now", "parameters": CITY}}
CLOCK = {"type": "function", "function": {"name": "clock"}}
USAGE = {"billed_units": {"input_tokens": 5, "output_tokens": 4}, "tokens": {"input_tokens": 71, "output_tokens": 418}}
TEXT: Part = {"type": "text", "text": "Hello \u2028 \U0001f600!"}
THINKING: Part = {"type": "thinking", "thinking": "Let me see."}
CALLS = [
    {"id": "w_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}},
    {"id": "c_2", "type": "function", "function": {"name": "clock", "arguments": "{}"}},
]
CITATION = {"start": 0, "end": 5, "text": "Hello", "sources": [{"type": "tool", "id": "w_1:0"}], "type": "TEXT_CONTENT"}


def sent(**fields: Any) -> Any:
    return json.loads(exchange(COHERE, fields).body)


def refused(kind: type[RequestError], **fields: Any) -> RequestError:
    with pytest.raises(kind) as caught:
        sent(**fields)
    return caught.value


def message(*content: Part, reason: str = "COMPLETE", **more: Any) -> bytes:
    told = {"id": "c1", "finish_reason": reason, "message": {"role": "assistant", "content": list(content), **more}}
    return msgspec.json.encode({**told, "usage": USAGE})


def event(kind: str, **told: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), msgspec.json.encode({"type": kind, **told}))


def delta(**told: Any) -> Part:
    return {"message": told}


def events(*content: Part, reason: str = "COMPLETE", size: int = 4, **more: Any) -> list[bytes]:
    """The events of a stream."""
    out = [event("message-start", id="c1", delta=delta(role="assistant", content=[], tool_plan="", tool_calls=[]))]
    plan = more.get("tool_plan", "")
    out += [event("tool-plan-delta", delta=delta(tool_plan=plan[at : at + size])) for at in range(0, len(plan), size)]
    for index, item in enumerate(content):
        kind = item["type"]
        out.append(event("content-start", index=index, delta=delta(content={"type": kind, kind: ""})))
        pieces = [item[kind][at : at + size] for at in range(0, len(item[kind]), size)]
        out += [event("content-delta", index=index, delta=delta(content={kind: piece})) for piece in pieces]
        out.append(event("content-end", index=index))
    for index, call in enumerate(more.get("tool_calls", ())):
        begun = {**call, "function": {**call["function"], "arguments": ""}}
        out.append(event("tool-call-start", index=index, delta=delta(tool_calls=begun)))
        text = call["function"]["arguments"]
        for at in range(0, len(text), size):
            piece = {"function": {"arguments": text[at : at + size]}}
            out.append(event("tool-call-delta", index=index, delta=delta(tool_calls=piece)))
        out.append(event("tool-call-end", index=index))
    for index, citation in enumerate(more.get("citations", ())):
        out += [
            event("citation-start", index=index, delta=delta(citations=citation)),
            event("citation-end", index=index),
        ]
    return [*out, event("message-end", id="c1", delta={"finish_reason": reason, "usage": USAGE}), b"data: [DONE]\n\n"]


def streamed(*content: Part, size: int = 10**9, task: Task = Task.CHAT, **more: Any) -> Any:
    made = exchange(COHERE, task=task, streaming=True)
    return assembled(made, b"".join(events(*content, **more)), size=size, task=task)


SAID: dict[str, tuple[tuple[Part, ...], Part]] = {
    "text": ((TEXT,), {}),
    "nothing": ((), {}),
    "thinking": ((THINKING, TEXT), {}),
    "a plan and calls": ((), {"tool_plan": "I will look.", "tool_calls": CALLS, "reason": "TOOL_CALL"}),
    "citations": ((TEXT,), {"citations": [CITATION, CITATION]}),
}


@pytest.mark.parametrize(("content", "more"), SAID.values(), ids=SAID)
def test_a_stream_and_a_whole_answer_say_the_same_however_the_bytes_are_cut(
    content: tuple[Part, ...], more: Part
) -> None:
    expected = same(whole(exchange(COHERE), message(*content, **more)))
    for size in SIZES:
        assert same(streamed(*content, size=size, **more)) == expected


def test_a_text() -> None:
    assert whole(exchange(COHERE), message(TEXT)) == {
        "id": "c1",
        "object": "chat.completion",
        "created": 5,
        "model": "model-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT["text"]},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 71, "completion_tokens": 418, "total_tokens": 489},
    }


def test_cached_tokens_and_the_usage_of_both_ways() -> None:
    made = exchange(COHERE)
    assert made.answer is not None
    told = json.loads(message(TEXT)) | {"usage": {**USAGE, "cached_tokens": 64}}
    assert whole(made, msgspec.json.encode(told))["usage"]["prompt_tokens_details"] == {"cached_tokens": 64}
    streaming = exchange(COHERE, streaming=True)
    for found in (made.answer(message(TEXT)), chunks(streaming, b"".join(events(TEXT)))[-1]):
        assert usage.find(found) == usage.Usage(71, 418, 489)


@pytest.mark.parametrize(("reason", "finish"), FINISH.items())
def test_every_reason_to_stop(reason: str, finish: str) -> None:
    assert whole(exchange(COHERE), message(TEXT, reason=reason))["choices"][0]["finish_reason"] == finish
    assert streamed(TEXT, reason=reason)["choices"][0]["finish_reason"] == finish


@pytest.mark.parametrize(
    ("reason", "expected"), [("ERROR", UpstreamFailed), ("ERROR_TOXIC", UpstreamFailed), ("TIMEOUT", UpstreamTimeout)]
)
def test_reasons_that_are_failures(reason: str, expected: type[UpstreamError]) -> None:
    with pytest.raises(expected):
        whole(exchange(COHERE), message(TEXT, reason=reason))
    with pytest.raises(expected):
        streamed(TEXT, reason=reason)


def test_an_error_at_the_end_of_a_stream() -> None:
    told = [*events(TEXT)[:-2], event("message-end", delta={"finish_reason": "ERROR", "error": "out of order"})]
    with pytest.raises(UpstreamFailed, match="out of order"):
        chunks(exchange(COHERE, streaming=True), b"".join(told))


def test_log_probabilities() -> None:
    logprobs = [
        {"text": "He", "token_ids": [1], "logprobs": [-0.5]},
        {"text": "y", "token_ids": [2, 3], "logprobs": [-1, -2]},
    ]
    told = json.loads(message({"type": "text", "text": "Hey"})) | {"logprobs": logprobs}
    found = whole(exchange(COHERE, {"logprobs": True}), msgspec.json.encode(told))["choices"][0]["logprobs"]["content"]
    assert [(one["token"], one["logprob"]) for one in found] == [("He", -0.5), ("y", -3)]
    out = events({"type": "text", "text": "Hey"}, size=9)
    text = delta(content={"text": "Hey"})
    out[2] = event("content-delta", index=0, delta=text, logprobs={"text": "Hey", "token_ids": [1], "logprobs": [-2]})
    made = exchange(COHERE, {"logprobs": True}, streaming=True)
    found = assembled(made, b"".join(out))["choices"][0]["logprobs"]["content"]
    assert found == [{"token": "Hey", "logprob": -2, "bytes": [72, 101, 121], "top_logprobs": []}]


def test_two_calls_stream_by_index() -> None:
    data = b"".join(events(tool_calls=CALLS, reason="TOOL_CALL"))
    out = [json.loads(chunk) for chunk in chunks(exchange(COHERE, streaming=True), data)]
    pieces = [call for chunk in out[:-1] for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert {piece["index"] for piece in pieces} == {0, 1}
    assert [piece["id"] for piece in pieces if "id" in piece] == ["w_1", "c_2"]


@pytest.mark.parametrize("kept", range(len(events(TEXT, THINKING)) - 2))
def test_a_stream_that_ends_early_is_an_error_wherever_it_ends(kept: int) -> None:
    with pytest.raises(UpstreamProtocolError):
        chunks(exchange(COHERE, streaming=True), b"".join(events(TEXT, THINKING)[:kept]))


def test_events_that_nobody_has_heard_of() -> None:
    out = events(TEXT)
    out.insert(2, event("weather-report", sky="blue"))
    out.insert(2, event("debug", prompt="x"))
    assert assembled(exchange(COHERE, streaming=True), b"".join(out)) == whole(exchange(COHERE), message(TEXT))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"<html>", b"{}", b'{"message":"x"}', b'{"message":5}', b"\xff"])
def test_answers_that_are_none(body: bytes) -> None:
    for task in (Task.CHAT, Task.COMPLETIONS, Task.EMBEDDINGS):
        with pytest.raises(UpstreamProtocolError):
            whole(exchange(COHERE, task=task), body)


@settings(max_examples=60)
@given(st.binary(max_size=60), st.integers(0, 8))
def test_bytes_in_the_middle_of_a_stream_break_nothing_else(noise: bytes, at: int) -> None:
    out = events(TEXT, size=20)
    out.insert(at, noise + b"\n\n")
    try:
        chunks(exchange(COHERE, streaming=True), b"".join(out))
    except UpstreamError as error:
        assert error.message  # noqa: PT017 - most noise is passed over, as framing demands


ITEMS = st.lists(st.tuples(st.booleans(), st.text(min_size=1, max_size=12)), min_size=1, max_size=5).map(
    lambda items: [{"type": "thinking", "thinking": "…"}, *(
        {"type": "text", "text": text} if shown else {"type": "thinking", "thinking": text} for shown, text in items
    )]
)  # fmt: skip


@settings(max_examples=60)
@given(ITEMS, st.integers(1, 40))
def test_whatever_was_said_comes_back_whole_from_both_ways(items: list[Part], size: int) -> None:
    expected: list[Part] = []
    for item in items:
        if expected and expected[-1]["type"] == item["type"]:
            kind = item["type"]
            expected[-1] = {"type": kind, kind: expected[-1][kind] + item[kind]}
        else:
            expected.append(item)
    for answer in (whole(exchange(COHERE), message(*items)), streamed(*items, size=size)):
        assert sent(messages=[HELLO, answer["choices"][0]["message"], HELLO])["messages"][1]["content"] == expected


# ------------------------------------------------------------ what is sent


def test_the_least_request() -> None:
    made = exchange(COHERE)
    assert (made.path, made.streaming, made.chunks) == ("/v2/chat", False, None)
    assert json.loads(made.body) == {"model": "model-1", "messages": [HELLO]}
    assert json.loads(exchange(COHERE, {"stream_options": {}}, streaming=True).body)["stream"] is True


def test_zeros_and_empty_values_survive_and_names_are_theirs() -> None:
    body = sent(temperature=0, top_p=0, top_k=0, n=1, stop="", max_tokens=0, seed=0, frequency_penalty=0)
    assert (body["temperature"], body["p"], body["k"], body["max_tokens"], body["seed"]) == (0, 0, 0, 0, 0)
    assert body["stop_sequences"] == [""]
    assert sent(max_completion_tokens=7)["max_tokens"] == 7
    assert not {"n", "top_p", "top_k", "stop"} & body.keys()
    assert refused(InvalidRequest, top_p=0.5, p=0.5).param == "top_p"


def test_what_only_cohere_has_goes_on_as_it_came() -> None:
    fields = {"documents": ["d"], "safety_mode": "OFF", "k": 5, "thinking": {"type": "enabled", "token_budget": 9}}
    assert {name: sent(**fields)[name] for name in fields} == fields


def test_messages() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}}
    address = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    asked = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "See"}, image, address]},
        {"role": "assistant", "content": "", "tool_calls": CALLS, "tool_plan": "I look", "annotations": []},
        {"role": "tool", "tool_call_id": "w_1", "content": "rain", "name": "weather"},
        {"role": "system", "content": "Shorter."},
    ]
    assert sent(messages=asked)["messages"] == [
        {"role": "system", "content": "Be short."},
        asked[1],
        {"role": "assistant", "tool_calls": CALLS, "tool_plan": "I look"},
        {"role": "tool", "tool_call_id": "w_1", "content": "rain"},
        {"role": "system", "content": "Shorter."},
    ]


@pytest.mark.parametrize(
    ("part", "at"),
    [
        ({"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk="}}, "messages[0].content[0].file"),
        ({"type": "file", "file": {"file_id": "f"}}, "messages[0].content[0].file.file_id"),
        ({"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}, "messages[0].content[0]"),
    ],
)
def test_parts_that_cohere_cannot_be_sent(part: Part, at: str) -> None:
    assert refused(Unsupported, messages=[{"role": "user", "content": [part]}]).param == at


@pytest.mark.parametrize(
    ("messages", "at"),
    [
        (5, "messages"),
        ([5], "messages[0]"),
        ([{"role": "king", "content": "x"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": [5]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "messages[0].content[0].image_url"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}],
         "messages[0].content[0].image_url.url"),
        ([{"role": "tool", "content": "x"}], "messages[0].tool_call_id"),
        ([{"role": "user", "content": "x", "name": "Ann"}], "messages[0].name"),
        ([{"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{"}}]}],
         "messages[0].tool_calls[0].function.arguments"),
        ([{"role": "assistant", "tool_calls": [{"function": {"name": "f"}}]}], "messages[0].tool_calls[0].id"),
    ],
)  # fmt: skip
def test_messages_that_are_wrong_are_named(messages: Any, at: str) -> None:
    assert refused(RequestError, messages=messages).param == at


def test_tools_and_the_choice_among_them() -> None:
    tools = [WEATHER, CLOCK]
    body = sent(tools=tools, tool_choice="auto", parallel_tool_calls=True)
    empty = {"type": "object", "properties": {}}
    assert body["tools"] == [WEATHER, {"type": "function", "function": {"name": "clock", "parameters": empty}}]
    assert "tool_choice" not in body
    assert "strict_tools" not in body
    assert sent(tools=tools, tool_choice="required")["tool_choice"] == "REQUIRED"
    assert sent(tools=tools, tool_choice="none")["tool_choice"] == "NONE"
    forced = sent(tools=tools, tool_choice={"type": "function", "function": {"name": "weather"}})
    assert (forced["tools"], forced["tool_choice"]) == ([WEATHER], "REQUIRED")
    strict = {"type": "function", "function": {**WEATHER["function"], "strict": True}}  # type: ignore[dict-item]
    assert sent(tools=[strict])["strict_tools"] is True
    assert refused(InvalidRequest, tool_choice="required").param == "tool_choice"
    assert refused(InvalidRequest, tools=tools, tool_choice={"type": "function", "name": "x"}).param == "tool_choice"
    assert refused(Unsupported, tools=[{"type": "web_search"}]).param == "tools[0].type"
    assert refused(InvalidRequest, tools=[{"type": "function"}]).param == "tools[0].function"
    wrong = {"type": "function", "function": {"name": "f", "parameters": "x"}}
    assert refused(InvalidRequest, tools=[wrong]).param == "tools[0].function.parameters"


def test_the_form_of_the_answer() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": CITY, "strict": True}}
    assert sent(response_format=wanted)["response_format"] == {"type": "json_object", "json_schema": CITY}
    assert sent(response_format={"type": "json_object"})["response_format"] == {"type": "json_object"}
    assert "response_format" not in sent(response_format={"type": "text"})
    assert refused(InvalidRequest, response_format={"type": "json_schema"}).param == "response_format"
    assert sent(reasoning_effort="none")["thinking"] == {"type": "disabled"}


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("n", 2), ("logit_bias", {"5": 1}), ("top_logprobs", 2), ("store", True), ("service_tier", "flex"),
        ("modalities", ["audio"]), ("verbosity", "low"), ("audio", {}), ("prediction", {}), ("functions", []),
        ("web_search_options", {}), ("parallel_tool_calls", False), ("reasoning_effort", "high"),
    ],
)  # fmt: skip
def test_what_cohere_cannot_be_told_is_refused_by_name_unless_it_is_ignored(field: str, given: Any) -> None:
    error = refused(Unsupported, **{field: given})
    assert error.param == field
    assert "ignore" in error.message
    assert json.loads(exchange(COHERE, {field: given}, ignore=frozenset({field})).body) == sent()


def test_what_asks_for_nothing_is_left_out() -> None:
    neutral = {
        "n": 1, "logit_bias": {}, "store": False, "top_logprobs": 0, "verbosity": "medium", "user": "u",
        "metadata": {"a": "b"}, "service_tier": "auto", "seed": None, "tools": None, "stop": None,
    }  # fmt: skip
    assert sent(**neutral) == sent()


# ------------------------------------------------------------ completions and embeddings


def test_completions_over_chat() -> None:
    made = exchange(COHERE, {"prompt": ["Hi"], "max_tokens": 3, "top_p": 0.5}, task=Task.COMPLETIONS)
    assert json.loads(made.body) == {
        "model": "model-1", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 3, "p": 0.5,
    }  # fmt: skip
    answer = whole(made, message(THINKING, TEXT))
    assert answer["object"] == "text_completion"
    assert answer["choices"] == [{"text": TEXT["text"], "index": 0, "logprobs": None, "finish_reason": "stop"}]
    for size in SIZES:
        assert streamed(THINKING, TEXT, size=size, task=Task.COMPLETIONS) == answer
    with pytest.raises(Unsupported) as caught:
        exchange(COHERE, {"prompt": ["a", "b"]}, task=Task.COMPLETIONS)
    assert caught.value.param == "prompt"


def test_embeddings() -> None:
    made = exchange(COHERE, {"input": ["a", "b"], "truncate": "END", "dimensions": 2}, task=Task.EMBEDDINGS)
    assert made.path == "/v2/embed"
    assert json.loads(made.body) == {
        "model": "model-1", "texts": ["a", "b"], "input_type": "search_document", "truncate": "END",
        "output_dimension": 2, "embedding_types": ["float"],
    }  # fmt: skip
    told = {"id": "e", "embeddings": {"float": [[0.25, -1], [1, 2]]}, "meta": {"billed_units": {"input_tokens": 2.0}}}
    assert whole(made, msgspec.json.encode(told)) == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [0.25, -1]},
            {"object": "embedding", "index": 1, "embedding": [1, 2]},
        ],
        "model": "model-1",
        "usage": {"prompt_tokens": 2, "total_tokens": 2},
    }


def test_types_of_embeddings() -> None:
    made = exchange(COHERE, {"encoding_format": "base64", "input_type": "search_query"}, task=Task.EMBEDDINGS)
    body = json.loads(made.body)
    assert (body["embedding_types"], body["input_type"], body["texts"]) == (["float"], "search_query", ["Hello"])
    assert whole(made, b'{"embeddings":{"float":[[0.25,-1]]}}')["data"][0]["embedding"] == "AACAPgAAgL8="
    with pytest.raises(UpstreamProtocolError):
        whole(made, b'{"embeddings":{"float":["x"]}}')
    with pytest.raises(InvalidRequest):
        exchange(COHERE, {"encoding_format": "hex"}, task=Task.EMBEDDINGS)
    made = exchange(COHERE, {"embedding_types": ["int8"]}, task=Task.EMBEDDINGS)
    assert whole(made, b'{"embeddings":{"int8":[[1,-2]]}}')["data"][0]["embedding"] == [1, -2]
    for field, asked in (("embedding_types", ["int8", "float"]), ("input", [[1, 2]]), ("instruction", "x")):
        with pytest.raises(Unsupported) as caught:
            exchange(COHERE, {field: asked}, task=Task.EMBEDDINGS)
        assert caught.value.param == field


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, UpstreamRejected), (401, UpstreamUnauthorized), (498, UpstreamUnauthorized), (500, UpstreamFailed)],
)
def test_the_status_of_a_refusal_decides(status: int, expected: type[UpstreamError]) -> None:
    error = COHERE.failure(status, b'{"id":"x","message":"invalid request: too many"}', None)
    assert type(error) is expected
    assert ("too many" in error.message) == (expected is not UpstreamUnauthorized)


@looped
async def test_a_stream_over_a_real_connection() -> None:
    upstream = Upstream(Origin("http", "h", 80), "model-1", "", (("authorization", "Bearer k"),))
    made = exchange(COHERE, streaming=True, upstream=upstream)
    request, data = await called(made, b"".join(events(TEXT)), upstream=upstream, kind="text/event-stream")
    assert request.head.startswith(b"POST /v2/chat HTTP/1.1\r\n")
    assert b"authorization: Bearer k\r\n" in request.head
    assert json.loads(request.body)["stream"] is True
    assert assembled(made, data) == whole(exchange(COHERE), message(TEXT))


# ------------------------------------------------------------ settings


def resolved(config: dict[str, Any], task: str = "llm/v1/chat") -> Upstream:
    model = ExternalModel("command-a", "cohere", task, cohere_config=config)
    found = resolve(model, at="m", place=lambda path: f"<{path}>", secrets={"env:K": "sk-1"}, timeouts=Timeouts())
    assert found.provider in PROVIDERS
    return found.upstream


def test_settings() -> None:
    upstream = resolved({"cohere_api_key": "env:K", "ignore": ["n"]})
    assert (upstream.origin.authority, upstream.base_path) == ("api.cohere.com", "")
    assert (upstream.headers, upstream.ignore) == ((("authorization", "Bearer sk-1"),), frozenset({"n"}))
    for base in ("https://c.example.com/x", "https://c.example.com/x/v1", "https://c.example.com/x/v2/"):
        upstream = resolved({"cohere_api_key_plaintext": "k", "cohere_api_base": base}, "llm/v1/embeddings")
        assert (upstream.origin.host, upstream.base_path) == ("c.example.com", "/x")


@pytest.mark.parametrize(
    "config", [{}, {"cohere_api_key": "sk-1"}, {"cohere_api_key": "env:K", "cohere_api_base": "https://c?x=1"},
               {"cohere_api_key": "env:K", "cohere_key": "x"}]
)  # fmt: skip
def test_settings_that_cannot_work(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(config)
    assert "sk-1" not in caught.value.message
