"""One stream of Anthropic's events as unified chunks.

https://platform.claude.com/docs/en/build-with-claude/streaming.  Blocks come one after the other; text and the pieces
of a call's arguments go on as the JSON strings that they came as.  Events, blocks and deltas of a kind that nobody here
has heard of are no error: the page says that there may be new ones.
"""

from typing import Any

import msgspec

from tesela.errors import UpstreamProtocolError
from tesela.providers.anthropic_answer import FINISH, Message, Part, StopDetails, Told, Usage, failed, refusal, thought
from tesela.providers.base import Call
from tesela.wire.document import decode_value, encode
from tesela.wire.sse import Event

Raw = msgspec.Raw
NOTHING = Raw()
EMPTY = b'""'


class _Delta(msgspec.Struct):
    text: Raw = NOTHING
    partial_json: Raw = NOTHING
    thinking: Raw = NOTHING
    signature: Raw = NOTHING
    citation: Raw = NOTHING
    stop_reason: str | None = None
    stop_details: StopDetails | None = None


class _Event(msgspec.Struct):
    type: str = ""
    index: int = 0
    message: Message | None = None
    content_block: Part | None = None
    delta: _Delta | None = None
    usage: Usage | None = None
    error: Told | None = None


_read = msgspec.json.Decoder(_Event, strict=False).decode


