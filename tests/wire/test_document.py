"""Bodies decoded one level deep: what is not looked at stays as it came, byte for byte."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tesela.errors import InvalidRequest
from tesela.wire.document import Document, decode, encode, flag, raw, text, value

TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), JSON), st.booleans(), st.sampled_from([None, 0, 3]))
@settings(max_examples=100)
def test_untouched_values_keep_their_bytes(given: Any, ascii_only: bool, indent: int | None) -> None:
    body = json.dumps(given, ensure_ascii=ascii_only, indent=indent).encode()
    document = decode(body)
    assert {name: json.loads(bytes(one)) for name, one in document.items()} == given
    assert all(bytes(one) in body for one in document.values())
    assert json.loads(encode(document)) == given
    assert list(document) == list(given)


def test_numbers_and_spaces_inside_values_are_not_rewritten() -> None:
    body = b'{"a": 1.10e+01 , "b":[ 1 ,2 ], "c":"\\u00e9\\/", "d": 123456789012345678901234567890}'
    document = decode(body)
    assert [bytes(one) for one in document.values()] == [
        b"1.10e+01", b"[ 1 ,2 ]", b'"\\u00e9\\/"', b"123456789012345678901234567890",
    ]  # fmt: skip
    document["a"] = raw("x")
    assert encode(document) == (b'{"a":"x","b":[ 1 ,2 ],"c":"\\u00e9\\/","d":123456789012345678901234567890}')


def test_of_equal_keys_the_last_one_is_the_only_one() -> None:
    document = decode(b'{"model":"a","x":1,"model":"b","mod\\u0065l":"c"}')
    assert encode(document).count(b'"model"') == 1
    assert text(document, "model") == "c"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "no body"),
        (b" \r\n\t", "no body"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b'"{}"', "must be a JSON object"),
        (b"1", "must be a JSON object"),
        (b"{", "not valid JSON"),
        (b"{}}", "not valid JSON"),
        (b"{} {}", "not valid JSON"),
        (b"{'a':1}", "not valid JSON"),
        (b'{"a":1,}', "not valid JSON"),
        (b'{"a":NaN}', "not valid JSON"),
        (b'{"a":01}', "not valid JSON"),
        (b'{"a":"\n"}', "not valid JSON"),
        (b'{"a":"\\ud800"}', "not valid JSON"),
        (b'{"a":{"b":"\\ud800x"}}', "not valid JSON"),
        (b'{"a":"\\x"}', "not valid JSON"),
        (b"\xef\xbb\xbf{}", "not valid JSON"),
        (b'{"a":"\xff"}', "not UTF-8: byte 6"),
        (b'{"a":"\xed\xa0\x80"}', "not UTF-8: byte 6"),
        (b'{"a":"\xc3', "not UTF-8"),
        ("{}".encode("utf-16"), "not UTF-8"),
        ("{}".encode("utf-16-le"), "not valid JSON"),
        (b'{"a":' + b"[" * 200_000, "nested too deeply"),
        (b'{"a":' * 200_000, "nested too deeply"),
        (b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "nested too deeply"),
    ],
)
def test_what_is_not_an_object_in_utf8_is_refused_with_a_sentence(body: bytes, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        decode(body)


@given(
    st.binary(max_size=100)
    | st.lists(st.sampled_from(list('{}[]",:\\u10e- \n')), max_size=40).map("".join).map(str.encode)
)
@settings(max_examples=500)
def test_any_bytes_give_a_document_or_a_refusal(body: bytes) -> None:
    try:
        document = decode(body)
    except InvalidRequest:
        return
    assert json.loads(encode(document)).keys() == document.keys()


def test_whatever_decodes_can_be_read_whole_or_is_refused_by_name() -> None:
    outcomes: set[object] = set()
    for depth in range(1, 2000, 37):
        try:
            document = decode(b'{"a":' + b"[" * depth + b"]" * depth + b"}")
            outcomes.add(type(value(document, "a")))
        except InvalidRequest as error:
            outcomes.add(error.param or "body")
    assert outcomes <= {list, "a", "body"}
    assert {list, "body"} <= outcomes


def test_value() -> None:
    document = decode(b'{"a":[1,{"b":null}],"n":null}')
    assert value(document, "a") == [1, {"b": None}]
    assert value(document, "n") is None
    assert value(document, "absent") is None


@pytest.mark.parametrize(("given", "read"), [(b'"x"', "x"), (b'""', ""), (b"null", None), (b'"\\u00e9"', "é")])
def test_text(given: bytes, read: str | None) -> None:
    document: Document = {"a": msgspec.Raw(given)}
    assert text(document, "a") == read
    assert text({}, "a") is None


@pytest.mark.parametrize("given", [b"1", b"[]", b"{}", b"true"])
def test_text_of_another_type_is_refused_by_name(given: bytes) -> None:
    with pytest.raises(InvalidRequest, match="'a' must be a string") as caught:
        text({"a": msgspec.Raw(given)}, "a")
    assert caught.value.param == "a"


def test_flag() -> None:
    document = decode(b'{"t":true,"f": false ,"n":null}')
    assert [flag(document, name) for name in ("t", "f", "n", "absent")] == [True, False, False, False]
    for wrong in (b"1", b'"true"', b"[]", b"0"):
        with pytest.raises(InvalidRequest, match="'a' must be true or false") as caught:
            flag({"a": msgspec.Raw(wrong)}, "a")
        assert caught.value.param == "a"
