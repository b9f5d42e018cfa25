"""Addresses of Vertex AI, the tokens of service accounts, and JSON Schema in Gemini's objects."""

import json
from base64 import urlsafe_b64decode
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.peers import Link, Peer, calling, looped

from tesela.errors import ConfigError
from tesela.providers.gemini_schema import converted
from tesela.providers.registry import PROVIDERS, resolve
from tesela.serving import ExternalModel, Timeouts, Upstream

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any = KEY) -> str:
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return str(key.private_bytes(serialization.Encoding.PEM, form, plain).decode())


def account(**more: Any) -> str:
    told = {"type": "service_account", "client_email": "a@p.iam.gserviceaccount.com", "private_key_id": "k1"}
    return msgspec.json.encode({**told, "private_key": pem(), **more}).decode()


def read(model: str = "gemini-2.5-flash", file: str | None = None, **more: Any) -> Upstream:
    config = {"project_id": "p-1", "region": "us-central1", "private_key": "env:K", **more}
    found = resolve(
        ExternalModel(model, "google-cloud-vertex-ai", "llm/v1/chat", google_cloud_vertex_ai_config=config),
        at="m", place=lambda path: f"<{path}>", timeouts=Timeouts(),
        secrets={"env:K": account() if file is None else file},
    )  # fmt: skip
    assert found.provider in PROVIDERS
    return found.upstream


def test_addresses() -> None:
    upstream = read()
    assert upstream.origin.authority == "us-central1-aiplatform.googleapis.com"
    assert upstream.base_path == "/v1/projects/p-1/locations/us-central1/publishers/google/models/gemini-2.5-flash"
    assert upstream.headers == ()
    assert read(region="global").origin.host == "aiplatform.googleapis.com"
    assert read(region="eu").origin.host == "aiplatform.eu.rep.googleapis.com"
    assert read("endpoints/12").base_path.endswith("/locations/us-central1/endpoints/12")
    assert read("a/../b?c").base_path.endswith("/models/a%2F..%2Fb%3Fc")
    here = read(google_api_base="http://127.0.0.1:99/x")
    assert (here.origin.authority, here.base_path[:14]) == ("127.0.0.1:99", "/x/v1/projects")


