"""The turns of a Messages request as the messages of a chat.

Results of tools become messages of their own, which chat wants right behind the calls; images among them follow in the
user's turn, because chat's tool messages hold text only.  `cache_control` and `citations` are left out: a hint for a
cache, and a switch of documents that become plain files.  Thinking without a signature is left out too: it is a model's
note to itself.  With one it came from a provider that wants it back, and goes on as a reasoning part.
"""

from collections.abc import Callable, Mapping
from typing import Any

from tesela.errors import InvalidRequest, Unsupported
from tesela.wire.document import encode

Part = dict[str, Any]


def messages(given: Any, system: Any) -> list[Part]:
    """The whole conversation, the system prompt first.  Raises InvalidRequest or Unsupported with the path."""
    out: list[Part] = []
    prompt = _system(system, "system")
    if prompt:
        out.append({"role": "system", "content": prompt})
    for position, turn in enumerate(_list(given, "messages")):
        at = f"messages[{position}]"
        role = turn.get("role") if isinstance(turn, dict) else None
        build = ROLES.get(role) if isinstance(role, str) else None
        if build is None:
            raise InvalidRequest(f"'{at}.role' must be one of {', '.join(ROLES)}, not {role!r}", param=f"{at}.role")
        build(out, turn.get("content"), f"{at}.content")
    return out


def _system(given: Any, at: str) -> str:
    """Blocks are joined: not every chat server takes a system message in parts."""
    if given is None or isinstance(given, str):
        return given or ""
    texts = []
    for block, kind, here in _blocks(given, at):
        if kind != "text":
            raise InvalidRequest(f"'{here}.type' must be text in a system prompt, not {kind!r}", param=f"{here}.type")
        texts.append(_string(block, "text", here))
    return "\n\n".join(texts)


def _later_system(out: list[Part], content: Any, at: str) -> None:
    out.append({"role": "system", "content": _system(content, at)})


def _user(out: list[Part], content: Any, at: str) -> None:
    if isinstance(content, str):
        out.append({"role": "user", "content": content})
        return
    parts: list[Part] = []
    for block, kind, here in _blocks(content, at):
        if kind == "tool_result":
            text, images = _result(block, here)
            out.append({"role": "tool", "tool_call_id": _string(block, "tool_use_id", here), "content": text})
            parts += images
        else:
            parts.append(_part(block, kind, here))
    if parts:
        out.append({"role": "user", "content": _simple(parts)})


def _assistant(out: list[Part], content: Any, at: str) -> None:
    if isinstance(content, str):
        out.append({"role": "assistant", "content": content})
        return
    parts: list[Part] = []
    calls: list[Part] = []
    for block, kind, here in _blocks(content, at):
        if kind == "text":
            parts.append(_text(block, here))
        elif kind == "tool_use":
            calls.append(_call(block, here))
        elif kind in ("thinking", "redacted_thinking"):
            parts += _thought(block, kind, here)
        else:
            raise _unknown(kind, here)
    turn: Part = {"role": "assistant", "content": _simple(parts) if parts else None if calls else ""}
    if calls:
        turn["tool_calls"] = calls
    out.append(turn)


def _simple(parts: list[Part]) -> str | list[Part]:
    """A single text as a string, the one form that every chat server takes."""
    return str(parts[0]["text"]) if len(parts) == 1 and parts[0]["type"] == "text" else parts


def _result(block: Part, at: str) -> tuple[str, list[Part]]:
    """(the text of a tool's result, its images).  Chat has no flag for a failure, so the text says it."""
    content = block.get("content")
    texts: list[str] = []
    images: list[Part] = []
    if content is None or isinstance(content, str):
        texts.append(content or "")
    else:
        for inner, kind, here in _blocks(content, f"{at}.content"):
            part = _part(inner, kind, here)
            if part["type"] == "text":
                texts.append(part["text"])
            else:
                images.append(part)
    text = "\n".join(texts)
    return (f"Error: {text}" if block.get("is_error") is True else text), images


