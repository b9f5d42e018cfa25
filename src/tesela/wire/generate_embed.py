"""embedContent and batchEmbedContents as a request for embeddings, and its answer in Google's form.

https://ai.google.dev/api/embeddings.  `taskType` and `title` go on under the names that Vertex AI's embeddings have;
a model that knows no such thing refuses them by name.
"""

from typing import Any

import msgspec

from tesela.errors import InvalidRequest, UpstreamProtocolError
from tesela.wire.document import Document, encode, raw, value
from tesela.wire.generate_content import instruction
from tesela.wire.generate_names import camel, written

Form = dict[str, Any]


def one(given: Document) -> Document:
    """The request for one text."""
    document = {written(name): value(given, name) for name in given}
    return _asked([document], [""])


def batch(given: Document) -> Document:
    """The request for several texts, which must be asked for alike."""
    found = value(given, "requests")
    if not isinstance(found, list) or not found:
        raise InvalidRequest("'requests' must be a list that is not empty", param="requests")
    return _asked(found, [f"requests[{position}]." for position in range(len(found))])


def _asked(given: list[Any], places: list[str]) -> Document:
    texts, options = [], []
    for place, request in zip(places, given, strict=True):
        if not isinstance(request, dict):
            raise InvalidRequest(f"{place[:-1]!r} must be an object", param=place[:-1])
        found = camel(request)
        inner = found.pop("embedContentConfig", None)
        if isinstance(inner, dict):
            found |= camel(inner)
        try:
            texts.append(instruction(found.pop("content", None)))
        except InvalidRequest as exc:
            text = f"'{place}content' must have parts with the text to embed"
            raise InvalidRequest(text, param=f"{place}content") from exc
        found.pop("model", None)
        options.append({name: one for name, one in found.items() if one is not None})
    if any(one != options[0] for one in options):
        raise InvalidRequest("'requests' must ask for the same of every text: it is one call of the model")
    for name in options[0]:
        if name not in NAMES:
            raise InvalidRequest(f"'{places[0]}{name}' is not known", param=f"{places[0]}{name}")
    return {"input": raw(texts), **{NAMES[name]: raw(one) for name, one in options[0].items()}}


NAMES = {"outputDimensionality": "dimensions", "taskType": "task_type", "title": "title"}


class _Vector(msgspec.Struct):
    embedding: list[float]
    index: int = 0


class _Answer(msgspec.Struct):
    data: list[_Vector]
    usage: Form | None = None


_decode = msgspec.json.Decoder(_Answer, strict=False).decode


def answer_one(body: bytes) -> bytes:
    vectors, counts = _read(body)
    return encode({"embedding": vectors[0], **counts})


def answer_batch(body: bytes) -> bytes:
    vectors, counts = _read(body)
    return encode({"embeddings": vectors, **counts})


def _read(body: bytes) -> tuple[list[Form], Form]:
    try:
        found = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise UpstreamProtocolError(f"the model's answer is not a list of embeddings: {exc}") from exc
    if not found.data:
        raise UpstreamProtocolError("the model's answer has no embeddings")
    counts = (found.usage or {}).get("prompt_tokens")
    vectors = [{"values": one.embedding} for one in sorted(found.data, key=lambda one: one.index)]
    return vectors, {"usageMetadata": {"promptTokenCount": counts}} if counts else {}
