"""Cohere's answers, whole and streamed, in the unified form.

https://docs.cohere.com/reference/chat and https://docs.cohere.com/v2/docs/streaming.  A plan for the use of tools and
citations are fields of the message by Cohere's own names; a caller that sends them back gives them back to the model.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from tesela.errors import UpstreamFailed, UpstreamProtocolError, UpstreamTimeout
from tesela.providers.base import Call
from tesela.providers.chunk_writer import EMPTY, ChunkWriter, Part, counts, embeddings
from tesela.wire.document import encode
from tesela.wire.sse import Event

FINISH: Mapping[str, str] = {
    "COMPLETE": "stop",
    "STOP_SEQUENCE": "stop",
    "MAX_TOKENS": "length",
    "TOOL_CALL": "tool_calls",
}
"""https://docs.cohere.com/reference/chat, `finish_reason`.  ERROR and TIMEOUT are failures."""

Raw = msgspec.Raw
NOTHING = Raw()


class Tokens(msgspec.Struct):
    input_tokens: float | None = None
    output_tokens: float | None = None


class Usage(msgspec.Struct):
    """`tokens` are those that the model saw; `billed_units` leave Cohere's own prompts out."""

    billed_units: Tokens | None = None
    tokens: Tokens | None = None
    cached_tokens: float | None = None

    def unified(self) -> Part:
        found = self.tokens or self.billed_units or Tokens()
        cached = None if self.cached_tokens is None else int(self.cached_tokens)
        return counts(int(found.input_tokens or 0), int(found.output_tokens or 0), cached=cached)


class LogProb(msgspec.Struct):
    text: str | None = None
    token_ids: list[int] = []
    logprobs: list[float] | None = None


class Function(msgspec.Struct):
    name: str = ""
    arguments: Raw = NOTHING


class ToolCall(msgspec.Struct):
    id: str = ""
    function: Function | None = None


class Item(msgspec.Struct):
    type: str | None = None
    text: Raw = NOTHING
    thinking: str | None = None


class Message(msgspec.Struct):
    content: list[Item] | Item | None = None
    tool_plan: str | None = None
    tool_calls: list[ToolCall] | ToolCall | None = None
    citations: list[Part] | Part | None = None


class Delta(msgspec.Struct):
    message: Message | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    error: str | None = None


class Told(msgspec.Struct):
    type: str = ""
    id: str | None = None
    delta: Delta | None = None
    logprobs: LogProb | None = None


class Whole(msgspec.Struct):
    id: str | None = None
    message: Message | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    logprobs: list[LogProb] | None = None


class Vectors(msgspec.Struct):
    embeddings: dict[str, list[Raw] | None] | None = None
    meta: Usage | None = None


_event = msgspec.json.Decoder(Told, strict=False).decode
_whole = msgspec.json.Decoder(Whole, strict=False).decode
_vectors = msgspec.json.Decoder(Vectors, strict=False).decode
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def whole(body: bytes, call: Call) -> bytes:
    """The whole answer.  Raises UpstreamError for a body that is none."""
    try:
        told = _whole(body)
    except UNREADABLE as exc:
        raise UpstreamProtocolError(f"Cohere's answer cannot be read: {exc}") from exc
    message = told.message
    if message is None:
        raise UpstreamProtocolError(f"Cohere's answer {told.id or ''} has no message: is the address that of its API?")
    out = ChunkWriter(call, id=told.id or call.id)
    _write(out, message, told.logprobs or ())
    for tool in _listed(message.tool_calls):
        _begin(out, tool)
    _end(out, told.finish_reason, None, told.usage)
    return out.whole()


def _write(out: ChunkWriter, message: Message, logprobs: Any = ()) -> None:
    if message.tool_plan:
        out.field(tool_plan=message.tool_plan)
    columns = encode({"content": [_logprob(one) for one in logprobs]}) if logprobs else b"null"
    for item in _listed(message.content):
        if item.thinking:
            out.thought(text=item.thinking)
        elif item.text:
            out.text(_string(item.text), columns)
            columns = b"null"
    if message.citations:
        out.field(citations=_listed(message.citations))


