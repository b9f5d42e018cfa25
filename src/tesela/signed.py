"""Signed access tokens (JWT): made, checked and understood.

Pure: keys and the time are arguments.  One algorithm, RS256; what a token says of itself decides nothing but which of
our own keys is looked up.  The cryptography is loaded when it is first needed, because it takes 75 ms and 9 MB that a
process without such tokens need not pay.
"""

import secrets
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import msgspec

from tesela.errors import Unauthenticated
from tesela.snapshot import Credential, Snapshot

ALGORITHM = "RS256"
KEY_BITS = 2048
LIFETIME_S = 3600
LEEWAY_S = 60
"""How far the clocks of two of our machines may be apart."""
MAX_BYTES = 16 * 1024
"""A longer token is refused unread."""

ALL = "all-apis"
QUERYING = frozenset({ALL, "model-serving", "model-serving-inference"})
"""Scopes that let a token query endpoints.  Only `all-apis` lets it do anything else."""

WORKSPACE, SERVING, QUERY = "workspace_permission", "serving-endpoints", "query_inference_endpoint"
AT = "/serving-endpoints/"


class Detail(msgspec.Struct, frozen=True):
    """What a token is restricted to (RFC 9396), as Databricks writes it: actions on one endpoint."""

    type: str
    object_type: str
    object_path: str
    actions: tuple[str, ...]


class Claims(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a signed token says.  Times are in whole seconds since the epoch.

    `sub` is the principal's id, `client_id` its application id, `aud` the workspace's id, `sid` the id of the client
    secret that it was got with.  With `authorization_details` it can query those endpoints and do nothing else.
    """

    sub: str
    client_id: str
    iss: str
    aud: str
    iat: int
    exp: int
    jti: str
    scope: str
    sid: str
    authorization_details: tuple[Detail, ...] = ()


class _Header(msgspec.Struct, frozen=True):
    alg: str = ""
    kid: str = ""
    crit: Any = None
    b64: Any = None


_header = msgspec.json.Decoder(_Header)
_claims = msgspec.json.Decoder(Claims)

FOREIGN = "the access token is not one that this server signed: it may be damaged, or made by another server"


def load() -> None:
    """Load what checks signatures, so that the first signed token need not wait for it."""
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: F401 - for the loading alone
    from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: F401


def make_key() -> tuple[str, bytes, str]:
    """A new signing key: its id, the private half (PKCS #8, PEM) and the public one (PEM).  Takes 40 to 400 ms."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return secrets.token_hex(16), private, public.decode()


def sign(claims: Claims, key_id: str, private_pem: bytes) -> str:
    """The token that says these claims."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from jwt import PyJWS

    # The check of a key takes 34 ms, and this one is of our own making.
    key: Any = load_pem_private_key(private_pem, None, unsafe_skip_rsa_key_validation=True)
    return PyJWS().encode(msgspec.json.encode(claims), key, ALGORITHM, {"kid": key_id})


def verify(token: bytes, keys: Mapping[str, str], audience: str, now: float) -> Claims:
    """The claims of a token that one of these keys signed.  `keys` are public ones (PEM) by id.

    Raises Unauthenticated with the reason.  What does not name one of the keys costs no cryptography.
    """
    if len(token) > MAX_BYTES:
        raise Unauthenticated(f"the access token is longer than {MAX_BYTES // 1024} KiB")
    public = keys.get(_key_id(token))
    if public is None:
        raise Unauthenticated(FOREIGN)
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    # Not by PyJWT, which looks at each character of a token in Python: anybody may send 16 KiB of them, to the loop.
    said, _, signature = token.rpartition(b".")
    key: Any = load_pem_public_key(public.encode())
    try:
        key.verify(_bytes(signature), said, PKCS1v15(), hashes.SHA256())
        claims = _claims.decode(_bytes(said.partition(b".")[2]))
    except (InvalidSignature, msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise Unauthenticated(FOREIGN) from exc
    if claims.aud != audience:
        raise Unauthenticated("the access token is for another workspace")
    if claims.iat > now + LEEWAY_S:
        raise Unauthenticated("the access token is not valid yet: the clocks of the machines here differ")
    if now >= claims.exp + LEEWAY_S:
        raise Unauthenticated("the access token has expired: get a new one from /oidc/v1/token")
    return claims


def _key_id(token: bytes) -> str:
    """The id of the key that a token names, empty for what cannot be a token of ours."""
    head, _, rest = token.partition(b".")
    if rest.count(b".") != 1:
        return ""
    try:
        header = _header.decode(_bytes(head))
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return ""
    plain = header.crit is None and header.b64 is None
    return header.kid if header.alg == ALGORITHM and plain else ""


def _bytes(part: bytes) -> bytes:
    """Base64url without padding (RFC 7515, section 2).  Raises ValueError for anything else."""
    return b64decode(part + b"=" * (-len(part) % 4), b"-_", validate=True)


def credential(snapshot: Snapshot, claims: Claims) -> Credential:
    """What a token with these claims stands for now.  Raises Unauthenticated.

    It ends before its time with the principal that it is for, and with the client secret that it was got with.
    """
    principal = snapshot.principals.get(claims.sub)
    if principal is None:
        raise Unauthenticated("the principal of this access token is not there any more, or not active")
    if claims.sid not in snapshot.client_secrets:
        raise Unauthenticated("the client secret that this access token was got with has been deleted")
    return Credential(principal, claims.exp + LEEWAY_S, claims.jti, _endpoints(snapshot, claims))


def _endpoints(snapshot: Snapshot, claims: Claims) -> frozenset[str] | None:
    """The endpoints that a token can query, when that is all it can do."""
    scopes = set(claims.scope.split())
    if claims.authorization_details:
        named = [one.object_path.removeprefix(AT) for one in claims.authorization_details if QUERY in one.actions]
        return frozenset(named) if scopes & QUERYING else frozenset()
    if ALL in scopes:
        return None
    return frozenset(one.id for one in snapshot.endpoints.values()) if scopes & QUERYING else frozenset()


def published(keys: Mapping[str, str]) -> dict[str, Any]:
    """Public keys as a JWK set (RFC 7517), for those who want to check our tokens themselves."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    out = []
    for key_id, pem in keys.items():
        key: Any = load_pem_public_key(pem.encode())
        numbers = key.public_numbers()
        parts = {"n": _number(numbers.n), "e": _number(numbers.e)}
        out.append({"kty": "RSA", "use": "sig", "alg": ALGORITHM, "kid": key_id, **parts})
    return {"keys": out}


def _number(value: int) -> str:
    """Base64urlUInt (RFC 7518, section 2)."""
    return urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()
