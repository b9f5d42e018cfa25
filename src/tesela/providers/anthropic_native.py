"""Calls that come in Anthropic's own form and go to Anthropic: everything passes but the name of the model.

Nothing is checked and nothing is left out, so fields that came out yesterday work.
"""

from collections.abc import Mapping

import msgspec

from tesela.errors import UpstreamProtocolError
from tesela.providers.anthropic_answer import Told, Usage, failed
from tesela.providers.base import Call, Exchange, Translation
from tesela.wire.document import encode, raw
from tesela.wire.sse import Event
from tesela.wire.tasks import Native

PATH = "/v1/messages"
COUNT_PATH = f"{PATH}/count_tokens"
HEADERS = (("anthropic-version", "2023-06-01"),)
"""https://platform.claude.com/docs/en/api/versioning: the newest version.  New features have names, not dates."""


def messages(call: Call) -> Exchange:
    return _passed(call, PATH, Watch() if call.streaming else None)


def count_tokens(call: Call) -> Exchange:
    """https://platform.claude.com/docs/en/api/messages-count-tokens"""
    return _passed(call, COUNT_PATH, None)


def _passed(call: Call, path: str, watch: "Watch | None") -> Exchange:
    document = call.document
    document["model"] = raw(call.upstream.model)
    given = {name for name, _ in call.headers}
    headers = tuple(header for header in HEADERS if header[0] not in given) + call.headers
    return Exchange(path, encode(document), watch is not None, headers, chunks=watch, native=True)


class _Message(msgspec.Struct):
    usage: Usage | None = None


class _Event(msgspec.Struct):
    message: _Message | None = None
    usage: Usage | None = None
    error: Told | None = None


_read = msgspec.json.Decoder(_Event, strict=False).decode


class Watch:
    """What is to be known of a stream that passes: its usage, a failure, whether it came to its end."""

    __slots__ = ("_usage", "ended")

    def __init__(self) -> None:
        self._usage = Usage()
        self.ended = False

    def feed(self, event: Event) -> list[bytes]:
        """Nothing, or the usage as it stands, as a unified chunk.  Raises UpstreamError for a failure."""
        if event.name not in LOOKED_AT:
            return []
        try:
            told = _read(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise UpstreamProtocolError(f"Anthropic sent an event that cannot be read: {exc}") from exc
        if told.error is not None or event.name == b"error":
            raise failed(told.error or Told())
        if event.name == b"message_stop":
            self.ended = True
        found = told.usage or (told.message.usage if told.message is not None else None)
        if found is None:
            return []
        self._usage.take(found)
        return [b'{"choices":[],"usage":%s}' % encode(self._usage.unified())]

    def finish(self) -> list[bytes]:
        if not self.ended:
            raise UpstreamProtocolError("Anthropic ended its stream in the middle of the answer")
        return []


LOOKED_AT = frozenset({b"message_start", b"message_delta", b"message_stop", b"error"})

CALLS: Mapping[Native, Translation] = {Native.MESSAGES: messages, Native.COUNT_MESSAGE_TOKENS: count_tokens}
