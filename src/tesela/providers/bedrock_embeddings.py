"""Embeddings at Bedrock, which every family takes in a form of its own, by InvokeModel.

https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html and
https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-embed.html
"""

from collections.abc import Callable
from typing import TypeVar

import msgspec

from tesela.errors import InvalidRequest, UpstreamProtocolError
from tesela.providers import asked
from tesela.providers.base import Call
from tesela.providers.chunk_writer import embeddings as answer
from tesela.providers.fields import Fields, passed, unsupported
from tesela.wire.document import Document, encode, raw, value

Answer = Callable[[bytes], bytes]
T = TypeVar("T")
INPUT_TYPE = "search_document"


def request(call: Call) -> tuple[bytes, Answer]:
    """(the body to send, the reader of its answer).  Raises Unsupported for a family without embeddings."""
    document, model = call.document, call.upstream.model
    body = passed(document, EMBEDDINGS, call.upstream.ignore)
    for family, build in FAMILIES.items():
        if family in model:
            return build(document, body, model)
    raise unsupported("input", f"of Bedrock's models those of {' and '.join(FAMILIES)} have embeddings here")


def _titan(document: Document, body: Document, model: str) -> tuple[bytes, Answer]:
    texts = asked.texts(document, "Bedrock")
    if len(texts) > 1:
        raise unsupported("input", "Titan takes one text at a time", ("a string",))
    body["inputText"], packed = raw(texts[0]), asked.packed(document)
    if value(document, "dimensions") is not None:
        body["dimensions"] = raw(value(document, "dimensions"))

    def read(told: bytes) -> bytes:
        found = _decoded(_titan_answer, told)
        return answer([found.embedding], model, found.input_text_token_count, packed=packed)

    return encode(body), read


def _cohere(document: Document, body: Document, model: str) -> tuple[bytes, Answer]:
    body["texts"] = raw(asked.texts(document, "Bedrock"))
    body.setdefault("input_type", raw(INPUT_TYPE))
    if value(document, "dimensions") is not None:
        body["output_dimension"] = raw(value(document, "dimensions"))
    kinds = value(body, "embedding_types")
    if kinds is not None and (not isinstance(kinds, list) or len(kinds) != 1):
        text = "'embedding_types' must be a list of one type: an answer has room for one"
        raise InvalidRequest(text, param="embedding_types")
    kind, packed = kinds[0] if kinds else "float", asked.packed(document)

    def read(told: bytes) -> bytes:
        found = _decoded(_cohere_answer, told).embeddings
        vectors = found.get(kind) if isinstance(found, dict) else found
        if vectors is None:
            raise UpstreamProtocolError(f"Bedrock's answer has no embeddings of type {kind!r}")
        # Bedrock tells the tokens of this family in a header only.
        return answer(vectors, model, 0, packed=packed and kind == "float")

    return encode(body), read


class _Titan(msgspec.Struct, rename="camel"):
    embedding: list[float]
    input_text_token_count: int = 0


class _Cohere(msgspec.Struct):
    embeddings: list[msgspec.Raw] | dict[str, list[msgspec.Raw]]


_titan_answer = msgspec.json.Decoder(_Titan)
_cohere_answer = msgspec.json.Decoder(_Cohere)


def _decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise UpstreamProtocolError(f"Bedrock's answer cannot be read: {exc}") from exc


FAMILIES: dict[str, Callable[[Document, Document, str], tuple[bytes, Answer]]] = {
    "titan-embed": _titan,
    "cohere.embed": _cohere,
}
EMBEDDINGS = Fields(
    translated=frozenset({"model", "input", "dimensions", "encoding_format"}),
    ignored={"user": "Bedrock is not told who asks; nothing in an answer depends on it"},
    neutral={},
    refused={"instruction": "Bedrock's models take no instruction; Cohere's take an 'input_type'"},
)
