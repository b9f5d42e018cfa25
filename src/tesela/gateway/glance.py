"""Heads that a connection has seen before.

On a kept connection a client sends the same head again and again, but for the digits of its Content-Length; so does
a server, but for its Date once a second.  When the parser has read a message that came in one piece, the bytes on both
sides of those digits are kept, and the next message that has exactly these bytes and exactly that many after them is
known without parsing: two comparisons in place of a parser and its callbacks, a quarter of all that Python does for
a request.  The parser alone decides what is valid; everything that differs in one byte goes to it.
"""

MAX_HEAD = 8192
_LENGTH = b"\r\ncontent-length: "
_DIGITS = 12


class Familiar:
    """The head of the last message that came in one piece, if it was framed by one Content-Length."""

    __slots__ = ("_after", "_before")

    def __init__(self) -> None:
        self._before = b""
        self._after = b""

    def learn(self, data: bytes) -> bool:
        """Keep the head of a message that the parser accepted.  False when it is not of the form to be recognised."""
        self._before = b""
        end = data.find(b"\r\n\r\n", 0, MAX_HEAD)
        if end < 0:
            return False
        head = data[: end + 2].lower()
        at = head.find(_LENGTH)
        if at < 0 or head.count(b"content-length") != 1 or b"\r\ntransfer-encoding" in head:
            return False
        start = at + len(_LENGTH)
        stop = data.find(b"\r", start)
        # Longer ones are valid, and Python refuses to read numbers of thousands of digits.
        if stop - start > _DIGITS or not data[start:stop].isdigit() or int(data[start:stop]) != len(data) - end - 4:
            return False
        self._before, self._after = data[:start], data[stop : end + 4]
        return True

    def body(self, data: bytes) -> bytes | None:
        """The body of a message with the head that was learned, when `data` is all of it and no more."""
        before = self._before
        if not before or not data.startswith(before):
            return None
        start = len(before)
        stop = data.find(b"\r", start, start + _DIGITS)
        if stop < 0 or not data.startswith(self._after, stop):
            return None
        length = data[start:stop]
        begin = stop + len(self._after)
        return data[begin:] if length.isdigit() and int(length) == len(data) - begin else None

    def forget(self) -> None:
        """The next message is not to be recognised."""
        self._before = b""
