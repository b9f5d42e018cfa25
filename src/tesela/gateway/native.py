"""Requests in a provider's own form: what is read of their heads, and how they are sent to whatever is behind.

To the provider whose form it is they go as they came; to all others as a chat.
"""

import msgspec

from tesela.errors import TeselaError, UpstreamProtocolError
from tesela.gateway.ask import Question
from tesela.gateway.doors import Door
from tesela.gateway.relay import Relay
from tesela.providers.base import Call, Exchange, Provider
from tesela.providers.unified import exchange as unified
from tesela.serving import Upstream
from tesela.wire.native_forms import NATIVE_FORMS
from tesela.wire.sse import MAX_EVENT


def enter(door: Door, headers: dict[bytes, bytes]) -> Door:
    """The door with the headers that the provider is to see.

    An access token in the header of the provider's API keys becomes the bearer.
    """
    if door.native is None:
        return door
    form = NATIVE_FORMS[door.native]
    bear(headers, form.key)
    own = form.passed
    passed = [(name.decode(), found.decode("latin-1")) for name, found in headers.items() if name.startswith(own)]
    return door._replace(headers=tuple(passed)) if passed else door


def exchange(question: Question, provider: Provider, upstream: Upstream, created: int, id: str) -> Exchange:
    """One attempt.  Raises RequestError for what cannot be said in our form."""
    door = question.door
    document = dict(question.document)
    call = Call(question.task, document, question.streaming, upstream, created, id, door.headers)
    own = provider.native.get(door.native) if door.native is not None else None
    if own is not None:
        return own(call)
    if door.native is not None:
        document = NATIVE_FORMS[door.native].unified(document, question.streaming)
    translation = provider.translations[question.task]
    if translation is None:
        return unified(question.task, document, question.streaming, upstream)
    return translation(msgspec.structs.replace(call, document=document))


def bear(headers: dict[bytes, bytes], name: bytes) -> None:
    """An access token in a provider's header becomes the bearer that it is, unless there is one."""
    key = headers.get(name)
    if key and b"authorization" not in headers:
        headers[b"authorization"] = b"Bearer " + key


class Passing(Relay):
    """A stream whose events are already the caller's.  Bytes go on as they came, up to the end of a whole event."""

    __slots__ = ("_buffer", "_failure")

    def __init__(self, exchange: Exchange, question: Question) -> None:
        super().__init__(exchange, question.task, question.door.manners, show_usage=True)
        self._buffer = b""
        self._failure = None if question.door.native is None else NATIVE_FORMS[question.door.native].failure_event

    def feed(self, data: bytes) -> bytes:
        if self.source.done:
            return b""
        held = self._buffer + data
        end = max(held.rfind(b"\n\n") + 2, held.rfind(b"\r\n\r\n") + 4)
        if end < 4:
            end = 0
        events, self._buffer = held[:end], held[end:]
        if len(self._buffer) > MAX_EVENT:
            raise UpstreamProtocolError(f"the provider sent an event of more than {MAX_EVENT} bytes")
        if events:
            self.source.feed(events)
        return events

    def finish(self) -> bytes:
        out, self._buffer = self._buffer, b""
        if out:
            # Only the blank line may be missing; whether that is all, whoever watches the stream knows.
            out += b"\n\n"
            self.source.feed(out)
        self.source.finish()
        return out

    def failure(self, error: TeselaError) -> bytes:
        return self._failure(error) if self._failure is not None else super().failure(error)
