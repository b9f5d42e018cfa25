"""One call to one upstream, and the connection that carries it.

A connection carries one call at a time and goes back to its pool only when the answer ended exactly where its framing
said.  Anything else (bytes too many, a request not wholly written, an answer that runs to the end of the connection)
closes it, so that no answer can reach another's request.
"""

import asyncio
from typing import Protocol

import httptools

from tesela.errors import TeselaError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnavailable
from tesela.gateway import glance
from tesela.gateway.seams import Headers, Listener
from tesela.serving import Timeouts, Upstream

MAX_HEAD = 256 * 1024
"""Bytes of status line and headers that an upstream may send."""
JOIN_BELOW = 65536
"""Bytes up to which head and body are joined for one write; above, copying costs more than a second buffer."""


class Keeper(Protocol):
    """What calls and connections need of the pools that they belong to."""

    loop: asyncio.AbstractEventLoop
    under_way: "set[Attempt]"

    def dial(self, attempt: "Attempt") -> None: ...

    def rest(self, connection: "Connection") -> None: ...

    def forget(self, connection: "Connection") -> None: ...


class Attempt:
    """One call to one upstream: what was asked for, by whom, and until when."""

    # Defaults on the class: an instance pays only for what differs, on every request.
    connection: "Connection | None" = None
    dialing: asyncio.Task[None] | None = None
    paused = False
    received = False
    retried = False
    fresh = False

    def __init__(
        self, pools: Keeper, upstream: Upstream, head: bytes, body: bytes, listener: Listener, patience_s: float
    ) -> None:
        self.pools = pools
        self.upstream = upstream
        self.head = head
        self.body = body
        self.listener = listener
        self.sent_at = now = pools.loop.time()
        self.deadline = now + patience_s

    def pause(self) -> None:
        self.paused = True
        self.fresh = False
        self.deadline = self.sent_at + self.upstream.timeouts.total_s
        if self.connection is not None:
            self.connection.transport.pause_reading()

    def resume(self) -> None:
        self.paused = False
        self.fresh = True
        if self.connection is not None:
            self.connection.transport.resume_reading()

    def look(self, now: float) -> bool:
        """Whether time is up.  Bytes that came since the last look give the next ones the idle limit's time."""
        if self.fresh:
            self.fresh = False
            limits = self.upstream.timeouts
            self.deadline = min(self.sent_at + limits.total_s, now + limits.idle_s)
        return self.deadline <= now

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

    def lateness(self, now: float) -> UpstreamTimeout:
        limits: Timeouts = self.upstream.timeouts
        name = self.upstream.called
        if self.sent_at + limits.total_s <= now:
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
        name = self.upstream.called
        if self.received:
            self.fail(UpstreamProtocolError(f"{name} broke the connection in the middle of its answer"))
        else:
            self.fail(UpstreamUnavailable(f"{name} closed the connection without an answer", retry_after_s=1))


class Connection(asyncio.Protocol):
    """A connection to one origin.  Between two calls it rests in the pool."""

    def __init__(self, pools: Keeper, idle: "list[Connection]") -> None:
        self.pools = pools
        self.idle = idle
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
        self._head_size = 0
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
                self._attempt = attempt.connection = None
                self.pools.under_way.discard(attempt)
                self._put_back(attempt)
                attempt.listener.on_answer(body)
                return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            if self._attempt is not attempt:
                return
            if not self._complete:
                attempt.fail(UpstreamProtocolError(f"{attempt.upstream.called} did not answer in HTTP/1.1: {exc}"))
                return
            # The answer is there as its framing said; only what follows it is not.
            self._overrun = True
        # An answer may have been given up while its bytes were being read.
        if self._attempt is not attempt:
            return
        if self._complete:
            if self._usual:
                self._familiar.learn(data)
            self._finish(attempt)
        else:
            attempt.fresh = True
            if self._status < 200:
                self._bound(attempt, len(data))

    def _bound(self, attempt: Attempt, read: int) -> None:
        """The parser keeps a head until it is whole, however long it gets."""
        self._head_size += read
        if self._head_size > MAX_HEAD:
            attempt.fail(UpstreamProtocolError(f"{attempt.upstream.called} sent more than {MAX_HEAD} bytes of headers"))

    def _finish(self, attempt: Attempt) -> None:
        self._attempt = None
        if self._keep and not self._overrun and not self._to_the_end:
            self._put_back(attempt)
        else:
            self.transport.close()
        attempt.end()

    def _put_back(self, attempt: Attempt) -> None:
        # A server may answer before it has read all of a large request, and may not want the rest.
        if len(attempt.body) >= JOIN_BELOW and self.transport.get_write_buffer_size():
            self.transport.close()
            return
        if attempt.paused:
            self.transport.resume_reading()
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
        self._status = self._head_size = 0

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
