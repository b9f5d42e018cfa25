"""The one module that sends requests out: pools of keep-alive HTTP/1.1 connections, and the clock of all calls."""

import asyncio
from collections.abc import Sequence

from tesela.errors import UpstreamTimeout, UpstreamUnavailable
from tesela.gateway.connection import Attempt, Connection
from tesela.gateway.dial import Dialer
from tesela.gateway.seams import Handle, Listener
from tesela.gateway.tokens import Tokens
from tesela.serving import Origin, Upstream

KEEP_S = 55.0
"""How long a connection may rest in a pool: below the 60 s after which common servers and load balancers close it."""
TICK_S = 0.25
"""How often the time limits are looked at.  One timer for all calls: a timer for each would double their cost."""
MAX_IDLE = 256
"""Connections that rest per origin and worker."""


class Pools:
    """Transport for http and https origins: one pool for each, and the clock of all calls under way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dialer: Dialer) -> None:
        self.loop = loop
        self.dialer = dialer
        self.under_way: set[Attempt] = set()
        self._idle: dict[Origin, list[Connection]] = {}
        self._ticking: asyncio.TimerHandle | None = None
        self._dials: set[asyncio.Task[None]] = set()
        self._tokens = Tokens(self, loop.time)

    def send(
        self, upstream: Upstream, path: str, headers: Sequence[tuple[str, str]], body: bytes, listener: Listener
    ) -> Handle:
        """Send a POST.  Raises nothing: what goes wrong reaches the listener."""
        if upstream.token is not None:
            return self._tokens.send(upstream, path, headers, body, listener)
        link = upstream.links.get(path)
        if link is None or link.pools is not self:
            link = upstream.links[path] = Link(self, upstream, path)
        head = link.head
        if headers:
            head += "".join(f"{field}: {content}\r\n" for field, content in headers).encode("latin-1")
        head = b"%bcontent-length: %d\r\n\r\n" % (head, len(body))
        attempt = Attempt(self, upstream, head, body, listener, link.patience_s)
        self.under_way.add(attempt)
        if self._ticking is None:
            self._ticking = self.loop.call_later(TICK_S, self._tick)
        idle = link.idle
        while idle:
            connection = idle.pop()
            if not connection.transport.is_closing():
                connection.begin(attempt)
                return attempt
        self.dial(attempt)
        return attempt

    def dial(self, attempt: Attempt) -> None:
        """Connect for this attempt.  The task is kept until it is done; cancelling the attempt cancels it."""
        # Connecting has its own limit; the first byte is waited for from then on.
        attempt.deadline = attempt.sent_at + attempt.upstream.timeouts.total_s
        task = self.loop.create_task(self._dial(attempt))
        attempt.dialing = task
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _dial(self, attempt: Attempt) -> None:
        origin, limit = attempt.upstream.origin, attempt.upstream.timeouts.connect_s
        try:
            async with asyncio.timeout(limit):
                connection = await self.dialer.dial(origin, lambda: Connection(self, self.idle(origin)))
        except TimeoutError:
            attempt.dialing = None
            attempt.fail(UpstreamTimeout(f"no connection to {attempt.upstream.called} within {limit:g} s"))
        except (OSError, ValueError) as exc:  # a host that is no name at all is a ValueError
            attempt.dialing = None
            attempt.fail(UpstreamUnavailable(_unreachable(attempt.upstream, exc), retry_after_s=1))
        else:
            attempt.dialing = None
            attempt.deadline = min(attempt.deadline, self.loop.time() + attempt.upstream.timeouts.first_byte_s)
            connection.begin(attempt)

    def rest(self, connection: Connection) -> None:
        """Take a connection back, to be used again."""
        idle = connection.idle
        if len(idle) >= MAX_IDLE:
            connection.transport.close()
            return
        connection.rested_at = self.loop.time()
        idle.append(connection)
        if self._ticking is None:
            self._ticking = self.loop.call_later(TICK_S, self._tick)

    def forget(self, connection: Connection) -> None:
        if connection in connection.idle:
            connection.idle.remove(connection)

    def idle(self, origin: Origin) -> list[Connection]:
        """The connections to an origin that rest.  The list itself stays, so it can be kept."""
        return self._idle.setdefault(origin, [])

    def _tick(self) -> None:
        now = self.loop.time()
        for attempt in [attempt for attempt in self.under_way if attempt.look(now)]:
            attempt.fail(attempt.lateness(now))
        resting = False
        for idle in self._idle.values():
            stale = [connection for connection in idle if connection.rested_at + KEEP_S <= now]
            for connection in stale:
                idle.remove(connection)
                connection.transport.close()
            resting = resting or bool(idle)
        self._ticking = self.loop.call_later(TICK_S, self._tick) if resting or self.under_way else None

    def close(self) -> None:
        """Close what rests and break off what is under way, without telling the listeners."""
        if self._ticking is not None:
            self._ticking.cancel()
        for attempt in list(self.under_way):
            attempt.cancel()
        for idle in self._idle.values():
            for connection in idle:
                connection.transport.close()
            idle.clear()


class Link:
    """What is the same for all calls of one upstream and path: the head, where connections rest, how long to wait."""

    __slots__ = ("head", "idle", "patience_s", "pools")

    def __init__(self, pools: Pools, upstream: Upstream, path: str) -> None:
        self.pools = pools
        self.head = _head(upstream, path)
        self.idle = pools.idle(upstream.origin)
        self.patience_s = min(upstream.timeouts.total_s, upstream.timeouts.first_byte_s)


def _head(upstream: Upstream, path: str) -> bytes:
    query = f"?{upstream.query}" if upstream.query else ""
    lines = [f"{upstream.method} {upstream.base_path}{path}{query} HTTP/1.1", f"host: {upstream.origin.authority}"]
    lines += [f"{field}: {content}" for field, content in upstream.headers]
    if all(field != "content-type" for field, _ in upstream.headers):
        lines.append("content-type: application/json")
    # We relay bytes, and look for the usage in them: no compression.
    lines += ["accept-encoding: identity", ""]
    return "\r\n".join(lines).encode("latin-1")


def _unreachable(upstream: Upstream, exc: OSError | ValueError) -> str:
    if upstream.origin.unix is not None:
        return f"the local model {upstream.model!r} is starting or restarting; try again in a moment"
    return f"no connection to {upstream.called}: {getattr(exc, 'strerror', None) or exc}"
