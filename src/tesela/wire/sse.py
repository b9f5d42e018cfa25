"""Server-sent events: bytes in, the data of each event out, and back.

Follows https://html.spec.whatwg.org/multipage/server-sent-events.html for reading: lines end in LF, CR or CRLF and
in nothing else (a U+2028 inside a JSON string is data), several `data:` lines join with LF, a line that begins with a
colon is a comment.  What we write is plainer still, `data: <json>` and a blank line, because MLflow's reader raises
on anything else.
"""

from typing import NamedTuple

from tesela.errors import UpstreamProtocolError

DONE = b"[DONE]"
LAST = b"data: [DONE]\n\n"
BOM = b"\xef\xbb\xbf"
MAX_EVENT = 16 * 1024 * 1024
"""Bytes that one event may take.  An image in a data URL is the largest thing that anybody sends in one."""
LINE = 64
"""Bytes that a line of data counts for beside its content, about what it takes in memory: empty lines end too."""


class Event(NamedTuple):
    """One event.  `name` is empty for the usual, nameless one."""

    name: bytes
    data: bytes


def frame(data: bytes) -> bytes:
    """One event with this data, which must hold no line break (JSON holds none)."""
    return b"data: " + data + b"\n\n"


class EventParser:
    """Reads one stream.  `feed` takes bytes cut anywhere and gives the events that they complete."""

    __slots__ = ("_begun", "_buffer", "_data", "_name", "_scanned", "_size", "blank")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._scanned = 0
        self._name = b""
        self._data: list[bytes] = []
        self._size = 0
        self._begun = False
        # Between two events.  The first line may follow a byte order mark, so the first read goes line by line.
        self.blank = False

    def feed(self, piece: bytes) -> list[Event]:
        # Nearly every read is exactly one or several whole events of the form that everybody sends; those are
        # taken apart with one split and no loop over lines.
        if self.blank and piece.startswith(b"data: ") and piece.endswith(b"\n\n") and b"\r" not in piece:
            parts = piece[6:-2].split(b"\n\ndata: ")
            if len(parts) == piece.count(b"\n") // 2 and not piece.count(b"\n") % 2:
                return [Event(b"", part) for part in parts]
        return self._feed_lines(piece)

    def _feed_lines(self, piece: bytes) -> list[Event]:
        buffer = self._buffer
        buffer += piece
        events: list[Event] = []
        start = 0
        while True:
            end, after = _line_end(buffer, self._scanned)
            if end < 0:
                break
            line = bytes(buffer[start:end])
            start = self._scanned = after
            if not self._begun:
                self._begun = True
                line = line.removeprefix(BOM)
            if line:
                self._line(line)
            elif self._data:
                events.append(Event(self._name, b"\n".join(self._data)))
                self._data = []
                self._size = 0
                self._name = b""
            else:
                self._name = b""
        del buffer[:start]
        # A CR at the very end may be half of a CRLF: it stays unread until the next byte tells.
        self._scanned = len(buffer) - 1 if buffer.endswith(b"\r") else len(buffer)
        if len(buffer) + self._size > MAX_EVENT:
            raise UpstreamProtocolError(f"the provider sent an event of more than {MAX_EVENT} bytes")
        self.blank = self._begun and not buffer and not self._data and not self._name
        return events

    def _line(self, line: bytes) -> None:
        field, _, content = line.partition(b":")
        content = content.removeprefix(b" ")
        if field == b"data":
            self._data.append(content)
            self._size += len(content) + LINE
        elif field == b"event":
            self._name = content

    def finish(self) -> list[Event]:
        """The stream ended.  Gives the last event when only its blank line is missing, as some servers do."""
        events = self._feed_lines(b"\n\n") if not self.blank else []
        self.blank = True
        return events


def _line_end(buffer: bytearray, start: int) -> tuple[int, int]:
    """Where the next line ends and where the one after it begins; (-1, -1) when no whole line is there."""
    lf = buffer.find(b"\n", start)
    cr = buffer.find(b"\r", start, lf if lf >= 0 else len(buffer))
    if cr < 0:
        return (lf, lf + 1) if lf >= 0 else (-1, -1)
    if cr + 1 == len(buffer):
        return -1, -1
    return (cr, cr + 2) if buffer[cr + 1 : cr + 2] == b"\n" else (cr, cr + 1)
