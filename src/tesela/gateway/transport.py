"""The one module that sends requests out: keep-alive HTTP/1.1 over asyncio transports, parsed by httptools.

A connection carries one request at a time and goes back to its pool only when the answer ended exactly where its
framing said.  Anything else (bytes too many, a request not wholly written, an answer that runs to the end of the
connection) closes it, so that no answer can reach another's request.
"""

import asyncio
from collections.abc import Sequence

import httptools

from tesela.errors import TeselaError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnavailable
from tesela.gateway import glance
from tesela.gateway.dial import Dialer
from tesela.gateway.seams import Headers, Listener
from tesela.serving import Origin, Timeouts, Upstream

KEEP_S = 55.0
"""How long a connection may rest in a pool: below the 60 s after which common servers and load balancers close it."""
TICK_S = 0.25
"""How often the time limits are looked at.  One timer for all calls: a timer for each would double their cost."""
MAX_IDLE = 256
"""Connections that rest per origin and worker."""
JOIN_BELOW = 65536
"""Bytes up to which head and body are joined for one write; above, copying costs more than a second buffer."""


class Pools:
    """Transport for http and https origins: one pool for each, and the clock of all calls under way."""

    def __init__(self, loop: asyncio.AbstractEventLoop, dialer: Dialer) -> None:
        self.loop = loop
        self.dialer = dialer
        self.under_way: set[Attempt] = set()
        self._idle: dict[Origin, list[Connection]] = {}
        self._ticking: asyncio.TimerHandle | None = None
        self._dials: set[asyncio.Task[None]] = set()

    def send(
        self, upstream: Upstream, path: str, headers: Sequence[tuple[str, str]], body: bytes, listener: Listener
    ) -> "Attempt":
        """Send a POST.  Raises nothing: what goes wrong reaches the listener."""
        head = upstream.heads.get(path)
        if head is None:
            head = upstream.heads[path] = _head(upstream, path)
        if headers:
            head += "".join(f"{name}: {content}\r\n" for name, content in headers).encode("latin-1")
        attempt = Attempt(self, upstream, b"%bcontent-length: %d\r\n\r\n" % (head, len(body)), body, listener)
        self.under_way.add(attempt)
        if self._ticking is None:
            self._ticking = self.loop.call_later(TICK_S, self._tick)
        idle = self._idle.get(upstream.origin)
        while idle:
            connection = idle.pop()
            if not connection.transport.is_closing():
                connection.begin(attempt)
                return attempt
        self.dial(attempt)
        return attempt

    def dial(self, attempt: "Attempt") -> None:
        """Connect for this attempt.  The task is kept until it is done; cancelling the attempt cancels it."""
        task = self.loop.create_task(self._dial(attempt))
        attempt.dialing = task
        self._dials.add(task)
        task.add_done_callback(self._dials.discard)

    async def _dial(self, attempt: "Attempt") -> None:
        origin, limit = attempt.upstream.origin, attempt.upstream.timeouts.connect_s
        try:
            async with asyncio.timeout(limit):
                connection = await self.dialer.dial(origin, lambda: Connection(self, origin))
        except TimeoutError:
            attempt.fail(UpstreamTimeout(f"no connection to {_name(attempt.upstream)} within {limit:g} s"))
        except OSError as exc:
            attempt.fail(UpstreamUnavailable(_unreachable(attempt.upstream, exc), retry_after_s=1))
        else:
            attempt.dialing = None
            connection.begin(attempt)

    def rest(self, connection: "Connection") -> None:
        """Take a connection back, to be used again."""
        idle = self._idle.setdefault(connection.origin, [])
        if len(idle) >= MAX_IDLE:
            connection.transport.close()
            return
        connection.rested_at = self.loop.time()
        idle.append(connection)
        if self._ticking is None:
            self._ticking = self.loop.call_later(TICK_S, self._tick)

    def forget(self, connection: "Connection") -> None:
        idle = self._idle.get(connection.origin)
        if idle and connection in idle:
            idle.remove(connection)

    def _tick(self) -> None:
        now = self.loop.time()
        for attempt in [attempt for attempt in self.under_way if attempt.deadline <= now]:
            attempt.fail(attempt.lateness(now))
        for origin, idle in list(self._idle.items()):
            stale = [connection for connection in idle if connection.rested_at + KEEP_S <= now]
            for connection in stale:
                idle.remove(connection)
                connection.transport.close()
            if not idle:
                del self._idle[origin]
        busy = self.under_way or self._idle
        self._ticking = self.loop.call_later(TICK_S, self._tick) if busy else None

    def close(self) -> None:
        """Close what rests and break off what is under way, without telling the listeners."""
        if self._ticking is not None:
            self._ticking.cancel()
        for attempt in list(self.under_way):
            attempt.cancel()
        for idle in self._idle.values():
            for connection in idle:
                connection.transport.close()
        self._idle.clear()


