"""Completions with a local model: what the engine lacks is made here."""

import json
from typing import Any

import msgspec
import pytest

from tesela.errors import InvalidRequest, RequestError, Unsupported, UpstreamProtocolError, UpstreamRejected
from tesela.providers.base import Call, Exchange
from tesela.providers.local import LOCAL
from tesela.serving import Capabilities, Origin, Upstream
from tesela.wire import document
from tesela.wire.assemble import Assembler
from tesela.wire.sse import Event
from tesela.wire.tasks import Task

PLAIN = Capabilities(tools=False, echo=False, n_max=4, defaults=(("temperature", 0.2),))


def exchange(can: Capabilities = PLAIN, /, **fields: Any) -> Exchange:
    upstream = Upstream(Origin(unix="/nowhere"), "tiny", capabilities=can)
    asked = document.decode(msgspec.json.encode({"prompt": "The sky is", **fields}))
    translate = LOCAL.translations[Task.COMPLETIONS]
    assert translate is not None
    return translate(Call(Task.COMPLETIONS, asked, False, upstream, 5, "abc"))


def sent(can: Capabilities = PLAIN, /, **fields: Any) -> Any:
    return json.loads(exchange(can, **fields).body)


def said(text: str, index: int = 0, logprobs: Any = None) -> dict[str, Any]:
    choice = {"text": text, "index": index, "logprobs": logprobs, "finish_reason": None}
    return {"choices": [choice], "created": 9, "object": "text_completion", "id": "chatcmpl-engine"}


def ended(index: int, prompt: int, completion: int, finish: str = "length") -> dict[str, Any]:
    usage = {"completion_tokens": completion, "prompt_tokens": prompt, "prompt_tokens_details": {"cached_tokens": 1}}
    choice = {"text": "", "index": index, "logprobs": None, "finish_reason": finish}
    return {"choices": [choice], "usage": usage, "timings": {}}


def chunks(made: Exchange, *events: Any) -> list[Any]:
    assert made.chunks is not None
    out = [chunk for event in events for chunk in made.chunks.feed(Event(b"", msgspec.json.encode(event)))]
    return [json.loads(chunk) for chunk in out + made.chunks.finish()]


def whole(made: Exchange, *events: Any) -> Any:
    assembler = Assembler(Task.COMPLETIONS)
    for chunk in chunks(made, *events):
        assembler.feed(msgspec.json.encode(chunk))
    return json.loads(assembler.finish())


def test_what_is_sent() -> None:
    made = exchange(max_tokens=3, stop="x", n=2, best_of=2, top_p=0.5, suffix="", use_raw_prompt=True)
    assert (made.path, made.streaming) == ("/completions", True)
    assert json.loads(made.body) == {
        "model": "tiny",
        "stream": True,
        "stream_options": {"include_usage": True},
        "prompt": "The sky is",
        "temperature": 0.2,
        "top_p": 0.5,
        "max_tokens": 3,
        "stop": ["x"],
        "n": 2,
    }


@pytest.mark.parametrize("prompt", ["a", ["a", "b"], [5, 6], [[5], [6]]])
def test_prompts_of_every_kind(prompt: Any) -> None:
    assert sent(prompt=prompt)["prompt"] == prompt


def test_one_prompt_in_a_list_is_one_prompt() -> None:
    assert sent(prompt=["a"])["prompt"] == "a"


@pytest.mark.parametrize(
    ("fields", "param", "kind"),
    [
        ({"n": 5}, "n", InvalidRequest),
        ({"suffix": "end"}, "suffix", Unsupported),
        ({"best_of": 3}, "best_of", Unsupported),
        ({"echo": True, "logprobs": 1}, "echo", Unsupported),
        ({"echo": True, "prompt": [5, 6]}, "echo", Unsupported),
        ({"error_behavior": "truncate"}, "error_behavior", Unsupported),
        ({"use_raw_prompt": False}, "use_raw_prompt", Unsupported),
        ({"response_format": {"type": "json_object"}}, "response_format", Unsupported),
        ({"json_schema": {"enum": ["x"] * 501}}, "json_schema", InvalidRequest),
        ({"json_schema": {}, "grammar": "root ::= [a]"}, "grammar", InvalidRequest),
        ({"top_logprobs": 2}, "top_logprobs", Unsupported),
    ],
)
def test_what_this_model_cannot_do(fields: Any, param: str, kind: type[RequestError]) -> None:
    with pytest.raises(kind, match=param) as caught:
        sent(**fields)
    assert caught.value.param == param


def test_no_log_probabilities() -> None:
    with pytest.raises(Unsupported, match="logprobs"):
        sent(Capabilities(logprobs=False), logprobs=0)