def _logprob(told: LogProb) -> Part:
    """One piece of text as Cohere gives it, with the probability of all its tokens together."""
    text = told.text or ""
    return {"token": text, "logprob": sum(told.logprobs or ()), "bytes": list(text.encode()), "top_logprobs": []}


def _begin(out: ChunkWriter, tool: ToolCall) -> int:
    function = tool.function or Function()
    index = out.call(tool.id, function.name)
    if function.arguments and bytes(function.arguments) != b"null":
        out.arguments(index, _string(function.arguments))
    return index


def _end(out: ChunkWriter, reason: str | None, error: str | None, usage: Usage | None) -> None:
    if reason == "TIMEOUT":
        raise UpstreamTimeout("Cohere took too long and broke its answer off")
    if error or (reason or "").startswith("ERROR"):
        raise UpstreamFailed(error or "Cohere broke its answer off with an error and no message")
    out.end(FINISH.get(reason or "", "tool_calls" if out.calls else "stop"))
    out.usage((usage or Usage()).unified())


def _listed(found: Any) -> Any:
    """Where a whole answer has a list a stream has one item."""
    return () if found is None else found if isinstance(found, list) else [found]


def _string(raw: Raw) -> bytes:
    found = bytes(raw)
    if found == b"null":
        return EMPTY
    if not found.startswith(b'"'):
        raise UpstreamProtocolError("Cohere sent a text that is not a string")
    return found


class CohereChunks:
    """One stream.  Events of a kind that nobody here has heard of are passed over."""

    __slots__ = ("_call", "_calls", "_out", "ended")

    def __init__(self, call: Call) -> None:
        self._call = call
        self._out: ChunkWriter | None = None
        self._calls = -1
        self.ended = False

    def feed(self, event: Event) -> list[bytes]:
        try:
            told = _event(event.data)
        except UNREADABLE as exc:
            raise UpstreamProtocolError(f"Cohere sent an event that cannot be read: {exc}") from exc
        kind, delta = told.type, told.delta or Delta()
        if kind == "message-start":
            self._out = ChunkWriter(self._call, id=told.id or self._call.id)
        elif kind in KINDS:
            out = self._writer()
            message = delta.message or Message()
            if kind == "message-end":
                _end(out, delta.finish_reason, delta.error, delta.usage)
                self.ended = True
            elif kind == "tool-call-start":
                for tool in _listed(message.tool_calls):
                    self._calls = _begin(out, tool)
            elif kind == "tool-call-delta":
                for tool in _listed(message.tool_calls):
                    if tool.function is not None and tool.function.arguments and self._calls >= 0:
                        out.arguments(self._calls, _string(tool.function.arguments))
            else:
                _write(out, message, () if told.logprobs is None else (told.logprobs,))
        return [] if self._out is None else self._out.taken()

    def _writer(self) -> ChunkWriter:
        if self._out is None:
            raise UpstreamProtocolError("Cohere's stream did not begin with message-start")
        return self._out

    def finish(self) -> list[bytes]:
        if not self.ended:
            raise UpstreamProtocolError("Cohere ended its stream in the middle of the answer")
        return []


KINDS = frozenset(
    {"content-start", "content-delta", "tool-plan-delta", "tool-call-start", "tool-call-delta", "citation-start"}
    | {"message-end"}
)


def embedded(body: bytes, kind: str, model: str, *, packed: bool) -> bytes:
    """The whole answer of an embeddings call.  Raises UpstreamProtocolError for a body that is none."""
    try:
        told = _vectors(body)
    except UNREADABLE as exc:
        raise UpstreamProtocolError(f"Cohere's answer cannot be read: {exc}") from exc
    vectors = (told.embeddings or {}).get(kind)
    if vectors is None:
        raise UpstreamProtocolError(f"Cohere's answer has no embeddings of type {kind!r}")
    return embeddings(vectors, model, (told.meta or Usage()).unified()["prompt_tokens"], packed=packed)
