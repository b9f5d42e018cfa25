"""Calls that come in Gemini's own form and go to Gemini: everything passes.

Nothing is checked and nothing is left out, so fields that came out yesterday work.  The model stands in the path, and
is the endpoint's.
"""

from collections.abc import Mapping

import msgspec

from tesela.errors import UpstreamProtocolError
from tesela.providers.base import Call, Exchange, Translation
from tesela.providers.gemini_answer import Usage, failed
from tesela.wire.document import encode
from tesela.wire.sse import Event
from tesela.wire.tasks import Native


def generate(call: Call) -> Exchange:
    """https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference"""
    return _passed(call, ":generateContent", None)


def stream(call: Call) -> Exchange:
    return _passed(call, ":streamGenerateContent?alt=sse", Watch())


def count(call: Call) -> Exchange:
    """https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/count-tokens"""
    return _passed(call, ":countTokens", None)


def _passed(call: Call, path: str, watch: "Watch | None") -> Exchange:
    document = call.document
    # Of the clients of Google's other API, which names the model twice.
    document.pop("model", None)
    return Exchange(path, encode(document), watch is not None, call.headers, chunks=watch, native=True)


class _Candidate(msgspec.Struct, rename="camel"):
    finish_reason: str | None = None


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Event(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: Usage | None = None
    error: dict[str, msgspec.Raw] | None = None


_read = msgspec.json.Decoder(_Event, strict=False).decode
_told = msgspec.json.Decoder(dict).decode


class Watch:
    """What is to be known of a stream that passes: its usage, a failure, whether it came to its end."""

    __slots__ = ("_ended",)
    # Counts may come after the last word.
    ended = False

    def __init__(self) -> None:
        self._ended = False

    def feed(self, event: Event) -> list[bytes]:
        """Nothing, or the usage as it stands, as a unified chunk.  Raises UpstreamError for a failure."""
        try:
            told = _read(event.data)
            if told.error is not None:
                raise failed(_told(event.data)["error"])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise UpstreamProtocolError(f"Gemini sent an event that cannot be read: {exc}") from exc
        blocked = told.prompt_feedback is not None and told.prompt_feedback.block_reason is not None
        if blocked or any(one.finish_reason is not None for one in told.candidates or ()):
            self._ended = True
        if told.usage_metadata is None:
            return []
        return [b'{"choices":[],"usage":%s}' % encode(told.usage_metadata.unified())]

    def finish(self) -> list[bytes]:
        if not self._ended:
            raise UpstreamProtocolError("Gemini ended its stream in the middle of the answer")
        return []


CALLS: Mapping[Native, Translation] = {
    Native.GENERATE: generate,
    Native.STREAM_GENERATE: stream,
    Native.COUNT_CONTENT_TOKENS: count,
}
