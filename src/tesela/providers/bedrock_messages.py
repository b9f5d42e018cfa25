"""Messages of a chat in the form of Bedrock's Converse: turns of user and assistant, made of blocks.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Message.html.  Neighbouring messages of one role are
one turn, because most models want turns to alternate; system messages go to the one place for them.
"""

import re
from typing import Any

from tesela.providers.conversation import Media, Message, Own, Part, Piece, Text, Thought, read
from tesela.providers.fields import unsupported

REFUSED = {
    "name": "Converse's messages carry no name of who speaks",
    "audio": "Converse cannot be reminded of audio by its id",
    "function_call": "this older form is not taken; send 'tool_calls'",
}
CACHE: Part = {"cachePoint": {"type": "default"}}
"""https://docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html: what stands before it is kept."""


def render(messages: Any, ignore: frozenset[str], *, signed: bool) -> tuple[list[Part], list[Part]]:
    """(system blocks, turns).  `signed` says that the model takes back only thoughts that it has signed.

    Raises InvalidRequest or Unsupported with the path of what is at fault.
    """
    system: list[Part] = []
    turns: list[Part] = []
    for message in read(messages, ignore, REFUSED):
        for name in message.rest:
            raise unsupported(f"{message.at}.{name}", "Converse's messages have no such field")
        if message.role in ("system", "developer"):
            system += _blocks(message, signed)
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [_result(message, signed)] if message.role == "tool" else _blocks(message, signed)
        for call in message.calls:
            blocks.append({"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.arguments}})
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"] += blocks
        else:
            turns.append({"role": role, "content": blocks})
    return system, turns


def _blocks(message: Message, signed: bool) -> list[Part]:
    out: list[Part] = []
    for piece in message.pieces:
        out += _block(piece, signed)
        if isinstance(piece, Text | Media) and piece.cached:
            out.append(CACHE)
    return out


def _block(piece: Piece, signed: bool) -> list[Part]:
    if isinstance(piece, Text):
        return [{"text": piece.text}]
    if isinstance(piece, Thought):
        if piece.data is not None:
            return [{"reasoningContent": {"redactedContent": piece.data}}]
        if piece.signature is None:
            return [] if signed else [{"reasoningContent": {"reasoningText": {"text": piece.text}}}]
        return [{"reasoningContent": {"reasoningText": {"text": piece.text, "signature": piece.signature}}}]
    if isinstance(piece, Own):
        kind = piece.part["type"]
        if kind not in OWN or kind not in piece.part:
            raise unsupported(f"{piece.at}.type", f"Converse has no blocks of type {kind!r}")
        return [{kind: piece.part[kind]}]
    return [_media(piece)]


OWN = frozenset({"video", "document", "image", "guardContent", "cachePoint", "searchResult", "citationsContent"})
"""Blocks of Converse that can be sent as parts of their own name: `{"type": "video", "video": …}`."""


def _result(message: Message, signed: bool) -> Part:
    content = [block for piece in message.pieces for block in _block(piece, signed)]
    return {"toolResult": {"toolUseId": message.answers, "content": content or [{"text": ""}]}}


def _media(piece: Media) -> Part:
    if piece.detail not in (None, "auto"):
        raise unsupported(f"{piece.at}.detail", "Converse cannot be told how closely to look at an image", ("auto",))
    kind = {"file": "document"}.get(piece.kind, piece.kind)
    if piece.data is not None:
        source: Part = {"bytes": piece.data}
        told = (piece.type or "").rpartition("/")[2].lower()
    elif (piece.url or "").startswith("s3://"):
        source = {"s3Location": {"uri": piece.url}}
        told = (piece.url or "").rpartition(".")[2].lower()
    else:
        raise unsupported(piece.at, "Bedrock fetches nothing from the web; send a data URL or an s3:// address")
    form = FORMS.get(told, told)
    if form not in FORMATS[kind]:
        raise unsupported(piece.at, f"Converse takes no {kind} of type {told!r}; it takes {', '.join(FORMATS[kind])}")
    block: Part = {"format": form, "source": source}
    if kind == "document":
        # https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_DocumentBlock.html
        stem = (piece.name or "").rpartition(".")[0] or piece.name or ""
        block["name"] = _NOT_IN_A_NAME.sub(" ", stem).strip()[:200] or "document"
    return {kind: block}


_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9()\[\]-]+")
FORMATS = {
    "image": ("png", "jpeg", "gif", "webp"),
    "document": ("pdf", "csv", "doc", "docx", "xls", "xlsx", "html", "txt", "md"),
    "audio": ("mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "m4a", "webm"),
}
FORMS = {
    "jpg": "jpeg",
    "plain": "txt",
    "markdown": "md",
    "msword": "doc",
    "vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "vnd.ms-excel": "xls",
    "vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}
"""Media types and suffixes by the names that Converse has for them, where they differ."""
