"""The events of a Messages stream, from the chunks of a chat stream.

One object per stream.  Anthropic's blocks come one after the other: a block is closed when the next one begins, and a
call whose pieces come mixed with another's waits until that one is whole.  The message that the events make is what
`answer` makes of the same chat answer.
"""

from typing import Any

import msgspec

from tesela.errors import TeselaError, UpstreamFailed, UpstreamProtocolError
from tesela.wire.document import encode
from tesela.wire.messages_answer import (
    Asked,
    Block,
    arguments,
    call_id,
    message,
    pieces,
    stop_reason,
    usage,
    whole,
)
from tesela.wire.messages_problem import failure_event
from tesela.wire.responses_answer import Choice, ToolCall, decode

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
"""Says that the stream is alive; every client overlooks it."""


class _Call(msgspec.Struct):
    """One call.  `told` counts the pieces that have gone out, `state` is waiting, open or closed."""

    id: str
    name: str
    pieces: list[str]
    told: int = 0
    state: str = "waiting"


class MessageEvents:
    """Chunks in, event JSONs out, without framing."""

    def __init__(self, asked: Asked, id: str) -> None:
        self._asked = asked
        self._id = id
        self._begun = False
        self._index = -1
        self._kind = ""
        self._signed = False
        self._calls: dict[int, _Call] = {}
        self._current: _Call | None = None
        self._refused = False
        self._end: Choice | None = None
        self._usage: dict[str, Any] | None = None

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events of one chunk.  Raises UpstreamError for a chunk that is none, or that tells of a failure."""
        chat = decode(chunk)
        if chat.error is not None:
            told = chat.error.get("message") if isinstance(chat.error, dict) else chat.error
            raise UpstreamFailed(f"the provider failed in mid-stream: {told}")
        events: list[bytes] = []
        if not self._begun:
            self._begun = True
            start = message(self._id, chat.model or self._asked.model, usage(None))
            events.append(encode({"type": "message_start", "message": start}))
        if chat.usage:
            self._usage = chat.usage
        for choice in chat.choices or ():
            if choice.index == 0:
                self._choice(choice, events)
        return events

    def finish(self) -> list[bytes]:
        """The last events.  Raises UpstreamProtocolError when the model had not come to an end."""
        end = self._end
        if end is None:
            raise UpstreamProtocolError("the provider's stream ended before the answer was complete")
        events: list[bytes] = []
        self._speak_all(events)
        for call in self._calls.values():
            arguments(call.name, "".join(call.pieces), cut=end.finish_reason == "length")
        self._close(events)
        reason = stop_reason(end, calls=bool(self._calls), refused=self._refused)
        delta = {"stop_reason": reason, "stop_sequence": None}
        events.append(encode({"type": "message_delta", "delta": delta, "usage": usage(self._usage)}))
        events.append(encode({"type": "message_stop"}))
        return events

    def failed(self, error: TeselaError) -> list[bytes]:
        """The end of a stream that broke."""
        return [failure_event(error)]

    def _choice(self, choice: Choice, events: list[bytes]) -> None:
        said = choice.delta
        if said is not None:
            self._refused = self._refused or bool(said.refusal)
            for block in pieces(said):
                self._say(block, events)
            for place, piece in enumerate(said.tool_calls or ()):
                self._call(place, piece, events)
        if choice.finish_reason:
            self._end = choice

    def _say(self, block: Block, events: list[bytes]) -> None:
        kind = block["type"]
        if self._current is not None:
            # A model that speaks on after its calls has ended them.
            self._speak_all(events)
        if kind == "text":
            self._text(block, events)
        elif kind == "thinking":
            if self._kind != "thinking" or self._signed:
                self._open({"type": "thinking", "thinking": "", "signature": ""}, events)
            if block["thinking"]:
                self._delta({"type": "thinking_delta", "thinking": block["thinking"]}, events)
            if block["signature"]:
                self._signed = True
                self._delta({"type": "signature_delta", "signature": block["signature"]}, events)
        else:
            self._open(block, events)
            self._close(events)

    def _text(self, block: Block, events: list[bytes]) -> None:
        if self._kind != "text":
            self._open({"type": "text", "text": ""}, events)
        if block["text"]:
            self._delta({"type": "text_delta", "text": block["text"]}, events)
        for citation in block.get("citations", ()):
            self._delta({"type": "citations_delta", "citation": citation}, events)
        if "citations" in block:
            self._close(events)

    def _call(self, place: int, piece: ToolCall, events: list[bytes]) -> None:
        number = place if piece.index is None else piece.index
        call = self._calls.get(number)
        name = (piece.function.name if piece.function else None) or ""
        if call is None:
            call = self._calls[number] = _Call(call_id(piece, self._id, len(self._calls)), name, [])
        elif name and not call.name:
            call.name = name
        if piece.function and piece.function.arguments:
            if call.state == "closed":
                raise UpstreamProtocolError(f"the model went on with its call of {call.name!r} after it had ended it")
            call.pieces.append(piece.function.arguments)
        current = self._current
        if call is current:
            self._speak(call, events)
        elif current is None or whole("".join(current.pieces)) is not None:
            following = next((one for one in self._calls.values() if one.state == "waiting"), None)
            if following is not None and following.name:
                self._speak(following, events)

    def _speak(self, call: _Call, events: list[bytes]) -> None:
        """Begin a call, or go on with the one that is under way."""
        if call.state == "waiting":
            self._open({"type": "tool_use", "id": call.id, "name": call.name, "input": {}}, events)
            call.state, self._current = "open", call
        for piece in call.pieces[call.told :]:
            self._delta({"type": "input_json_delta", "partial_json": piece}, events)
        call.told = len(call.pieces)

    def _speak_all(self, events: list[bytes]) -> None:
        for call in self._calls.values():
            if call.state != "closed":
                self._speak(call, events)

    def _open(self, block: Block, events: list[bytes]) -> None:
        self._close(events)
        self._index += 1
        self._kind, self._signed = block["type"], False
        events.append(encode({"type": "content_block_start", "index": self._index, "content_block": block}))

    def _delta(self, delta: Block, events: list[bytes]) -> None:
        events.append(encode({"type": "content_block_delta", "index": self._index, "delta": delta}))

    def _close(self, events: list[bytes]) -> None:
        """End the block that is open, if one is."""
        if self._kind:
            events.append(encode({"type": "content_block_stop", "index": self._index}))
        self._kind = ""
        if self._current is not None:
            self._current.state, self._current = "closed", None
