"""Load of streams: many at once, each followed chunk by chunk. Plain sockets and epoll, one thread."""

import select
import socket
import time
from collections import Counter

from bench.figures import summary
from bench.orders import Report, Streams, Target
from bench.wire import StreamCheck

# Connections begun in one turn: enough for any ramp here, few enough that open streams are still read in time.
BATCH = 20


class Follow:
    """One stream on a connection of its own."""

    def __init__(self, target: Target, chunks: int) -> None:
        self.check = StreamCheck(chunks)
        self.first_ns = 0
        self.began = time.monotonic_ns()
        self.socket = socket.create_connection(("127.0.0.1", target.port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(target.request)

    def receive(self) -> None:
        data = self.socket.recv(262_144)
        now = time.monotonic_ns()
        if not data:
            self.check.finished = True
            self.check.fault = self.check.fault or "cut off"
            return
        self.check.feed(data, now)
        if not self.first_ns and self.check.seen:
            self.first_ns = now - self.began


class Tally:
    """What has been seen so far of all streams."""

    def __init__(self) -> None:
        self.faults: Counter[str] = Counter()
        self.delays: list[int] = []
        self.firsts: list[int] = []
        self.complete = 0
        self.chunks = 0

    def add(self, stream: Follow) -> None:
        check = stream.check
        self.chunks += check.seen
        self.delays += check.delays
        if check.fault:
            self.faults[check.fault] += 1
        else:
            self.complete += 1
            self.firsts.append(stream.first_ns)


def streams(order: Streams) -> Report:
    """Open streams as the ramp says, keep `at_once` of them open, follow each to its end."""
    poller = select.epoll()
    tally = Tally()
    underway: dict[int, Follow] = {}
    begun = peak = 0
    began = time.monotonic()
    try:
        while tally.complete + tally.faults.total() < order.streams:
            elapsed = time.monotonic() - began
            if elapsed > order.limit_s:
                break
            due = order.at_once if elapsed >= order.ramp_s else 1 + int(order.at_once * elapsed / order.ramp_s)
            wanted = min(order.streams - begun, due - len(underway), BATCH)
            for _ in range(wanted):
                begun += 1
                try:
                    stream = Follow(order.target, order.chunks)
                except OSError as exc:
                    tally.faults[f"connect: {type(exc).__name__}"] += 1
                    continue
                underway[stream.socket.fileno()] = stream
                poller.register(stream.socket.fileno(), select.EPOLLIN)
            peak = max(peak, len(underway))
            for fd, _ in poller.poll(0.001 if begun < order.streams else 0.1):
                stream = underway[fd]
                try:
                    stream.receive()
                except ConnectionError:
                    stream.check.finished, stream.check.fault = True, "reset"
                if stream.check.finished:
                    poller.unregister(fd)
                    stream.socket.close()
                    tally.add(underway.pop(fd))
        took_s = time.monotonic() - began
    finally:
        for stream in underway.values():
            stream.socket.close()
            tally.chunks += stream.check.seen
        poller.close()
    missing = order.streams - tally.complete - tally.faults.total()
    if missing:
        tally.faults["unfinished in time"] += missing
    return Report(
        {
            "seconds": round(took_s, 3),
            "streams": order.streams,
            "complete": tally.complete,
            "peak": peak,
            "chunks": tally.chunks,
            **{f"delay_{k}": v for k, v in summary(tally.delays).items()},
            **{f"first_{k}": v for k, v in summary(tally.firsts).items()},
        },
        dict(tally.faults),
    )
