"""Chat and embeddings with a local model: what is sent to the engine, and what its answers become."""

import json
from typing import Any

import msgspec
import pytest

from tesela.errors import (
    InvalidRequest,
    RequestError,
    Unsupported,
    UpstreamError,
    UpstreamFailed,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamUnavailable,
)
from tesela.providers import local_fields
from tesela.providers.base import Call, Exchange
from tesela.providers.local import LOCAL
from tesela.serving import Capabilities, Origin, Upstream
from tesela.wire import document
from tesela.wire.assemble import Assembler
from tesela.wire.sse import Event
from tesela.wire.tasks import Task

HI = {"role": "user", "content": "hi"}
SYSTEM = "You are a helpful assistant."
PLAIN = Capabilities(tools=False, images=False, echo=False, n_max=4, dimensions=384)
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
FORMAT = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": SCHEMA}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}


def exchange(fields: dict[str, Any], can: Capabilities = PLAIN, task: Task = Task.CHAT) -> Exchange:
    upstream = Upstream(Origin(unix="/nowhere"), "tiny", capabilities=can)
    call = Call(task, document.decode(msgspec.json.encode(fields)), False, upstream, 5, "abc")
    translate = LOCAL.translations[task]
    assert translate is not None
    return translate(call)


def sent(can: Capabilities = PLAIN, /, **fields: Any) -> Any:
    return json.loads(exchange({"messages": [HI], **fields}, can).body)


