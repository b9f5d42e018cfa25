"""The end of a connection whose client may still be sending.

A socket that is closed with bytes unread resets the connection, and a reset throws away what the client has not yet
read: the very answer that says why.  So we say that no more comes, and read on for a while.
"""

import asyncio
from typing import Any

LINGER_S = 5.0
LINGER_BYTES = 64 * 1024 * 1024
"""For how long, and up to how much; then the reset is what it takes."""


class Lingering(asyncio.Protocol):
    """Takes the place of a protocol that has said its last word, until the client has closed its side."""

    def __init__(self, before: asyncio.Protocol, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._before = before
        self._transport = transport
        self._left = LINGER_BYTES
        self._end = loop.call_later(LINGER_S, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end.cancel()
        self._before.connection_lost(exc)


def linger(before: asyncio.Protocol, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
    """Close once the client has; TLS has no half-closed state, so there the client goes by `connection: close`."""
    transport.set_protocol(Lingering(before, transport, loop))
    transport.resume_reading()
    if transport.can_write_eof():
        transport.write_eof()


def may_answer(cycle: Any, in_body: bool, pipelined: bool) -> bool:
    """Whether the next bytes on the wire may be an answer to what is being read.

    `cycle` is uvicorn's for the last request whose head has come, or our turn in its place; `in_body` says that it is
    that request's body which is being read.
    """
    if cycle is None:
        return True
    if in_body:
        return not pipelined and not cycle.response_started and not cycle.response_complete
    return bool(cycle.response_complete)


def forget(cycle: Any) -> None:
    """Tell uvicorn's cycle that nobody hears it: what it still says must not follow the last answer."""
    if cycle is not None and not cycle.response_complete:
        cycle.disconnected = True
        cycle.message_event.set()
