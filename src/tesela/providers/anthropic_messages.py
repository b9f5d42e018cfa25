"""Messages of a chat in the form of Anthropic's Messages API: turns of user and assistant, made of blocks.

https://platform.claude.com/docs/en/api/messages/create.  A part of a type that only Anthropic has goes on as it came,
so that documents, cached prefixes and the blocks of its own tools can be sent; a part that only OpenAI has and that
cannot be expressed is refused with its path.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tesela.errors import InvalidRequest
from tesela.providers import media
from tesela.providers.conversation import read_calls, string
from tesela.providers.fields import unsupported

Part = dict[str, Any]


class Talk(msgspec.Struct):
    """The conversation so far.  `results` says that the last turn holds tool results and nothing else."""

    ignore: frozenset[str]
    system: list[Part]
    turns: list[Part]
    results: bool = False

    def add(self, role: str, content: Any, rest: Part) -> None:
        self.turns.append({"role": role, "content": content, **rest})
        self.results = False


def render(messages: Any, ignore: frozenset[str]) -> tuple[str | list[Part] | None, list[Part]]:
    """(the system prompt, the turns).  Raises InvalidRequest or Unsupported with the path of what is at fault."""
    if not isinstance(messages, list):
        raise InvalidRequest("'messages' must be a list", param="messages")
    talk = Talk(ignore, [], [])
    for position, message in enumerate(messages):
        at = f"messages[{position}]"
        if not isinstance(message, dict):
            raise InvalidRequest(f"'{at}' must be an object", param=at)
        role = message.get("role")
        add = ROLES.get(role) if isinstance(role, str) else None
        if add is None:
            raise InvalidRequest(f"'{at}.role' must be one of {', '.join(ROLES)}, not {role!r}", param=f"{at}.role")
        add(talk, message, at)
    if not talk.system:
        return None, talk.turns
    alone = talk.system[0] if len(talk.system) == 1 else {}
    return (alone["text"] if alone.keys() == {"type", "text"} else talk.system), talk.turns


def _rest(talk: Talk, message: Part, at: str, *known: str) -> Part:
    """Fields of a message that nobody here has heard of; they go on, and Anthropic judges them."""
    out = {}
    for name, found in message.items():
        if name in known or found is None or name in talk.ignore:
            continue
        if name in REFUSED:
            raise unsupported(f"{at}.{name}", REFUSED[name])
        out[name] = found
    return out


REFUSED: Mapping[str, str] = {
    "name": "Anthropic's messages carry no name of who speaks",
    "audio": "this provider cannot be sent audio",
    "function_call": "this older form is not taken; send 'tool_calls'",
}


def _system(talk: Talk, message: Part, at: str) -> None:
    """At the beginning it is the system prompt.  Later on it stays where it is: newer models take it there.

    https://platform.claude.com/docs/en/build-with-claude/mid-conversation-system-messages
    """
    rest = _rest(talk, message, at, "role", "content")
    content = _content(talk, message.get("content"), f"{at}.content")
    if talk.turns or rest:
        talk.add("system", content, rest)
    elif isinstance(content, str):
        talk.system += [{"type": "text", "text": content}] if content else []
    else:
        talk.system += content


def _user(talk: Talk, message: Part, at: str) -> None:
    content = _content(talk, message.get("content"), f"{at}.content")
    talk.add("user", content, _rest(talk, message, at, "role", "content"))


def _tool(talk: Talk, message: Part, at: str) -> None:
    """Results of one turn share one message: Anthropic wants all of them right behind the calls.

    https://platform.claude.com/docs/en/agents-and-tools/tool-use/handle-tool-calls
    """
    call = message.get("tool_call_id")
    if not isinstance(call, str) or not call:
        raise InvalidRequest(f"'{at}.tool_call_id' must say which call it answers", param=f"{at}.tool_call_id")
    block: Part = {"type": "tool_result", "tool_use_id": call}
    if message.get("content") is not None:
        block["content"] = _content(talk, message["content"], f"{at}.content")
    # The call already names the tool.
    block |= _rest(talk, message, at, "role", "content", "tool_call_id", "name")
    if talk.results:
        talk.turns[-1]["content"].append(block)
    else:
        talk.add("user", [block], {})
        talk.results = True


def _assistant(talk: Talk, message: Part, at: str) -> None:
    content = message.get("content")
    refusal, calls = message.get("refusal"), message.get("tool_calls")
    rest = _rest(talk, message, at, "role", "content", "refusal", "tool_calls", *ANSWERED)
    if content is not None:
        content = _content(talk, content, f"{at}.content")
    if not refusal and not calls:
        if content is None:
            raise InvalidRequest(f"'{at}.content' must be text or a list of parts", param=f"{at}.content")
        talk.add("assistant", content, rest)
        return
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
    if refusal:
        blocks.append({"type": "text", "text": string(message, "refusal", at)})
    # Anthropic refuses empty texts, and answers that only call tools come back with one.
    blocks = [block for block in blocks if block.get("text") != "" or block["type"] != "text"]
    used = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments}
        for call in read_calls(calls or [], f"{at}.tool_calls")
    ]
    talk.add("assistant", blocks + used, rest)


ANSWERED = ("id", "type", "status", "annotations", "reasoning", "reasoning_content")
"""What answers carry beside their content.  It tells the model nothing, or, as reasoning without a signature, nothing
that Anthropic takes; clients send it back all the same."""


def _content(talk: Talk, content: Any, at: str) -> Any:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InvalidRequest(f"{at!r} must be a string or a list of parts", param=at)
    out: list[Part] = []
    for position, part in enumerate(content):
        here = f"{at}[{position}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str):
            raise InvalidRequest(f"'{here}.type' must be a string", param=f"{here}.type")
        build = PARTS.get(kind)
        out += [part] if build is None else build(talk, part, here)
    return out


def _text(_talk: Talk, part: Part, at: str) -> list[Part]:
    string(part, "text", at)
    return [part]


def _refusal(_talk: Talk, part: Part, at: str) -> list[Part]:
    return [{"type": "text", "text": string(part, "refusal", at)}]


def _image(talk: Talk, part: Part, at: str) -> list[Part]:
    """https://platform.claude.com/docs/en/build-with-claude/vision"""
    image = part.get("image_url")
    told = {"url": image} if isinstance(image, str) else image
    if not isinstance(told, dict):
        raise InvalidRequest(f"'{at}.image_url' must be an object with a url", param=f"{at}.image_url")
    if told.get("detail") not in (None, "auto") and "detail" not in talk.ignore:
        name = f"{at}.image_url.detail"
        raise unsupported(name, "Anthropic cannot be told how closely to look at an image", ("auto",))
    source = _source(string(told, "url", f"{at}.image_url"), f"{at}.image_url.url", image=True)
    return [{"type": "image", "source": source, **_beside(part, "image_url")}]


