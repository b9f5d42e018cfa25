"""The messages of a chat, read into values for providers whose messages have another form than ours.

What is wrong with a message is said here, with its path; what a provider cannot express is for its translation to say.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from tesela.errors import InvalidRequest
from tesela.providers import media
from tesela.providers.fields import unsupported

Part = dict[str, Any]


class Text(msgspec.Struct, frozen=True):
    """`cached` says that what ends here will be sent again: a hint that changes no answer."""

    text: str
    at: str
    cached: bool = False


class Media(msgspec.Struct, frozen=True):
    """An image, a sound or a file: at an address (`url`), or here (`data` in base64, `type` its media type)."""

    kind: str
    at: str
    url: str | None = None
    data: str | None = None
    type: str | None = None
    name: str | None = None
    detail: str | None = None
    cached: bool = False


class Thought(msgspec.Struct, frozen=True):
    """Thinking of an earlier answer: its text and signature, or `data` that only the provider can read."""

    text: str
    signature: str | None
    data: str | None
    at: str


class Own(msgspec.Struct, frozen=True):
    """A part of a type that OpenAI's form does not have."""

    part: Part
    at: str


Piece = Text | Media | Thought | Own


class ToolCall(msgspec.Struct, frozen=True):
    """`arguments` as an object and as the `text` that it came as; `rest` is what else stands beside the function."""

    id: str
    name: str
    arguments: Part
    text: str
    rest: Part
    at: str


class Message(msgspec.Struct):
    """`plain` says that the content was one string; `rest` are fields that nobody here has heard of."""

    role: str
    at: str
    pieces: list[Piece]
    plain: bool
    calls: list[ToolCall]
    answers: str
    rest: Part

    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces if isinstance(piece, Text))


ROLES = ("system", "developer", "user", "assistant", "tool")
ANSWERED = ("id", "type", "status", "annotations", "reasoning", "reasoning_content")
"""What answers carry beside their content.  It tells a model nothing; clients send it back all the same."""
TOLD = frozenset({"extra_content", "tool_plan", "citations"})
"""What a translation adds to answers for its own provider to read.  Another one, a fallback perhaps, passes it over."""
KNOWN = frozenset({"role", "content", "tool_calls", "tool_call_id", "refusal", *ANSWERED})


def read(
    messages: Any, ignore: frozenset[str], refused: Mapping[str, str], own: frozenset[str] = frozenset()
) -> list[Message]:
    """The messages.  `refused` are fields of a message that the provider cannot be told, and why; `own` are those of
    `TOLD` that it reads itself.

    Raises InvalidRequest or Unsupported with the path of what is at fault.
    """
    if not isinstance(messages, list):
        raise InvalidRequest("'messages' must be a list", param="messages")
    passed_over = ignore | (TOLD - own)
    return [_message(one, f"messages[{position}]", passed_over, refused) for position, one in enumerate(messages)]


def _message(message: Any, at: str, ignore: frozenset[str], refused: Mapping[str, str]) -> Message:
    if not isinstance(message, dict):
        raise InvalidRequest(f"'{at}' must be an object", param=at)
    role = message.get("role")
    if role not in ROLES:
        raise InvalidRequest(f"'{at}.role' must be one of {', '.join(ROLES)}, not {role!r}", param=f"{at}.role")
    rest = {}
    for name, found in message.items():
        # A tool's result may name its tool: the call has done so already.
        if name in KNOWN or found is None or name in ignore or (name == "name" and role == "tool"):
            continue
        if name in refused:
            raise unsupported(f"{at}.{name}", refused[name])
        rest[name] = found
    content, refusal, calls = message.get("content"), message.get("refusal"), message.get("tool_calls")
    if content is None and role != "tool" and not (role == "assistant" and (refusal or calls)):
        raise InvalidRequest(f"'{at}.content' must be text or a list of parts", param=f"{at}.content")
    pieces = _pieces(content, f"{at}.content", ignore)
    if refusal and role == "assistant":
        pieces.append(Text(string(message, "refusal", at), f"{at}.refusal"))
    if role == "assistant":
        # Answers that only call tools come back with an empty text, which most providers refuse.
        pieces = [piece for piece in pieces if not isinstance(piece, Text) or piece.text or not (refusal or calls)]
    plain = not isinstance(content, list) and len(pieces) <= 1
    answers = string(message, "tool_call_id", at) if role == "tool" else ""
    return Message(role, at, pieces, plain, read_calls(calls or [], f"{at}.tool_calls"), answers, rest)


def read_calls(calls: Any, at: str) -> list[ToolCall]:
    """The calls of tools in a message.  Raises InvalidRequest with the path of what is at fault."""
    if not isinstance(calls, list):
        raise InvalidRequest(f"{at!r} must be a list", param=at)
    return [_call(call, f"{at}[{position}]") for position, call in enumerate(calls)]


def _call(call: Any, at: str) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise InvalidRequest(f"'{at}.function' must be an object", param=f"{at}.function")
    text, place = function.get("arguments"), f"{at}.function.arguments"
    try:
        found = msgspec.json.decode(text) if text else {}
    except (msgspec.DecodeError, RecursionError, TypeError) as exc:
        raise InvalidRequest(f"{place!r} must be a JSON object in a string: {exc}", param=place) from exc
    if not isinstance(found, dict):
        raise InvalidRequest(f"{place!r} must be a JSON object in a string", param=place)
    rest = {name: found for name, found in call.items() if name not in ("id", "type", "function", "index")}
    return ToolCall(
        string(call, "id", at), string(function, "name", f"{at}.function"), found, str(text or "{}"), rest, at
    )


