"""The requests and answers of each task, as far as a function needs them."""

import array
import base64
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tesela.sql.speak.base import BrokenAnswer, Unaskable

IMAGES = ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff", "image/jpeg"))
"""First bytes of the files that ai_query takes, and their media types."""


def encode(body: Mapping[str, Any]) -> bytes:
    """Keys in a fixed order: the body is what an answer is kept under."""
    return msgspec.json.encode(body, order="deterministic")


def decode(answer: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(answer)
    except msgspec.DecodeError as exc:
        raise broken("the endpoint's answer is not JSON", answer) from exc
    if not isinstance(found, dict):
        raise broken("the endpoint's answer is not a JSON object", answer)
    return found


def broken(message: str, raw: bytes | str) -> BrokenAnswer:
    return BrokenAnswer(message, raw if isinstance(raw, str) else raw.decode("utf-8", "replace"))


def user(text: str, files: Any = None) -> dict[str, Any]:
    """A user's message, with the images beside the text."""
    if files is None:
        return {"role": "user", "content": text}
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}]
    for one in files if isinstance(files, list) else [files]:
        parts.append({"type": "image_url", "image_url": {"url": data_url(one)}})
    return {"role": "user", "content": parts}


def data_url(content: Any) -> str:
    if not isinstance(content, bytes):
        raise Unaskable("files must be BINARY, as the content of read_files(…, format => 'binaryFile')")
    for start, media in IMAGES:
        if content.startswith(start):
            return f"data:{media};base64,{base64.b64encode(content).decode()}"
    raise Unaskable("files must be JPEG or PNG images, and this one is neither")


def content(answer: bytes) -> str:
    """The text of a chat answer's first choice."""
    found = decode(answer)
    try:
        said = found["choices"][0]["message"]
        text = said.get("content")
    except (LookupError, TypeError, AttributeError) as exc:
        raise broken("the endpoint's answer has no message", answer) from exc
    if isinstance(text, list):
        text = "".join(
            str(part.get("text", "")) for part in text if isinstance(part, dict) and part.get("type") == "text"
        )
    if not isinstance(text, str):
        refusal = said.get("refusal")
        raise broken(f"the model refused: {refusal}" if refusal else "the model answered without a text", answer)
    return text


def completion(answer: bytes) -> str:
    try:
        text = decode(answer)["choices"][0]["text"]
    except (LookupError, TypeError) as exc:
        raise broken("the endpoint's answer has no text", answer) from exc
    if not isinstance(text, str):
        raise broken("the endpoint's answer has no text", answer)
    return text


def output(answer: bytes) -> str:
    """The text of a Responses answer."""
    found = decode(answer)
    parts = [
        part["text"]
        for item in found.get("output") or ()
        if isinstance(item, dict) and item.get("type") == "message"
        for part in item.get("content") or ()
        if isinstance(part, dict) and part.get("type") == "output_text" and isinstance(part.get("text"), str)
    ]
    if not parts:
        raise broken("the endpoint's answer has no text", answer)
    return "".join(parts)


class _Vector(msgspec.Struct):
    embedding: list[float] | str
    index: int = 0


class _Vectors(msgspec.Struct):
    data: list[_Vector]


_VECTORS = msgspec.json.Decoder(_Vectors)


def vectors(answer: bytes, count: int) -> list[list[float]]:
    """The vectors of an embeddings answer, in the order of the inputs."""
    try:
        found = sorted(_VECTORS.decode(answer).data, key=lambda one: one.index)
    except msgspec.DecodeError as exc:
        raise broken(f"the endpoint's answer has no embeddings: {exc}", answer) from exc
    if [one.index for one in found] != list(range(count)):
        raise broken(f"{count} texts were sent, and {len(found)} embeddings came back", answer)
    return [floats(one.embedding) if isinstance(one.embedding, str) else one.embedding for one in found]


def floats(text: str) -> list[float]:
    """Of the base64 form."""
    values = array.array("f", base64.b64decode(text))
    if sys.byteorder == "big":
        values.byteswap()
    return values.tolist()


class _RawVector(msgspec.Struct):
    embedding: msgspec.Raw
    index: int = 0


class _RawVectors(msgspec.Struct):
    data: list[_RawVector]


_RAW_VECTORS = msgspec.json.Decoder(_RawVectors)


def raw_vectors(answer: bytes) -> list[bytes]:
    """The vectors as they stand in the answer, by index."""
    try:
        found = sorted(_RAW_VECTORS.decode(answer).data, key=lambda one: one.index)
    except msgspec.DecodeError as exc:
        raise broken(f"the endpoint's answer has no embeddings: {exc}", answer) from exc
    return [bytes(one.embedding) for one in found]


def of_vectors(found: Sequence[bytes]) -> bytes:
    """An embeddings answer with these vectors."""
    items = b",".join(b'{"index":%d,"embedding":%s}' % (at, one) for at, one in enumerate(found))
    return b'{"data":[' + items + b"]}"
