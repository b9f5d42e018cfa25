"""The events of a Responses stream, from the chunks of a chat stream.

One object per stream.  Reasoning and text are each closed when the next kind begins; calls stay open to the end,
because their pieces may come mixed.  The final response is what `answer` makes of the same chat answer, unless a model
goes back to text or reasoning that it had left, which a stream must show as an item of its own.
"""

from typing import Any, Literal

import msgspec

from tesela.errors import TeselaError, UpstreamFailed, UpstreamProtocolError
from tesela.wire.document import encode
from tesela.wire.responses_answer import (
    Choice,
    ToolCall,
    call_id,
    call_item,
    decode,
    ending,
    finished,
    message_item,
    reasoning_item,
    reasoning_part,
    refusal_part,
    text_part,
    usage,
)
from tesela.wire.responses_echo import Echo, Item, response

Kind = Literal["reasoning", "message"]
PartKind = Literal["reasoning_text", "output_text", "refusal"]


class _Part(msgspec.Struct):
    kind: PartKind
    text: list[str]

    def whole(self, logprobs: list[Item]) -> Item:
        text = "".join(self.text)
        if self.kind == "output_text":
            return text_part(text, logprobs)
        return refusal_part(text) if self.kind == "refusal" else reasoning_part(text)


class _Text(msgspec.Struct):
    """A reasoning or message item that still grows.  `logprobs` are those of its output text."""

    kind: Kind
    index: int
    parts: list[_Part]
    logprobs: list[Item]

    def item(self, id: str, status: str) -> Item:
        if self.kind == "reasoning":
            return reasoning_item(id, self.index, "".join(self.parts[0].text) if self.parts else "", status)
        return message_item(id, self.index, [part.whole(self.logprobs) for part in self.parts], status)


class _Call(msgspec.Struct):
    index: int
    call_id: str
    name: str
    arguments: list[str]

    def item(self, id: str, status: str) -> Item:
        return call_item(id, self.index, self.call_id, self.name, "".join(self.arguments), status)