def _beside(part: Part, *known: str) -> Part:
    """What else a part has, such as `cache_control`."""
    return {key: found for key, found in part.items() if key != "type" and key not in known}


def _source(url: str, at: str, *, image: bool) -> Part:
    """An address as it is, the content of a data URL by itself."""
    found = media.content(url, at, image=image)
    if found is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": found[0], "data": found[1]}


def _file(_talk: Talk, part: Part, at: str) -> list[Part]:
    """https://platform.claude.com/docs/en/build-with-claude/pdf-support"""
    file = part.get("file")
    if not isinstance(file, dict):
        raise InvalidRequest(f"'{at}.file' must be an object", param=f"{at}.file")
    if file.get("file_id"):
        source: Part = {"type": "file", "file_id": string(file, "file_id", f"{at}.file")}
    else:
        source = _source(string(file, "file_data", f"{at}.file"), f"{at}.file.file_data", image=False)
    title = {"title": file["filename"]} if file.get("filename") else {}
    return [{"type": "document", "source": source, **title, **_beside(part, "file")}]


def _audio(_talk: Talk, _part: Part, at: str) -> list[Part]:
    raise unsupported(at, "this provider cannot be sent audio")


def _reasoning(_talk: Talk, part: Part, at: str) -> list[Part]:
    """The thinking of an earlier answer.  Without a signature it is another provider's, which Anthropic refuses.

    https://platform.claude.com/docs/en/build-with-claude/extended-thinking#preserving-thinking-blocks
    """
    summary = part.get("summary")
    if not isinstance(summary, list):
        raise InvalidRequest(f"'{at}.summary' must be a list", param=f"{at}.summary")
    out: list[Part] = []
    for position, item in enumerate(summary):
        here = f"{at}.summary[{position}]"
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "summary_encrypted_text":
            out.append({"type": "redacted_thinking", "data": string(item, "data", here)})
        elif kind != "summary_text":
            text = f"'{here}.type' must be summary_text or summary_encrypted_text"
            raise InvalidRequest(text, param=f"{here}.type")
        elif item.get("signature"):
            text = string(item, "text", here)
            out.append({"type": "thinking", "thinking": text, "signature": string(item, "signature", here)})
    return out


PARTS: Mapping[str, Callable[[Talk, Part, str], list[Part]]] = {
    "text": _text,
    "refusal": _refusal,
    "image_url": _image,
    "file": _file,
    "input_audio": _audio,
    "reasoning": _reasoning,
}

ROLES: Mapping[str, Callable[[Talk, Part, str], None]] = {
    "system": _system,
    "developer": _system,
    "user": _user,
    "assistant": _assistant,
    "tool": _tool,
}
