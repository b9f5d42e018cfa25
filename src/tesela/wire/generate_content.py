"""The turns of a generateContent request as the messages of a chat.

Calls and results go by ids in chat and often by names alone in Gemini's API, so ids are made where none were given, and
a result without one answers the oldest call of its name that is still open.  Thoughts without a signature are left
out: they are a model's note to itself.  A signature stays where Google's interface in OpenAI's form has it, in
`extra_content`: https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from typing import Any

from tesela.errors import InvalidRequest, Unsupported
from tesela.wire.document import encode
from tesela.wire.generate_names import camel

Part = dict[str, Any]


class Turns:
    """Messages so far, and the calls that wait for their results, by name."""

    def __init__(self) -> None:
        self.messages: list[Part] = []
        self.open: dict[str, list[str]] = {}
        self._made = 0

    def id(self) -> str:
        """An id for a call that came without one; equal requests get equal ids."""
        self._made += 1
        return f"call_{self._made}"


def messages(contents: Any, system: Any) -> list[Part]:
    """The whole conversation, the instruction first.  Raises InvalidRequest or Unsupported with the path."""
    turns = Turns()
    if system is not None:
        turns.messages.append({"role": "system", "content": instruction(system)})
    if not isinstance(contents, list) or not contents:
        raise InvalidRequest("'contents' must be a list of turns that is not empty", param="contents")
    for position, given in enumerate(contents):
        at = f"contents[{position}]"
        turn = _object(given, at)
        role = "user" if turn.get("role") in (None, "") else turn["role"]
        build = ROLES.get(role) if isinstance(role, str) else None
        if build is None:
            raise InvalidRequest(f"'{at}.role' must be user or model, not {role!r}", param=f"{at}.role")
        parts = turn.get("parts")
        if not isinstance(parts, list) or not parts:
            raise InvalidRequest(f"'{at}.parts' must be a list that is not empty", param=f"{at}.parts")
        build(turns, [(_object(part, f"{at}.parts[{i}]"), f"{at}.parts[{i}]") for i, part in enumerate(parts)])
    return turns.messages


def instruction(given: Any) -> str:
    """The text of `systemInstruction`."""
    at = "systemInstruction"
    found = {"parts": [{"text": given}]} if isinstance(given, str) else _object(given, at)
    parts = found.get("parts")
    texts = []
    for position, part in enumerate(parts if isinstance(parts, list) else [parts] if parts else ()):
        here = f"{at}.parts[{position}]"
        text = _object(part, here).get("text")
        if not isinstance(text, str):
            raise InvalidRequest(f"'{here}' must have a text: an instruction has nothing else", param=here)
        texts.append(text)
    if not texts:
        raise InvalidRequest(f"'{at}.parts' must hold the text of the instruction", param=f"{at}.parts")
    return "\n\n".join(texts)


def _user(turns: Turns, parts: list[tuple[Part, str]]) -> None:
    said: list[Part] = []
    for part, at in parts:
        if "functionResponse" in part:
            turns.messages.append(_result(turns, part, at))
        else:
            said.append(_part(part, at))
    if said:
        turns.messages.append({"role": "user", "content": _simple(said)})


def _model(turns: Turns, parts: list[tuple[Part, str]]) -> None:
    said: list[Part] = []
    calls: list[Part] = []
    signature: str | None = None
    for part, at in parts:
        signed = part.get("thoughtSignature")
        if "functionCall" in part:
            calls.append(_call(turns, part, at))
        elif part.get("thought") is True:
            if signed:
                item = {"type": "summary_text", "text": str(part.get("text") or ""), "signature": signed}
                said.append({"type": "reasoning", "summary": [item]})
        elif part.get("text") == "" and signed:
            signature = signed
        else:
            signature = signed or signature
            said.append(_part(part, at))
    turn: Part = {"role": "assistant", "content": _simple(said) if said else None if calls else ""}
    if calls:
        turn["tool_calls"] = calls
    if signature:
        turn["extra_content"] = {"google": {"thought_signature": signature}}
    turns.messages.append(turn)


def _simple(parts: list[Part]) -> str | list[Part]:
    """A single text as a string, the one form that every chat server takes."""
    return str(parts[0]["text"]) if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _call(turns: Turns, part: Part, at: str) -> Part:
    given = _object(part["functionCall"], f"{at}.functionCall")
    name, found = given.get("name"), given.get("args")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"'{at}.functionCall.name' must be a string", param=f"{at}.functionCall.name")
    if found is not None and not isinstance(found, dict):
        raise InvalidRequest(f"'{at}.functionCall.args' must be an object", param=f"{at}.functionCall.args")
    id = str(given.get("id") or turns.id())
    turns.open.setdefault(name, []).append(id)
    function = {"name": name, "arguments": encode(found or {}).decode()}
    call: Part = {"id": id, "type": "function", "function": function}
    if part.get("thoughtSignature"):
        call["extra_content"] = {"google": {"thought_signature": part["thoughtSignature"]}}
    return call


def _result(turns: Turns, part: Part, at: str) -> Part:
    """A result, as text: what is under `output` alone when that is a text, else the whole object as JSON."""
    here = f"{at}.functionResponse"
    given = _object(part["functionResponse"], here)
    name, response = given.get("name"), given.get("response")
    if response is not None and not isinstance(response, dict):
        raise InvalidRequest(f"'{here}.response' must be an object", param=f"{here}.response")
    if given.get("parts"):
        raise Unsupported(f"'{here}.parts' has no counterpart in chat: results are text", param=f"{here}.parts")
    waiting = turns.open.get(name, []) if isinstance(name, str) else []
    id = given.get("id")
    if isinstance(id, str) and id:
        for calls in turns.open.values():
            if id in calls:
                calls.remove(id)
    elif waiting:
        id = waiting.pop(0)
    else:
        raise InvalidRequest(f"'{here}' answers no call of an earlier turn: {name!r}", param=f"{here}.name")
    found = (response or {}).get("output") if len(response or {}) == 1 else None
    text = found if isinstance(found, str) else encode(response or {}).decode()
    return {"role": "tool", "tool_call_id": id, "content": text}


def _part(part: Part, at: str) -> Part:
    for key, build in PARTS.items():
        if key in part:
            return build(part[key], f"{at}.{key}")
    told = ", ".join(sorted(part)) or "nothing"
    raise Unsupported(f"{at!r} holds {told}, which this endpoint's model has no counterpart for", param=at)


def _text(given: Any, at: str) -> Part:
    if not isinstance(given, str):
        raise InvalidRequest(f"{at!r} must be a string", param=at)
    return {"type": "text", "text": given}


def _inline(given: Any, at: str) -> Part:
    """https://ai.google.dev/api/caching#Blob"""
    blob = _object(given, at)
    kind, data = blob.get("mimeType"), blob.get("data")
    if not isinstance(kind, str) or not isinstance(data, str) or not kind or not data:
        raise InvalidRequest(f"{at!r} must have a mimeType and data in base64", param=at)
    # Google takes both alphabets of base64; those who read data URLs take the first.
    data = data.translate(URL_SAFE)
    url = f"data:{kind};base64,{data}"
    if kind.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    if kind == "application/pdf":
        return {"type": "file", "file": {"filename": blob.get("displayName") or "document.pdf", "file_data": url}}
    if kind in SOUNDS:
        return {"type": "input_audio", "input_audio": {"data": data, "format": SOUNDS[kind]}}
    if kind.startswith("text/"):
        try:
            return {"type": "text", "text": b64decode(data, validate=True).decode()}
        except (Base64Error, UnicodeDecodeError) as exc:
            raise InvalidRequest(f"'{at}.data' must be text in UTF-8, in base64", param=f"{at}.data") from exc
    raise Unsupported(f"'{at}.mimeType' {kind!r} is not one that chat has parts for", param=f"{at}.mimeType")


URL_SAFE = str.maketrans("-_", "+/")


def _file(given: Any, at: str) -> Part:
    """https://ai.google.dev/api/caching#FileData"""
    found = _object(given, at)
    address, kind = found.get("fileUri"), found.get("mimeType") or "image/"
    if not isinstance(address, str) or not address.startswith(("http://", "https://")):
        raise Unsupported(f"'{at}.fileUri' must be an address: files are stored nowhere here", param=f"{at}.fileUri")
    if not isinstance(kind, str) or not kind.startswith("image/"):
        raise Unsupported(f"'{at}.mimeType': only images can be named by their address", param=f"{at}.mimeType")
    return {"type": "image_url", "image_url": {"url": address}}


def _object(given: Any, at: str) -> Part:
    if not isinstance(given, dict):
        raise InvalidRequest(f"{at!r} must be an object", param=at)
    return camel(given)


SOUNDS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mp3": "mp3", "audio/mpeg": "mp3"}
PARTS: Mapping[str, Callable[[Any, str], Part]] = {"text": _text, "inlineData": _inline, "fileData": _file}
ROLES: Mapping[str, Callable[[Turns, list[tuple[Part, str]]], None]] = {
    "user": _user,
    "function": _user,
    "tool": _user,
    "model": _model,
}