def _pieces(content: Any, at: str, ignore: frozenset[str]) -> list[Piece]:
    if content is None:
        return []
    if isinstance(content, str):
        return [Text(content, at)]
    if not isinstance(content, list):
        raise InvalidRequest(f"{at!r} must be a string or a list of parts", param=at)
    out: list[Piece] = []
    for position, part in enumerate(content):
        here = f"{at}[{position}]"
        kind = part.get("type") if isinstance(part, dict) else None
        if not isinstance(kind, str):
            raise InvalidRequest(f"'{here}.type' must be a string", param=f"{here}.type")
        build = PARTS.get(kind)
        if build is None:
            out.append(Own(part, here))
            continue
        for name in part.keys() - BESIDE - {kind}:
            if part[name] is not None and name not in ignore:
                raise unsupported(f"{here}.{name}", "parts of this type have no such field at this provider")
        out += build(part, here, ignore)
    return out


def _text(part: Part, at: str, _ignore: frozenset[str]) -> list[Piece]:
    return [Text(string(part, "text", at), at, bool(part.get("cache_control")))]


def _refusal(part: Part, at: str, _ignore: frozenset[str]) -> list[Piece]:
    return [Text(string(part, "refusal", at), at)]


def _image(part: Part, at: str, ignore: frozenset[str]) -> list[Piece]:
    image = part.get("image_url")
    told = {"url": image} if isinstance(image, str) else image
    if not isinstance(told, dict):
        raise InvalidRequest(f"'{at}.image_url' must be an object with a url", param=f"{at}.image_url")
    detail = None if "detail" in ignore else told.get("detail")
    url, cached = string(told, "url", f"{at}.image_url"), bool(part.get("cache_control"))
    return [_media("image", url, f"{at}.image_url", "url", detail=detail, cached=cached)]


def _file(part: Part, at: str, _ignore: frozenset[str]) -> list[Piece]:
    file = part.get("file")
    if not isinstance(file, dict):
        raise InvalidRequest(f"'{at}.file' must be an object", param=f"{at}.file")
    if file.get("file_id"):
        raise unsupported(f"{at}.file.file_id", "this provider knows no files of OpenAI's; send the file's content")
    return [
        _media("file", string(file, "file_data", f"{at}.file"), f"{at}.file", "file_data", name=file.get("filename"))
    ]


def _audio(part: Part, at: str, _ignore: frozenset[str]) -> list[Piece]:
    audio = part.get("input_audio")
    if not isinstance(audio, dict):
        raise InvalidRequest(f"'{at}.input_audio' must be an object", param=f"{at}.input_audio")
    kind = string(audio, "format", f"{at}.input_audio")
    return [Media("audio", at, data=string(audio, "data", f"{at}.input_audio"), type=f"audio/{kind}")]


def _media(
    kind: str, url: str, at: str, key: str, *, name: Any = None, detail: Any = None, cached: bool = False
) -> Media:
    """An address as it is, the content of a data URL by itself."""
    found = media.content(url, f"{at}.{key}", image=kind == "image")
    if found is None:
        return Media(kind, at, url=url, name=name, detail=detail, cached=cached)
    return Media(kind, at, data=found[1], type=found[0], name=name, detail=detail, cached=cached)


def _reasoning(part: Part, at: str, _ignore: frozenset[str]) -> list[Piece]:
    summary = part.get("summary")
    if not isinstance(summary, list):
        raise InvalidRequest(f"'{at}.summary' must be a list", param=f"{at}.summary")
    out: list[Piece] = []
    for position, item in enumerate(summary):
        here = f"{at}.summary[{position}]"
        kind = item.get("type") if isinstance(item, dict) else None
        if kind == "summary_encrypted_text":
            out.append(Thought("", None, string(item, "data", here), here))
        elif kind == "summary_text":
            signature = item.get("signature")
            out.append(Thought(string(item, "text", here), str(signature) if signature else None, None, here))
        else:
            text = f"'{here}.type' must be summary_text or summary_encrypted_text"
            raise InvalidRequest(text, param=f"{here}.type")
    return out


def string(part: Part, name: str, at: str) -> str:
    """A field that must be a string.  Raises InvalidRequest with its path."""
    found = part.get(name)
    if not isinstance(found, str):
        raise InvalidRequest(f"'{at}.{name}' must be a string", param=f"{at}.{name}")
    return found


BESIDE = frozenset({"type", "text", "cache_control", "annotations", "citations", "logprobs", "id", "status", "summary"})
"""Fields of parts that are read, are hints, or come back from answers and tell a model nothing."""

PARTS: Mapping[str, Callable[[Part, str, frozenset[str]], list[Piece]]] = {
    "text": _text,
    "input_text": _text,
    "output_text": _text,
    "refusal": _refusal,
    "image_url": _image,
    "file": _file,
    "input_audio": _audio,
    "reasoning": _reasoning,
}