def _part(block: Part, kind: str, at: str) -> Part:
    build = PARTS.get(kind)
    if build is None:
        raise _unknown(kind, at)
    return build(block, at)


def _text(block: Part, at: str) -> Part:
    return {"type": "text", "text": _string(block, "text", at)}


def _image(block: Part, at: str) -> Part:
    return {"type": "image_url", "image_url": {"url": _address(block, at)}}


def _document(block: Part, at: str) -> Part:
    """https://platform.claude.com/docs/en/build-with-claude/pdf-support"""
    source = _source(block, at)
    if source.get("type") == "text":
        return {"type": "text", "text": _string(source, "data", f"{at}.source")}
    if source.get("type") != "base64":
        raise Unsupported(
            f"'{at}.source' must be base64 or text: a chat model's provider cannot be told to fetch a document",
            param=f"{at}.source",
        )
    title = block.get("title")
    name = title if isinstance(title, str) and title else "document.pdf"
    return {"type": "file", "file": {"filename": name, "file_data": _address(block, at)}}


def _address(block: Part, at: str) -> str:
    """The content of a source as a data URL (RFC 2397), or its address."""
    source, here = _source(block, at), f"{at}.source"
    if source.get("type") == "base64":
        return f"data:{_string(source, 'media_type', here)};base64,{_string(source, 'data', here)}"
    if source.get("type") == "url":
        return _string(source, "url", here)
    raise Unsupported(f"'{here}.type' must be base64 or url; files are stored nowhere here", param=f"{here}.type")


def _source(block: Part, at: str) -> Part:
    source = block.get("source")
    if not isinstance(source, dict):
        raise InvalidRequest(f"'{at}.source' must be an object", param=f"{at}.source")
    return source


def _call(block: Part, at: str) -> Part:
    given = block.get("input")
    if not isinstance(given, dict):
        raise InvalidRequest(f"'{at}.input' must be an object", param=f"{at}.input")
    function = {"name": _string(block, "name", at), "arguments": encode(given).decode()}
    return {"id": _string(block, "id", at), "type": "function", "function": function}


def _thought(block: Part, kind: str, at: str) -> list[Part]:
    if kind == "redacted_thinking":
        item = {"type": "summary_encrypted_text", "data": _string(block, "data", at)}
    elif not block.get("signature"):
        return []
    else:
        text, signature = _string(block, "thinking", at), _string(block, "signature", at)
        item = {"type": "summary_text", "text": text, "signature": signature}
    return [{"type": "reasoning", "summary": [item]}]


def _blocks(content: Any, at: str) -> list[tuple[Part, str, str]]:
    """(block, its type, its path) of each block of a content."""
    out = []
    for position, block in enumerate(_list(content, at)):
        here = f"{at}[{position}]"
        kind = block.get("type") if isinstance(block, dict) else None
        if not isinstance(kind, str):
            raise InvalidRequest(f"'{here}.type' must be a string", param=f"{here}.type")
        out.append((block, kind, here))
    return out


def _list(found: Any, at: str) -> list[Any]:
    if not isinstance(found, list):
        what = "a list" if at == "messages" else "a string or a list of blocks"
        raise InvalidRequest(f"{at!r} must be {what}", param=at)
    return found


def _string(block: Part, name: str, at: str) -> str:
    found = block.get(name)
    if not isinstance(found, str):
        raise InvalidRequest(f"'{at}.{name}' must be a string", param=f"{at}.{name}")
    return found


def _unknown(kind: str, at: str) -> Unsupported:
    return Unsupported(f"'{at}' is of type {kind!r}, which only Anthropic's own models can be sent", param=at)


PARTS: Mapping[str, Callable[[Part, str], Part]] = {"text": _text, "image": _image, "document": _document}
ROLES: Mapping[str, Callable[[list[Part], Any, str], None]] = {
    "user": _user,
    "assistant": _assistant,
    "system": _later_system,
}
