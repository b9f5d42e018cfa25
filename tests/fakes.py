"""The honest fakes of the data plane's two seams, a clock that the test moves, and endpoints to put behind them."""

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from tesela.errors import TeselaError
from tesela.gateway.invoke import Gateway
from tesela.gateway.seams import Headers, Listener
from tesela.providers.base import Provider
from tesela.providers.registry import PROVIDERS
from tesela.records import Contents, Workspace
from tesela.serving import Endpoint, EndpointConfig, Origin, ServedEntity, ServedEntityInput, ServingEndpoint, Upstream
from tesela.snapshot import Credential, Principal, Snapshot, digest
from tesela.telemetry.tally import Tally
from tesela.wire.tasks import Task

ACCESS_TOKEN = b"dapi" + b"0123456789abcdef" * 2
BEARER = b"Bearer " + ACCESS_TOKEN
ADMIN = Principal("1", "admin@example.com", "Admin", admin=True)
SSE = {b"content-type": b"text/event-stream"}
JSON = {b"content-type": b"application/json"}


def contents(version: int = 1, **parts: Any) -> Contents:
    """A store's contents, with nothing in it but what is given."""
    workspace = Workspace(1_234_567_890_123_456, "00000000-0000-0000-0000-000000000000", 1_700_000_000.0)
    return Contents(version, workspace, parts.pop("principals", {}), parts.pop("credentials", {}), **parts)


