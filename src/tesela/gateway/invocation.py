"""One query to one endpoint, from the first served entity that is tried to the last byte that the caller gets."""

import time

from tesela.errors import TeselaError, UpstreamProtocolError
from tesela.gateway.attempting import Attempts
from tesela.gateway.doors import Manners
from tesela.gateway.heads import NOT_A_STREAM, no_object, objection, retry_after
from tesela.gateway.midstream import raise_if_no_answer
from tesela.gateway.refusal import boundary, note, refuse, without_keys
from tesela.gateway.relay import Gather, Relay
from tesela.gateway.seams import Headers
from tesela.gateway.sending import answer_id, refused
from tesela.wire import usage

MAX_ANSWER = 256 * 1024 * 1024
"""Bytes of a whole answer that we are ready to hold.  2,048 embeddings of 4,096 floats take about 100 MB as text."""
LINES = b"content-type: %b\r\nserved-model-name: %b\r\nx-request-id: %b\r\n"


class Invocation(Attempts):
    """One query to one endpoint, with all its attempts: what the upstream says comes in, what the caller hears goes
    out."""

    _retry_after: int | None = None
    _paused = False
    _reassured = 0.0

    def on_head(self, status: int, headers: Headers) -> None:
        self._status, self._head = status, headers
        if status >= 400:
            self._retry_after = retry_after(headers, time.time)
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
            upstream, path = self._entity.upstream, self._exchange.path if self._exchange is not None else ""
            said = without_keys(self._answer, upstream)
            self.on_failure(refused(provider, upstream, path, self._status, said, self._retry_after))
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
            counted = usage.find(body)
            if counted is None or len(body) > usage.SMALL:
                raise_if_no_answer(body, counted, native=exchange is not None and exchange.native)
            self._answered(body, counted)
        except Exception as exc:
            self.on_failure(boundary(exc, self._request_id))

    def _answered(self, body: bytes, counted: usage.Usage | None) -> None:
        """The whole answer is there, in the unified form."""
        question = self._question
        own = question.echo is not None and not (self._exchange is not None and self._exchange.native)
        if own or question.door.manners is Manners.DATABRICKS:
            body = question.answer(body, answer_id(self._request_id), int(time.time()))
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
        self._first = self._gateway.loop.time()
        if self._probe is not None:
            # A long answer would keep the others waiting.
            self._well()
        self._caller.open(200, self._lines(b"text/event-stream\r\ncache-control: no-cache"))

    def _finish_stream(self, relay: Relay) -> None:
        """The caller has the end.  The upstream may take its time with what is left of the framing."""
        handle, self._handle = self._handle, None
        if self._paused and handle is not None:
            # The caller's slowness is its connection's from here on; what waits for a resume would wait for ever.
            handle.resume()
        self._over(200, relay.source.usage)
        self._caller.close()

    def _lines(self, content_type: bytes) -> bytes:
        lines = LINES % (content_type, self._entity.name.encode(), self._request_id.encode())
        return lines if self._trouble is None else lines + self._trouble.lines(self._entity.name)

    def _fail(self, error: TeselaError) -> None:
        relay = self._relay
        self._over(error.status, relay.source.usage if relay is not None else None, type(error).__name__)
        note(error, self._request_id, self._question.endpoint.name, self._entity.name)
        if not self._opened:
            more = self._trouble.lines() if self._trouble is not None else b""
            refuse(self._caller, error, self._request_id, self._question.door, more)
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
