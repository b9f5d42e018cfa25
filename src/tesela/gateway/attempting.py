"""The attempts of one invocation: which served entity gets the request, and what follows when one fails.

The other half of an invocation, `invocation.py`, hears what the upstream says and tells the caller.
"""

import logging
import random
import time
from typing import TYPE_CHECKING

from tesela.errors import CircuitOpen, RateLimited, TeselaError
from tesela.gateway import ask, sending, traffic
from tesela.gateway.admission import admit
from tesela.gateway.heads import name_request
from tesela.gateway.health import Ailment
from tesela.gateway.reading import reader
from tesela.gateway.refusal import boundary
from tesela.gateway.relay import Gather, Relay
from tesela.gateway.seams import Caller, Handle, Headers, Listener
from tesela.gateway.sending import answer_id
from tesela.gateway.trouble import Pause, Trouble
from tesela.providers.base import Exchange
from tesela.snapshot import Credential
from tesela.telemetry import attempts
from tesela.telemetry.attempts import Attempted
from tesela.wire import usage

if TYPE_CHECKING:
    from tesela.gateway.invoke import Gateway

_log = logging.getLogger("tesela.gateway")


class Attempts(Listener):
    """It is the listener of its transport, for one attempt at a time."""

    # Defaults on the class: an instance pays only for what differs, on every request.
    _handle: Handle | None = None
    _exchange: Exchange | None = None
    _relay: Relay | Gather | None = None
    _answer: list[bytes] | None = None
    _size = 0
    _status = 0
    _opened = False
    _admitted = ""
    _probe: Ailment | None = None
    _trouble: Trouble | None = None
    _began = 0.0
    _first = 0.0
    _head: Headers | None = None

    def __init__(
        self, gateway: "Gateway", caller: Caller, question: ask.Question, credential: Credential, request_id: str
    ) -> None:
        self._gateway = gateway
        self._caller = caller
        self._question = question
        self._credential = credential
        self._request_id = request_id
        rank = gateway.health.rank if gateway.ailing else None
        order = question.entities or traffic.order(question.endpoint, random.random, rank)
        self._entity, self._left = order[0], order[1:]
        self._started = gateway.loop.time()

    def _fail(self, error: TeselaError) -> None:
        """It is over: the caller hears of it."""
        raise NotImplementedError

    def start(self) -> None:
        """Send to the first served entity.  Raises TeselaError when nothing could be sent."""
        while True:
            try:
                self._send()
            except TeselaError as error:
                # A full local model counts as a failure of this entity alone: the next may have room.
                if not ((error.retryable or isinstance(error, RateLimited)) and self._left):
                    raise
                self._next()
            else:
                return

    def _next(self) -> None:
        self._entity, self._left = self._left[0], self._left[1:]
        if self._trouble is not None:
            self._trouble.next_entity()

    def _send(self) -> None:
        question, entity, gateway = self._question, self._entity, self._gateway
        upstream = entity.upstream
        if self._trouble is not None:
            upstream = self._trouble.upstream or upstream
        if upstream.limit:
            self._admitted = admit(gateway.in_flight, entity, question.endpoint.name)
        try:
            if gateway.ailing:
                self._probe = gateway.health.enter(entity.upstream)
            # The last attempt may have the caller's document; one that others may still need is copied.
            more = self._left or upstream.timeouts.retries.count
            document = dict(question.document) if more else question.document
            provider = gateway.providers[entity.provider]
            self._exchange = exchange = sending.exchange(question, document, provider, upstream, self._request_id)
            self._relay = (
                reader(exchange, question, answer_id(self._request_id), int(time.time()))
                if exchange.streaming
                else None
            )
            transport = gateway.transports[upstream.origin.scheme]
            self._handle = transport.send(upstream, exchange.path, exchange.headers, exchange.body, self)
        except BaseException:
            self._dismiss()
            raise

    def _dismiss(self) -> None:
        """Give back what an attempt holds beside its call: a place under its upstream's limit, and that of a probe."""
        if self._admitted:
            self._gateway.in_flight[self._admitted] -= 1
            self._admitted = ""
        if self._probe is not None:
            self._gateway.health.left(self._probe)
            self._probe = None

    def _well(self) -> None:
        """The upstream answers: others may be sent to it, if it was not well before."""
        self._gateway.health.answered(self._entity.upstream, self._probe)
        self._probe = None

    def on_failure(self, error: TeselaError) -> None:
        """The attempt failed: it is repeated, another entity is tried, or the caller hears of it."""
        self._handle = None
        gateway, entity = self._gateway, self._entity
        if self not in gateway.under_way:
            return
        name_request(error, self._head)
        now, began = gateway.loop.time(), self._began or self._started
        gateway.health.failed(entity.upstream, error, self._probe)
        self._probe = None
        self._dismiss()
        trouble = self._trouble = self._trouble or Trouble()
        trouble.attempts.append(self._attempted(now, type(error).__name__, error.upstream_status))
        if not error.retryable or self._opened:
            self._fail(error)
            return
        self._answer, self._size, self._status, self._head = None, 0, 0, None
        pause_s = trouble.pause_s(error, entity, began, now, random.random)
        if pause_s is not None:
            self._handle = Pause(gateway.loop, pause_s, lambda: self._go_on(error))
        elif self._left:
            self._next()
            self._go_on(error)
        else:
            self._fail(error)

    def _go_on(self, error: TeselaError) -> None:
        """The next attempt, after one that failed with this error."""
        self._handle = None
        self._began = self._gateway.loop.time()
        try:
            self.start()
        except CircuitOpen:
            # Nobody was called: what went wrong before says more.
            self._fail(error)
        except Exception as exc:
            self._fail(boundary(exc, self._request_id))

    def _attempted(self, now: float, error: str, status: int | None = None) -> Attempted:
        """The attempt that has just ended, for the record."""
        entity, duration_s = self._entity, now - (self._began or self._started)
        status = status or self._status or None
        return Attempted(entity.name, entity.upstream.model, time.time() - duration_s, duration_s, status, error)

    def abandon(self, error: TeselaError) -> None:
        """Give it up for good: nothing else is tried."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.cancel()
        if self in self._gateway.under_way:
            self._fail(error)

    def _give_up(self, error: TeselaError) -> None:
        """Break off this attempt."""
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.cancel()
        self.on_failure(error)

    def cancel(self) -> None:
        """The caller left."""
        handle, self._handle, relay = self._handle, None, self._relay
        if self in self._gateway.under_way:
            if handle is not None:
                handle.cancel()
            if self._trouble is not None and not isinstance(handle, Pause):
                self._trouble.attempts.append(self._attempted(self._gateway.loop.time(), "Cancelled"))
            self._over(499, relay.source.usage if relay is not None else None)

    def _over(self, status: int, counted: usage.Usage | None, error: str = "") -> None:
        gateway = self._gateway
        if gateway.ailing and status == 200:
            self._well()
        if self._admitted or self._probe is not None:
            self._dismiss()
        gateway.under_way.discard(self)
        key = (self._question.endpoint.name, self._entity.name, self._credential.principal.id)
        gateway.tally.add(key, status, counted)
        self._remember(status, counted, error)
        if self._trouble is not None:
            self._record(self._trouble, status)

    def _remember(self, status: int, counted: usage.Usage | None, error: str) -> None:
        """For the pages that show what an endpoint did."""
        principal, started, first = self._credential.principal, self._started, self._first
        question, gateway = self._question, self._gateway
        gateway.activity.add((
            question.endpoint.id, time.time(), gateway.loop.time() - started, status, counted, self._request_id,
            self._entity.name, principal.id, principal.name, error, first - started if first else None,
            question.streaming,
        ))  # fmt: skip

    def _record(self, trouble: Trouble, status: int) -> None:
        """Say in the log what it took, when it took more than one attempt."""
        if status == 200:
            trouble.attempts.append(self._attempted(self._gateway.loop.time(), "", 200))
        if len(trouble.attempts) > 1:
            took, where = attempts.line(trouble.attempts), self._question.endpoint.name
            _log.info("request %s: endpoint %s: %s", self._request_id, where, took)

    def refused(self, error: TeselaError) -> None:
        """It could not be sent anywhere, and its caller has been told."""
        self._over(error.status, None, type(error).__name__)
