"""A whole chat answer as a message of Anthropic's, and the pieces of one that the events share.

https://platform.claude.com/docs/en/api/messages/create
"""

from typing import Any

import msgspec

from tesela.errors import UpstreamProtocolError
from tesela.wire.document import encode
from tesela.wire.responses_answer import Choice, Function, Said, ToolCall, decode

Block = dict[str, Any]


class Asked(msgspec.Struct, frozen=True):
    """What an answer repeats of its request: the model, where the one that answers does not say what it is."""

    model: str


def answer(body: bytes, asked: Asked, id: str) -> bytes:
    """The message of a chat completion; `id` is unique to the invocation (letters and digits).

    Raises UpstreamProtocolError when the body is not a chat completion, or a call has arguments that are no object.
    """
    chat = decode(body)
    if not chat.choices or chat.choices[0].message is None:
        raise UpstreamProtocolError("the model's answer has no choices")
    choice = chat.choices[0]
    said = choice.message or Said()
    blocks = _said(said)
    cut = choice.finish_reason == "length"
    for number, call in enumerate(said.tool_calls or ()):
        function = call.function or Function()
        given = arguments(function.name or "", function.arguments or "", cut=cut)
        blocks.append(
            {"type": "tool_use", "id": call_id(call, id, number), "name": function.name or "", "input": given}
        )
    reason = stop_reason(choice, calls=bool(said.tool_calls), refused=bool(said.refusal))
    out = message(id, chat.model or asked.model, usage(chat.usage))
    return encode({**out, "content": blocks, "stop_reason": reason})


def message(id: str, model: str, counts: Block) -> Block:
    """A message with nothing in it yet."""
    out = {"id": f"msg_{id}", "type": "message", "role": "assistant", "model": model, "content": []}
    return {**out, "stop_reason": None, "stop_sequence": None, "usage": counts}


def _said(said: Said) -> list[Block]:
    """Everything but the calls.  Pieces of one kind that follow one another are one block, as they are in a stream."""
    out: list[Block] = []
    for block in pieces(said):
        last = out[-1] if out else {}
        if block["type"] == "text" and last.get("type") == "text" and "citations" not in {**block, **last}:
            last["text"] += block["text"]
        elif block["type"] == "thinking" and last.get("type") == "thinking" and not last["signature"]:
            last["thinking"] += block["thinking"]
            last["signature"] = block["signature"]
        else:
            out.append(block)
    return out


def pieces(said: Said) -> list[Block]:
    """What a message or a delta says, as blocks: thoughts, text, refusal.  Nothing is empty."""
    out: list[Block] = []
    thought = said.reasoning_content or said.reasoning
    if thought:
        out.append(_thinking(thought))
    if isinstance(said.content, str):
        out += [_text(said.content)] if said.content else []
    else:
        for part in said.content or ():
            out += _part(part)
    if said.refusal:
        out.append(_text(said.refusal))
    return out


def _part(part: dict[str, Any]) -> list[Block]:
    """A part of a content in a list.  One of a type that chat does not have is a block of Anthropic's, and stays so."""
    kind = part.get("type")
    if kind == "text":
        found = _text(str(part.get("text") or ""))
        if part.get("citations"):
            return [{**found, "citations": part["citations"]}]
        return [found] if found["text"] else []
    if kind != "reasoning":
        return [part] if isinstance(kind, str) else []
    summary = part.get("summary")
    out = []
    for item in summary if isinstance(summary, list) else ():
        if not isinstance(item, dict):
            continue
        if item.get("type") == "summary_encrypted_text":
            out.append({"type": "redacted_thinking", "data": str(item.get("data") or "")})
        elif item.get("text") or item.get("signature"):
            out.append(_thinking(str(item.get("text") or ""), str(item.get("signature") or "")))
    return out


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _thinking(text: str, signature: str = "") -> Block:
    return {"type": "thinking", "thinking": text, "signature": signature}


def arguments(name: str, given: str, *, cut: bool) -> Any:
    """The object that a call's arguments are.  `cut` says that the answer ended at its limit, where they may be
    unfinished: the call is then shown without them, and the stop reason says why."""
    found = whole(given or "{}")
    if found is not None:
        return found
    if cut:
        return {}
    raise UpstreamProtocolError(f"the model called {name!r} with arguments that are not a JSON object")


def whole(given: str) -> dict[str, Any] | None:
    """The object that this JSON is; None when it is none, or not yet."""
    try:
        found = msgspec.json.decode(given)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
    return found if isinstance(found, dict) else None


def call_id(call: ToolCall, id: str, number: int) -> str:
    """The caller answers a call by its id, so a server that gives none must not leave it empty."""
    return call.id or f"toolu_{id}_{number}"


def stop_reason(choice: Choice, *, calls: bool, refused: bool) -> str:
    """Some servers end an answer that calls tools with `stop`."""
    found = STOPS.get(choice.finish_reason or "", "end_turn")
    if found == "end_turn":
        return "tool_use" if calls else "refusal" if refused else found
    return found


STOPS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}
"""https://platform.claude.com/docs/en/build-with-claude/handling-stop-reasons.  Chat does not tell which stop sequence
was met, nor that one was."""


def usage(counts: dict[str, Any] | None) -> Block:
    """Anthropic counts what came from a cache and what went into one beside the input, chat inside of it."""
    found = counts or {}
    details = found.get("prompt_tokens_details") or {}
    read = found.get("cache_read_input_tokens") or details.get("cached_tokens") or 0
    written = found.get("cache_creation_input_tokens") or 0
    return {
        "input_tokens": max((found.get("prompt_tokens") or 0) - read - written, 0),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": found.get("completion_tokens") or 0,
    }