class Attempt:
    """One call to one upstream: what was asked for, by whom, and until when."""

    __slots__ = (
        "body", "connection", "deadline", "dialing", "head", "listener", "paused", "pools", "received", "retried",
        "sent_at", "total", "upstream",
    )  # fmt: skip

    def __init__(self, pools: Pools, upstream: Upstream, head: bytes, body: bytes, listener: Listener) -> None:
        self.pools = pools
        self.upstream = upstream
        self.head = head
        self.body = body
        self.listener = listener
        self.connection: Connection | None = None
        self.dialing: asyncio.Task[None] | None = None
        self.paused = False
        self.received = False
        self.retried = False
        self.sent_at = pools.loop.time()
        timeouts = upstream.timeouts
        self.total = self.sent_at + timeouts.total_s
        # Connecting has its own limit; the first byte is waited for from then on.
        self.deadline = min(self.total, self.sent_at + timeouts.connect_s + timeouts.first_byte_s)

    def pause(self) -> None:
        self.paused = True
        self.deadline = self.total
        if self.connection is not None:
            self.connection.transport.pause_reading()

    def resume(self) -> None:
        self.paused = False
        self.touch()
        if self.connection is not None:
            self.connection.transport.resume_reading()

    def touch(self) -> None:
        """Bytes came: the next ones have the idle limit's time."""
        self.deadline = min(self.total, self.pools.loop.time() + self.upstream.timeouts.idle_s)

    def cancel(self) -> None:
        self._leave()
        if self.dialing is not None:
            self.dialing.cancel()
        if self.connection is not None:
            self.connection.break_off(self)

    def fail(self, error: TeselaError) -> None:
        if self in self.pools.under_way:
            self.cancel()
            self.listener.on_failure(error)

    def _leave(self) -> None:
        self.pools.under_way.discard(self)

    def end(self) -> None:
        self.pools.under_way.discard(self)
        self.connection = None
        self.listener.on_end()

    def end_whole(self, body: bytes) -> None:
        self.pools.under_way.discard(self)
        self.connection = None
        self.listener.on_answer(body)

    def lateness(self, now: float) -> UpstreamTimeout:
        limits: Timeouts = self.upstream.timeouts
        name = _name(self.upstream)
        if self.total <= now:
            return UpstreamTimeout(f"{name} did not finish within {limits.total_s:g} s")
        if self.received:
            return UpstreamTimeout(f"{name} sent nothing for {limits.idle_s:g} s")
        return UpstreamTimeout(f"{name} did not begin to answer within {limits.first_byte_s:g} s")

    def lost(self, exc: Exception | None) -> None:
        """The connection went away in the middle.

        A connection that had rested may have been closed by the server just as we wrote on it.  When not one byte
        has come back the request is sent once more, on a connection of its own.
        """
        connection = self.connection
        self.connection = None
        if connection is not None and connection.used > 1 and not self.received and not self.retried:
            self.retried = True
            self.pools.dial(self)
            return
        name = _name(self.upstream)
        if self.received:
            self.fail(UpstreamProtocolError(f"{name} broke the connection in the middle of its answer"))
        else:
            self.fail(UpstreamUnavailable(f"{name} closed the connection without an answer", retry_after_s=1))


