"""Anthropic's whole answers in the unified form, and what a stream's events have in common with them.

The text of an answer is a string.  An answer with anything beside text (thinking, a redacted thought, a block of one of
Anthropic's own tools, citations) has a list of parts as its content, as Databricks shows Claude's thinking:
https://docs.databricks.com/aws/en/machine-learning/model-serving/query-reason-models.  A caller that sends the list
back gives the model its thoughts back, signatures included.
"""

from collections.abc import Mapping
from typing import Any

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
from tesela.wire.document import encode

Part = dict[str, Any]

FINISH: Mapping[str, str] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    # A pause in the work of Anthropic's own tools: the answer is not whole, and goes on when it is sent back.
    "pause_turn": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
"""https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons"""

REFUSED = "The model refused to answer."


class OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class Usage(msgspec.Struct):
    """Token counts.  A stream tells them twice, the later ones count; `input_tokens` leaves cached ones out.

    https://platform.claude.com/docs/en/build-with-claude/prompt-caching#tracking-cache-performance
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: OutputDetails | None = None

    def take(self, later: "Usage") -> None:
        for name in self.__struct_fields__:
            found = getattr(later, name)
            if found is not None:
                setattr(self, name, found)

    def unified(self) -> dict[str, Any]:
        """OpenAI's usage, in which prompt tokens are all tokens of the prompt; Databricks' two names beside them."""
        created, read = self.cache_creation_input_tokens or 0, self.cache_read_input_tokens or 0
        prompt, completion = (self.input_tokens or 0) + created + read, self.output_tokens or 0
        out: dict[str, Any] = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": read},
            "cache_read_input_tokens": read,
            "cache_creation_input_tokens": created,
        }
        details = self.output_tokens_details
        if details is not None and details.thinking_tokens is not None:
            out["completion_tokens_details"] = {"reasoning_tokens": details.thinking_tokens}
        return out


class Told(msgspec.Struct):
    """An error inside a body or a stream that came with status 200."""

    type: str = ""
    message: str = ""


class StopDetails(msgspec.Struct):
    explanation: str | None = None


class Message(msgspec.Struct):
    type: str = ""
    id: str = ""
    model: str = ""
    content: list[Part] = []
    stop_reason: str | None = None
    stop_details: StopDetails | None = None
    usage: Usage | None = None
    error: Told | None = None
    request_id: str | None = None


_message = msgspec.json.Decoder(Message, strict=False)

FAILURES: Mapping[str, type[UpstreamError]] = {
    "invalid_request_error": UpstreamRejected,
    "request_too_large": UpstreamRejected,
    "not_found_error": UpstreamRejected,
    "authentication_error": UpstreamUnauthorized,
    "permission_error": UpstreamUnauthorized,
    "billing_error": UpstreamUnauthorized,
    "rate_limit_error": UpstreamRateLimited,
    "timeout_error": UpstreamTimeout,
    "overloaded_error": UpstreamUnavailable,
}
"""Errors that come where no status can: https://platform.claude.com/docs/en/api/errors.  Others are the server's."""


def failed(told: Told) -> UpstreamError:
    """The error that the provider told in an answer or a stream that had begun with status 200."""
    kind = FAILURES.get(told.type, UpstreamFailed)
    if kind is UpstreamUnauthorized:
        return kind(f"the provider refused this endpoint's API key ({told.type}); the endpoint's owner must mend it")
    return kind(told.message or f"the provider reported {told.type or 'an error'} and no message")


def read(body: bytes) -> Message:
    """Raises UpstreamError for a body that is no message."""
    try:
        message = _message.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise UpstreamProtocolError(f"Anthropic's answer cannot be read: {exc}") from exc
    if message.error is not None:
        raise failed(message.error)
    if message.type != "message":
        named = f" (request {message.request_id})" if message.request_id else ""
        raise UpstreamProtocolError(f"Anthropic's answer is not a message{named}: is the address that of its API?")
    return message


def chat(body: bytes, created: int) -> bytes:
    """The whole answer of a chat.  `created` is in seconds since the epoch."""
    message = read(body)
    parts: list[Part] = []
    calls = []
    for block in message.content:
        if block.get("type") == "tool_use":
            calls.append(_call(block))
        else:
            add(parts, block)
    said: Part = {"role": "assistant", "content": content(parts, silent=bool(calls))}
    finish = FINISH.get(message.stop_reason or "", "stop")
    said["refusal"] = None
    if message.stop_reason == "refusal":
        said["refusal"] = refusal(message.stop_details)
        said["content"] = said["content"] or None
    if calls:
        said["tool_calls"] = calls
    choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": finish}
    return encode(_around(message, "chat.completion", created, choice))


def completion(body: bytes, created: int) -> bytes:
    """The whole answer of a completions call, which has room for text only."""
    message = read(body)
    text = "".join(block.get("text") or "" for block in message.content if block.get("type") == "text")
    finish = FINISH.get(message.stop_reason or "", "stop")
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
    return encode(_around(message, "text_completion", created, choice))


def _around(message: Message, kind: str, created: int, choice: Part) -> Part:
    return {
        "id": message.id,
        "object": kind,
        "created": created,
        "model": message.model,
        "choices": [choice],
        "usage": (message.usage or Usage()).unified(),
    }


def _call(block: Part) -> Part:
    arguments = encode(block.get("input") or {}).decode()
    function = {"name": block.get("name") or "", "arguments": arguments}
    return {"id": block.get("id") or "", "type": "function", "function": function}


def add(parts: list[Part], block: Part) -> None:
    """One more block of the answer as a part of its content."""
    kind, last = block.get("type"), parts[-1] if parts else {}
    if kind == "text":
        part = {"type": "text", "text": block.get("text") or ""}
        if block.get("citations"):
            part["citations"] = block["citations"]
        if last.keys() == part.keys() == {"type", "text"} and last["type"] == "text":
            last["text"] += part["text"]
        elif part["text"] or len(part) > 2:
            parts.append(part)
        return
    item = thought(block)
    if item is None:
        parts.append(block)
    elif last.get("type") == "reasoning":
        last["summary"].append(item)
    else:
        parts.append({"type": "reasoning", "summary": [item]})


def thought(block: Part) -> Part | None:
    """A block of thinking as an item of a reasoning part; None for another block."""
    kind = block.get("type")
    if kind == "thinking":
        item = {"type": "summary_text", "text": block.get("thinking") or ""}
        if block.get("signature"):
            item["signature"] = block["signature"]
        return item
    return {"type": "summary_encrypted_text", "data": block.get("data") or ""} if kind == "redacted_thinking" else None


def content(parts: list[Part], *, silent: bool) -> str | list[Part] | None:
    """Text as a string, anything more as a list.  `silent` says that nothing at all is null and not an empty text."""
    if not parts:
        return None if silent else ""
    if len(parts) == 1 and parts[0].keys() == {"type", "text"} and parts[0]["type"] == "text":
        return str(parts[0]["text"])
    return parts


def refusal(details: StopDetails | None) -> str:
    return (details.explanation if details is not None else None) or REFUSED
