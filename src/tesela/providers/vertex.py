"""Google's Vertex AI: chat and completions with Gemini, and embeddings.

The model stands in the path, so an upstream's base path ends with it and what is sent begins with the method's name.
"""

import msgspec

from tesela.errors import InvalidRequest, UpstreamProtocolError
from tesela.providers import asked, gemini, gemini_answer
from tesela.providers.base import Call, Exchange, Provider
from tesela.providers.chunk_writer import embeddings as answer
from tesela.providers.fields import Fields, passed, unsupported
from tesela.wire.document import Document, encode, raw, value
from tesela.wire.tasks import Task


def chat(call: Call) -> Exchange:
    """https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference"""
    return _generate(call, gemini.chat(call.document, call.upstream.model, call.upstream.ignore))


def completions(call: Call) -> Exchange:
    return _generate(call, gemini.completions(call.document, call.upstream.ignore))


def _generate(call: Call, body: bytes) -> Exchange:
    def whole(told: bytes) -> bytes:
        return gemini_answer.whole(told, call)

    if call.streaming:
        path = ":streamGenerateContent?alt=sse"
        return Exchange(path, body, True, (), whole, gemini_answer.GeminiChunks(call))
    return Exchange(":generateContent", body, False, (), whole)


def embeddings(call: Call) -> Exchange:
    """https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api"""
    document, model = call.document, call.upstream.model
    body = passed(document, EMBEDDINGS, call.upstream.ignore)
    texts = asked.texts(document, "Vertex AI")
    packed = asked.packed(document)
    if value(document, "dimensions") is not None:
        if "outputDimensionality" in body:
            text = "'outputDimensionality' and 'dimensions' say the same: give one of them"
            raise InvalidRequest(text, param="dimensions")
        body["outputDimensionality"] = raw(value(document, "dimensions"))
    if model.startswith(CONTENT_MODELS):
        if len(texts) > 1:
            raise unsupported("input", f"{model} takes one text at a time", ("a string",))
        body["content"] = raw({"parts": [{"text": texts[0]}]})
        return Exchange(":embedContent", encode(body), False, (), lambda told: _content(told, model, packed))
    about = {name: body.pop(name) for name in ("task_type", "title") if name in body}
    sent: Document = {"instances": raw([{"content": one, **about} for one in texts])}
    if body:
        sent["parameters"] = raw(body)
    return Exchange(":predict", encode(sent), False, (), lambda told: _predicted(told, model, packed))


CONTENT_MODELS = ("gemini-embedding-2",)
"""Models that are not served by `:predict`: https://cloud.google.com/vertex-ai/generative-ai/docs/embeddings"""


class _Statistics(msgspec.Struct):
    token_count: float = 0


class _Vector(msgspec.Struct):
    values: list[float]
    statistics: _Statistics | None = None


class _Prediction(msgspec.Struct):
    embeddings: _Vector


class _Predicted(msgspec.Struct):
    predictions: list[_Prediction]


class _Content(msgspec.Struct, rename="camel"):
    embedding: _Vector
    usage_metadata: gemini_answer.Usage | None = None


_decode_predicted = msgspec.json.Decoder(_Predicted, strict=False).decode
_decode_content = msgspec.json.Decoder(_Content, strict=False).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def _predicted(body: bytes, model: str, packed: bool) -> bytes:
    try:
        found = [one.embeddings for one in _decode_predicted(body).predictions]
    except _UNREADABLE as exc:
        raise UpstreamProtocolError(f"Vertex AI's answer cannot be read: {exc}") from exc
    counted = sum(int(one.statistics.token_count) for one in found if one.statistics is not None)
    return answer([one.values for one in found], model, counted, packed=packed)


def _content(body: bytes, model: str, packed: bool) -> bytes:
    try:
        found = _decode_content(body)
    except _UNREADABLE as exc:
        raise UpstreamProtocolError(f"Vertex AI's answer cannot be read: {exc}") from exc
    counted = (found.usage_metadata.prompt_token_count if found.usage_metadata is not None else None) or 0
    return answer([found.embedding.values], model, counted, packed=packed)


EMBEDDINGS = Fields(
    translated=frozenset({"model", "input", "dimensions", "encoding_format"}),
    ignored={"user": "Vertex AI is not told who asks; nothing in an answer depends on it"},
    neutral={},
    refused={"instruction": "Vertex AI takes a 'task_type' instead, such as RETRIEVAL_QUERY"},
)

VERTEX = Provider(
    "google-cloud-vertex-ai",
    {Task.CHAT: chat, Task.COMPLETIONS: completions, Task.EMBEDDINGS: embeddings},
    gemini_answer.failure,
)