class Connection(asyncio.Protocol):
    """A connection to one origin.  Between two calls it rests in the pool."""

    def __init__(self, pools: Pools, origin: Origin) -> None:
        self.pools = pools
        self.origin = origin
        self.transport: asyncio.Transport
        self.rested_at = 0.0
        self.used = 0
        self._attempt: Attempt | None = None
        # The parser calls the dictionary itself: no frame of ours for each header.
        self._headers: Headers = {}
        self.on_header = self._headers.__setitem__
        self._parser = httptools.HttpResponseParser(self)
        self._familiar = glance.Familiar()
        self._usual = False
        self._status = 0
        self._complete = False
        self._overrun = False
        self._to_the_end = False
        self._keep = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def begin(self, attempt: Attempt) -> None:
        self._attempt = attempt
        attempt.connection = self
        self.used += 1
        self._complete = False
        if attempt.paused:
            self.transport.pause_reading()
        if len(attempt.body) < JOIN_BELOW:
            self.transport.write(attempt.head + attempt.body)
        else:
            self.transport.writelines((attempt.head, attempt.body))

    def break_off(self, attempt: Attempt) -> None:
        if self._attempt is attempt:
            self._attempt = None
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        attempt = self._attempt
        if attempt is None:
            self.pools.forget(self)
            self.transport.abort()
            return
        if not attempt.received:
            attempt.received = True
            body = self._familiar.body(data)
            if body is not None:
                self._attempt = None
                self._put_back(attempt)
                attempt.end_whole(body)
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as exc:
            if self._attempt is attempt:
                attempt.fail(UpstreamProtocolError(f"{_name(attempt.upstream)} did not answer in HTTP/1.1: {exc}"))
            return
        # An answer may have been given up while its bytes were being read.
        if self._attempt is not attempt:
            return
        if self._complete:
            if self._usual:
                self._familiar.learn(data)
            self._finish(attempt)
        else:
            attempt.touch()

    def _finish(self, attempt: Attempt) -> None:
        self._attempt = None
        if self._keep and not self._overrun and not self._to_the_end:
            self._put_back(attempt)
        else:
            self.transport.close()
        attempt.end()

    def _put_back(self, attempt: Attempt) -> None:
        transport = self.transport
        if transport.get_write_buffer_size() or transport.is_closing():
            transport.close()
            return
        if attempt.paused:
            transport.resume_reading()
        self.pools.rest(self)

    def connection_lost(self, exc: Exception | None) -> None:
        attempt, self._attempt = self._attempt, None
        if attempt is None:
            self.pools.forget(self)
        elif self._to_the_end and exc is None:
            attempt.end()
        else:
            attempt.lost(exc)

    # What follows is called by the parser.

    def on_message_begin(self) -> None:
        if self._complete:
            self._overrun = True
        self._headers.clear()

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        self._status = status
        attempt = self._attempt
        if status < 200 or self._overrun or attempt is None:
            return
        headers = {name.lower(): content for name, content in self._headers.items()}
        framed = b"content-length" in headers or b"transfer-encoding" in headers
        self._to_the_end = not framed and status not in (204, 304)
        # The parser knows this while the message is open, and no longer.
        self._keep = self._parser.should_keep_alive()
        json = headers.get(b"content-type", b"").startswith(b"application/json")
        self._usual = status == 200 and self._keep and json and b"content-encoding" not in headers
        attempt.listener.on_head(status, headers)

    def on_body(self, body: bytes) -> None:
        attempt = self._attempt
        if attempt is not None and not self._overrun:
            attempt.listener.on_data(body)

    def on_message_complete(self) -> None:
        # 1xx answers (RFC 9110, section 15.2) only announce the one that counts.
        if self._status >= 200 and not self._to_the_end:
            self._complete = True


def _head(upstream: Upstream, path: str) -> bytes:
    lines = [f"POST {upstream.base_path}{path} HTTP/1.1", f"host: {upstream.origin.authority}"]
    lines += [f"{name}: {content}" for name, content in upstream.headers]
    # We relay bytes, and look for the usage in them: no compression.
    lines += ["content-type: application/json", "accept-encoding: identity", ""]
    return "\r\n".join(lines).encode("latin-1")


def _name(upstream: Upstream) -> str:
    if upstream.origin.unix is not None:
        return f"the local model {upstream.model!r}"
    return f"the provider at {upstream.origin.authority}"


def _unreachable(upstream: Upstream, exc: OSError) -> str:
    if upstream.origin.unix is not None:
        return f"the local model {upstream.model!r} is starting or restarting; try again in a moment"
    return f"no connection to {_name(upstream)}: {exc.strerror or exc}"
