"""Google's Vertex AI: chat and completions with Gemini, and embeddings.

The model stands in the path, so an upstream's base path ends with it and what is sent begins with the method's name.
A token, which lives an hour, is got for an assertion that is signed with the key of a service account:
https://developers.google.com/identity/protocols/oauth2/service-account.
"""

import re
from base64 import urlsafe_b64encode
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec

from tesela.errors import InvalidRequest, UpstreamProtocolError
from tesela.providers import asked, gemini, gemini_answer, gemini_native
from tesela.providers.base import Call, Exchange, Provider
from tesela.providers.chunk_writer import embeddings as answer
from tesela.providers.compatible import address
from tesela.providers.fields import Fields, passed, unsupported
from tesela.providers.reading import Reading, Resolved
from tesela.providers.tokens import fingerprint, issuer_at
from tesela.serving import TokenSource, Upstream
from tesela.wire.document import Document, encode, raw, value
from tesela.wire.tasks import Task

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


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
    gemini_native.CALLS,
)

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
LIVES_S = 3600


def resolve(reading: Reading, task: Task) -> Resolved:
    """`google_api_base` is ours: where another server than Google's own is to be called."""
    reading.only("project_id", "region", "private_key", "private_key_plaintext", "google_api_base", "ignore")
    project = reading.required("project_id", "must be the id of the Google Cloud project")
    region = reading.required("region", "must be a region such as us-central1, or global")
    if not _NAME.match(project):
        raise reading.wrong("project_id", f"{project!r} is not the id of a project")
    if not _NAME.match(region):
        raise reading.wrong("region", f"{region!r} is not a region such as us-central1, or global")
    account = _account(reading)
    url = reading.text("google_api_base") or f"https://{host(region)}"
    origin, path, query = address(url, reading.where("google_api_base"))
    if query:
        raise reading.wrong("google_api_base", f"must be an address such as https://{host('us-central1')}")
    name = reading.model.name
    place = quote(name, safe="/@") if name.startswith(("publishers/", "endpoints/")) else _published(name)
    whole = f"{path}/v1/projects/{project}/locations/{region}/{place}"
    upstream = Upstream(origin, name, whole, (), reading.timeouts, ignore=reading.ignore(), token=account)
    return Resolved(VERTEX.name, frozenset({task}), upstream)


def _published(name: str) -> str:
    return f"publishers/google/models/{quote(name, safe='@')}"


def host(region: str) -> str:
    """https://cloud.google.com/vertex-ai/generative-ai/docs/learn/locations"""
    if region == "global":
        return "aiplatform.googleapis.com"
    return (
        f"aiplatform.{region}.rep.googleapis.com" if region in ("us", "eu") else f"{region}-aiplatform.googleapis.com"
    )


_NAME = re.compile(r"^[a-z0-9][a-z0-9.:-]{0,99}\Z")


class _Account(msgspec.Struct):
    """The file that Google gives out for a service account."""

    client_email: str
    private_key: str
    private_key_id: str = ""
    token_uri: str = TOKEN_URI


_read = msgspec.json.Decoder(_Account).decode


def _account(reading: Reading) -> TokenSource:
    place = reading.where("private_key")
    try:
        account = _read(reading.secret("private_key").encode())
    except (msgspec.DecodeError, UnicodeError) as exc:
        raise reading.wrong(
            "private_key", "must be the whole JSON file of a service account, with its client_email and private_key"
        ) from exc
    # Signing makes sure that the key is one, before anybody asks for anything.
    key = _key(account, reading)
    origin, path, query = address(account.token_uri, f"{place}: token_uri")
    if query:
        raise reading.wrong("private_key", f"the service account's token_uri must be an address such as {TOKEN_URI}")
    form = partial(assertion, key, account.client_email, account.private_key_id, account.token_uri)
    told = fingerprint(origin, path, encode(account))
    return TokenSource(issuer_at(origin, path), form, told, "Google's token service")


def _key(account: _Account, reading: Reading) -> "RSAPrivateKey":
    # 75 ms and 9 MB that a server without service accounts does without.
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(account.private_key.encode(), None)
    except (ValueError, TypeError) as exc:
        raise reading.wrong("private_key", "the service account's private_key is not a key in PEM form") from exc
    if not isinstance(key, rsa.RSAPrivateKey):
        raise reading.wrong("private_key", "the service account's private_key is not an RSA key")
    return key


def assertion(key: "RSAPrivateKey", email: str, key_id: str, audience: str, now: int) -> bytes:
    """The form that asks for a token.  `now` is in seconds since the epoch; the key never leaves."""
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.hashes import SHA256

    header = {"alg": "RS256", "typ": "JWT"} | ({"kid": key_id} if key_id else {})
    claims = {"iss": email, "scope": SCOPE, "aud": audience, "iat": now, "exp": now + LIVES_S}
    signed = b".".join((_part(header), _part(claims)))
    signature = urlsafe_b64encode(key.sign(signed, PKCS1v15(), SHA256())).rstrip(b"=")
    grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
    return urlencode({"grant_type": grant, "assertion": (signed + b"." + signature).decode()}).encode()


def _part(told: dict[str, Any]) -> bytes:
    return urlsafe_b64encode(encode(told)).rstrip(b"=")
