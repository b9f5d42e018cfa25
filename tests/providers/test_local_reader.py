"""JSON read while it is written gives what JSON read whole gives, wherever it is cut."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tesela.errors import UpstreamProtocolError
from tesela.providers.local_reader import CallReader, Stops, StringReader, ValueReader

texts = st.text(st.characters(codec="utf-8"), max_size=30)
values: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


def cuts(text: str, sizes: list[int]) -> list[str]:
    """The text in pieces of these sizes, again and again."""
    out, at, turn = [], 0, 0
    while at < len(text):
        out.append(text[at : at + sizes[turn % len(sizes)]])
        at += sizes[turn % len(sizes)]
        turn += 1
    return out


sizes = st.lists(st.integers(1, 9), min_size=1, max_size=5)


def read_string(pieces: list[str]) -> tuple[str, str | None]:
    reader, out = StringReader(), ""
    for position, piece in enumerate(pieces):
        meant, rest = reader.feed(piece)
        out += meant
        if rest is not None:
            return out, rest + "".join(pieces[position + 1 :])
    return out, None


@given(texts, sizes, st.booleans())
@example('😀"\\\n\u2028', [1], True)
@example("\ud83d\ude00 is one character".encode("utf-16", "surrogatepass").decode("utf-16"), [1], True)
def test_any_string_in_any_pieces(text: str, lengths: list[int], ascii_only: bool) -> None:
    written = json.dumps(text, ensure_ascii=ascii_only)[1:] + ",rest"
    assert read_string(cuts(written, lengths)) == (text, ",rest")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r'\ud83d\ude00"', "😀"),
        (r'\ud83d"', "\ufffd"),
        (r'\ude00"', "\ufffd"),
        (r'\ud83dx"', "\ufffdx"),
        (r'\ud83d\n"', "\ufffd\n"),
        (r'\ud83dA"', "\ufffdA"),
        (r'\ud83d\ud83d\ude00"', "\ufffd😀"),
        (r'\/\b\f\n\r\t\\\""', '/\b\f\n\r\t\\"'),
        ('"', ""),
    ],
)
def test_escapes_byte_at_a_time(written: str, meant: str) -> None:
    for size in (1, 2, 3, 5, len(written)):
        assert read_string(cuts(written, [size])) == (meant, "")


def test_an_escape_that_is_none() -> None:
    with pytest.raises(UpstreamProtocolError):
        StringReader().feed(r"\uzzzz")


@given(values, sizes, st.sampled_from([None, 1, 4]), st.sampled_from([",", "}", " ", "]"]))
def test_any_value_in_any_pieces(value: Any, lengths: list[int], indent: int | None, after: str) -> None:
    written = json.dumps(value, indent=indent)
    reader, out, left = ValueReader(), "", None
    pieces = cuts(f" \n{written}{after}rest", lengths)
    for position, piece in enumerate(pieces):
        part, rest = reader.feed(piece)
        out += part
        if rest is not None:
            left = rest + "".join(pieces[position + 1 :])
            break
    assert (out, left, reader.done) == (written, f"{after}rest", True)


@given(texts.filter(bool), st.dictionaries(texts, values, max_size=3), sizes, st.sampled_from([None, 2]))
def test_a_call_in_any_pieces(name: str, arguments: Any, lengths: list[int], indent: int | None) -> None:
    written = json.dumps({"name": name, "arguments": arguments}, indent=indent)
    reader = CallReader(structured=False)
    events = [event for piece in cuts(written + " \n", lengths) for event in reader.feed(piece)]
    assert events[0] == ("name", name)
    assert json.loads("".join(piece for key, piece in events if key == "arguments")) == arguments
    assert reader.complete


@given(texts, sizes, st.booleans())
def test_a_reply_in_any_pieces(text: str, lengths: list[int], structured: bool) -> None:
    reader = CallReader(structured=structured)
    events = [event for piece in cuts(json.dumps({"reply": text}), lengths) for event in reader.feed(piece)]
    said = "".join(piece for key, piece in events if key == "reply")
    assert (json.loads(said) if structured else said) == text
    assert reader.complete


def test_a_call_that_was_cut_is_not_complete() -> None:
    reader = CallReader(structured=False)
    assert reader.feed('{"name": "f", "arguments": {"a": "b') == [("name", "f"), ("arguments", '{"a": "b')]
    assert not reader.complete


@pytest.mark.parametrize("written", ["x", "[", '{"name" "f"', '{"name": "f" "a"', '{"reply": "a"} x', "{,"])
def test_what_the_grammar_does_not_allow_is_refused(written: str) -> None:
    for size in (1, len(written)):
        with pytest.raises(UpstreamProtocolError):
            _read_call(cuts(written, [size]))


def _read_call(pieces: list[str]) -> None:
    reader = CallReader(structured=False)
    for piece in pieces:
        reader.feed(piece)


@given(st.text("ab", max_size=20), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3), sizes)
def test_stops_end_the_text_where_the_first_one_begins(text: str, stops: list[str], lengths: list[int]) -> None:
    reader = Stops(stops)
    said = ""
    for piece in cuts(text, lengths):
        said += reader.feed(piece)
        if reader.stopped:
            break
    said += reader.finish()
    found = any(stop in text for stop in stops)
    assert reader.stopped == found
    if not found:
        assert said == text
    else:
        assert text.startswith(said)
        assert not any(stop in said for stop in stops)
        assert any(text.startswith(stop, len(said)) for stop in stops)
