"""One query to one endpoint, from the first served entity that is tried to the last byte that the caller gets."""

import random
import time
from typing import TYPE_CHECKING

from tesela.errors import RateLimited, TeselaError, UpstreamProtocolError
from tesela.gateway import ask, native, traffic
from tesela.gateway.admission import admit
from tesela.gateway.doors import Manners
from tesela.gateway.heads import NOT_A_STREAM, no_object, objection, retry_after
from tesela.gateway.reading import reader
from tesela.gateway.refusal import boundary, note, refuse, without_keys
from tesela.gateway.relay import Gather, Relay
from tesela.gateway.seams import Caller, Handle, Headers
from tesela.providers.base import Call, Exchange
from tesela.providers.unified import exchange as unified
from tesela.snapshot import Credential
from tesela.wire import usage

if TYPE_CHECKING:
    from tesela.gateway.invoke import Gateway

MAX_ANSWER = 256 * 1024 * 1024
"""Bytes of a whole answer that we are ready to hold.  2,048 embeddings of 4,096 floats take about 100 MB as text."""
LINES = b"content-type: %b\r\nserved-model-name: %b\r\nx-request-id: %b\r\n"


class Invocation:
    """One query to one endpoint, with all its attempts.  It is the listener of its transport."""

    # Defaults on the class: an instance pays only for what differs, on every request.
    _handle: Handle | None = None
    _exchange: Exchange | None = None
    _relay: Relay | Gather | None = None
    _answer: list[bytes] | None = None
    _size = 0
    _status = 0
    _retry_after: int | None = None
    _opened = False
    _paused = False
    _native = False
    _reassured = 0.0
    _admitted = ""

    def __init__(
        self, gateway: "Gateway", caller: Caller, question: ask.Question, credential: Credential, request_id: str
    ) -> None:
        self._gateway = gateway
        self._caller = caller
        self._question = question
        self._credential = credential
        self._request_id = request_id
        order = question.entities or traffic.order(question.endpoint, random.random)
        self._entity, self._left = order[0], order[1:]
        self._started = gateway.loop.time()

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

    def _send(self) -> None:
        question, entity, gateway = self._question, self._entity, self._gateway
        upstream = entity.upstream
        if upstream.limit:
            self._admitted = admit(gateway.in_flight, entity, question.endpoint.name)
        try:
            provider = gateway.providers[entity.provider]
            translation = provider.translations[question.task]
            # The last entity may have the caller's document; one that others may still need is copied.
            document = dict(question.document) if self._left else question.document
            if question.echo is not None and question.door.native is not None:
                exchange = native.exchange(question, provider, upstream, int(time.time()), self._answer_id())
                self._native = exchange.native
            elif translation is None:
                exchange = unified(question.task, document, question.streaming, upstream)
            else:
                answer_id, created = self._answer_id(), int(time.time())
                exchange = translation(Call(question.task, document, question.streaming, upstream, created, answer_id))
            self._exchange = exchange
            self._relay = (
                reader(exchange, question, self._answer_id(), int(time.time())) if exchange.streaming else None
            )
            transport = gateway.transports[upstream.origin.scheme]
            self._handle = transport.send(upstream, exchange.path, exchange.headers, exchange.body, self)
        except BaseException:
            self._dismiss()
            raise

    def _dismiss(self) -> None:
        if self._admitted:
            self._gateway.in_flight[self._admitted] -= 1
            self._admitted = ""

    def on_head(self, status: int, headers: Headers) -> None:
        self._status = status
        if status >= 400:
            self._retry_after = retry_after(headers)
            return
        if (wrong := objection(status, headers, self._relay is not None)) is not None:
            self._give_up(wrong)

    def on_data(self, data: bytes) -> None:
        relay = self._relay
        if relay is None or self._status >= 400:
            self._size += len(data)
            if self._answer is None:
                self._answer = []
            self._answer.append(data)
            if self._size > MAX_ANSWER:
                self._give_up(UpstreamProtocolError(f"the provider's answer is larger than {MAX_ANSWER} bytes"))
            return
        try:
            if isinstance(relay, Gather):
                relay.feed(data)
                return
            done_before = relay.source.done
            out = relay.feed(data)
        except Exception as exc:
            self._give_up(boundary(exc, self._request_id))
            return
        if out:
            if not self._opened:
                self._open_stream()
            self._caller.send(out)
        if relay.source.done and not done_before:
            self._finish_stream(relay)

    def on_answer(self, body: bytes) -> None:
        self._handle = None
        if self._relay is not None:
            self.on_failure(UpstreamProtocolError(NOT_A_STREAM))
        else:
            self._whole(body)

    def on_end(self) -> None:
        self._handle = None
        relay = self._relay
        if self._status >= 400:
            provider = self._gateway.providers[self._entity.provider]
            said = without_keys(self._answer, self._entity.upstream)
            self.on_failure(provider.failure(self._status, said, self._retry_after))
        elif relay is None:
            self._whole(b"".join(self._answer or ()))
        else:
            try:
                if isinstance(relay, Relay):
                    self._end_stream(relay)
                else:
                    self._answered(relay.finish(), relay.source.usage)
            except Exception as exc:
                self.on_failure(boundary(exc, self._request_id))

    def _whole(self, body: bytes) -> None:
        exchange = self._exchange
        try:
            if exchange is not None and exchange.answer is not None:
                body = exchange.answer(body)
            elif not body.startswith(b"{"):
                no_object(body)
            self._answered(body, usage.find(body))
        except Exception as exc:
            self.on_failure(boundary(exc, self._request_id))

    def _answered(self, body: bytes, counted: usage.Usage | None) -> None:
        """The whole answer is there, in the unified form."""
        question = self._question
        if (question.echo is not None and not self._native) or question.door.manners is Manners.DATABRICKS:
            body = question.answer(body, self._answer_id(), int(time.time()))
        self._over(200, counted)
        if not self._opened:
            self._caller.answer(200, self._lines(b"application/json"), body)
            return
        if body:
            self._caller.send(body)
        self._caller.close()

    def _end_stream(self, relay: Relay) -> None:
        if relay.source.done:
            return
        out = relay.finish()
        if not self._opened:
            self._open_stream()
        if out:
            self._caller.send(out)
        self._finish_stream(relay)

    def _open_stream(self) -> None:
        self._opened = True
        self._caller.open(200, self._lines(b"text/event-stream\r\ncache-control: no-cache"))

    def _finish_stream(self, relay: Relay) -> None:
        """The caller has the end.  The upstream may take its time with what is left of the framing."""
        handle, self._handle = self._handle, None
        if self._paused and handle is not None:
            # The caller's slowness is its connection's from here on; what waits for a resume would wait for ever.
            handle.resume()
        self._over(200, relay.source.usage)
        self._caller.close()

    def on_failure(self, error: TeselaError) -> None:
        """The attempt failed: another entity when one may be tried, else the caller hears of it."""
        self._handle = None
        if self not in self._gateway.under_way:
            return
        self._dismiss()
        if error.retryable and self._left and not self._opened:
            self._answer, self._size = None, 0
            try:
                self._next()
                self.start()
            except Exception as exc:
                self._fail(boundary(exc, self._request_id))
            return
        self._fail(error)

    def abandon(self, error: TeselaError) -> None:
        """Give it up for good: no other entity is tried."""
        self._left = ()
        self._give_up(error)

    def _give_up(self, error: TeselaError) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            handle.cancel()
        self.on_failure(error)

    def _lines(self, content_type: bytes) -> bytes:
        return LINES % (content_type, self._entity.name.encode(), self._request_id.encode())

    def _fail(self, error: TeselaError) -> None:
        relay = self._relay
        self._over(error.status, relay.source.usage if relay is not None else None)
        note(error, self._request_id, self._question.endpoint.name, self._entity.name)
        if not self._opened:
            refuse(self._caller, error, self._request_id, self._question.door)
        elif isinstance(relay, Relay):
            self._caller.send(relay.failure(error))
            self._caller.close()
        else:
            # White space has gone out with status 200; breaking the connection is all that is left to say no.
            self._caller.abort()

    def reassure(self, before: float) -> None:
        """Send a sign of life to a caller that has heard none since `before` (loop time); a stream must have begun."""
        sign = self._question.sign
        waiting = sign and self._handle is not None and (self._opened or not self._question.streaming)
        if waiting and max(self._started, self._reassured) < before:
            if not self._opened:
                self._opened = True
                self._caller.open(200, self._lines(b"application/json"))
            self._reassured = self._gateway.loop.time()
            self._caller.send(sign)

    def pause(self) -> None:
        """The caller reads more slowly than the upstream writes."""
        self._paused = True
        if self._handle is not None:
            self._handle.pause()

    def resume(self) -> None:
        self._paused = False
        if self._handle is not None:
            self._handle.resume()

    def cancel(self) -> None:
        """The caller left."""
        handle, self._handle, relay = self._handle, None, self._relay
        if self in self._gateway.under_way:
            if handle is not None:
                handle.cancel()
            self._over(499, relay.source.usage if relay is not None else None)

    def _over(self, status: int, counted: usage.Usage | None) -> None:
        gateway = self._gateway
        if self._admitted:
            self._dismiss()
        gateway.under_way.discard(self)
        key = (self._question.endpoint.name, self._entity.name, self._credential.principal.id)
        gateway.tally.add(key, status, counted)

    def refused(self, error: TeselaError) -> None:
        """It could not be sent anywhere, and its caller has been told."""
        self._over(error.status, None)

    def _answer_id(self) -> str:
        return self._request_id.replace("-", "")
