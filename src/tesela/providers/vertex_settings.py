"""The settings of provider `google-cloud-vertex-ai`, and how its service account gets a token.

https://developers.google.com/identity/protocols/oauth2/service-account: an assertion signed with the account's key is
exchanged for a token that lives an hour.
"""

import re
from base64 import urlsafe_b64encode
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import msgspec

from tesela.providers.compatible import address
from tesela.providers.reading import Reading, Resolved
from tesela.providers.tokens import fingerprint, issuer_at
from tesela.providers.vertex import VERTEX
from tesela.serving import TokenSource, Upstream
from tesela.wire.document import encode
from tesela.wire.tasks import Task

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

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
