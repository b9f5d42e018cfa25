"""Reads JSON that a model is still writing: the characters of a string, or of a value, as they come.

Pieces may be cut anywhere, inside an escape or between the halves of a surrogate pair.  It judges no more than it
must to find where a value ends: what the grammar lets the model write is the engine's affair.
"""

import re

from tesela.errors import UpstreamProtocolError

ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
LOST = "\ufffd"
SPACE = " \t\r\n"

_in_string = re.compile(r'["\\]')
_in_value = re.compile(r'["{}\[\],]|[ \t\r\n]')


class StringReader:
    """One JSON string, fed from behind its opening quote.  Gives the text that it means."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> tuple[str, str | None]:
        """What the piece adds to the text, and what follows the closing quote: None while there is none."""
        piece = self._held + piece
        out: list[str] = []
        at = 0
        while True:
            special = _in_string.search(piece, at)
            if special is None:
                out.append(piece[at:])
                self._held = ""
                return "".join(out), None
            out.append(piece[at : special.start()])
            at = special.start()
            if piece[at] == '"':
                self._held = ""
                return "".join(out), piece[at + 1 :]
            meant, length = _escape(piece, at)
            if not length:
                self._held = piece[at:]
                return "".join(out), None
            out.append(meant)
            at += length


def _escape(text: str, at: int) -> tuple[str, int]:
    """The escape at a backslash and its length; a length of 0 when more characters are needed to tell."""
    kind = text[at + 1 : at + 2]
    if kind != "u":
        return ESCAPES.get(kind, LOST), 2 if kind else 0
    if len(text) < at + 6:
        return "", 0
    code = _hex(text, at + 2)
    if not 0xD800 <= code < 0xE000:
        return chr(code), 6
    if code >= 0xDC00:
        return LOST, 6
    after = text[at + 6 : at + 8]
    if not "\\u".startswith(after):
        return LOST, 6
    if len(text) < at + 12:
        return "", 0
    low = _hex(text, at + 8)
    if not 0xDC00 <= low < 0xE000:
        return LOST, 6
    return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)), 12


def _hex(text: str, at: int) -> int:
    try:
        return int(text[at : at + 4], 16)
    except ValueError as exc:
        raise UpstreamProtocolError("the engine wrote an escape that is not JSON") from exc


class ValueReader:
    """One JSON value of any type, passed on as it is written.  Leading white space is left out."""

    __slots__ = ("_begun", "_depth", "_escaped", "_quoted", "done")

    def __init__(self) -> None:
        self._begun = False
        self._depth = 0
        self._quoted = False
        self._escaped = False
        self.done = False

    def feed(self, piece: str) -> tuple[str, str | None]:
        """What of the piece belongs to the value, and what follows it: None while it goes on."""
        if not self._begun:
            piece = piece.lstrip(SPACE)
        at = 0
        while at < len(piece):
            self._begun = True
            if self._quoted:
                at = self._string(piece, at)
                if not self._quoted and not self._depth:
                    return self._end(piece, at)
                continue
            mark = _in_value.search(piece, at)
            if mark is None:
                return piece, None
            at = self._mark(piece, mark.start())
            if self.done:
                return self._end(piece, at)
        return piece, None

    def _end(self, piece: str, at: int) -> tuple[str, str]:
        self.done = True
        return piece[:at], piece[at:]

    def _string(self, piece: str, at: int) -> int:
        if self._escaped:
            self._escaped = False
            return at + 1
        special = _in_string.search(piece, at)
        if special is None:
            return len(piece)
        if special[0] == '"':
            self._quoted = False
        else:
            self._escaped = True
        return special.end()

    def _mark(self, piece: str, at: int) -> int:
        """Take the mark at a position; gives where to go on from, or the end of the value when `done` is set."""
        mark = piece[at]
        if mark == '"':
            self._quoted = True
        elif mark in "{[":
            self._depth += 1
        elif mark in "}]" and self._depth:
            self._depth -= 1
            self.done = not self._depth
        elif not self._depth:
            self.done = True  # a number or a word ends with what stands behind it
            return at
        return at + 1


class CallReader:
    """An answer in the form of `local_tools.schema`: `{"name": …, "arguments": …}` or `{"reply": …}`.

    `feed` gives (key, piece): the name at once when it is complete, arguments and reply as they are written.  The
    pieces of `arguments` are JSON; those of `reply` are text, or JSON when `structured`.
    """

    __slots__ = ("_key", "_name", "_state", "_structured", "_value")

    def __init__(self, *, structured: bool) -> None:
        self._structured = structured
        self._state = "open"
        self._key = ""
        self._name = ""
        self._value: StringReader | ValueReader = StringReader()

    @property
    def complete(self) -> bool:
        return self._state == "end"

    def feed(self, piece: str) -> list[tuple[str, str]]:
        """Raises UpstreamProtocolError when the text does not have the form."""
        out: list[tuple[str, str]] = []
        rest: str | None = piece
        while rest:
            if self._state in ("key", "value"):
                rest = self._text(rest, out)
                continue
            rest = rest.lstrip(SPACE)
            if rest and self._state == "end":
                raise UpstreamProtocolError("the engine went on after the end of its answer")
            if rest:
                rest = self._punctuation(rest)
        return out

    def _punctuation(self, text: str) -> str:
        found = STEPS.get((self._state, text[0]))
        if found is not None:
            self._state = found
            if found == "key":
                self._value, self._key = StringReader(), ""
            return text[1:]
        if self._state != "before value":
            raise UpstreamProtocolError("the engine wrote something else than the JSON that it was held to")
        self._state = "value"
        if text[0] == '"' and (self._key == "name" or (self._key == "reply" and not self._structured)):
            self._value = StringReader()
            return text[1:]
        self._value = ValueReader()
        return text

    def _text(self, text: str, out: list[tuple[str, str]]) -> str | None:
        piece, rest = self._value.feed(text)
        if self._state == "key":
            self._key += piece
            if rest is not None:
                self._state = "colon"
            return rest
        if self._key == "name":
            self._name += piece
            if rest is not None:
                out.append(("name", self._name))
        elif piece:
            out.append((self._key, piece))
        if rest is not None:
            self._state = "comma"
        return rest


STEPS: dict[tuple[str, str], str] = {
    ("open", "{"): "before key",
    ("before key", '"'): "key",
    ("before key", "}"): "end",
    ("colon", ":"): "before value",
    ("comma", ","): "before key",
    ("comma", "}"): "end",
}
"""(state, character) to the next state; keys and values in between are read by their own readers."""


class Stops:
    """Ends a text at the first stop string, wherever pieces are cut.  Holds back what may be the beginning of one."""

    __slots__ = ("_held", "_stops", "stopped")

    def __init__(self, stops: list[str]) -> None:
        self._stops = stops
        self._held = ""
        self.stopped = False

    def feed(self, piece: str) -> str:
        if self.stopped or not self._stops:
            return "" if self.stopped else piece
        text = self._held + piece
        found = [at for at in map(text.find, self._stops) if at >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def finish(self) -> str:
        """What was held back and turned out to be no stop string."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """How many characters at the end of a text may be the beginning of a stop string."""
    for length in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