class ChatChunks:
    """A chat.  `_block` is the block that is under way, `_pieces` what has come of its JSON."""

    __slots__ = ("_block", "_calls", "_created", "_head", "_model", "_pieces", "_reason", "_said", "_usage", "ended")
    object = "chat.completion.chunk"

    def __init__(self, call: Call) -> None:
        self._created = call.created
        self._model = call.upstream.model
        self._head = b""
        self._usage = Usage()
        self._block: Part = {}
        self._pieces: list[bytes] = []
        self._calls = -1
        self._said = False
        self._reason: str | None = None
        self.ended = False

    def feed(self, event: Event) -> list[bytes]:
        try:
            told = _read(event.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise UpstreamProtocolError(f"Anthropic sent an event that cannot be read: {exc}") from exc
        out: list[bytes] = []
        kind, delta = told.type, told.delta
        if kind == "content_block_delta" and delta is not None:
            self._piece(delta, out)
        elif kind == "content_block_start":
            self._start(told.content_block or {}, out)
        elif kind == "content_block_stop":
            self._stop(out)
        elif kind == "message_start":
            self._begin(told.message or Message(), out)
        elif kind == "message_delta":
            self._usage.take(told.usage or Usage())
            if delta is not None and delta.stop_reason is not None:
                self._end(delta, out)
        elif kind == "message_stop":
            self.ended = True
        elif kind == "error" or told.error is not None:
            raise failed(told.error or Told())
        return out

    def _begin(self, message: Message, out: list[bytes]) -> None:
        self._usage.take(message.usage or Usage())
        form = {
            "id": message.id,
            "object": self.object,
            "created": self._created,
            "model": message.model or self._model,
        }
        self._head = encode(form)[:-1] + b',"choices":['
        self._delta(b'{"role":"assistant","content":null}', out)

    def _start(self, block: Part, out: list[bytes]) -> None:
        self._block, self._pieces = block, []
        kind = block.get("type")
        if kind == "tool_use":
            self._calls += 1
            self._call(block, out)
        elif kind == "text":
            if block.get("text"):
                self._text(encode(block["text"]), out)
        elif kind == "thinking":
            if block.get("thinking"):
                self._think(b'"text":%s' % encode(block["thinking"]), out)
        elif kind == "redacted_thinking":
            self._part({"type": "reasoning", "summary": [thought(block)]}, out)

    def _piece(self, delta: _Delta, out: list[bytes]) -> None:
        if delta.text:
            self._text(_string(delta.text), out)
        elif delta.partial_json:
            piece = _string(delta.partial_json)
            if piece != EMPTY:
                self._pieces.append(piece)
                if self._block.get("type") == "tool_use":
                    self._arguments(piece, out)
        elif delta.thinking:
            piece = _string(delta.thinking)
            if piece != EMPTY:
                self._think(b'"text":%s' % piece, out)
        elif delta.signature:
            self._think(b'"text":"","signature":%s' % _string(delta.signature), out)
        elif delta.citation:
            self._block["citations"] = [*(self._block.get("citations") or ()), decode_value(delta.citation)]

    def _stop(self, out: list[bytes]) -> None:
        block, self._block = self._block, {}
        kind = block.get("type")
        if kind == "tool_use":
            if not self._pieces:
                # A call without arguments has no pieces; a whole answer says "{}".
                self._arguments(encode(encode(block.get("input") or {}).decode()), out)
        elif kind == "text":
            if block.get("citations"):
                self._part({"type": "text", "text": "", "citations": block["citations"]}, out)
        elif kind not in ("thinking", "redacted_thinking", None):
            if self._pieces:
                block["input"] = _joined(self._pieces)
            self._part(block, out)

    def _end(self, delta: _Delta, out: list[bytes]) -> None:
        reason = delta.stop_reason or ""
        if reason == "refusal":
            self._delta(b'{"refusal":%s}' % encode(refusal(delta.stop_details)), out)
        elif not self._said and self._calls < 0:
            self._text(EMPTY, out)
        if self._reason is None:
            self._reason = FINISH.get(reason, "stop")
            self._last(encode(self._reason), out)

    # What follows puts a piece of the answer into the form of a chunk.

    def _chunk(self, choice: bytes, reason: bytes = b"null") -> bytes:
        if not self._head:
            raise UpstreamProtocolError("Anthropic's stream did not begin with message_start")
        return b'%s{"index":0,%s,"logprobs":null,"finish_reason":%s}]}' % (self._head, choice, reason)

    def _text(self, text: bytes, out: list[bytes]) -> None:
        self._said = True
        self._delta(b'{"content":%s}' % text, out)

    def _delta(self, delta: bytes, out: list[bytes]) -> None:
        """A piece of what only chat has room for."""
        out.append(self._chunk(b'"delta":%s' % delta))

    def _last(self, reason: bytes, out: list[bytes]) -> None:
        out.append(self._chunk(b'"delta":{}', reason))

    def _think(self, item: bytes, out: list[bytes]) -> None:
        self._said = True
        form = b'{"content":[{"type":"reasoning","summary":[{"type":"summary_text",%s}]}]}'
        self._delta(form % item, out)

    def _part(self, part: Part, out: list[bytes]) -> None:
        self._said = True
        self._delta(b'{"content":[%s]}' % encode(part), out)

    def _call(self, block: Part, out: list[bytes]) -> None:
        form = b'{"tool_calls":[{"index":%d,"id":%s,"type":"function","function":{"name":%s,"arguments":""}}]}'
        self._delta(form % (self._calls, encode(block.get("id") or ""), encode(block.get("name") or "")), out)

    def _arguments(self, piece: bytes, out: list[bytes]) -> None:
        form = b'{"tool_calls":[{"index":%d,"function":{"arguments":%s}}]}'
        self._delta(form % (self._calls, piece), out)

    def finish(self) -> list[bytes]:
        if not self.ended or self._reason is None:
            raise UpstreamProtocolError("Anthropic ended its stream in the middle of the answer")
        return [self._head + b'],"usage":%s}' % encode(self._usage.unified())]


class CompletionChunks(ChatChunks):
    """A completions call, which has room for text only."""

    __slots__ = ()
    object = "text_completion"

    def _text(self, text: bytes, out: list[bytes]) -> None:
        if text != EMPTY:
            out.append(self._chunk(b'"text":%s' % text))

    def _delta(self, delta: bytes, out: list[bytes]) -> None:
        return

    def _last(self, reason: bytes, out: list[bytes]) -> None:
        out.append(self._chunk(b'"text":""', reason))


def _string(raw: Raw) -> bytes:
    found = bytes(raw)
    if not found.startswith(b'"'):
        raise UpstreamProtocolError("Anthropic sent a delta whose text is not a string")
    return found


def _joined(pieces: list[bytes]) -> Any:
    """The JSON that the pieces of a block's input make, or as text what is none."""
    text = "".join(decode_value(piece) for piece in pieces)
    try:
        return decode_value(text)
    except (msgspec.DecodeError, RecursionError):
        return text