class ResponseEvents:
    """Chunks in, event JSONs out, without framing; each has its `type` and a `sequence_number` that counts from 0."""

    def __init__(self, request: Echo, id: str, created: int) -> None:
        self._request = request
        self._id = id
        self._created = created
        self._model = request.model
        self._number = 0
        self._items: list[Item] = []
        self._text: _Text | None = None
        self._calls: dict[int, _Call] = {}
        self._logprobs: list[Item] = []
        self._finish_reason: str | None = None
        self._usage: dict[str, Any] | None = None

    def feed(self, chunk: bytes) -> list[bytes]:
        """The events of one chunk.  Raises UpstreamError for a chunk that is none, or that tells of a failure."""
        chat = decode(chunk)
        if chat.error is not None:
            told = chat.error.get("message") if isinstance(chat.error, dict) else chat.error
            raise UpstreamFailed(f"the provider failed in mid-stream: {told}")
        if not self._number and chat.model:
            self._model = chat.model
        events = self._begin()
        if chat.usage:
            self._usage = chat.usage
        for choice in chat.choices or ():
            if choice.index == 0:
                self._choice(choice, events)
        return events

    def finish(self) -> list[bytes]:
        """The last events.  Raises UpstreamProtocolError when the model had not come to an end."""
        if self._finish_reason is None:
            raise UpstreamProtocolError("the provider's stream ended before the answer was complete")
        status, reason = ending(self._finish_reason)
        events: list[bytes] = []
        if not self._items:
            self._open("message", "output_text", events)
        last = len(self._items) - 1
        self._close(events, status if self._text and self._text.index == last else "completed")
        for call in sorted(self._calls.values(), key=lambda call: call.index):
            item = self._items[call.index] = call.item(self._id, status if call.index == last else "completed")
            where = {"item_id": item["id"], "output_index": call.index}
            name = "response.function_call_arguments.done"
            events.append(self._event(name, **where, name=item["name"], arguments=item["arguments"]))
            events.append(self._event("response.output_item.done", output_index=call.index, item=item))
        final = finished(
            self._request, self._id, self._created, self._model, self._items, usage(self._usage), status, reason
        )
        events.append(self._event(f"response.{status}", response=final))
        return events

    def failed(self, error: TeselaError) -> list[bytes]:
        """The end of a stream that broke.

        `response.failed` is what OpenAI's clients look for; ChatDatabricks overlooks it and raises on `error`.
        """
        events = self._begin()
        for open_item in (self._text, *self._calls.values()):
            if open_item is not None:
                self._items[open_item.index] = open_item.item(self._id, "incomplete")
        code = "rate_limit_exceeded" if error.status == 429 else "server_error"
        final = self._response("failed", {"code": code, "message": error.message})
        events.append(self._event("response.failed", response=final))
        events.append(self._event("error", code=error.reason or error.code, message=error.message, param=error.param))
        return events

    def _begin(self) -> list[bytes]:
        if self._number:
            return []
        now = self._response("in_progress", None)
        return [self._event("response.created", response=now), self._event("response.in_progress", response=now)]

    def _response(self, status: str, error: Item | None) -> Item:
        return response(
            self._request,
            id=self._id,
            created=self._created,
            model=self._model,
            status=status,
            output=self._items,
            error=error,
        )

    def _choice(self, choice: Choice, events: list[bytes]) -> None:
        said = choice.delta
        logprobs = choice.logprobs.content or [] if choice.logprobs and self._request.logprobs else []
        self._logprobs += logprobs
        if said is not None:
            text, reasoning = said.text, said.thought
            if reasoning:
                self._say("reasoning", "reasoning_text", reasoning, events)
            if text:
                self._say("message", "output_text", text, events, logprobs)
            if said.refusal:
                self._say("message", "refusal", said.refusal, events)
            for place, piece in enumerate(said.tool_calls or ()):
                self._call(place, piece, events)
        if choice.finish_reason:
            self._finish_reason = choice.finish_reason

    def _say(
        self, kind: Kind, part_kind: PartKind, text: str, events: list[bytes], logprobs: list[Item] | None = None
    ) -> None:
        item = self._text
        if item is None or item.kind != kind or item.parts[-1].kind != part_kind:
            item = self._open(kind, part_kind, events)
        item.parts[-1].text.append(text)
        where = self._where(item)
        if part_kind == "output_text":
            where["logprobs"] = text_part("", logprobs or [])["logprobs"]
        events.append(self._event(f"response.{part_kind}.delta", **where, delta=text))

    def _open(self, kind: Kind, part_kind: PartKind, events: list[bytes]) -> _Text:
        """A new part, in the open item when that is of this kind, else in a new one."""
        item = self._text
        if item is None or item.kind != kind:
            self._close(events, "completed")
            # What came before the first text is its own too: some servers send a token's log probability early.
            own = self._logprobs if kind == "message" else []
            item = self._text = _Text(kind, len(self._items), [], own)
            self._items.append(item.item(self._id, "in_progress"))
            events.append(
                self._event("response.output_item.added", output_index=item.index, item=self._items[item.index])
            )
        else:
            self._end_part(item, events)
        item.parts.append(_Part(part_kind, []))
        events.append(self._event("response.content_part.added", **self._where(item), part=item.parts[-1].whole([])))
        return item

    def _end_part(self, item: _Text, events: list[bytes]) -> None:
        where, part = self._where(item), item.parts[-1].whole(item.logprobs)
        kind = item.parts[-1].kind
        said = {"refusal": part["refusal"]} if kind == "refusal" else {"text": part["text"]}
        if kind == "output_text":
            said["logprobs"] = part["logprobs"]
        events.append(self._event(f"response.{kind}.done", **where, **said))
        events.append(self._event("response.content_part.done", **where, part=part))

    def _close(self, events: list[bytes], status: str) -> None:
        """End the open reasoning or message item, if there is one."""
        item = self._text
        if item is None:
            return
        self._end_part(item, events)
        whole = self._items[item.index] = item.item(self._id, status)
        events.append(self._event("response.output_item.done", output_index=item.index, item=whole))
        if item.kind == "message":
            self._logprobs = []
        self._text = None

    def _call(self, place: int, piece: ToolCall, events: list[bytes]) -> None:
        number = place if piece.index is None else piece.index
        call = self._calls.get(number)
        name = piece.function.name if piece.function else None
        arguments = piece.function.arguments if piece.function else None
        if call is None:
            self._close(events, "completed")
            given = call_id(piece.id, self._id, len(self._calls))
            call = self._calls[number] = _Call(len(self._items), given, name or "", [])
            self._items.append(call.item(self._id, "in_progress"))
            events.append(
                self._event("response.output_item.added", output_index=call.index, item=self._items[call.index])
            )
        elif name and not call.name:
            call.name = name
        if arguments:
            call.arguments.append(arguments)
            where = {"item_id": self._items[call.index]["id"], "output_index": call.index}
            events.append(self._event("response.function_call_arguments.delta", **where, delta=arguments))

    def _where(self, item: _Text) -> Item:
        found = self._items[item.index]
        return {"item_id": found["id"], "output_index": item.index, "content_index": len(item.parts) - 1}

    def _event(self, type: str, **fields: Any) -> bytes:
        number = self._number
        self._number = number + 1
        return encode({"type": type, "sequence_number": number, **fields})
