"""The events of a streamGenerateContent answer, from the chunks of a chat stream.

One object per stream.  Each event is a whole GenerateContentResponse with what is new; calls go out whole, in the last
one, as Gemini sends them.  What the events say together is what `answer` says of the same chat answer.
"""

from typing import Any

import msgspec

from tesela.errors import TeselaError, UpstreamFailed, UpstreamProtocolError
from tesela.wire.document import encode
from tesela.wire.generate_answer import (
    Asked,
    Choice,
    Counts,
    Function,
    Part,
    Said,
    Token,
    ToolCall,
    call_part,
    candidate,
    decode,
    pieces,
    response,
    signed,
)
from tesela.wire.generate_problem import failure_event


class _Candidate(msgspec.Struct):
    """What is held back of one candidate until the end."""

    calls: dict[int, ToolCall] = {}
    logprobs: list[Token] = []
    extra: Any = None
    refused: str | None = None
    finish: str | None = None


class GenerateEvents:
    """Chunks in, event JSONs out, without framing."""

    def __init__(self, asked: Asked, id: str) -> None:
        self._asked = asked
        self._id = id
        self._model = ""
        self._candidates: dict[int, _Candidate] = {}
        self._usage: Counts | None = None

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events of one chunk.  Raises UpstreamError for a chunk that is none, or that tells of a failure."""
        chat = decode(chunk)
        if chat.error is not None:
            told = chat.error.get("message") if isinstance(chat.error, dict) else chat.error
            raise UpstreamFailed(f"the provider failed in mid-stream: {told}")
        self._model = chat.model or self._model
        if chat.usage is not None:
            self._usage = chat.usage
        said = [found for choice in chat.choices or () if (found := self._choice(choice)) is not None]
        return [self._event(said, None)] if said else []

    def _choice(self, choice: Choice) -> Part | None:
        held = self._candidates.get(choice.index)
        if held is None:
            held = self._candidates[choice.index] = _Candidate()
        said = choice.delta or choice.message or Said()
        for place, piece in enumerate(said.tool_calls or ()):
            _join(held.calls, place if piece.index is None else piece.index, piece)
        held.extra = said.extra_content or held.extra
        held.refused = said.refusal or held.refused
        held.finish = choice.finish_reason or held.finish
        if choice.logprobs is not None:
            held.logprobs += choice.logprobs.content or []
        parts = pieces(said, self._asked)
        return candidate(choice.index, parts, Choice()) if parts else None

    def finish(self) -> list[bytes]:
        """The last event.  Raises UpstreamProtocolError when the model had not come to an end."""
        held = self._candidates
        if not held or any(one.finish is None for one in held.values()):
            raise UpstreamProtocolError("the provider's stream ended before the answer was complete")
        last = []
        for index, one in sorted(held.items()):
            cut = one.finish == "length"
            parts = [call_part(call, self._id, number, cut=cut) for number, call in enumerate(one.calls.values())]
            end = Choice(index, delta=Said(refusal=one.refused), finish_reason=one.finish)
            last.append(candidate(index, signed(parts, one.extra), end, one.logprobs))
        return [self._event(last, self._usage)]

    def failed(self, error: TeselaError) -> list[bytes]:
        """The end of a stream that broke."""
        return [failure_event(error)]

    def _event(self, candidates: list[Part], counts: Counts | None) -> bytes:
        return encode(response(self._id, self._model or self._asked.model, candidates, counts))


def _join(calls: dict[int, ToolCall], number: int, piece: ToolCall) -> None:
    call = calls.get(number)
    if call is None:
        call = calls[number] = ToolCall(number, None, Function("", ""))
    function = call.function or Function()
    call.id = call.id or piece.id
    call.extra_content = piece.extra_content or call.extra_content
    if piece.function is not None:
        function.name = function.name or piece.function.name
        function.arguments = (function.arguments or "") + (piece.function.arguments or "")
