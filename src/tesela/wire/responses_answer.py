"""A whole chat answer as a Response object, and the pieces of one that the events share."""

from typing import Any

import msgspec

from tesela.errors import UpstreamProtocolError
from tesela.wire.document import encode
from tesela.wire.responses_echo import Echo, Item, response


class Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class ToolCall(msgspec.Struct):
    """Whole in an answer, a piece in a chunk.  `index` tells which call a piece belongs to."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Said(msgspec.Struct):
    """A message, or the delta of one.  Servers give the reasoning in a field of either of two names, or as parts of the
    content."""

    content: str | list[dict[str, Any]] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, list):
            return "".join(str(part.get("text") or "") for part in self.content if part.get("type") == "text")
        return self.content or ""

    @property
    def thought(self) -> str:
        found = self.reasoning_content or self.reasoning
        if found or not isinstance(self.content, list):
            return found or ""
        parts = [part.get("summary") for part in self.content if part.get("type") == "reasoning"]
        items = [item for summary in parts if isinstance(summary, list) for item in summary if isinstance(item, dict)]
        return "".join(str(item.get("text") or "") for item in items)


class Logprobs(msgspec.Struct):
    content: list[dict[str, Any]] | None = None


class Choice(msgspec.Struct):
    index: int = 0
    message: Said | None = None
    delta: Said | None = None
    logprobs: Logprobs | None = None
    finish_reason: str | None = None


class Chat(msgspec.Struct):
    """What is read of a chat answer or chunk."""

    model: str | None = None
    choices: list[Choice] | None = None
    usage: dict[str, Any] | None = None
    error: Any = None


decoder = msgspec.json.Decoder(Chat, strict=False)


def answer(body: bytes, request: Echo, id: str, created: int) -> bytes:
    """The Response object of a chat completion.

    `id` is unique to the invocation (letters and digits), `created` in whole seconds since the epoch.  Raises
    UpstreamProtocolError when the body is not a chat completion.
    """
    chat = decode(body)
    if not chat.choices or chat.choices[0].message is None:
        raise UpstreamProtocolError("the model's answer has no choices")
    choice = chat.choices[0]
    said = choice.message or Said()
    calls = said.tool_calls or []
    text, reasoning = said.text, said.thought
    status, reason = ending(choice.finish_reason)
    output: list[Item] = []
    if reasoning:
        output.append(reasoning_item(id, len(output), reasoning))
    if text or said.refusal or not (calls or reasoning):
        parts = []
        if text or not said.refusal:
            logprobs = choice.logprobs.content if choice.logprobs and request.logprobs else None
            parts.append(text_part(text, logprobs or []))
        if said.refusal:
            parts.append(refusal_part(said.refusal))
        output.append(message_item(id, len(output), parts))
    for index, call in enumerate(calls):
        function = call.function or Function()
        output.append(
            call_item(id, len(output), call_id(call.id, id, index), function.name or "", function.arguments or "")
        )
    return encode(
        finished(request, id, created, chat.model or request.model, output, usage(chat.usage), status, reason)
    )


def decode(body: bytes) -> Chat:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise UpstreamProtocolError(f"the model's answer is not a chat completion: {exc}") from exc


def finished(
    request: Echo,
    id: str,
    created: int,
    model: str,
    output: list[Item],
    counts: Item | None,
    status: str,
    reason: str | None,
) -> Item:
    """The response at its end.  What was cut short is the last item."""
    if output:
        output[-1]["status"] = status
    return response(
        request, id=id, created=created, model=model, status=status, output=output, usage=counts, incomplete=reason
    )


def ending(finish_reason: str | None) -> tuple[str, str | None]:
    """(status, reason of incompleteness) of a response."""
    reason = INCOMPLETE.get(finish_reason or "")
    return ("incomplete", reason) if reason else ("completed", None)


def call_id(given: str | None, id: str, index: int) -> str:
    """The caller answers a call by its id, so a server that gives none must not leave it empty."""
    return given or f"call_{id}_{index}"


def usage(counts: dict[str, Any] | None) -> Item | None:
    if not counts:
        return None
    prompt = counts.get("prompt_tokens_details") or {}
    completion = counts.get("completion_tokens_details") or {}
    read, written = counts.get("prompt_tokens") or 0, counts.get("completion_tokens") or 0
    return {
        "input_tokens": read,
        "input_tokens_details": {
            "cached_tokens": prompt.get("cached_tokens") or 0,
            "cache_write_tokens": prompt.get("cache_write_tokens") or 0,
        },
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": completion.get("reasoning_tokens") or 0},
        "total_tokens": counts.get("total_tokens") or read + written,
    }


def reasoning_item(id: str, index: int, text: str, status: str = "completed") -> Item:
    content = [reasoning_part(text)] if text else []
    return {"id": f"rs_{id}_{index}", "type": "reasoning", "summary": [], "content": content, "status": status}


def message_item(id: str, index: int, parts: list[Item], status: str = "completed") -> Item:
    return {"id": f"msg_{id}_{index}", "type": "message", "role": "assistant", "content": parts, "status": status}


def call_item(id: str, index: int, call: str, name: str, arguments: str, status: str = "completed") -> Item:
    item = {"id": f"fc_{id}_{index}", "type": "function_call", "call_id": call, "name": name}
    return {**item, "arguments": arguments, "status": status}


def reasoning_part(text: str) -> Item:
    return {"type": "reasoning_text", "text": text}


def text_part(text: str, logprobs: list[Item]) -> Item:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": [_logprob(one) for one in logprobs]}


def refusal_part(text: str) -> Item:
    return {"type": "refusal", "refusal": text}


def _logprob(one: Item) -> Item:
    """Chat allows null bytes for a token, Responses does not."""
    top = [{**other, "bytes": other.get("bytes") or []} for other in one.get("top_logprobs") or []]
    return {**one, "bytes": one.get("bytes") or [], "top_logprobs": top}


INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""chat's finish_reason to the reason for which a response is incomplete; all others complete it."""
