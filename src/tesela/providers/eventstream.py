"""Amazon's binary event stream: bytes in, events out.

https://smithy.io/2.0/aws/amazon-eventstream.html.  A message is two lengths and their checksum, headers, a payload and
a checksum of all.  An event's name is its type; an exception's begins with `exception:`, an error's with `error:`.
"""

import struct
from zlib import crc32

from tesela.errors import UpstreamProtocolError
from tesela.wire.document import encode
from tesela.wire.sse import Event

TYPE = "application/vnd.amazon.eventstream"
PRELUDE, LEAST = 12, 16
MAX_MESSAGE = 24 * 1024 * 1024
"""The specification's limit for a payload is 24 MiB less; what is larger is no message."""
MAX_HEADERS = 128 * 1024

_TWO = struct.Struct(">II")
_CRC = struct.Struct(">I")
_SHORT = struct.Struct(">H")
FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of a header's value, by its type: true, false, numbers, a time, a UUID.  6, bytes, and 7, text, tell theirs."""
TEXT = 7


class EventStream:
    """Reads one stream.  `feed` takes bytes cut anywhere and gives the events that they complete."""

    __slots__ = ("_buffer", "_checked")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._checked = 0

    def feed(self, piece: bytes) -> list[Event]:
        """Raises UpstreamProtocolError for bytes that are no message."""
        buffer = self._buffer
        buffer += piece
        out: list[Event] = []
        start = 0
        while len(buffer) - start >= PRELUDE:
            total = self._checked or _total(buffer, start)
            if len(buffer) - start < total:
                self._checked = total
                break
            self._checked = 0
            out.append(_message(bytes(buffer[start : start + total])))
            start += total
        del buffer[:start]
        return out

    def finish(self) -> list[Event]:
        if self._buffer:
            raise UpstreamProtocolError("the provider's event stream ended in the middle of a message")
        return []


def _total(buffer: bytearray, start: int) -> int:
    """The length of the message that begins here."""
    total, headers = _TWO.unpack_from(buffer, start)
    (told,) = _CRC.unpack_from(buffer, start + 8)
    if crc32(buffer[start : start + 8]) != told:
        raise UpstreamProtocolError("the provider's event stream is damaged: a message's lengths have another checksum")
    if total < LEAST + headers or headers > MAX_HEADERS or total > MAX_MESSAGE:
        raise UpstreamProtocolError("the provider's event stream has a message of an impossible length")
    return int(total)


def _message(raw: bytes) -> Event:
    (told,) = _CRC.unpack_from(raw, len(raw) - 4)
    if crc32(raw[:-4]) != told:
        raise UpstreamProtocolError("the provider's event stream is damaged: a message has another checksum")
    (length,) = _CRC.unpack_from(raw, 4)
    headers = _headers(raw[PRELUDE : PRELUDE + length])
    payload = raw[PRELUDE + length : -4]
    kind = headers.get(b":message-type", b"event")
    if kind == b"exception":
        return Event(b"exception:" + headers.get(b":exception-type", b""), payload)
    if kind == b"error":
        message = headers.get(b":error-message", b"").decode(errors="replace")
        return Event(b"error:" + headers.get(b":error-code", b""), encode({"message": message}))
    return Event(headers.get(b":event-type", b""), payload)


def _headers(raw: bytes) -> dict[bytes, bytes]:
    """The texts among the headers, by name."""
    out: dict[bytes, bytes] = {}
    at = 0
    try:
        while at < len(raw):
            name_end = at + 1 + raw[at]
            name, kind = raw[at + 1 : name_end], raw[name_end]
            at, length = _value(raw, name_end + 1, kind)
            if kind == TEXT:
                out[name] = raw[at : at + length]
            at += length
    except (IndexError, struct.error) as exc:
        raise UpstreamProtocolError(CUT) from exc
    if at > len(raw):
        raise UpstreamProtocolError(CUT)
    return out


CUT = "the provider's event stream has headers that are cut short"


def _value(raw: bytes, at: int, kind: int) -> tuple[int, int]:
    """Where a header's value begins, and how long it is."""
    if kind in FIXED:
        return at, FIXED[kind]
    if kind not in (TEXT - 1, TEXT):
        raise UpstreamProtocolError(f"the provider's event stream has a header of the unknown type {kind}")
    (length,) = _SHORT.unpack_from(raw, at)
    return at + 2, int(length)