def said(delta: dict[str, Any], index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk as the engine writes it, with its extras."""
    choice = {"finish_reason": finish, "index": index, "delta": delta, **more}
    top = {"created": 9, "id": "chatcmpl-engine", "model": "alias", "system_fingerprint": "b0-unknown"}
    return {"choices": [choice], **top, "object": "chat.completion.chunk", "timings": {"cache_n": 1}}


def counted(completion: int, prompt: int = 7, cached: int = 2) -> dict[str, Any]:
    usage = {"completion_tokens": completion, "prompt_tokens": prompt, "total_tokens": completion + prompt}
    return {"choices": [], "usage": {**usage, "prompt_tokens_details": {"cached_tokens": cached}}, "timings": {}}


def chunks(made: Exchange, *events: Any) -> list[Any]:
    assert made.chunks is not None
    out = [chunk for event in events for chunk in made.chunks.feed(Event(b"", msgspec.json.encode(event)))]
    return [json.loads(chunk) for chunk in out + made.chunks.finish()]


def whole(made: Exchange, *events: Any) -> Any:
    assembler = Assembler(Task.CHAT)
    for chunk in chunks(made, *events):
        assembler.feed(msgspec.json.encode(chunk))
    return json.loads(assembler.finish())


def test_what_is_always_sent() -> None:
    made = exchange({"messages": [HI], "model": "caller's", "stream": False, "user": "me", "metadata": {"a": "b"}})
    assert (made.path, made.streaming) == ("/chat/completions", True)
    assert json.loads(made.body) == {
        "model": "tiny",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [HI],
    }


def test_zero_is_a_value_and_defaults_only_fill_what_is_not_given() -> None:
    can = Capabilities(tools=False, defaults=(("temperature", 0.2), ("top_p", 0.9)))
    body = sent(can, temperature=0, top_p=None, seed=0, presence_penalty=0.0)
    assert (body["temperature"], body["top_p"], body["seed"], body["presence_penalty"]) == (0, 0.9, 0, 0.0)


def test_a_system_message_is_put_in_only_where_there_is_none() -> None:
    can = Capabilities(tools=False, system=SYSTEM)
    assert sent(can)["messages"] == [{"role": "system", "content": SYSTEM}, HI]
    own = [{"role": "developer", "content": "Be brief."}, HI]
    assert sent(can, messages=own)["messages"] == [{"role": "system", "content": "Be brief."}, HI]
    empty = [{"role": "system", "content": ""}, HI]
    assert sent(can, messages=empty)["messages"] == empty


def test_parts_become_one_text() -> None:
    parts = [{"type": "text", "text": "a", "cache_control": {}}, {"type": "text", "text": ""}]
    reasoned = [{"type": "reasoning", "summary": []}, {"type": "text", "text": "b"}]
    messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": reasoned}, HI]
    assert [message["content"] for message in sent(messages=messages)["messages"]] == ["a\n", "b", "hi"]


@pytest.mark.parametrize(
    ("part", "param", "kind"),
    [
        ({"type": "image_url", "image_url": {"url": "data:,"}}, "messages[0].content[0]", Unsupported),
        ({"type": "input_audio", "input_audio": {}}, "messages[0].content[0].type", Unsupported),
        ({"type": "text"}, "messages[0].content[0].text", InvalidRequest),
        ({"text": "a"}, "messages[0].content[0].type", InvalidRequest),
    ],
)
def test_parts_that_cannot_be_read(part: Any, param: str, kind: type[RequestError]) -> None:
    with pytest.raises(kind) as caught:
        sent(messages=[{"role": "user", "content": [part]}])
    assert caught.value.param == param


def test_an_image_goes_to_a_model_with_eyes() -> None:
    parts = [{"type": "text", "text": "what?"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    assert sent(Capabilities(), messages=[{"role": "user", "content": parts}])["messages"][0]["content"] == parts


def test_limits_go_out_under_one_name() -> None:
    assert sent(max_completion_tokens=5)["max_tokens"] == 5
    assert "max_completion_tokens" not in sent(max_completion_tokens=5)
    assert "max_tokens" not in sent()


def test_log_probabilities_are_asked_for_with_a_number() -> None:
    assert sent(logprobs=True)["top_logprobs"] == 1
    assert sent(logprobs=True, top_logprobs=3)["top_logprobs"] == 3
    assert "logprobs" not in sent(logprobs=False)


def test_formats_reach_the_grammar() -> None:
    assert "response_format" not in sent(response_format={"type": "text"})
    assert sent(response_format={"type": "json_object"})["response_format"]["json_schema"]["schema"] == {
        "type": "object"
    }
    assert sent(response_format=FORMAT)["response_format"]["json_schema"]["schema"] == SCHEMA


@pytest.mark.parametrize(
    ("can", "fields", "param", "text"),
    [
        (PLAIN, {"n": 5}, "n", "at most 4"),
        (Capabilities(logprobs=False), {"logprobs": True}, "logprobs", "no log prob"),
        (Capabilities(json_schema=False), {"response_format": FORMAT}, "response_format", "form"),
        (Capabilities(tools=False, json_schema=False), {"tools": [TOOL]}, "tools", "form"),
        (PLAIN, {"grammar": "root ::= [a]", "response_format": FORMAT}, "grammar", "cannot be used"),
        (PLAIN, {"logprobs": True, "tools": [TOOL]}, "logprobs", "call tools"),
        (PLAIN, {"repeat_last_n": 2**31}, "repeat_last_n", "65536"),
        (PLAIN, {"mirostat": 3}, "mirostat", "0, 1 or 2"),
        (PLAIN, {"top_k": "5"}, "top_k", "integer"),
        (PLAIN, {"grammar": "x" * 20000}, "grammar", "16384"),
    ],
)
def test_what_this_model_cannot_do(can: Capabilities, fields: Any, param: str, text: str) -> None:
    with pytest.raises(RequestError, match=text) as caught:
        sent(can, **fields)
    assert (caught.value.param, caught.value.status) == (param, 400)


CHAT_FIELDS = [
    "messages",
    "model",
    "audio",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "metadata",
    "modalities",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
]
COMPLETION_FIELDS = [
    "model",
    "prompt",
    "best_of",
    "echo",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "n",
    "presence_penalty",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "suffix",
    "temperature",
    "top_p",
    "user",
]
EMBEDDING_FIELDS = ["input", "model", "dimensions", "encoding_format", "user"]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        (local_fields.CHAT, CHAT_FIELDS),
        (local_fields.COMPLETIONS, COMPLETION_FIELDS),
        (local_fields.EMBEDDINGS, EMBEDDING_FIELDS),
    ],
)
def test_every_field_of_openai_is_accounted_for_once(fields: local_fields.Fields, names: list[str]) -> None:
    for name in names:
        refused = name in fields.neutral or name in fields.refused
        places = [name in fields.translated, name in fields.passed, name in fields.ignored, refused]
        assert sum(places) == 1, name


@pytest.mark.parametrize("name", sorted({*local_fields.CHAT.refused, "no_such_field"} - set(local_fields.CHAT.neutral)))
def test_what_means_nothing_here_is_refused_by_name(name: str) -> None:
    with pytest.raises(Unsupported, match=name) as caught:
        sent(PLAIN, **{name: {"x": 1}})
    assert caught.value.param == name
    assert name not in sent(PLAIN, **{name: None})


@pytest.mark.parametrize("name", sorted(local_fields.CHAT.neutral))
def test_neutral_values_are_taken_and_no_others(name: str) -> None:
    for value in local_fields.CHAT.neutral[name]:
        assert name not in sent(PLAIN, **{name: value})
    with pytest.raises(Unsupported, match="leave it out or send") as caught:
        sent(PLAIN, **{name: "something else"})
    assert caught.value.param == name


@pytest.mark.parametrize("name", sorted(local_fields.BOOKKEEPING))
def test_bookkeeping_is_taken_and_not_sent(name: str) -> None:
    assert name not in sent(PLAIN, **{name: "x"})


def test_the_engine_s_own_knobs_pass() -> None:
    knobs = {"top_k": 5, "min_p": 0.1, "ignore_eos": True, "samplers": ["top_k"], "grammar": "root ::= [a]"}
    body = sent(PLAIN, **knobs)
    assert {name: body[name] for name in knobs} == knobs


def test_a_stream_in_openai_s_form() -> None:
    out = chunks(
        exchange({"messages": [HI]}),
        said({"role": "assistant", "content": None}),
        said({"content": "H\u2028é"}),
        said({"content": "i"}),
        said({}, finish="stop"),
        counted(3),
    )
    top = {"id": "chatcmpl-abc", "object": "chat.completion.chunk", "created": 5, "model": "tiny"}
    deltas = [({"role": "assistant", "content": ""}, None), ({"content": "H\u2028é"}, None), ({"content": "i"}, None)]
    assert out[:-1] == [
        {**top, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]}
        for delta, finish in [*deltas, ({}, "stop")]
    ]
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    assert out[-1] == {**top, "choices": [], "usage": {**usage, "prompt_tokens_details": {"cached_tokens": 2}}}


def test_usage_of_several_choices_is_added_up_once() -> None:
    answer = whole(
        exchange({"messages": [HI], "n": 2}),
        None,
        said({"role": "assistant", "content": None}, 1),
        said({"content": "b"}, 1),
        said({"role": "assistant", "content": None}, 0),
        said({}, 1, "length"),
        counted(4),
        said({"content": "a"}, 0),
        said({}, 0, "stop"),
        counted(5, cached=6),
    )
    assert [(c["message"]["content"], c["finish_reason"]) for c in answer["choices"]] == [
        ("a", "stop"),
        ("b", "length"),
    ]
    assert answer["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 9,
        "total_tokens": 16,
        "prompt_tokens_details": {"cached_tokens": 2},
    }


@pytest.mark.parametrize(("asked", "kept"), [(None, 0), (0, 0), (1, 1), (2, 2)])
def test_log_probabilities_in_openai_s_fields(asked: int | None, kept: int) -> None:
    top = [{"id": i, "token": t, "bytes": [97 + i], "logprob": -1.0 - i} for i, t in enumerate("ab")]
    entry = {**top[0], "top_logprobs": top}
    out = chunks(
        exchange({"messages": [HI], "logprobs": True, "top_logprobs": asked}),
        said({"role": "assistant", "content": None}),
        said({"content": "a"}, logprobs={"content": [entry]}),
        said({}, finish="stop"),
    )
    clean = [{"token": one["token"], "logprob": one["logprob"], "bytes": one["bytes"]} for one in top]
    assert out[1]["choices"][0]["logprobs"] == {
        "content": [{**clean[0], "top_logprobs": clean[:kept]}],
        "refusal": None,
    }


def test_a_limit_behind_the_end_of_the_json_did_not_cut_it() -> None:
    begin = said({"role": "assistant", "content": None})
    made = exchange({"messages": [HI], "response_format": FORMAT})
    answer = whole(made, begin, said({"content": '{"a":'}), said({"content": " 1} \n"}), said({}, finish="length"))
    assert answer["choices"][0]["message"]["content"] == '{"a": 1} \n'
    assert answer["choices"][0]["finish_reason"] == "stop"
    made = exchange({"messages": [HI], "response_format": FORMAT})
    answer = whole(made, begin, said({"content": '{"a":'}), said({}, finish="length"))
    assert answer["choices"][0]["finish_reason"] == "length"


def test_reasoning_and_native_tool_calls_pass() -> None:
    call = {"index": 0, "id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    answer = whole(
        exchange({"messages": [HI], "tools": [TOOL]}, Capabilities()),
        said({"role": "assistant", "content": None}),
        said({"reasoning_content": "hm"}),
        said({"tool_calls": [call]}),
        said({}, finish="tool_calls"),
    )
    message = answer["choices"][0]["message"]
    assert (message["reasoning_content"], message["tool_calls"][0]["id"]) == ("hm", "x")


def test_an_answer_that_ends_early_is_an_error() -> None:
    made = exchange({"messages": [HI], "n": 2})
    with pytest.raises(UpstreamProtocolError, match="before it was complete"):
        chunks(made, said({"content": "a"}, 0, "stop"), counted(1))


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"choices":5}', b'{"choices":[{"index":0}]}', b"\xff"])
def test_what_is_no_chunk_is_an_error(data: bytes) -> None:
    made = exchange({"messages": [HI]})
    assert made.chunks is not None
    with pytest.raises(UpstreamProtocolError):
        made.chunks.feed(Event(b"", data))


OVERFLOW = {
    "code": 400,
    "message": "request (9031 tokens) exceeds the available context size (8192 tokens), try increasing it",
    "type": "exceed_context_size_error",
    "n_prompt_tokens": 9031,
    "n_ctx": 8192,
}
GRAMMAR = "Unable to generate parser for this template. Automatic parser generation failed: JSON schema error at #: no"


@pytest.mark.parametrize(
    ("error", "kind", "text", "reason"),
    [
        (OVERFLOW, UpstreamRejected, "9031 tokens and this model's context holds 8192", "context_length_exceeded"),
        ({"code": 400, "message": GRAMMAR}, UpstreamRejected, "refused the request: JSON schema error at #: no", None),
        ({"code": 503, "message": "Loading model"}, UpstreamUnavailable, "starting", None),
        ({"code": 401, "message": "Invalid API Key"}, UpstreamUnavailable, "starting", None),
        ({"code": 500, "message": "out of slots"}, UpstreamFailed, "failed: out of slots", None),
    ],
)
def test_errors_of_the_engine(error: Any, kind: type[UpstreamError], text: str, reason: str | None) -> None:
    told = LOCAL.failure(error["code"], msgspec.json.encode({"error": error}), None)
    assert (type(told), told.reason, told.upstream_status) == (kind, reason, error["code"])
    assert text in told.message
    with pytest.raises(kind, match=text):
        chunks(exchange({"messages": [HI]}), {"error": error})


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"error":"x"}'])
def test_an_error_without_a_message(body: bytes) -> None:
    assert type(LOCAL.failure(500, body, None)) is UpstreamFailed
    assert type(LOCAL.failure(400, body, None)) is UpstreamRejected
    assert LOCAL.failure(503, body, None).retry_after_s == 1
    assert LOCAL.failure(503, body, 9).retry_after_s == 9


def test_embeddings() -> None:
    made = exchange({"input": ["a", ""], "user": "me", "dimensions": 384}, task=Task.EMBEDDINGS)
    assert (made.path, made.streaming) == ("/embeddings", False)
    assert json.loads(made.body) == {
        "model": "tiny",
        "encoding_format": "float",
        "input": ["a", ""],
        "dimensions": 384,
    }
    assert made.answer is not None
    told = b'{"object":"list","model":"x","data":[{"embedding":[0.1]}],"usage":{"prompt_tokens":2},"more":1}'
    assert made.answer(told) == (
        b'{"object":"list","data":[{"embedding":[0.1]}],"model":"tiny","usage":{"prompt_tokens":2}}'
    )
    with pytest.raises(UpstreamProtocolError):
        made.answer(b"{}")


def test_an_instruction_stands_before_each_input() -> None:
    for instruction, texts in (("Find:", ["Find: a", "Find: b"]), ("Find: ", ["Find: a", "Find: b"]), ("", ["a", "b"])):
        made = exchange({"input": ["a", "b"], "instruction": instruction}, task=Task.EMBEDDINGS)
        assert json.loads(made.body)["input"] == texts


def test_more_dimensions_than_there_are() -> None:
    with pytest.raises(InvalidRequest, match="embeddings have 384"):
        exchange({"input": "a", "dimensions": 385}, task=Task.EMBEDDINGS)
    with pytest.raises(Unsupported, match="temperature"):
        exchange({"input": "a", "temperature": 1}, task=Task.EMBEDDINGS)