class Timer:
    def __init__(self, then: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.then: Callable[..., Any] | None = then
        self.arguments = arguments

    def cancel(self) -> None:
        self.then = None


class Clock:
    """As much of an event loop as a gateway uses.  Time passes when the test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._order = count()
        self._queue: list[tuple[float, int, Timer]] = []

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, then: Callable[..., Any], *arguments: Any) -> Timer:
        timer = Timer(then, arguments)
        heapq.heappush(self._queue, (self.now + delay, next(self._order), timer))
        return timer

    def waiting(self) -> int:
        """How many timers are set."""
        return sum(timer.then is not None for _, _, timer in self._queue)

    def move(self, seconds: float) -> None:
        """Let time pass, and call what comes due on the way."""
        until = self.now + seconds
        while self._queue and self._queue[0][0] <= until:
            when, _, timer = heapq.heappop(self._queue)
            if timer.then is not None:
                self.now = max(self.now, when)
                timer.then(*timer.arguments)
        self.now = until


class Sending:
    """One call that was sent; the test plays the upstream.  It keeps to what `Handle` and `Listener` promise."""

    def __init__(
        self, upstream: Upstream, path: str, headers: Sequence[tuple[str, str]], body: bytes, listener: Listener
    ) -> None:
        self.upstream, self.path, self.headers, self.body = upstream, path, headers, body
        self.listener = listener
        self.paused = False
        self.cancelled = False
        self.over = False
        self._held: list[Callable[[], None]] = []

    def head(self, status: int = 200, headers: Headers | None = None) -> "Sending":
        return self._play(lambda: self.listener.on_head(status, JSON if headers is None else headers))

    def data(self, data: bytes) -> "Sending":
        return self._play(lambda: self.listener.on_data(data))

    def end(self) -> None:
        self._play(lambda: self._last(self.listener.on_end))

    def answer(self, body: bytes) -> None:
        """A whole answer in one piece, as a transport gives it that knew its head."""
        self._play(lambda: self._last(lambda: self.listener.on_answer(body)))

    def fail(self, error: TeselaError) -> None:
        self._play(lambda: self._last(lambda: self.listener.on_failure(error)))

    def whole(self, body: bytes, status: int = 200, headers: Headers | None = None) -> None:
        self.head(status, headers).data(body).end()

    def stream(self, *pieces: bytes) -> None:
        self.head(200, SSE)
        for piece in pieces:
            self.data(piece)
        self.end()

    def _last(self, say: Callable[[], None]) -> None:
        self.over = True
        say()

    def _play(self, say: Callable[[], None]) -> "Sending":
        if not self.cancelled and not self.over:
            if self.paused:
                self._held.append(say)
            else:
                say()
        return self

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        while self._held and not self.paused:
            say = self._held.pop(0)
            if not self.cancelled and not self.over:
                say()

    def cancel(self) -> None:
        self.cancelled = True
        self._held.clear()


class FakeTransport:
    """Keeps what is sent, in order."""

    def __init__(self) -> None:
        self.sent: list[Sending] = []

    def send(
        self, upstream: Upstream, path: str, headers: Sequence[tuple[str, str]], body: bytes, listener: Listener
    ) -> Sending:
        sending = Sending(upstream, path, headers, body, listener)
        self.sent.append(sending)
        return sending

    @property
    def last(self) -> Sending:
        return self.sent[-1]


class FakeCaller:
    """Writes down what it is told, and holds the gateway to the order in which a caller may be told things."""

    def __init__(self) -> None:
        self.status = 0
        self.lines = b""
        self.pieces: list[bytes] = []
        self.state = "waiting"

    def answer(self, status: int, lines: bytes, body: bytes) -> None:
        self._move("waiting", "answered")
        self._head(status, lines)
        self.pieces = [body]

    def open(self, status: int, lines: bytes) -> None:
        self._move("waiting", "open")
        self._head(status, lines)

    def send(self, data: bytes) -> None:
        self._move("open", "open")
        assert data, "a piece is never empty"
        self.pieces.append(data)

    def close(self) -> None:
        self._move("open", "closed")

    def abort(self) -> None:
        self._move("open", "aborted")

    def _move(self, before: str, after: str) -> None:
        assert self.state == before, f"told something that leads to {after!r} when {self.state!r}"
        self.state = after

    def _head(self, status: int, lines: bytes) -> None:
        assert not lines or lines.endswith(b"\r\n")
        assert b"\r\n\r\n" not in lines
        self.status, self.lines = status, lines

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)

    @property
    def headers(self) -> dict[str, str]:
        pairs = (line.partition(": ") for line in self.lines.decode().split("\r\n") if line)
        return {name: content for name, _, content in pairs}


ALL = frozenset({Task.CHAT, Task.COMPLETIONS, Task.EMBEDDINGS})


def entity(name: str = "one", percentage: int = 100, **more: Any) -> ServedEntity:
    """A served entity whose upstream speaks the unified form; whatever `more` names is as the test wants it."""
    limit = more.pop("limit", 0)
    upstream = more.pop("upstream", None) or Upstream(Origin("http", f"{name}.test"), f"{name}-model", limit=limit)
    return ServedEntity(
        name=name,
        config=ServedEntityInput(name=name),
        provider=more.pop("provider", "custom"),
        tasks=more.pop("tasks", ALL),
        upstream=upstream,
        percentage=percentage,
        admission=more.pop("admission", name),
        **more,
    )


def endpoint(name: str, *entities: ServedEntity, fallback: bool = False) -> Endpoint:
    served = entities or (entity(),)
    task = sorted(served[0].tasks)[0]
    return Endpoint(name, task, served, ServingEndpoint(name, EndpointConfig()), fallback)


def snapshot(*endpoints: Endpoint, **more: Any) -> Snapshot:
    """A snapshot in which `ACCESS_TOKEN` is an administrator's."""
    credentials = {digest(ACCESS_TOKEN): Credential(ADMIN, token_id="t")} | more.pop("credentials", {})
    return Snapshot(1, {one.name: one for one in endpoints}, credentials, more.pop("grants", {}))


class World:
    """A gateway with everything around it in the test's hands."""

    def __init__(self, *endpoints: Endpoint, providers: dict[str, Provider] | None = None) -> None:
        self.clock = Clock()
        self.transport = FakeTransport()
        self.tally = Tally()
        transports = dict.fromkeys(("http", "https", "scripted"), self.transport)
        self.gateway = Gateway(
            self.clock,  # type: ignore[arg-type]
            snapshot(*(endpoints or (endpoint("chat"),))),
            {**PROVIDERS, **(providers or {})},
            transports,
            self.tally,
            id_prefix="id-",
        )

    def at_rest(self) -> bool:
        """Nothing is left of any request."""
        return not self.gateway.under_way and not any(self.gateway.in_flight.values())
