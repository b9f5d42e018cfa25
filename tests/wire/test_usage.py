"""Token counts found in answers and chunks, however they are written, and never in what a model said."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tesela.wire.usage import Usage, find, span

COUNTED = Usage(11, 7, 18)
GIVEN = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def answer(**more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}
    return {"id": "x", "object": "chat.completion", "choices": [choice], **more}


@pytest.mark.parametrize(
    "usage",
    [
        GIVEN,
        {**GIVEN, "prompt_tokens_details": {"cached_tokens": 0}, "completion_tokens_details": {"reasoning_tokens": 3}},
        {**GIVEN, "prompt_tokens_details": None},
        {**GIVEN, "deep": {"deeper": {"deepest": {}}}},
        {**GIVEN, "text": 'a } and a { and a \\" too'},
        {"prompt_tokens": "11", "completion_tokens": "7", "total_tokens": "18"},
        {"prompt_tokens": 11.0, "completion_tokens": 7.0, "total_tokens": 18.0},
    ],
    ids=["plain", "details", "null details", "deep", "braces in a string", "strings", "floats"],
)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("text", ["Hi", "long " * 1000])
@pytest.mark.parametrize("first", [True, False])
def test_usage_of_a_whole_answer(usage: dict[str, Any], indent: int | None, first: bool, text: str) -> None:
    rest = answer()
    rest["choices"][0]["message"]["content"] = text
    whole = {"usage": usage, **rest} if first else {**rest, "usage": usage}
    assert find(json.dumps(whole, indent=indent).encode()) == COUNTED


@pytest.mark.parametrize("padding", ["", " " * 5000])
def test_counts_that_are_null_take_none_of_the_others_away(padding: str) -> None:
    usage = {"prompt_tokens": 11, "completion_tokens": None, "total_tokens": 11}
    assert find((padding + json.dumps(answer(usage=usage))).encode()) == Usage(11, 0, 11)
    nothing = {"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}
    assert find((padding + json.dumps(answer(usage=nothing))).encode()) == Usage()


@pytest.mark.parametrize("text", ["Hi", "long " * 1000])
@pytest.mark.parametrize("event", [True, False])
def test_the_responses_api_has_names_of_its_own(text: str, event: bool) -> None:
    usage = {"input_tokens": 11, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 7, "total_tokens": 18}
    whole: dict[str, Any] = {"id": "r", "output": [{"text": text}], "usage": usage, "user": None}
    if event:
        whole = {"type": "response.completed", "response": whole, "sequence_number": 9}
    assert find(json.dumps(whole).encode()) == COUNTED


def test_embeddings_have_no_completion_tokens() -> None:
    body = {"data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 11, "total_tokens": 11}}
    assert find(json.dumps(body).encode()) == Usage(11, 0, 11)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"usage",
        b'{"choices":[]}',
        b'{"usage":null}',
        b'{"usage" : null , "choices":[]}',
        b'{"usage":"lots"}',
        b'{"usage":[1]}',
        b'{"usage":{"prompt_tokens":"many"}}',
        b'{"usage":{',
        b'{"usage":',
        b'"usage"',
        b'{"a":"usage"}',
        b"\xff" + b'{"usage":null}',
        b'{"usage":{"\xff":1,"prompt_tokens":"\xff"}}',
        b'{"\xff":1,"usage":{"prompt_tokens":{}}}',
        b'{"usage":' + b"[" * 100_000,
        b'{"usage":' + b"{" * 100_000,
        b'{"usage":' + b'{"a":' * 100_000,
    ],
)
def test_no_usage_and_no_exception(body: bytes) -> None:
    assert find(body) is None


def test_what_a_model_says_is_not_counted() -> None:
    said = '{"usage":{"prompt_tokens":1000000,"completion_tokens":1,"total_tokens":1}}'
    whole = answer()
    whole["choices"][0]["message"]["content"] = said
    assert find(json.dumps(whole).encode()) is None
    assert find(json.dumps({"usage": GIVEN, **whole}).encode()) == COUNTED
    assert find(json.dumps({**whole, "usage": GIVEN}).encode()) == COUNTED


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["a", "b", "choices", "x"]), inner),
    max_leaves=20,
)


@given(
    before=st.dictionaries(st.sampled_from(["id", "choices", "x"]), JSON),
    after=st.dictionaries(st.sampled_from(["created", "y"]), JSON),
    details=st.dictionaries(st.sampled_from(["d", "e"]), st.dictionaries(st.text(max_size=3), st.integers(0, 9))),
    spaced=st.booleans(),
)
@settings(max_examples=200)
def test_found_wherever_it_stands(before: Any, after: Any, details: Any, spaced: bool) -> None:
    whole = {**before, "usage": {**GIVEN, **details}, **after}
    body = json.dumps(whole, ensure_ascii=spaced, indent=1 if spaced else None).encode()
    assert find(body) == COUNTED
    place = span(body)
    if place is not None:
        assert json.loads(body[slice(*place)]) == whole["usage"]


@given(
    st.binary(max_size=80) | st.lists(st.sampled_from([b'"usage"', b":", b"{", b"}", b"[", b"1", b'"'])).map(b"".join)
)
@settings(max_examples=300)
def test_never_raises(body: bytes) -> None:
    found, place = find(body), span(body)
    assert found is None or found.total_tokens >= 0
    assert place is None or body[place[0] : place[0] + 1] == b"{"


def test_span_is_that_of_the_object_and_of_nothing_else() -> None:
    chunk = b'{"choices":[],"usage" : {"prompt_tokens":1,"d":{"x":2}} ,"z":1}'
    place = span(chunk)
    assert place is not None
    assert chunk[slice(*place)] == b'{"prompt_tokens":1,"d":{"x":2}}'
    assert span(b'{"choices":[],"usage":null}') is None