@pytest.mark.parametrize(
    ("more", "file", "words"),
    [
        ({"project_id": ""}, None, "id of the Google Cloud project"),
        ({"project_id": "a/b"}, None, "is not the id of a project"),
        ({"region": "evil.example.com/"}, None, "is not a region"),
        ({}, "{}", "whole JSON file of a service account"),
        ({}, "-----BEGIN", "whole JSON file of a service account"),
        ({}, "\ud800", "whole JSON file of a service account"),
        ({}, json.dumps({"client_email": "a", "private_key": "x1y2z3"}), "is not a key in PEM form"),
        ({}, json.dumps({"client_email": "a", "private_key": pem(CURVE)}), "not an RSA key"),
        ({}, account(token_uri="https://x?y=1"), "token_uri"),
        ({"private_key": "sk"}, None, "must be a reference"),
        ({"region_": "x"}, None, "did you mean 'region'"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work(more: dict[str, Any], file: str | None, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(file=file, **more)
    assert words in caught.value.message
    assert "x1y2z3" not in caught.value.message


def test_the_assertion_is_signed_with_the_accounts_key() -> None:
    source = read().token
    assert source is not None
    assert (source.upstream.origin.authority, source.upstream.base_path) == ("oauth2.googleapis.com", "/token")
    form = parse_qs(source.form(1_800_000_000).decode())
    assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    header, claims, signature = form["assertion"][0].split(".")

    def decoded(part: str) -> bytes:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))

    KEY.public_key().verify(decoded(signature), f"{header}.{claims}".encode(), padding.PKCS1v15(), SHA256())
    assert json.loads(decoded(header)) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert json.loads(decoded(claims)) == {
        "iss": "a@p.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": 1_800_000_000,
        "exp": 1_800_003_600,
    }
    assert pem()[40:60] not in repr(read())
    other = read(file=account(private_key_id="k2")).token
    assert other is not None
    assert read().token != other
    assert source.key != other.key


@looped
async def test_a_call_gets_its_token_first_and_once() -> None:
    seen: list[bytes] = []

    async def talk(link: Link) -> None:
        while True:
            request = await link.request()
            seen.append(request.head.partition(b"\r\n")[0])
            if b"/token" in request.head:
                assert b"application/x-www-form-urlencoded" in request.head
                await link.answer(b'{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}')
            else:
                assert b"authorization: Bearer ya29.x\r\n" in request.head
                await link.answer(b"{}")

    async with Peer(talk).listening() as peer, calling() as caller:
        here = f"http://127.0.0.1:{peer.port}"
        upstream = read(file=account(token_uri=f"{here}/token"), google_api_base=here)
        for _ in range(2):
            heard = await caller.ask(upstream, b"{}", path=":generateContent")
            assert (heard.status, heard.error) == (200, None)
    place = b"/v1/projects/p-1/locations/us-central1/publishers/google/models/gemini-2.5-flash:generateContent"
    assert seen == [b"POST /token HTTP/1.1", *[b"POST %b HTTP/1.1" % place] * 2]


# ------------------------------------------------------------ schemas

STRING = {"type": "STRING"}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, STRING),
        ({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}),
        ({"type": ["string", "integer"]}, {"anyOf": [STRING, {"type": "INTEGER"}]}),
        ({"enum": ["a", "b"]}, {"type": "STRING", "enum": ["a", "b"]}),
        ({"type": ["string", "null"], "enum": ["a", None]}, {"type": "STRING", "nullable": True, "enum": ["a"]}),
        ({"const": "a"}, {"type": "STRING", "enum": ["a"]}),
        ({"type": "integer", "minimum": 0, "maximum": 9}, {"type": "INTEGER", "minimum": 0, "maximum": 9}),
        ({"type": "string", "format": "date-time"}, {"type": "STRING", "format": "date-time"}),
        ({"type": "string", "format": "email"}, STRING),
        ({"type": "array", "items": {"type": "string"}, "minItems": 1},
         {"type": "ARRAY", "items": STRING, "minItems": 1}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "STRING", "nullable": True}),
        ({"oneOf": [{"type": "string"}, {"type": "boolean"}]}, {"anyOf": [STRING, {"type": "BOOLEAN"}]}),
        ({"allOf": [{"type": "string"}], "description": "d"}, {"type": "STRING", "description": "d"}),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}}, STRING),
        ({"type": "object",
          "properties": {"b": {"$ref": "#/definitions/x", "description": "d"}, "a": {"type": "string"}},
          "definitions": {"x": {"type": "string"}}, "additionalProperties": False, "$schema": "x"},
         {"type": "OBJECT", "properties": {"b": {"type": "STRING", "description": "d"}, "a": STRING},
          "propertyOrdering": ["b", "a"]}),
    ],
)  # fmt: skip
def test_schemas_in_geminis_objects(schema: dict[str, Any], expected: dict[str, Any]) -> None:
    assert converted(schema) == expected


@pytest.mark.parametrize(
    "schema",
    [
        {}, {"type": "array"}, {"type": "object"}, {"enum": [1, 2]}, {"const": 5}, {"type": "string", "not": {}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": True},
        {"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}, "minLength": 5},
        {"type": "object", "properties": {"a": True}}, {"type": "spoon"}, {"type": "integer", "exclusiveMinimum": 1},
        {"allOf": [{"type": "string"}, {"minLength": 1}]}, {"type": "array", "items": [{"type": "string"}]},
    ],
)  # fmt: skip
def test_schemas_that_say_more(schema: dict[str, Any]) -> None:
    assert converted(schema) is None


WORDS = st.sampled_from(
    [
        "type",
        "properties",
        "items",
        "enum",
        "const",
        "anyOf",
        "allOf",
        "$ref",
        "$defs",
        "format",
        "nullable",
        "required",
    ]
)
ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from(["string", "object", "array", "null", "#/$defs/a", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.just("a"), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200)
@given(st.dictionaries(WORDS, ANY, max_size=5))
def test_any_value_in_any_word_is_converted_or_is_not(schema: dict[str, Any]) -> None:
    found = converted(schema)
    assert found is None or "type" in found or "anyOf" in found
