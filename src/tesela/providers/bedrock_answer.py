"""Converse's answers, whole and streamed, in the unified form.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html
"""

from collections.abc import Mapping

import msgspec

from tesela.errors import (
    UpstreamError,
    UpstreamFailed,
    UpstreamProtocolError,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)
from tesela.providers.base import Call, openai_failure
from tesela.providers.chunk_writer import EMPTY, ChunkWriter, Part, counts
from tesela.wire.document import encode
from tesela.wire.sse import Event

FINISH: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "content_filtered": "content_filter",
    "guardrail_intervened": "content_filter",
}
BROKEN = frozenset({"malformed_model_output", "malformed_tool_use"})
"""Ends that leave no answer: the model made something that Bedrock itself cannot read."""

Raw = msgspec.Raw
NOTHING = Raw()


class Usage(msgspec.Struct, rename="camel"):
    """`input_tokens` leaves out what was read from a cache or written into one."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None

    def unified(self) -> Part:
        read, written = self.cache_read_input_tokens, self.cache_write_input_tokens
        out = counts(self.input_tokens + (read or 0) + (written or 0), self.output_tokens, cached=read)
        return out if written is None else {**out, "cache_creation_input_tokens": written}


class ReasoningText(msgspec.Struct):
    text: str = ""
    signature: str | None = None


class Reasoning(msgspec.Struct, rename="camel"):
    """In an answer the first or the last, in a stream all but the first."""

    reasoning_text: ReasoningText | None = None
    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None


class ToolUse(msgspec.Struct, rename="camel"):
    tool_use_id: str = ""
    name: str = ""
    input: Raw = NOTHING


class Cited(msgspec.Struct):
    """Text with what it rests on."""

    content: list[dict[str, str]] = []
    citations: list[Part] = []


class Delta(msgspec.Struct, rename="camel"):
    """A block, its beginning or a piece of it: at most one field is there."""

    text: Raw = NOTHING
    tool_use: ToolUse | None = None
    reasoning_content: Reasoning | None = None
    citation: Part | None = None
    citations_content: Cited | None = None
    image: Part | None = None


class Message(msgspec.Struct):
    content: list[Delta] = []


class Output(msgspec.Struct):
    message: Message | None = None


class Whole(msgspec.Struct, rename="camel"):
    output: Output | None = None
    stop_reason: str = ""
    usage: Usage | None = None


class Told(msgspec.Struct, rename="camel"):
    """The payload of an event, or of an exception."""

    content_block_index: int = 0
    start: Delta | None = None
    delta: Delta | None = None
    stop_reason: str | None = None
    usage: Usage | None = None
    message: str | None = None
    original_status_code: int | None = None


_whole = msgspec.json.Decoder(Whole, strict=False).decode
_told = msgspec.json.Decoder(Told, strict=False).decode
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _writer(call: Call) -> ChunkWriter:
    return ChunkWriter(call, id=f"chatcmpl-{call.id}")


def whole(body: bytes, call: Call, answer_tool: str) -> bytes:
    """The whole answer.  Raises UpstreamError for a body that is none."""
    try:
        told = _whole(body)
    except UNREADABLE as exc:
        raise UpstreamProtocolError(f"Bedrock's answer cannot be read: {exc}") from exc
    message = told.output.message if told.output is not None else None
    if message is None:
        raise UpstreamProtocolError("Bedrock's answer has no message: is the address that of its API?")
    out = _writer(call)
    for block in message.content:
        if block.tool_use is None:
            _write(block, out)
        elif block.tool_use.name == answer_tool and answer_tool:
            out.text(encode(bytes(block.tool_use.input or b"{}").decode()))
        else:
            given = bytes(block.tool_use.input or b"{}").decode()
            out.call(block.tool_use.tool_use_id, block.tool_use.name, given)
    _end(out, told.stop_reason)
    out.usage((told.usage or Usage()).unified())
    return out.whole()


def _write(block: Delta, out: ChunkWriter) -> None:
    """A block that is no call, or a piece of one."""
    thought = block.reasoning_content
    if block.text:
        out.text(_string(block.text))
    elif thought is not None:
        inner = thought.reasoning_text or ReasoningText(thought.text or "", thought.signature)
        if thought.redacted_content is not None:
            out.hidden(thought.redacted_content)
        elif inner.signature is not None:
            out.thought(text=inner.text, signature=inner.signature)
        elif inner.text:
            out.thought(text=inner.text)
    elif block.citation is not None:
        out.field(citations=[block.citation])
    elif block.citations_content is not None:
        for one in block.citations_content.content:
            out.text(encode(one.get("text", "")))
        out.field(citations=block.citations_content.citations)
    elif block.image is not None:
        source = block.image.get("source")
        data = source.get("bytes") if isinstance(source, dict) else None
        url = f"data:image/{block.image.get('format')};base64,{data}"
        out.part({"type": "image_url", "image_url": {"url": url}})


def _string(raw: Raw) -> bytes:
    found = bytes(raw)
    if not found.startswith(b'"'):
        raise UpstreamProtocolError("Bedrock sent a text that is not a string")
    return found


def _end(out: ChunkWriter, reason: str) -> None:
    if reason in BROKEN:
        raise UpstreamFailed(f"the model's answer could not be read by Bedrock ({reason})")
    finish = FINISH.get(reason, "stop")
    # A call that stands for the answer is no call to the caller.
    out.end("stop" if finish == "tool_calls" and not out.calls else finish)


class BedrockChunks:
    """One stream.  `_call` is the index of the call under way, -1 for the one that stands for the answer."""

    __slots__ = ("_answer_tool", "_block", "_call", "_done", "_out", "_pieces", "_usage", "ended")

    def __init__(self, call: Call, answer_tool: str) -> None:
        self._out = _writer(call)
        self._answer_tool = answer_tool
        self._block = False
        self._call = -1
        self._pieces = 0
        self._usage = Usage()
        self._done = self.ended = False

    def feed(self, event: Event) -> list[bytes]:
        try:
            told = _told(event.data)
        except UNREADABLE as exc:
            raise UpstreamProtocolError(f"Bedrock sent an event that cannot be read: {exc}") from exc
        name = event.name
        if name == b"contentBlockDelta" and told.delta is not None:
            self._piece(told.delta)
        elif name == b"contentBlockStart" and told.start is not None:
            self._start(told.start)
        elif name == b"contentBlockStop":
            if self._block and not self._pieces:
                # A call without arguments has no pieces; a whole answer says "{}".
                self._arguments(b'"{}"')
            self._block = False
        elif name == b"messageStop":
            _end(self._out, told.stop_reason or "")
            self._done = True
        elif name == b"metadata":
            self._usage, self.ended = told.usage or self._usage, self._done
        elif name.startswith((b"exception:", b"error:")):
            raise failed(name.partition(b":")[2].decode(errors="replace"), told)
        return self._out.taken()

    def _start(self, begun: Delta) -> None:
        tool = begun.tool_use
        if tool is None:
            _write(begun, self._out)
            return
        self._block, self._pieces, self._call = True, 0, -1
        if tool.name != self._answer_tool or not self._answer_tool:
            self._call = self._out.call(tool.tool_use_id, tool.name)

    def _piece(self, delta: Delta) -> None:
        if delta.tool_use is None:
            _write(delta, self._out)
        elif self._block and delta.tool_use.input:
            self._arguments(_string(delta.tool_use.input))

    def _arguments(self, piece: bytes) -> None:
        if piece == EMPTY:
            return
        self._pieces += 1
        if self._call >= 0:
            self._out.arguments(self._call, piece)
        else:
            self._out.text(piece)

    def finish(self) -> list[bytes]:
        if not self._done:
            raise UpstreamProtocolError("Bedrock ended its stream in the middle of the answer")
        self._out.usage(self._usage.unified())
        return self._out.taken()


FAILURES: Mapping[str, type[UpstreamError]] = {
    "validationException": UpstreamRejected,
    "throttlingException": UpstreamRateLimited,
    "serviceUnavailableException": UpstreamUnavailable,
    "modelTimeoutException": UpstreamTimeout,
    "accessDeniedException": UpstreamUnauthorized,
}
"""Exceptions in the middle of a stream.  Others are the server's or the model's."""


def failed(kind: str, told: Told) -> UpstreamError:
    found = FAILURES.get(kind[:1].lower() + kind[1:], UpstreamFailed)
    if found is UpstreamUnauthorized:
        return found(f"the provider refused this endpoint's access key ({kind}); the endpoint's owner must mend it")
    return found(told.message or f"the provider reported {kind or 'an error'} and no message")


def failure(status: int, body: bytes, retry_after_s: int | None) -> UpstreamError:
    """Errors of Converse: https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html.

    A 424 is the model's failure, not the request's; Amazon's front doors write `Message`.
    """
    error = openai_failure(status, body.replace(b'"Message":', b'"message":', 1), retry_after_s)
    if status == 424:
        return UpstreamFailed(error.message, upstream_status=status)
    if isinstance(error, UpstreamUnauthorized):
        text = f"the provider refused this endpoint's access key (status {status}): it is wrong, has ended, or may not "
        return UpstreamUnauthorized(text + "use this model; the endpoint's owner must mend it", upstream_status=status)
    return error
