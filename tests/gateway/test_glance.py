"""Heads recognised without parsing: whatever is taken is what the parser would have read, byte for byte."""

from typing import Any

import httptools
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from tesela.gateway.glance import MAX_HEAD, Familiar


class Reading:
    """What httptools makes of some bytes."""

    def __init__(self, data: bytes, kind: Any) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = b""
        self.begun = self.done = 0
        self.refused = False
        self._kind = kind
        try:
            kind(self).feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.refused = True

    def on_message_begin(self) -> None:
        self.begun += 1

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.done += 1

    @property
    def one(self) -> bool:
        """Exactly one message, whole, and nothing after it."""
        return not self.refused and self.begun == self.done == 1

    def but_length(self) -> list[tuple[bytes, bytes]]:
        return [pair for pair in self.headers if pair[0] != b"content-length"]


REQUEST = b"POST /v1/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nContent-Length: 5\r\nA: b\r\n\r\nhello"
ANSWER = b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-type: application/json\r\ncontent-length: 5\r\n\r\nhello"


def learned(message: bytes) -> Familiar:
    familiar = Familiar()
    assert familiar.learn(message)
    return familiar


def test_nothing_is_familiar_at_first() -> None:
    assert Familiar().body(REQUEST) is None
    assert Familiar().body(b"") is None


@pytest.mark.parametrize("message", [REQUEST, ANSWER])
def test_the_same_head_with_any_body(message: bytes) -> None:
    familiar = learned(message)
    assert familiar.body(message) == b"hello"
    for body in (b"", b"x", b"y" * 123_456, b"\r\n\r\n", message):
        assert familiar.body(message.replace(b": 5", b": %d" % len(body))[:-5] + body) == body


def test_forgotten() -> None:
    familiar = learned(REQUEST)
    familiar.forget()
    assert familiar.body(REQUEST) is None


@pytest.mark.parametrize("message", [REQUEST, ANSWER])
def test_one_byte_of_difference_goes_to_the_parser(message: bytes) -> None:
    familiar = learned(message)
    digits = message.index(b": 5") + 2
    for i in range(len(message) - 5):
        if i != digits:
            changed = bytearray(message)
            changed[i] ^= 0x20
            assert familiar.body(bytes(changed)) is None, i
    for i in range(len(message)):
        assert familiar.body(message[:i]) is None
        assert familiar.body(message[i:]) is None or i == 0
    assert familiar.body(message + b"x") is None
    assert familiar.body(message + message) is None


@pytest.mark.parametrize(
    "length", [b"6", b"4", b"", b"-5", b"+5", b"5 ", b" 5", b"5,5", b"0x5", b"5\r\nX: y", b"\xb2", b"5" * 20]
)
def test_lengths_that_are_not_the_length(length: bytes) -> None:
    assert learned(REQUEST).body(REQUEST.replace(b": 5", b": " + length)) is None


def test_another_token_is_never_taken_for_the_one_before() -> None:
    after = b"POST / HTTP/1.1\r\nContent-Length: 5\r\nAuthorization: Bearer a\r\n\r\nhello"
    for message in (REQUEST, after):
        other = message.replace(b"Bearer a", b"Bearer b")
        assert learned(message).body(other) is None
        assert learned(message).body(message.replace(b"Authorization: Bearer a\r\n", b"")) is None


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"POST / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhell",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello!",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\ntransfer-encoding: identity\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length:5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nX-Content-Length: 5\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nContent-Length: %b5\r\n\r\nhello" % (b"0" * 5000),
        b"POST / HTTP/1.1\r\nX: " + b"y" * MAX_HEAD + b"\r\nContent-Length: 5\r\n\r\nhello",
    ],
)
def test_what_is_not_learned(message: bytes) -> None:
    familiar = learned(REQUEST)
    assert not familiar.learn(message)
    assert familiar.body(REQUEST) is None, "the old head is gone all the same"
    assert familiar.body(message) is None


KINDS = {
    httptools.HttpRequestParser: [b"POST / HTTP/1.1\r\n", b"\r\nPOST / HTTP/1.1\r\n", b"POST / HTTP/1.0\r\n"],
    httptools.HttpResponseParser: [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 204 No Content\r\n", b"HTTP/1.1 100 Go on\r\n"],
}
LINE = st.sampled_from(
    [
        b"Content-Length: 5", b"content-length: 5", b"CONTENT-LENGTH: 5", b"Content-Length:5", b"Content-Length: 5 ",
        b"Content-Length:  5", b"Content-Length: 05", b"Content-Length: 0", b"Content-Length: 12",
        b" Content-Length: 5",
        b"Content-Length : 5", b"Content-Length: 5\n", b"Content-Length: 5\r\n ", b"X: y\n", b"X: y\r", b"\tfold",
        b"Transfer-Encoding: chunked", b"transfer-encoding: identity", b"Transfer-Encoding : chunked",
        b"X-Content-Length: 5",
        b"Authorization: a", b"Authorization: b", b"X: content-length: 5", b"Connection: close", b"Connection: upgrade",
        b"Upgrade: h2c", b"Expect: 100-continue", b"",
    ]
)  # fmt: skip
BODY = st.sampled_from(
    [b"hello", b"", b"\r\n\r\n5", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n", b"Content-Length: 5\r\n\r\nhello"]
)


@st.composite
def messages(draw: st.DrawFn, kind: Any) -> bytes:
    lines = draw(st.lists(LINE, max_size=3))
    lines.insert(draw(st.integers(0, len(lines))), draw(st.sampled_from([b"Content-Length: 5", b"content-length: 5"])))
    body = draw(st.just(b"hello") | BODY)
    return draw(st.sampled_from(KINDS[kind])) + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


@st.composite
def changed(draw: st.DrawFn, kind: Any, message: bytes) -> bytes:
    """A message not far from another one."""
    how = draw(st.sampled_from(["same", "length", "splice", "append", "other"]))
    if how == "length":
        body = draw(st.binary(max_size=12))
        digits = draw(st.sampled_from([b"%d", b"%03d", b"%d ", b" %d", b"+%d"])) % len(body)
        head = message[: message.find(b"\r\n\r\n") + 4]
        return head.replace(b": 5", b": " + digits) + body
    if how == "splice":
        at = draw(st.integers(0, len(message)))
        return message[:at] + draw(st.binary(max_size=3)) + message[at + draw(st.integers(0, 3)) :]
    if how == "append":
        return message + draw(st.binary(max_size=5) | BODY)
    return draw(messages(kind)) if how == "other" else message


@given(st.data(), st.sampled_from(list(KINDS)))
@settings(max_examples=300, suppress_health_check=[HealthCheck.filter_too_much])
def test_what_is_taken_is_what_the_parser_reads(data: st.DataObject, kind: Any) -> None:
    message = data.draw(messages(kind))
    known = Reading(message, kind)
    familiar = Familiar()
    assume(known.one and familiar.learn(message))
    following = data.draw(changed(kind, message))
    body = familiar.body(following)
    if body is None:
        return
    event("the same" if following == message else "another body")
    read = Reading(following, kind)
    assert read.one
    assert read.body == body
    assert read.but_length() == known.but_length()
