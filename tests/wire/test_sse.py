"""The reader of event streams against the standard's own words, with the bytes cut everywhere."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tesela.errors import UpstreamProtocolError
from tesela.wire.sse import DONE, LAST, MAX_EVENT, Event, EventParser, frame


def standard(stream: bytes) -> list[Event]:
    """https://html.spec.whatwg.org/multipage/server-sent-events.html, section 9.2.6, over the whole stream at once.

    With one liberty that our reader takes: the end of the stream ends the last event too.
    """
    events: list[Event] = []
    name = b""
    data: list[bytes] = []
    for line in [*re.split(rb"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf")), b""]:
        if not line:
            if data:
                events.append(Event(name, b"\n".join(data)))
            name, data = b"", []
            continue
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            data.append(value)
        elif field == b"event":
            name = value
    return events


def fed(pieces: list[bytes]) -> list[Event]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)] + parser.finish()


def cut(stream: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(stream) + 1) for place in places}), len(stream)]
    return [stream[a:b] for a, b in pairwise(edges)]


TABLE: dict[str, tuple[bytes, list[Event]]] = {
    "one": (b"data: a\n\n", [Event(b"", b"a")]),
    "two": (b"data: a\n\ndata: b\n\n", [Event(b"", b"a"), Event(b"", b"b")]),
    "no space": (b"data:a\n\n", [Event(b"", b"a")]),
    "only the first space goes": (b"data:  a \n\n", [Event(b"", b" a ")]),
    "crlf": (b"data: a\r\n\r\ndata: b\r\n\r\n", [Event(b"", b"a"), Event(b"", b"b")]),
    "cr": (b"data: a\r\rdata: b\r\r", [Event(b"", b"a"), Event(b"", b"b")]),
    "mixed": (b"data: a\r\n\ndata: b\r\r\ndata: c\n\r", [Event(b"", b"a"), Event(b"", b"b"), Event(b"", b"c")]),
    "several lines": (b"data: a\ndata: b\ndata:\n\n", [Event(b"", b"a\nb\n")]),
    "comments": (b": hello\n\ndata: a\n: in between\ndata: b\n\n:\n\n", [Event(b"", b"a\nb")]),
    "named": (b"event: ping\ndata: {}\n\ndata: a\n\n", [Event(b"ping", b"{}"), Event(b"", b"a")]),
    "a name without data is no event": (b"event: ping\n\ndata: a\n\n", [Event(b"", b"a")]),
    "unknown fields": (b"id: 7\nretry: 10\nfoo\ndata: a\n\n", [Event(b"", b"a")]),
    "data without a colon": (b"data\n\n", [Event(b"", b"")]),
    "empty data": (b"data: \n\n", [Event(b"", b"")]),
    "fields are told apart by case": (b"Data: a\n\ndata: b\n\n", [Event(b"", b"b")]),
    "blank lines": (b"\n\n\r\n\ndata: a\n\n\n\n\n", [Event(b"", b"a")]),
    "colons in data": (b"data: a: b\n\n", [Event(b"", b"a: b")]),
    "other line breaks are data": (
        'data: {"a":"x\u2028y\u2029z\x85\x0b\x0c\x1e"}\n\n'.encode(),
        [Event(b"", '{"a":"x\u2028y\u2029z\x85\x0b\x0c\x1e"}'.encode())],
    ),
    "a byte order mark opens the stream": (b"\xef\xbb\xbfdata: a\n\ndata: b\n\n", [Event(b"", b"a"), Event(b"", b"b")]),
    "and nothing else": (b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [Event(b"", b"a")]),
    "no blank line at the end": (b"data: a\n\ndata: [DONE]\n", [Event(b"", b"a"), Event(b"", DONE)]),
    "no line break at the end": (b"data: a\n\ndata: [DONE]", [Event(b"", b"a"), Event(b"", DONE)]),
    "a CR at the end": (b"data: a\r", [Event(b"", b"a")]),
    "the fast form broken by one line": (b"data: a\nid: 1\nid: 2\n\n", [Event(b"", b"a")]),
    "data that looks like a separator": (
        b"data: a\n\ndata: \n\ndata: b\n\n",
        [Event(b"", b"a"), Event(b"", b""), Event(b"", b"b")],
    ),
    "nothing": (b"", []),
}


@pytest.mark.parametrize("name", TABLE)
def test_events_at_once_byte_by_byte_and_at_every_cut(name: str) -> None:
    stream, expected = TABLE[name]
    assert standard(stream) == expected, "the table itself is wrong"
    assert fed([stream]) == expected
    assert fed([stream[i : i + 1] for i in range(len(stream))]) == expected
    for i in range(len(stream) + 1):
        for j in range(i, len(stream) + 1):
            assert fed([stream[:i], stream[i:j], stream[j:]]) == expected


STREAMS = st.lists(
    st.sampled_from(
        [b"data: ", b"data:", b"data", b"event: ", b"id:", b":", b"\n", b"\n\n", b"\r", b"\r\n", b"{}", b" ", b"a",
         b"\xef\xbb\xbf", "\u2028".encode(), b"\x00", b"data: x\n\n", b"data: [DONE]\n\n"]
    ),
    max_size=30,
).map(b"".join)  # fmt: skip


@given(stream=STREAMS | st.binary(max_size=60), places=st.lists(st.integers(0, 200), max_size=8))
@example(stream=b"data: a\n\n\xef\xbb\xbfdata: b\n\n", places=[9])
@settings(max_examples=500)
def test_any_cut_of_any_stream_gives_the_events_of_the_standard(stream: bytes, places: list[int]) -> None:
    assert fed(cut(stream, places)) == standard(stream)


@given(
    data=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n")).map(str.encode), max_size=6),
    places=st.lists(st.integers(0, 500), max_size=6),
)
@settings(max_examples=200)
def test_what_is_framed_is_read_back(data: list[bytes], places: list[int]) -> None:
    stream = b"".join(map(frame, data)) + LAST
    assert fed(cut(stream, places)) == [*(Event(b"", one) for one in data), Event(b"", DONE)]


def test_events_come_as_soon_as_their_blank_line() -> None:
    parser = EventParser()
    assert parser.feed(b"data: a\n") == []
    assert parser.feed(b"\n") == [Event(b"", b"a")]
    assert parser.feed(b"data: b\n\nda") == [Event(b"", b"b")]
    assert parser.feed(b"ta: c\n\n") == [Event(b"", b"c")]
    assert parser.finish() == []


def test_finish_says_everything_once() -> None:
    parser = EventParser()
    parser.feed(b"data: a")
    assert parser.finish() == [Event(b"", b"a")]
    assert parser.finish() == []


@pytest.mark.parametrize(
    "piece", [b"x" * 65536, b"data: " + b"x" * 65530 + b"\n", b"data:\n" * 10922], ids=["line", "lines", "empty lines"]
)
def test_an_event_has_an_end_or_the_stream_has(piece: bytes) -> None:
    parser = EventParser()

    def send() -> None:
        for _ in range(MAX_EVENT // len(piece) + 2):
            assert parser.feed(piece) == []

    with pytest.raises(UpstreamProtocolError, match=str(MAX_EVENT)):
        send()


def test_many_events_of_any_number_are_within_the_limit() -> None:
    parser = EventParser()
    piece = b"data: " + b"x" * 65528 + b"\n\n"
    for _ in range(300):
        assert len(parser.feed(b"id: 1\n" + piece)) == 1
