"""The scripted stream upstream: an OpenAI chat stream of numbered, paced chunks, as cheap as Python makes it.

Run as `python -m bench.upstream PORT`. It answers POSTs on any path and believes whatever key it is shown;
the whole answers come from nginx (see bench/nginx.py).
"""

import asyncio
import re
import sys
import time
from typing import cast

import uvloop

from bench.dialects import Dialect, asked

_ASKED = re.compile(rb"chunks=(\d+) gap_us=(\d+)")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
_BEFORE = (
    b'data: {"id":"chatcmpl-bench0000000000000000001","object":"chat.completion.chunk","created":1750000000,'
    b'"model":"upstream-model","system_fingerprint":"fp_bench","choices":[{"index":0,"delta":{"content":"'
)
_AFTER = b'"},"logprobs":null,"finish_reason":null}]}\n\n'
_FINISH = (
    b'data: {"id":"chatcmpl-bench0000000000000000001","object":"chat.completion.chunk","created":1750000000,'
    b'"model":"upstream-model","system_fingerprint":"fp_bench","choices":[{"index":0,"delta":{},"logprobs":null,'
    b'"finish_reason":"stop"}]}\n\n'
)
_USAGE = (
    b'data: {"id":"chatcmpl-bench0000000000000000001","object":"chat.completion.chunk","created":1750000000,'
    b'"model":"upstream-model","choices":[],"usage":{"prompt_tokens":71,"completion_tokens":64,"total_tokens":135}}\n\n'
)
_DONE = b"data: [DONE]\n\n"


def http_chunk(data: bytes) -> bytes:
    """One chunk of chunked transfer encoding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def numbered(number: int, now: int, dialect: Dialect | None = None) -> bytes:
    """Chunk `number`, written at `now` (CLOCK_MONOTONIC, ns), in transfer encoding."""
    if dialect is not None:
        return http_chunk(dialect.chunk(b"#%d:%d#" % (number, now)))
    return http_chunk(b"%b#%d:%d#%b" % (_BEFORE, number, now, _AFTER))


def beginning(dialect: Dialect | None) -> bytes:
    """The head of a stream, and what comes before its first chunk."""
    if dialect is None:
        return HEAD
    head = HEAD.replace(b"text/event-stream; charset=utf-8", dialect.kind)
    return head + http_chunk(dialect.opening) if dialect.opening else head


def ending(dialect: Dialect | None, *, usage: bool = False) -> bytes:
    """What comes after the last chunk of a stream; only the pass-through's upstream must be asked for its usage."""
    if dialect is not None:
        return http_chunk(dialect.closing) + b"0\r\n\r\n"
    return http_chunk(_FINISH + _USAGE if usage else _FINISH) + http_chunk(_DONE) + b"0\r\n\r\n"


def body_end(data: bytes) -> int:
    """Length of the whole request at the start of `data`, or -1 while it is incomplete. Bodies have a length."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return -1
    length = _LENGTH.search(data, 0, head + 2)
    end = head + 4 + (int(length[1]) if length else 0)
    return end if len(data) >= end else -1


class Upstream(asyncio.Protocol):
    """One connection: read a request whole, then write its chunks at their times."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._buffer = b""
        self._transport: asyncio.WriteTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._dialect: Dialect | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not derive from asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = body_end(self._buffer)
        if end < 0:
            return
        body, self._buffer = self._buffer[:end], self._buffer[end:]
        shape = _ASKED.search(body)
        chunks, gap_us = (int(shape[1]), int(shape[2])) if shape else (8, 0)
        with_usage = b'"include_usage":true' in body.replace(b" ", b"")
        self._dialect = asked(body)
        self._begin(chunks, gap_us / 1e6, ending(self._dialect, usage=with_usage))

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self, chunks: int, gap_s: float, end: bytes) -> None:
        if self._transport is not None:
            self._transport.write(beginning(self._dialect))
            self._write(0, chunks, gap_s, end, self._loop.time())

    def _write(self, number: int, chunks: int, gap_s: float, end: bytes, began: float) -> None:
        if self._transport is None:
            return
        if number == chunks:
            self._transport.write(end)
            return
        self._transport.write(numbered(number, time.monotonic_ns(), self._dialect))
        # Times are counted from the start of the stream: a late chunk does not push the ones after it.
        self._timer = self._loop.call_at(
            began + (number + 1) * gap_s,
            self._write,
            number + 1,
            chunks,
            gap_s,
            end,
            began,
        )


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(loop), "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
