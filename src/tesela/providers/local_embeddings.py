"""Embeddings by a local model.  The runner is ours and does encoding, dimensions and truncation itself."""

import msgspec

from tesela.errors import InvalidRequest
from tesela.providers import local_fields
from tesela.providers.base import Call, Exchange
from tesela.providers.local_engine import Raw, reader
from tesela.wire import check
from tesela.wire.document import encode
from tesela.wire.tasks import PATH, Task


class _Answer(msgspec.Struct):
    data: Raw
    usage: Raw


class _Unified(msgspec.Struct):
    object: str
    data: Raw
    model: str
    usage: Raw


_read = reader(_Answer)


def translate(call: Call) -> Exchange:
    """Raises InvalidRequest or Unsupported, naming the field, before anything is sent."""
    local_fields.passed(call.document, local_fields.EMBEDDINGS)
    asked = check.embeddings(call.document)
    most = call.upstream.capabilities.dimensions
    if asked.dimensions is not None and most and asked.dimensions > most:
        text = f"'dimensions' is {asked.dimensions}; this model's embeddings have {most}"
        raise InvalidRequest(text, param="dimensions")
    body: dict[str, object] = {"model": call.upstream.model, "encoding_format": asked.encoding_format}
    body["input"] = _instructed(asked.inputs, asked.instruction)
    if asked.dimensions is not None:
        body["dimensions"] = asked.dimensions
    model = call.upstream.model

    def answer(told: bytes) -> bytes:
        parts = _read(told)
        return encode(_Unified("list", parts.data, model, parts.usage))

    return Exchange(path=PATH[Task.EMBEDDINGS], body=encode(body), streaming=False, answer=answer)


def _instructed(inputs: list[str], instruction: str | None) -> list[str]:
    """The instruction stands before each input, as retrieval models are trained on it."""
    if not instruction:
        return inputs
    gap = "" if instruction[-1].isspace() else " "
    return [f"{instruction}{gap}{text}" for text in inputs]
