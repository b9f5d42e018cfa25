"""Requests in a provider's own form: what is read of their heads, and how they are sent to whatever is behind.

To the provider whose form it is they go as they came; to all others as a chat.
"""

import msgspec

from tesela.errors import TeselaError, Unsupported, UpstreamProtocolError
from tesela.gateway.ask import Question
from tesela.gateway.doors import Door
from tesela.gateway.relay import Relay
from tesela.providers.base import Call, Exchange, Provider
from tesela.providers.unified import exchange as unified
from tesela.serving import Upstream
from tesela.wire import messages
from tesela.wire.sse import MAX_EVENT
from tesela.wire.tasks import Native, Task


def enter(door: Door, headers: dict[bytes, bytes]) -> Door:
    """The door with the headers that the provider is to see.

    An access token in the header of Anthropic's API keys becomes the bearer that it is, unless there is one.
    """
    key = headers.get(b"x-api-key")
    if key and b"authorization" not in headers:
        headers[b"authorization"] = b"Bearer " + key
    passed = [(name.decode(), found.decode("latin-1")) for name, found in headers.items() if name.startswith(OWN)]
    return door._replace(headers=tuple(passed)) if passed else door


OWN = b"anthropic-"


def exchange(question: Question, provider: Provider, upstream: Upstream, created: int, id: str) -> Exchange:
    """One attempt.  Raises RequestError for what cannot be said in chat."""
    door = question.door
    document = dict(question.document)
    call = Call(question.task, document, question.streaming, upstream, created, id, door.headers)
    own = provider.native.get(door.native) if door.native is not None else None
    if own is not None:
        return own(call)
    if door.native is not Native.MESSAGES:
        raise Unsupported(
            f"endpoint {question.endpoint.name!r} cannot count tokens: only Anthropic's own models can; the usage "
            "of an answer tells what its request had"
        )
    chat = messages.to_chat(document)
    translation = provider.translations[Task.CHAT]
    if translation is None:
        return unified(Task.CHAT, chat, question.streaming, upstream)
    return translation(msgspec.structs.replace(call, document=chat))


class Passing(Relay):
    """A stream whose events are already the caller's.  Bytes go on as they came, up to the end of a whole event."""

    __slots__ = ("_buffer",)

    def __init__(self, exchange: Exchange, question: Question) -> None:
        super().__init__(exchange, question.task, question.door.manners, show_usage=True)
        self._buffer = b""

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
        return b"event: error\ndata: %b\n\n" % messages.failure_event(error)
