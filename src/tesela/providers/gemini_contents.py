"""Messages of a chat as Gemini's contents: turns of user and model, made of parts.

https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference.  Gemini has one place for instructions,
so system messages go there wherever they stand.
"""

from typing import Any

import msgspec

from tesela.errors import InvalidRequest
from tesela.providers.conversation import Media, Message, Own, Part, Piece, Text, Thought, ToolCall, read
from tesela.providers.fields import unsupported

REFUSED = {
    "name": "Gemini's contents carry no name of who speaks",
    "audio": "Gemini cannot be reminded of audio by its id",
    "function_call": "this older form is not taken; send 'tool_calls'",
}


UNSIGNED = "skip_thought_signature_validator"
"""What Google takes for the signature of a call that another model made, or whose signature a client has lost:
https://ai.google.dev/gemini-api/docs/thought-signatures.  Only the first of several calls carries one."""


def render(messages: Any, ignore: frozenset[str], *, signed: bool) -> tuple[Part | None, list[Part]]:
    """(the system instruction, the contents).  `signed` says that the model wants its calls back with signatures.

    Raises InvalidRequest or Unsupported with the path of what is at fault.
    """
    system: list[Part] = []
    turns: list[Part] = []
    called: dict[str, str] = {}
    results = False
    for message in read(messages, ignore, REFUSED, frozenset({"extra_content"})):
        _known(message)
        if message.role in ("system", "developer"):
            system += [part for piece in message.pieces for part in _parts(piece)]
        elif message.role == "tool":
            part = _result(message, called)
            # Gemini wants the results of one turn together: as many as there were calls.
            if results:
                turns[-1]["parts"].append(part)
            else:
                turns.append({"role": "user", "parts": [part]})
            results = True
        else:
            parts = [part for piece in message.pieces for part in _parts(piece)]
            if message.role == "assistant":
                called |= {call.id: call.name for call in message.calls}
                calls = [_call(call) for call in message.calls]
                if calls and signed:
                    calls[0].setdefault("thoughtSignature", UNSIGNED)
                parts = _signed(parts, message) + calls
            turns.append({"role": "model" if message.role == "assistant" else "user", "parts": parts})
            results = False
    return ({"parts": system} if system else None), turns


def _known(message: Message) -> None:
    for name in message.rest:
        if name != "extra_content":
            raise unsupported(f"{message.at}.{name}", "Gemini's contents have no such field")


def _signature(extra: Any) -> str | None:
    """Where Google's own interface in OpenAI's form puts it: https://ai.google.dev/gemini-api/docs/thought-signatures."""
    google = extra.get("google") if isinstance(extra, dict) else None
    found = google.get("thought_signature") if isinstance(google, dict) else None
    return found if isinstance(found, str) and found else None


def _signed(parts: list[Part], message: Message) -> list[Part]:
    signature = _signature(message.rest.get("extra_content"))
    if signature is None:
        return parts
    if parts and "text" in parts[-1] and "thought" not in parts[-1]:
        return [*parts[:-1], {**parts[-1], "thoughtSignature": signature}]
    return [*parts, {"text": "", "thoughtSignature": signature}]


def _call(call: ToolCall) -> Part:
    part: Part = {"functionCall": {"name": call.name, "args": call.arguments}}
    signature = _signature(call.rest.get("extra_content"))
    return part if signature is None else {**part, "thoughtSignature": signature}


def _result(message: Message, called: dict[str, str]) -> Part:
    """A result is told by the name of its function; the answer to a call is an object."""
    name = called.get(message.answers)
    if name is None:
        text = f"'{message.at}.tool_call_id' answers no call of an earlier message: {message.answers!r}"
        raise InvalidRequest(text, param=f"{message.at}.tool_call_id")
    for piece in message.pieces:
        if not isinstance(piece, Text):
            raise unsupported(piece.at, "the result of a function is text or JSON for Gemini")
    text = message.text()
    try:
        found = msgspec.json.decode(text) if text else {}
    except (msgspec.DecodeError, RecursionError):
        found = text
    response = found if isinstance(found, dict) else {"output": found}
    return {"functionResponse": {"name": name, "response": response}}


def _parts(piece: Piece) -> list[Part]:
    if isinstance(piece, Text):
        return [{"text": piece.text}]
    if isinstance(piece, Thought):
        # Gemini's own have no signature here; a signed one is another provider's, which Gemini could not check.
        return [] if piece.signature or piece.data is not None else [{"text": piece.text, "thought": True}]
    if isinstance(piece, Own):
        return [_own(piece)]
    return [_media(piece)]


def _own(piece: Own) -> Part:
    key = OWN.get(piece.part["type"])
    if key is None or key not in piece.part:
        raise unsupported(f"{piece.at}.type", f"Gemini has no parts of type {piece.part['type']!r}")
    return {key: piece.part[key]}


OWN = {"executable_code": "executableCode", "code_execution_result": "codeExecutionResult"}
"""Parts that only Gemini has, by the types that they have in answers."""


def _media(piece: Media) -> Part:
    if piece.detail not in (None, "auto"):
        raise unsupported(f"{piece.at}.detail", "Gemini is told a mediaResolution for all images instead", ("auto",))
    if piece.data is not None:
        return {"inlineData": {"mimeType": piece.type, "data": piece.data}}
    url = piece.url or ""
    kind = TYPES.get(url.partition("?")[0].rpartition(".")[2].lower())
    if kind is None:
        text = f"'{piece.at}': Gemini must be told the type of what is at an address, and this one's name has none; "
        raise InvalidRequest(text + "send a data URL", param=piece.at)
    return {"fileData": {"mimeType": kind, "fileUri": url}}


TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
    "heic": "image/heic", "heif": "image/heif", "pdf": "application/pdf", "txt": "text/plain", "mp3": "audio/mp3",
    "wav": "audio/wav", "flac": "audio/flac", "mp4": "video/mp4", "mov": "video/mov", "webm": "video/webm",
}  # fmt: skip
"""https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/image-understanding and its neighbours."""
