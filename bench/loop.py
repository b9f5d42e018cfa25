"""Streams in a closed loop: the next chunk leaves the upstream when the client has the last one.

Both ends of every stream are in this process, so one chunk of each stream is under way at any time: the gateway
always has work, never two chunks of a stream to merge, and seldom a reason to sleep. That makes the processor time of a
chunk comparable; paced streams (streams.py) are for latency and completeness.
"""

import re
import select
import socket
import time
from collections import Counter

from bench.dialects import Dialect, asked
from bench.figures import summary
from bench.orders import Loop, Report, Target
from bench.upstream import beginning, body_end, ending, numbered
from bench.wire import NUMBERED

# In the request's message, always four digits, so that every stream's request has the same length.
_ID = b"stream=0000"
_ASKED_ID = re.compile(rb"stream=(\d{4})")
_LIMIT_S = 60


class _Stream:
    """The client's end of one stream, and the upstream's once the gateway has called it."""

    def __init__(self, target: Target, number: int, chunks: int) -> None:
        self.chunks = chunks
        self.received = 0
        self.sent = 0
        self.upstream: socket.socket | None = None
        self.dialect: Dialect | None = None
        self.rest = b""
        self.socket = socket.create_connection(("127.0.0.1", target.port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(target.request.replace(_ID, b"stream=%04d" % number))

    def advance(self) -> None:
        """Let the upstream write the next chunk, or the end."""
        if self.upstream is None:
            return
        if self.sent < self.chunks:
            head = beginning(self.dialect) if self.sent == 0 else b""
            self.upstream.sendall(head + numbered(self.sent, time.monotonic_ns(), self.dialect))
            self.sent += 1
        else:
            self.upstream.sendall(ending(self.dialect))


class _Run:
    """One order being carried out."""

    def __init__(self, order: Loop, listener: socket.socket) -> None:
        self.order = order
        self.listener = listener
        self.poller = select.epoll()
        self.poller.register(listener.fileno(), select.EPOLLIN)
        self.streams = [_Stream(order.target, number, order.chunks) for number in range(order.streams)]
        self.clients = {stream.socket.fileno(): stream for stream in self.streams}
        for fd in self.clients:
            self.poller.register(fd, select.EPOLLIN)
        self.upstreams: dict[int, tuple[socket.socket, bytes]] = {}
        self.faults: Counter[str] = Counter()
        self.delays: list[int] = []
        self.complete = 0

    def carry_out(self) -> None:
        """Move all streams to their end, or give up after a minute."""
        give_up = time.monotonic() + _LIMIT_S
        while self.clients and time.monotonic() < give_up:
            # First everything is read, then everything is written: the gateway is to find a queue, not one chunk
            # after another with a sleep between.
            ready = [stream for fd, _ in self.poller.poll(1.0) if (stream := self._read(fd)) is not None]
            for stream in ready:
                stream.advance()

    def _read(self, fd: int) -> _Stream | None:
        """Read one socket. Gives the stream whose next chunk is due."""
        stream = self.clients.get(fd)
        if stream is not None:
            return self._read_client(fd, stream)
        if fd == self.listener.fileno():
            upstream, _ = self.listener.accept()
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.upstreams[upstream.fileno()] = (upstream, b"")
            self.poller.register(upstream.fileno(), select.EPOLLIN)
            return None
        return self._read_upstream(fd)

    def _read_upstream(self, fd: int) -> _Stream | None:
        upstream, rest = self.upstreams[fd]
        data = upstream.recv(65_536)
        if not data:
            self.poller.unregister(fd)
            del self.upstreams[fd]
            upstream.close()
            return None
        data = rest + data
        end = body_end(data)
        if end < 0:
            self.upstreams[fd] = (upstream, data)
            return None
        self.upstreams[fd] = (upstream, data[end:])
        told = _ASKED_ID.search(data, 0, end)
        if told is None or int(told[1]) >= len(self.streams):
            self.faults["a request that is none of ours"] += 1
            return None
        stream = self.streams[int(told[1])]
        stream.upstream, stream.dialect = upstream, asked(data)
        return stream

    def _read_client(self, fd: int, stream: _Stream) -> _Stream | None:
        data = stream.socket.recv(65_536)
        now = time.monotonic_ns()
        stream.rest += data
        found = NUMBERED.findall(stream.rest)
        for number, sent in found:
            if int(number) != stream.received:
                self._end(fd, stream, "out of order")
                return None
            stream.received += 1
            self.delays.append(now - int(sent))
        if found:
            # One chunk is under way at a time, so what follows the number is the end of its own event.
            stream.rest = b""
            return stream
        if not data:
            self._end(fd, stream, "cut off")
        elif stream.rest.endswith(b"0\r\n\r\n"):
            whole = stream.received == stream.chunks and b"data: [DONE]" in stream.rest
            self._end(fd, stream, "" if whole else "chunks missing")
        elif stream.received == 0 and b" 200 " not in stream.rest[:16]:
            self._end(fd, stream, f"status {stream.rest[9:12].decode('latin-1')}")
        return None

    def _end(self, fd: int, stream: _Stream, fault: str) -> None:
        if fault:
            self.faults[fault] += 1
        else:
            self.complete += 1
        self.poller.unregister(fd)
        del self.clients[fd]
        stream.socket.close()

    def close(self) -> None:
        for stream in self.clients.values():
            stream.socket.close()
        for upstream, _ in self.upstreams.values():
            upstream.close()
        self.poller.close()


def loop(order: Loop, listener: socket.socket) -> Report:
    """Carry out the order; `listener` is where the gateway finds the upstream."""
    run = _Run(order, listener)
    began = time.monotonic()
    try:
        run.carry_out()
    finally:
        run.close()
    if run.clients:
        run.faults["unfinished in time"] += len(run.clients)
    took_s = time.monotonic() - began
    chunks = len(run.delays)
    figures = {"seconds": round(took_s, 4), "chunks": chunks, "per_second": round(chunks / took_s, 1)}
    delays = {f"delay_{key}": value for key, value in summary(run.delays).items()}
    return Report({**figures, "complete": run.complete, **delays}, dict(run.faults))