def test_a_stream_in_openai_s_form() -> None:
    out = chunks(exchange(), said(" a"), said(" b"), ended(0, 3, 2))
    top = {"id": "cmpl-abc", "object": "text_completion", "created": 5, "model": "tiny"}
    assert out == [
        {**top, "choices": [{"text": " a", "index": 0, "logprobs": None, "finish_reason": None}]},
        {**top, "choices": [{"text": " b", "index": 0, "logprobs": None, "finish_reason": None}]},
        {**top, "choices": [{"text": "", "index": 0, "logprobs": None, "finish_reason": "length"}]},
        {
            **top,
            "choices": [],
            "usage": {
                "prompt_tokens": 3,
                "completion_tokens": 2,
                "total_tokens": 5,
                "prompt_tokens_details": {"cached_tokens": 1},
            },
        },
    ]


def test_several_prompts_with_several_answers_each() -> None:
    events = [None, *(said(text, index) for index, text in ((3, "d"), (0, "a"), (2, "c"), (1, "b")))]
    ends = [ended(1, 3, 5), ended(3, 10, 5), ended(0, 3, 5, "stop"), ended(2, 10, 5)]
    answer = whole(exchange(prompt=["x", "y"], n=2, echo=True), *events, *ends)
    assert [(c["index"], c["text"], c["finish_reason"]) for c in answer["choices"]] == [
        (0, "xa", "stop"),
        (1, "xb", "length"),
        (2, "yc", "length"),
        (3, "yd", "length"),
    ]
    assert answer["usage"]["prompt_tokens"] == 13
    assert answer["usage"]["completion_tokens"] == 20
    assert answer["usage"]["prompt_tokens_details"] == {"cached_tokens": 2}


def test_no_tokens_at_all() -> None:
    assert sent(max_tokens=0)["max_tokens"] == 1
    answer = whole(exchange(max_tokens=0), said(" a"), ended(0, 3, 1, "stop"))
    assert answer["choices"] == [{"text": "", "index": 0, "logprobs": None, "finish_reason": "length"}]
    assert (answer["usage"]["completion_tokens"], answer["usage"]["total_tokens"]) == (0, 3)
    answer = whole(exchange(max_tokens=0, echo=True, logprobs=None), said(" a"), ended(0, 3, 1))
    assert answer["choices"][0]["text"] == "The sky is"


def entry(token: str, *tops: str) -> dict[str, Any]:
    rated = [{"id": i, "token": top, "bytes": [1], "logprob": -1.0 - i} for i, top in enumerate(tops)]
    return {"id": 7, "token": token, "bytes": [1], "logprob": -9.0, "top_logprobs": rated}


@pytest.mark.parametrize(
    ("asked", "first"),
    [(0, {" é": -9.0}), (1, {" x": -1.0, " é": -9.0}), (2, {" x": -1.0, " y": -2.0, " é": -9.0})],
)
def test_the_older_log_probabilities(asked: int, first: Any) -> None:
    assert sent(logprobs=asked)["logprobs"] == max(1, asked)
    answer = whole(
        exchange(logprobs=asked),
        said(" é", logprobs={"content": [entry(" é", " x", " y")]}),
        said("bc", logprobs={"content": [entry("b"), entry("c")]}),
        ended(0, 3, 3),
    )
    assert answer["choices"][0]["logprobs"] == {
        "tokens": [" é", "b", "c"],
        "token_logprobs": [-9.0, -9.0, -9.0],
        "top_logprobs": [first, {"b": -9.0}, {"c": -9.0}],
        "text_offset": [0, 2, 3],
    }


def test_an_engine_that_has_echo_and_the_older_form_itself() -> None:
    can = Capabilities(echo=True)
    body = sent(can, echo=True, max_tokens=0, logprobs=2, prompt=[5])
    assert (body["echo"], body["max_tokens"], body["logprobs"]) == (True, 0, 2)
    columns = {"tokens": ["The"], "token_logprobs": [None], "top_logprobs": [None], "text_offset": [0]}
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 0}}
    ends = said("", 0)
    ends["choices"][0]["finish_reason"] = "length"
    answer = whole(exchange(can, echo=True, logprobs=2, max_tokens=0), said("The", logprobs=columns), ends, usage)
    assert (answer["choices"][0]["text"], answer["choices"][0]["logprobs"]) == ("The", columns)
    assert answer["usage"]["prompt_tokens"] == 3


def test_a_prompt_that_is_too_long_among_several() -> None:
    error = {"code": 400, "message": "x", "type": "exceed_context_size_error", "n_prompt_tokens": 90, "n_ctx": 80}
    with pytest.raises(UpstreamRejected, match="90 tokens and this model's context holds 80") as caught:
        chunks(exchange(prompt=["a", "b"]), None, {"error": error})
    assert caught.value.reason == "context_length_exceeded"


@pytest.mark.parametrize("events", [[], [said("a")], [ended(0, 1, 1)], [ended(2, 1, 1)]])
def test_an_answer_that_ends_early_or_is_nobody_s(events: list[Any]) -> None:
    with pytest.raises(UpstreamProtocolError):
        chunks(exchange(n=2), *events)
