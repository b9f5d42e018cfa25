"""One stream, from the upstream's bytes to the caller's: framing, translation, usage, the manners of the door.

No socket and no clock: bytes in, bytes out.  It holds what must be held (a partial event, on some doors one chunk) and
nothing that has been sent.
"""

import re
from typing import Protocol

import msgspec

from tesela.errors import TeselaError, UpstreamProtocolError
from tesela.gateway.doors import Manners
from tesela.gateway.midstream import CUT, raise_if_cut, raise_if_error
from tesela.providers.base import Exchange, Framing
from tesela.wire import problem, usage
from tesela.wire.assemble import Assembler
from tesela.wire.sse import DONE, LAST, Event, EventParser, frame
from tesela.wire.tasks import Task

_FINISH = re.compile(rb'"finish_reason"\s*:\s*"')
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_NULL_USAGE = re.compile(rb'"usage"\s*:\s*null\s*,?')
_DELTA = re.compile(rb'"delta"\s*:\s*\{\s*')
_ROLE = re.compile(rb'"role"\s*:')
_ENDED = re.compile(rb'"type"\s*:\s*"response\.(?:completed|incomplete|failed)"')


class Front(Protocol):
    """Turns unified chunks into the events of another API; the Responses API has one."""

    def feed(self, chunk: bytes) -> list[bytes]: ...

    def finish(self) -> list[bytes]: ...

    def failed(self, error: TeselaError) -> list[bytes]: ...


class Source:
    """The unified chunks of one upstream stream, with the usage that went by."""

    __slots__ = ("_chunks", "_framing", "_last", "_parser", "done", "usage")

    def __init__(self, exchange: Exchange) -> None:
        self._parser: EventParser | None = None
        self._framing: Framing
        if exchange.framing is None:
            self._framing = self._parser = EventParser()
        else:
            self._framing = exchange.framing()
        self._chunks = exchange.chunks
        self._last = b""
        self.usage: usage.Usage | None = None
        self.done = False

    def passes(self, piece: bytes) -> bool:
        """Whether these bytes are whole, usual events with a choice each, and nothing that anybody has to look at.

        Nearly every read of a stream is: a few scans in C stand for taking the events apart and framing them again.
        """
        parser = self._parser
        if parser is None or not parser.blank or self.done or self._chunks is not None:
            return False
        if not piece.startswith(b"data: {") or not piece.endswith(b"}\n\n") or b"\r" in piece:
            return False
        events = piece.count(b"}\n\n")
        if events > 1 and piece.count(b"}\n\ndata: {") != events - 1:
            return False
        if piece.count(b"\n") != 2 * events or piece.count(b'"choices"') < events:
            return False
        at = piece.find(b'"usage"')
        if at >= 0 and (events > 1 or not piece.startswith(b'"usage":null', at)):
            return False
        self._last = piece
        return True

    def feed(self, data: bytes) -> list[bytes]:
        """Chunks that these bytes complete.  Raises UpstreamError when the provider reports a failure in mid-stream."""
        out: list[bytes] = []
        for event in self._framing.feed(data):
            self._take(event, out)
        return out

    def _take(self, event: Event, out: list[bytes]) -> None:
        data = event.data
        if self.done:
            return
        if data == DONE:
            self.done = True
            self._close(out)
        elif self._chunks is not None:
            for chunk in self._chunks.feed(event):
                self._seen(chunk, out)
            if self._chunks.ended:
                self.done = True
                self._close(out)
        else:
            if b'"choices"' not in data:
                raise_if_error(event)
            self._seen(data, out)

    def _seen(self, chunk: bytes, out: list[bytes]) -> None:
        if b'"usage"' in chunk:
            found = usage.find(chunk)
            if found is not None:
                self.usage = found
                if _NO_CHOICES.search(chunk):
                    out.append(chunk)
                    return
        self._last = chunk
        out.append(chunk)

    def _close(self, out: list[bytes]) -> None:
        if self._chunks is not None:
            for chunk in self._chunks.finish():
                self._seen(chunk, out)

    def finish(self) -> list[bytes]:
        """The upstream's body ended.  Raises UpstreamProtocolError when the answer did not."""
        out: list[bytes] = []
        if self.done:
            return out
        for event in self._framing.finish():
            if self._chunks is None:
                raise_if_cut(event)
            self._take(event, out)
        if not self.done:
            if self._chunks is None and not (_FINISH.search(self._last) or _ENDED.search(self._last)):
                raise UpstreamProtocolError(CUT)
            self.done = True
            self._close(out)
        return out


