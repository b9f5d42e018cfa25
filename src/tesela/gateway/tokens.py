"""Short-lived tokens of upstreams: got when they are needed, kept, and renewed before they end.

One request for a token is under way at a time for each set of credentials, however many calls wait for it.  A call that
comes while a token is about to end goes out with it and has it renewed beside; only a call without any token waits.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence

import msgspec

from tesela.errors import TeselaError, UpstreamProtocolError
from tesela.gateway.seams import Handle, Headers, Listener, Transport
from tesela.providers.tokens import asking
from tesela.serving import Granted, Step, TokenSource, Upstream

RENEW_S = 300.0
"""How long before its end a token is renewed, where it lives long enough."""
SPARE_S = 30.0
"""How long before its end a token is not used any more: a request takes its time, and clocks differ."""
MAX_TOLD = 1024 * 1024
"""Bytes of an issuer's answer that are read."""

_log = logging.getLogger("tesela.gateway")


class Held(msgspec.Struct, frozen=True):
    """A token, and until when (loop time) it is fresh and may be used."""

    granted: Granted
    fresh_until: float
    good_until: float


class Tokens:
    """The tokens of one worker.  `transport` carries the requests for them and the calls that have theirs."""

    def __init__(self, transport: Transport, now: Callable[[], float]) -> None:
        self.transport = transport
        self._now = now
        self._held: dict[str, Held] = {}
        self._asked: dict[str, _Asked] = {}

    def send(
        self, upstream: Upstream, path: str, headers: Sequence[tuple[str, str]], body: bytes, listener: Listener
    ) -> Handle:
        """Send with a token, as soon as there is one.  Raises nothing: what goes wrong reaches the listener."""
        source = upstream.token
        if source is None:
            return self.transport.send(upstream, path, headers, body, listener)
        held, now = self._held.get(source.key), self._now()
        usable = held is not None and now < held.good_until
        asked = self._asked.get(source.key)
        if asked is None and not (usable and held is not None and now < held.fresh_until):
            asked = _Asked(self, source)
            self._asked[source.key] = asked
            asked.begin()
        call = _Call(self, upstream, path, headers, body, listener)
        if usable and held is not None:
            call.go(held.granted)
        elif asked is not None and asked.error is not None:
            # It ended before anything was sent, and nobody may hear of it from inside `send`.
            asyncio.get_running_loop().call_soon(call.on_failure, asked.error)
        elif asked is not None:
            asked.waiting.append(call)
        return call

    def got(self, source: TokenSource, granted: Granted) -> None:
        now, lives = self._now(), max(granted.lives_s, 0.0)
        fresh, good = lives - min(RENEW_S, lives / 2), lives - min(SPARE_S, lives / 10)
        self._held[source.key] = Held(granted, now + fresh, now + good)

    def over(self, source: TokenSource) -> None:
        self._asked.pop(source.key, None)

    def refused(self, source: TokenSource, token: str) -> None:
        """The provider did not take the token: it was revoked, and the next call gets another."""
        held = self._held.get(source.key)
        if held is not None and held.granted.secret == token:
            del self._held[source.key]


class _Asked:
    """One conversation for a token, and the calls that wait for it.  It is the listener of its transport."""

    def __init__(self, tokens: Tokens, source: TokenSource) -> None:
        self.waiting: list[_Call] = []
        self.error: TeselaError | None = None
        self._tokens = tokens
        self._source = source
        self._asking = asking(source, int(time.time()))
        self._handle: Handle | None = None
        self._status = 0
        self._body = bytearray()

    def begin(self) -> None:
        self._next(lambda: next(self._asking))

    def _next(self, go_on: Callable[[], Step]) -> None:
        try:
            step = go_on()
        except StopIteration as over:
            self._got(over.value)
        except TeselaError as error:
            self._fail(error)
        else:
            self._body.clear()
            self._handle = self._tokens.transport.send(step.upstream, "", step.headers, step.body, self)

    def on_answer(self, body: bytes) -> None:
        self._next(lambda: self._asking.send((200, body)))

    def on_head(self, status: int, headers: Headers) -> None:
        del headers  # Nothing in them matters here.
        self._status = status

    def on_data(self, data: bytes) -> None:
        self._body += data
        if len(self._body) > MAX_TOLD and self._handle is not None:
            self._handle.cancel()
            self.on_failure(UpstreamProtocolError(f"{self._source.issuer} answered with more than {MAX_TOLD} bytes"))

    def on_end(self) -> None:
        told = (self._status, bytes(self._body))
        self._next(lambda: self._asking.send(told))

    def on_failure(self, error: TeselaError) -> None:
        self._next(lambda: self._asking.throw(error))

    def _got(self, granted: Granted) -> None:
        self._tokens.got(self._source, granted)
        self._tokens.over(self._source)
        for call in self.waiting:
            call.go(granted)

    def _fail(self, error: TeselaError) -> None:
        self.error = error
        self._tokens.over(self._source)
        if not self.waiting:
            _log.warning("a token could not be had: %s", error.message)
        for call in self.waiting:
            call.on_failure(error)


class _Call:
    """One call, before and after it has its token.  It passes on what it hears, and sees when the token is refused."""

    def __init__(
        self,
        tokens: Tokens,
        upstream: Upstream,
        path: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        listener: Listener,
    ) -> None:
        self._tokens = tokens
        self._upstream = upstream
        self._path, self._headers, self._body = path, headers, body
        self._listener = listener
        self._handle: Handle | None = None
        self._token = ""
        self._said: bytearray | None = None
        self._paused = False
        self._cancelled = False

    def go(self, granted: Granted) -> None:
        if self._cancelled:
            return
        self._token = granted.secret
        plain = msgspec.structs.replace(self._upstream, token=None)
        if granted.sign is None:
            added: tuple[tuple[str, str], ...] = (("authorization", f"Bearer {granted.secret}"),)
        else:
            host, path = plain.origin.authority, plain.base_path + self._path
            added = granted.sign(host, path, self._body, int(time.time()))
        headers = (*self._headers, *added)
        self._handle = self._tokens.transport.send(plain, self._path, headers, self._body, self)
        if self._paused:
            self._handle.pause()

    def pause(self) -> None:
        self._paused = True
        if self._handle is not None:
            self._handle.pause()

    def resume(self) -> None:
        self._paused = False
        if self._handle is not None:
            self._handle.resume()

    def cancel(self) -> None:
        self._cancelled = True
        if self._handle is not None:
            self._handle.cancel()

    def on_answer(self, body: bytes) -> None:
        self._listener.on_answer(body)

    def on_head(self, status: int, headers: Headers) -> None:
        source = self._upstream.token
        if status == 401 and source is not None:
            self._tokens.refused(source, self._token)
        if status >= 400:
            self._said = bytearray()
        self._listener.on_head(status, headers)

    def on_data(self, data: bytes) -> None:
        if self._said is None:
            self._listener.on_data(data)
            return
        self._said += data
        if len(self._said) > MAX_TOLD:
            self.cancel()
            self.on_failure(UpstreamProtocolError(f"the provider's refusal is larger than {MAX_TOLD} bytes"))

    def on_end(self) -> None:
        if self._said:
            # Some repeat what they were sent, and the token is nobody else's.
            self._listener.on_data(bytes(self._said).replace(self._token.encode(), b"***"))
        if not self._cancelled:
            self._listener.on_end()

    def on_failure(self, error: TeselaError) -> None:
        if self._handle is not None or not self._cancelled:
            self._listener.on_failure(error)
