"""Load of whole answers: closed loop, paced, and one at a time. Plain sockets and epoll, one thread.

The loops are bare because the generator shares its core with the upstream and must not be the slower side.
Every answer is checked all the same.
"""

import select
import socket
import time
from collections import Counter, deque

from bench.figures import summary
from bench.orders import Closed, Paced, Pairs, Report, Target
from bench.wire import answer_end, fault

# More faults than this end an order: a broken gateway must not keep the bench busy.
MAX_FAULTS = 200
# How long the answers that are under way at the end of a closed loop are awaited.
DRAIN_NS = 15_000_000_000


class Line:
    """One keep-alive connection with at most one request under way."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.due = 0
        self._rest = b""
        self._open()

    def _open(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self._target.port), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def send(self, due: int) -> None:
        """Send the request, which was due at `due` (ns). Requests are far smaller than a socket buffer."""
        self.due = due
        self.socket.sendall(self._target.request)

    def receive(self) -> bytes | None:
        """Read once: the whole answer, or None while there is more to come. `ConnectionError` when closed early."""
        data = self.socket.recv(262_144)
        if not data:
            raise ConnectionError("closed")
        if self._rest:
            data = self._rest + data
        end = answer_end(data)
        if end < 0:
            self._rest = data
            return None
        self._rest = b""
        return data

    def reopen(self) -> None:
        self.socket.close()
        self._open()

    def close(self) -> None:
        self.socket.close()


class Lines:
    """A set of connections behind one epoll."""

    def __init__(self, target: Target, count: int) -> None:
        self.poller = select.epoll()
        self.lines = [Line(target) for _ in range(count)]
        self.by_fd: dict[int, Line] = {}
        for line in self.lines:
            self._watch(line)

    def _watch(self, line: Line) -> None:
        self.by_fd[line.socket.fileno()] = line
        self.poller.register(line.socket.fileno(), select.EPOLLIN)

    def reopen(self, line: Line) -> None:
        del self.by_fd[line.socket.fileno()]
        line.reopen()
        self._watch(line)

    def close(self) -> None:
        for line in self.lines:
            line.close()
        self.poller.close()


def closed(order: Closed) -> Report:
    """Closed loop: every connection sends again as soon as it has its answer, until the time is up.

    What is under way by then is still awaited and counts as work done, but not in `per_second`: left behind, it
    would weigh on the next measurement.
    """
    lines = Lines(order.target, order.connections)
    latencies: list[int] = []
    faults: Counter[str] = Counter()
    clock = time.monotonic_ns
    began = clock()
    stop = began + int(order.seconds * 1e9)
    give_up = stop + DRAIN_NS
    in_time = 0
    underway = order.connections
    try:
        for line in lines.lines:
            line.send(clock())
        now = began
        while underway and now < give_up and faults.total() < MAX_FAULTS:
            for fd, _ in lines.poller.poll(1.0):
                line = lines.by_fd[fd]
                try:
                    answer = line.receive()
                except ConnectionError:
                    faults["connection closed"] += 1
                    lines.reopen(line)
                    line.send(clock())
                    continue
                if answer is None:
                    continue
                now = clock()
                latencies.append(now - line.due)
                if wrong := fault(answer):
                    faults[wrong] += 1
                if now < stop:
                    in_time += 1
                    line.send(now)
                else:
                    underway -= 1
            now = clock()
        took_s = (clock() - began) / 1e9
    finally:
        lines.close()
    if underway and not faults:
        faults["unanswered"] += underway
    rate = in_time / min(took_s, order.seconds)
    return Report({"seconds": round(took_s, 4), "per_second": round(rate, 1), **summary(latencies)}, dict(faults))


def paced(order: Paced) -> Report:
    """Open loop at a fixed rate; a request that finds no free connection waits, and its latency shows it."""
    lines = Lines(order.target, order.connections)
    free = deque(lines.lines)
    latencies: list[int] = []
    faults: Counter[str] = Counter()
    clock = time.monotonic_ns
    gap = 1e9 / order.rate
    began = clock()
    give_up = began + int((order.count / order.rate * 3 + 10) * 1e9)
    sent = 0
    watched = [lines.poller.fileno()]
    try:
        while len(latencies) < order.count and faults.total() < MAX_FAULTS and (now := clock()) < give_up:
            while sent < order.count and free and began + int(sent * gap) <= now:
                free.popleft().send(began + int(sent * gap))
                sent += 1
            wait_ns = began + int(sent * gap) - clock() if sent < order.count and free else 100_000_000
            # select() waits to the microsecond where epoll rounds up to the millisecond, so it watches the epoll.
            if not select.select(watched, [], [], max(0, wait_ns) / 1e9)[0]:
                continue
            for fd, _ in lines.poller.poll(0):
                line = lines.by_fd[fd]
                try:
                    answer = line.receive()
                except ConnectionError:
                    faults["connection closed"] += 1
                    lines.reopen(line)
                    line.send(line.due)
                    continue
                if answer is None:
                    continue
                latencies.append(clock() - line.due)
                if wrong := fault(answer):
                    faults[wrong] += 1
                free.append(line)
        took_s = (clock() - began) / 1e9
    finally:
        lines.close()
    if len(latencies) < order.count:
        faults["unanswered"] += order.count - len(latencies)
    done = len(latencies)
    return Report(
        {
            "seconds": round(took_s, 4),
            "per_second": round(done / took_s, 1),
            **summary(latencies),
        },
        dict(faults),
    )


def pairs(order: Pairs) -> Report:
    """Concurrency 1: straight to the upstream and through the gateway in turn, so both meet the same machine."""
    took: dict[str, list[int]] = {"direct": [], "through": []}
    faults: Counter[str] = Counter()
    clock = time.monotonic_ns
    direct, through = Line(order.direct), Line(order.target)
    stop = clock() + int(order.seconds * 1e9)
    try:
        for _ in range(order.count):
            for name, line in (("direct", direct), ("through", through)):
                began = clock()
                line.send(began)
                try:
                    while (answer := line.receive()) is None:
                        pass
                except ConnectionError:
                    faults["connection closed"] += 1
                    line.reopen()
                    continue
                took[name].append(clock() - began)
                if wrong := fault(answer):
                    faults[wrong] += 1
            if clock() > stop or faults.total() >= MAX_FAULTS:
                break
    finally:
        direct.close()
        through.close()
    plain, relayed = summary(took["direct"]), summary(took["through"])
    percentiles = [key for key in ("p50_us", "p99_us") if key in plain and key in relayed]
    added = {f"added_{key}": round(relayed[key] - plain[key], 1) for key in percentiles}
    return Report(
        {
            **{f"direct_{k}": v for k, v in plain.items()},
            **{f"through_{k}": v for k, v in relayed.items()},
            **added,
        },
        dict(faults),
    )
