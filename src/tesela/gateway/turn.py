"""One request on a client's connection that is answered without ASGI, and the caller of its invocation."""

import asyncio
from typing import Any, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from tesela.errors import TeselaError
from tesela.gateway import doors
from tesela.gateway.invocation import Invocation
from tesela.gateway.invoke import Gateway
from tesela.gateway.refusal import refuse
from tesela.snapshot import Credential


class Connection(Protocol):
    """What a turn needs of the connection that it is on."""

    gateway: Gateway
    transport: asyncio.Transport

    def date_lines(self) -> bytes: ...

    def turn_over(self, turn: "HotTurn") -> None: ...


class HotTurn:
    """One request on a connection, and the caller of its invocation.

    It stands where uvicorn keeps its RequestResponseCycle, and has the attributes that uvicorn looks at there.
    """

    # Defaults on the class: an instance pays only for what differs, on every request.
    credential: Credential | None = None
    invocation: Invocation | None = None
    begun = False
    response_started = False
    response_complete = False
    disconnected = False
    more_body = False
    chunks = True
    body = b""
    size = 0

    def __init__(self, protocol: Connection, door: doors.Door, keep_alive: bool, chunks: bool = True) -> None:
        self._protocol = protocol
        if not chunks:
            self.chunks = False
        self.parts: list[bytes] = []
        self.door = door
        self.keep_alive = keep_alive
        self.message_event = _NOTHING

    # ------------------------------------------------------------ the request

    def begin(self) -> None:
        self.begun = True
        parts = self.parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self.parts = []
        credential = self.credential
        assert credential is not None  # noqa: S101 - a turn without one was refused when its head came
        self.invocation = self._protocol.gateway.begin(self, self.door, credential, body)

    def refuse(self, error: TeselaError) -> None:
        """Answer with an error.  What is left of the body is read and thrown away, as long as its time allows."""
        self.parts = []
        refuse(self, error, self._protocol.gateway.next_id(), self.door)

    def lost(self) -> None:
        self.response_complete = True
        if self.invocation is not None:
            self.invocation.cancel()

    # ------------------------------------------------------------ the answer (Caller)

    def answer(self, status: int, lines: bytes, body: bytes) -> None:
        protocol = self._protocol
        if self.response_complete:
            return
        self.response_complete = True
        # Whoever is done with must not keep the other alive: a ring of objects would wait for the collector.
        self.invocation = None
        tail = b"content-length: %d\r\n\r\n" if self.keep_alive else b"content-length: %d\r\nconnection: close\r\n\r\n"
        protocol.transport.write(b"".join((STATUS_LINE[status], protocol.date_lines(), lines, tail % len(body), body)))
        protocol.turn_over(self)

    def open(self, status: int, lines: bytes) -> None:
        if self.response_complete:
            return
        protocol = self._protocol
        self.response_started = True
        # HTTP/1.0 knows no chunks: the end of its answer is the end of the connection.
        tail = b"transfer-encoding: chunked\r\n\r\n" if self.chunks else b"\r\n"
        if not self.keep_alive:
            tail = b"connection: close\r\n" + tail
        self.parts = [b"".join((STATUS_LINE[status], protocol.date_lines(), lines, tail))]

    def send(self, data: bytes) -> None:
        if not self.response_complete:
            piece = b"%x\r\n%b\r\n" % (len(data), data) if self.chunks else data
            if self.parts:
                piece = self.parts.pop() + piece
            self._protocol.transport.write(piece)

    def close(self) -> None:
        if not self.response_complete:
            self.response_complete = True
            self.invocation = None
            self._protocol.transport.write(b"".join((*self.parts, b"0\r\n\r\n" if self.chunks else b"")))
            self._protocol.turn_over(self)

    def abort(self) -> None:
        self.response_complete = True
        self._protocol.transport.abort()


def without_chunks(cycle: RequestResponseCycle) -> None:
    """Let an answer of uvicorn's end with the connection, where uvicorn would send chunks to a client of HTTP/1.0."""
    send = cycle.send
    cycle.chunked_encoding = False

    async def plain(message: Any) -> None:
        if message["type"] == "http.response.body":
            # uvicorn checks a length whenever there are no chunks; each piece is as long as it is.
            cycle.expected_content_length = len(message.get("body", b""))
        await send(message)

    cycle.send = plain  # type: ignore[method-assign]


class _Nothing:
    """Where uvicorn's cycle has an event that wakes its task; there is no task here to wake."""

    def set(self) -> None:
        return


_NOTHING = _Nothing()
