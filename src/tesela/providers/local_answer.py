"""What one choice of a held answer says: JSON that the model writes, read as deltas while it is written."""

from typing import Protocol

import msgspec

from tesela.providers.local_reader import CallReader, Stops, ValueReader
from tesela.wire.document import encode

_text = msgspec.json.Decoder(str).decode


class Answer(Protocol):
    """One choice.  `feed` takes a piece of what the model wrote, as a JSON string; deltas come out as JSON.

    `opens` says that the first delta carries the role itself, because what kind of answer it is shows only later.
    """

    opens: bool

    def feed(self, piece: bytes) -> list[bytes]: ...

    def finish(self, reason: str) -> tuple[list[bytes], str]: ...


class JsonAnswer:
    """JSON for the caller.  It passes as it is; a limit that is reached behind its end did not cut it."""

    __slots__ = ("_reader",)
    opens = False

    def __init__(self) -> None:
        self._reader = ValueReader()

    def feed(self, piece: bytes) -> list[bytes]:
        if not self._reader.done:
            self._reader.feed(_text(piece))
        return [b'{"content":%s}' % piece]

    def finish(self, reason: str) -> tuple[list[bytes], str]:
        return [], "stop" if self._reader.done else reason


class CallAnswer:
    """A tool call, or a reply when the caller left the choice."""

    __slots__ = ("_called", "_id", "_reader", "_replied", "_stops")
    opens = True

    def __init__(self, call: str, index: int, stops: list[str], structured: bool) -> None:
        self._id = f"call_{call}{index}"
        self._reader = CallReader(structured=structured)
        self._stops = Stops(stops)
        self._called = False
        self._replied = False

    def feed(self, piece: bytes) -> list[bytes]:
        out: list[bytes] = []
        for key, value in self._reader.feed(_text(piece)):
            if key == "name":
                out.append(self._named(value))
            elif key == "arguments":
                form = b'{"tool_calls":[{"index":0,"function":{"arguments":%s}}]}'
                out.append(form % encode(value))
            else:
                self._reply(self._stops.feed(value), out)
        return out

    def _named(self, name: str) -> bytes:
        self._called = True
        form = (
            b'{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":%s,"type":"function",'
            b'"function":{"name":%s,"arguments":""}}]}'
        )
        return form % (encode(self._id), encode(name))

    def _reply(self, text: str, out: list[bytes]) -> None:
        if not self._replied:
            self._replied = True
            out.append(b'{"role":"assistant","content":""}')
        if text:
            out.append(b'{"content":%s}' % encode(text))

    def finish(self, reason: str) -> tuple[list[bytes], str]:
        out: list[bytes] = []
        rest = self._stops.finish()
        if rest:
            self._reply(rest, out)
        if self._called:
            return out, "tool_calls" if self._reader.complete else reason
        return out, "stop" if self._reader.complete or self._stops.stopped else reason
