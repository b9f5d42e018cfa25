"""Amazon's binary event stream, written here by the specification: https://smithy.io/2.0/aws/amazon-eventstream.html"""

import json
import struct
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tesela.errors import UpstreamProtocolError
from tesela.providers.eventstream import EventStream
from tesela.wire.sse import Event

FORMATS = {2: ">b", 3: ">h", 4: ">i", 5: ">q", 8: ">q"}


def header(name: str, value: Any, kind: int = 7) -> bytes:
    told: bytes = bytes([len(name)]) + name.encode() + bytes([kind])
    if kind in (6, 7):
        return told + struct.pack(">H", len(value)) + bytes(value)
    return told + (struct.pack(FORMATS[kind], value) if kind in FORMATS else bytes(value))


def message(payload: bytes, headers: bytes) -> bytes:
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    raw = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return raw + struct.pack(">I", crc32(raw))


def event(name: str, payload: Any, kind: str = "event") -> bytes:
    """One event as Bedrock sends it."""
    headers = header(f":{kind}-type", name.encode()) + header(":content-type", b"application/json")
    return message(json.dumps(payload).encode(), headers + header(":message-type", kind.encode()))


def read(raw: bytes, size: int = 10**9) -> list[Event]:
    stream = EventStream()
    out = [one for at in range(0, len(raw), size) for one in stream.feed(raw[at : at + size])]
    return out + stream.finish()


THREE = [event("messageStart", {"role": "assistant"}), event("a", {}), event("b", {"é": "x" * 300})]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10**9])
def test_events_however_the_bytes_are_cut(size: int) -> None:
    found = read(b"".join(THREE), size)
    assert [one.name for one in found] == [b"messageStart", b"a", b"b"]
    assert json.loads(found[2].data) == {"é": "x" * 300}


def test_the_example_of_the_specification() -> None:
    """Its one message without headers and payload, byte for byte."""
    assert message(b"", b"") == bytes.fromhex("000000100000000005c248eb7d98c8ff")
    assert read(bytes.fromhex("000000100000000005c248eb7d98c8ff")) == [Event(b"", b"")]


def test_headers_of_every_type() -> None:
    values = [(0, b""), (1, b""), (2, -1), (3, -2), (4, 5), (5, 2**40), (6, b"\x00\xff"), (8, 1), (9, bytes(16))]
    headers = b"".join(header(f"h{kind}", value, kind) for kind, value in values)
    headers += header(":event-type", b"last")
    assert read(message(b"{}", headers)) == [Event(b"last", b"{}")]


def test_exceptions_and_errors() -> None:
    assert read(event("throttlingException", {"message": "slow"}, "exception")) == [
        Event(b"exception:throttlingException", b'{"message": "slow"}')
    ]
    headers = header(":message-type", b"error") + header(":error-code", b"InternalError")
    found = read(message(b"", headers + header(":error-message", b"oh \xff")))
    assert (found[0].name, json.loads(found[0].data)) == (b"error:InternalError", {"message": "oh \ufffd"})


@pytest.mark.parametrize("kept", range(1, len(THREE[0])))
def test_a_stream_that_ends_in_a_message_is_cut(kept: int) -> None:
    with pytest.raises(UpstreamProtocolError, match="middle of a message"):
        read(THREE[1] + THREE[0][:kept])


@pytest.mark.parametrize("at", range(len(THREE[0])))
def test_any_byte_that_is_another_is_found(at: int) -> None:
    damaged = bytearray(THREE[0])
    damaged[at] ^= 0x40
    with pytest.raises(UpstreamProtocolError):
        read(bytes(damaged))


@pytest.mark.parametrize(
    "headers",
    [b"\x05ab", b"\x01a\x07\x00\x05abc", b"\x01a\x0a", b"\x01a\x09\x00", b"\x01a", b"\x01a\x07\x00", b"\xff"],
)
def test_headers_that_cannot_be_read(headers: bytes) -> None:
    with pytest.raises(UpstreamProtocolError, match="header"):
        read(message(b"{}", headers))


@pytest.mark.parametrize(("total", "headers"), [(15, 0), (0, 0), (16, 1), (2**31, 0), (2**20, 2**18), (2**32 - 1, 5)])
def test_lengths_that_cannot_be(total: int, headers: int) -> None:
    prelude = struct.pack(">II", total, headers)
    with pytest.raises(UpstreamProtocolError, match="impossible length"):
        EventStream().feed(prelude + struct.pack(">I", crc32(prelude)))


@settings(max_examples=100)
@given(st.binary(min_size=12, max_size=200))
def test_garbage_is_an_error_and_nothing_else(raw: bytes) -> None:
    with pytest.raises(UpstreamProtocolError):
        read(raw)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=80)), max_size=5), st.data())
def test_what_is_written_is_read(events: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    raw = b"".join(message(payload, header(":event-type", name)) for name, payload in events)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    stream, out = EventStream(), []
    for begin, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        out += stream.feed(raw[begin:end])
    assert out + stream.finish() == [Event(name, payload) for name, payload in events]
