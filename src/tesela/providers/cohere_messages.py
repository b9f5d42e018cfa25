"""Messages and tools of a chat in the form of Cohere's second API, which is near to ours.

https://docs.cohere.com/reference/chat
"""

from collections.abc import Mapping
from typing import Any

from tesela.providers.asked import Function
from tesela.providers.conversation import Media, Message, Part, Piece, Text, Thought, read
from tesela.providers.fields import unsupported

OWN = frozenset({"tool_plan", "citations"})
REFUSED: Mapping[str, str] = {
    "name": "Cohere's messages carry no name of who speaks",
    "audio": "Cohere cannot be sent audio",
    "function_call": "this older form is not taken; send 'tool_calls'",
}


def render(messages: Any, ignore: frozenset[str]) -> list[Part]:
    """Raises InvalidRequest or Unsupported with the path of what is at fault."""
    return [_message(message) for message in read(messages, ignore, REFUSED, OWN)]


def _message(message: Message) -> Part:
    role = "system" if message.role == "developer" else message.role
    out: Part = {"role": role, **message.rest}
    if message.role == "tool":
        out["tool_call_id"] = message.answers
    pieces = message.pieces
    if message.plain:
        if pieces or not message.calls:
            out["content"] = message.text()
    else:
        out["content"] = [_part(piece) for piece in pieces if not _hidden(piece)]
    if message.calls:
        out["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.text}}
            for call in message.calls
        ]
    return out


def _hidden(piece: Piece) -> bool:
    """A thought that only another provider can read, which means nothing to Cohere."""
    return isinstance(piece, Thought) and piece.data is not None


def _part(piece: Piece) -> Part:
    if isinstance(piece, Text):
        return {"type": "text", "text": piece.text}
    if isinstance(piece, Thought):
        return {"type": "thinking", "thinking": piece.text}
    if isinstance(piece, Media):
        if piece.kind != "image":
            raise unsupported(piece.at, f"Cohere cannot be sent {'audio' if piece.kind == 'audio' else 'files'}")
        # https://docs.cohere.com/docs/image-inputs
        url = piece.url if piece.data is None else f"data:{piece.type};base64,{piece.data}"
        return {"type": "image_url", "image_url": {"url": url} | ({"detail": piece.detail} if piece.detail else {})}
    return piece.part


def tool(function: Function) -> Part:
    """Cohere wants the parameters of a function that takes nothing, too."""
    told: Part = {"name": function.name}
    if function.description is not None:
        told["description"] = function.description
    told["parameters"] = function.parameters or {"type": "object", "properties": {}}
    return {"type": "function", "function": told}