class Relay:
    """A stream on its way to a caller that asked for one."""

    __slots__ = ("_as_is", "_first", "_front", "_held", "_manners", "_show_usage", "_task", "source")

    def __init__(
        self, exchange: Exchange, task: Task, manners: Manners, show_usage: bool, front: Front | None = None
    ) -> None:
        self.source = Source(exchange)
        self._task = task
        self._manners = manners
        self._show_usage = show_usage
        self._front = front
        self._as_is = manners is Manners.OPENAI and front is None and task is not Task.RESPONSES
        self._held = b""
        self._first = True

    def feed(self, data: bytes) -> bytes:
        """What to write for these bytes; empty when there is nothing yet, or no more.  Raises UpstreamError."""
        if self._as_is and self.source.passes(data):
            return data
        return b"" if self.source.done else self._write(self.source.feed(data))

    def finish(self) -> bytes:
        """What remains when the upstream has ended.  Raises UpstreamError when it ended too early."""
        return b"" if self.source.done else self._write(self.source.finish())

    def _write(self, chunks: list[bytes]) -> bytes:
        if self._front is not None:
            events = [event for chunk in chunks for event in self._front.feed(chunk)]
            if self.source.done:
                events += self._front.finish()
            return b"".join(map(self._named, events)) + (self._end() if self.source.done else b"")
        if self._task is Task.RESPONSES:
            return b"".join(map(self._named, chunks)) + (self._end() if self.source.done else b"")
        if self._manners is Manners.OPENAI:
            out = [frame(chunk) for chunk in chunks if self._show_usage or not self._only_usage(chunk)]
        else:
            out = [frame(chunk) for chunk in self._plain(chunks)]
        if self.source.done:
            out.append(LAST)
        return b"".join(out)

    def _only_usage(self, chunk: bytes) -> bool:
        return b'"usage"' in chunk and _NO_CHOICES.search(chunk) is not None and usage.span(chunk) is not None

    def _named(self, event: bytes) -> bytes:
        """An event of the Responses API carries its name twice; MLflow's reader takes it from the data alone."""
        name = b"" if self._manners is Manners.DATABRICKS else _name(event)
        return b"event: " + name + b"\n" + frame(event) if name else frame(event)

    def _end(self) -> bytes:
        return LAST if self._manners is Manners.DATABRICKS else b""

    def _plain(self, chunks: list[bytes]) -> list[bytes]:
        """Databricks' manners: the usage stands on the chunk with the finish reason, which therefore waits for it."""
        out: list[bytes] = []
        for chunk in chunks:
            if self._only_usage(chunk):
                if self._held:
                    out.append(_with_usage(self._held, chunk))
                    self._held = b""
                continue
            if self._held:
                out.append(self._held)
                self._held = b""
            if self._first and self._task is Task.CHAT and (delta := _DELTA.search(chunk)):
                self._first = False
                chunk = _with_role(chunk, delta.end())
            if b'"choices"' not in chunk:
                rest = chunk.lstrip()[1:].lstrip()
                chunk = b'{"choices":[]' + (rest if rest.startswith(b"}") else b"," + rest)
            if b"\xe2\x80" in chunk or b"\xc2\x85" in chunk:
                chunk = _escaped(chunk)
            if _FINISH.search(chunk):
                self._held = chunk
            else:
                out.append(chunk)
        if self.source.done and self._held:
            out.append(self._held)
            self._held = b""
        return out

    def failure(self, error: TeselaError) -> bytes:
        """The one event that ends a stream that failed after its first byte."""
        held, self._held = self._held, b""
        before = frame(held) if held else b""
        if self._front is not None:
            return before + b"".join(map(self._named, self._front.failed(error)))
        return before + frame(problem.event(error))


class Gather:
    """A stream whose caller wants the whole answer."""

    __slots__ = ("_assembler", "source")

    def __init__(self, exchange: Exchange, task: Task) -> None:
        self.source = Source(exchange)
        self._assembler = Assembler(task)

    def feed(self, data: bytes) -> None:
        for chunk in self.source.feed(data):
            self._assembler.feed(chunk)

    def finish(self) -> bytes:
        """The whole answer in the unified form.  Raises UpstreamError when the stream ended too early."""
        for chunk in self.source.finish():
            self._assembler.feed(chunk)
        return self._assembler.finish()


class _Type(msgspec.Struct):
    type: str = ""


_type = msgspec.json.Decoder(_Type)


def _name(event: bytes) -> bytes:
    try:
        return _type.decode(event).type.encode()
    except msgspec.DecodeError:
        return b""


def _escaped(chunk: bytes) -> bytes:
    """The chunk without raw U+2028, U+2029 and U+0085, which MLflow's reader takes for the ends of lines.

    They can only stand inside JSON strings, where their escapes mean the same.
    """
    for raw, escape in ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085")):
        chunk = chunk.replace(raw, escape)
    return chunk


def _with_usage(chunk: bytes, counted: bytes) -> bytes:
    """The chunk with the usage object of another one."""
    span, own = usage.span(counted), usage.span(chunk)
    if span is None:
        return chunk
    if own is not None:
        return chunk[: own[0]] + counted[span[0] : span[1]] + chunk[own[1] :]
    chunk = _NULL_USAGE.sub(b"", chunk).rstrip()
    body = chunk[:-1].rstrip().removesuffix(b",")
    return body + b',"usage":' + counted[span[0] : span[1]] + b"}"


def _with_role(chunk: bytes, start: int) -> bytes:
    """The first delta, which begins at `start`, with a role: the old ChatDatabricks cannot read it otherwise."""
    if _ROLE.search(chunk):
        return chunk
    comma = b"" if chunk[start : start + 1] == b"}" else b","
    return chunk[:start] + b'"role":"assistant"' + comma + chunk[start:]
