"""The items of a Responses request as chat messages.

Reasoning items are left out: they are a model's notes to itself, and chat has no field for them that all servers
take.  What else has no place in chat (references to stored items, calls of hosted tools) is refused by name.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tesela.errors import InvalidRequest, Unsupported

Message = dict[str, Any]


class Conversation(msgspec.Struct):
    """The messages so far, and the ids of the calls among them."""

    turns: list[Message]
    calls: set[str]


def messages(given: Any) -> list[Message]:
    """The conversation.  Raises InvalidRequest or Unsupported with the path of the item at fault."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list):
        raise InvalidRequest("'input' must be a string or a list of items", param="input")
    if not given:
        raise InvalidRequest("'input' is empty", param="input")
    talk = Conversation([], set())
    for index, item in enumerate(given):
        at = f"input[{index}]"
        if not isinstance(item, dict):
            raise InvalidRequest(f"{at!r} must be an object", param=at)
        kind = item.get("type") or "message"
        add = ITEMS.get(kind) if isinstance(kind, str) else None
        if add is None:
            raise Unsupported(f"'{at}.type' is {kind!r}, which a chat model cannot be given", param=f"{at}.type")
        add(talk, item, at)
    return talk.turns


def _message(talk: Conversation, item: Message, at: str) -> None:
    given = item.get("role")
    role = ROLES.get(given) if isinstance(given, str) else None
    if role is None:
        raise InvalidRequest(f"'{at}.role' must be one of {', '.join(ROLES)}, not {given!r}", param=f"{at}.role")
    content = item.get("content")
    if isinstance(content, list):
        content = _parts(content, role, f"{at}.content")
    elif not isinstance(content, str):
        raise InvalidRequest(f"'{at}.content' must be a string or a list of parts", param=f"{at}.content")
    last = talk.turns[-1] if talk.turns else {}
    if role == "assistant" and last.get("tool_calls") and last["content"] is None:
        # Text that follows a call belongs to the same turn: the call must stay next to its output.
        last["content"] = content
    else:
        talk.turns.append({"role": role, "content": content})


def _parts(given: list[Any], role: str, at: str) -> str | list[Message]:
    parts = []
    for index, part in enumerate(given):
        here = f"{at}[{index}]"
        kind = part.get("type") if isinstance(part, dict) else None
        build = PARTS.get(kind) if isinstance(kind, str) else None
        if build is None:
            raise Unsupported(f"'{here}.type' is {kind!r}, which a chat model cannot be given", param=f"{here}.type")
        parts.append(build(part, here))
    if all(part["type"] == "text" for part in parts) and (role == "assistant" or len(parts) == 1):
        # Many chat servers take the assistant's own words only as a string.
        return "".join(part["text"] for part in parts)
    return parts


def _text(part: Message, at: str) -> Message:
    return {"type": "text", "text": _string(part, "text", at)}


def _refusal(part: Message, at: str) -> Message:
    return {"type": "refusal", "refusal": _string(part, "refusal", at)}


def _image(part: Message, at: str) -> Message:
    if part.get("file_id"):
        raise Unsupported(
            f"'{at}.file_id' is not supported: send the image as a URL or data URL", param=f"{at}.file_id"
        )
    image = part.get("image_url")
    if isinstance(image, dict):
        return {"type": "image_url", "image_url": image}
    url = {"url": _string(part, "image_url", at)}
    if part.get("detail") is not None:
        url["detail"] = part["detail"]
    return {"type": "image_url", "image_url": url}


def _file(part: Message, at: str) -> Message:
    for name in ("file_id", "file_url"):
        if part.get(name):
            raise Unsupported(f"'{at}.{name}' is not supported: send the file in 'file_data'", param=f"{at}.{name}")
    file = {"file_data": _string(part, "file_data", at)}
    if part.get("filename") is not None:
        file["filename"] = part["filename"]
    return {"type": "file", "file": file}


def _audio(part: Message, at: str) -> Message:
    if not isinstance(part.get("input_audio"), dict):
        raise InvalidRequest(f"'{at}.input_audio' must be an object", param=f"{at}.input_audio")
    return {"type": "input_audio", "input_audio": part["input_audio"]}


def _call(talk: Conversation, item: Message, at: str) -> None:
    call_id = _string(item, "call_id", at)
    inner = {"name": _string(item, "name", at), "arguments": _string(item, "arguments", at)}
    call = {"id": call_id, "type": "function", "function": inner}
    last = talk.turns[-1] if talk.turns else {}
    if last.get("role") != "assistant":
        talk.turns.append({"role": "assistant", "content": None, "tool_calls": [call]})
    elif call not in last.get("tool_calls", ()):
        # ChatDatabricks sends each call twice: once as a content block, once from the message's tool calls.
        last.setdefault("tool_calls", []).append(call)
    talk.calls.add(call_id)


def _output(talk: Conversation, item: Message, at: str) -> None:
    call_id = _string(item, "call_id", at)
    if call_id not in talk.calls:
        raise InvalidRequest(f"there is no function_call with the call_id {call_id!r} before this output", param=at)
    output = item.get("output")
    if isinstance(output, list):
        output = _parts(output, "tool", f"{at}.output")
        if isinstance(output, list) and any(part["type"] != "text" for part in output):
            raise Unsupported("chat tool messages hold text only", param=f"{at}.output")
    elif not isinstance(output, str):
        raise InvalidRequest(f"'{at}.output' must be a string or a list of parts", param=f"{at}.output")
    talk.turns.append({"role": "tool", "tool_call_id": call_id, "content": output})


def _reasoning(talk: Conversation, item: Message, at: str) -> None:
    """Nothing: see the top of the module."""


def _string(part: Message, name: str, at: str) -> str:
    found = part.get(name)
    if not isinstance(found, str):
        raise InvalidRequest(f"'{at}.{name}' must be a string", param=f"{at}.{name}")
    return found


ROLES: Mapping[str, str] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    # The same to a model, and every chat server knows the older word.
    "developer": "system",
}
ITEMS: Mapping[str, Callable[[Conversation, Message, str], None]] = {
    "message": _message,
    "function_call": _call,
    "function_call_output": _output,
    "reasoning": _reasoning,
}
PARTS: Mapping[str, Callable[[Message, str], Message]] = {
    "input_text": _text,
    "output_text": _text,
    "text": _text,
    "refusal": _refusal,
    "input_image": _image,
    "image_url": _image,
    "input_file": _file,
    "input_audio": _audio,
}
