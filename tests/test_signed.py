"""Signed access tokens: what is accepted, and everything that only looks like it."""

import hashlib
import hmac
import json
import sys
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import jwt
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela import signed
from tesela.errors import Unauthenticated
from tesela.serving import Endpoint, EndpointConfig, ServingEndpoint
from tesela.signed import Claims, Detail, credential, sign, verify
from tesela.snapshot import Principal, Snapshot
from tesela.wire.tasks import Task

NOW = 1_800_000_000
AUDIENCE = "1234567890123456"
KID, PRIVATE, PUBLIC = signed.make_key()
OTHER_KID, OTHER_PRIVATE, OTHER_PUBLIC = signed.make_key()
KEYS = {KID: PUBLIC}
CLAIMS = Claims("77", "app-id", "http://h/oidc", AUDIENCE, NOW, NOW + 3600, "j1", "all-apis", "s1")
ON_ONE = Detail("workspace_permission", "serving-endpoints", "/serving-endpoints/e1", ("query_inference_endpoint",))


def part(value: object) -> bytes:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).rstrip(b"=")


def by_hand(header: object, payload: object, private: bytes = PRIVATE) -> bytes:
    """A token with any header and payload, and a signature that is right for them."""
    text = part(header) + b"." + part(payload)
    key = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
    return text + b"." + part(key.sign(text, key.prepare_key(private)))  # type: ignore[arg-type]


HEADER = {"alg": "RS256", "typ": "JWT", "kid": KID}
PLAIN: dict[str, Any] = json.loads(msgspec.json.encode(CLAIMS))


def changed(**values: Any) -> Claims:
    return msgspec.structs.replace(CLAIMS, **values)


def test_what_was_signed_is_read_again() -> None:
    for claims in (CLAIMS, changed(authorization_details=(ON_ONE, ON_ONE))):
        token = sign(claims, KID, PRIVATE).encode()
        assert verify(token, KEYS, AUDIENCE, NOW) == claims
        assert verify(token, {OTHER_KID: OTHER_PUBLIC, **KEYS}, AUDIENCE, NOW) == claims
    assert verify(by_hand(HEADER, {**PLAIN, "something": "else"}), KEYS, AUDIENCE, NOW) == CLAIMS


def test_others_can_check_our_tokens_with_what_is_published() -> None:
    token = sign(CLAIMS, KID, PRIVATE)
    keys = signed.published({OTHER_KID: OTHER_PUBLIC, KID: PUBLIC})
    found = {one.key_id: one for one in jwt.PyJWKSet.from_dict(keys).keys}
    assert set(found) == {KID, OTHER_KID}
    options: Any = {"verify_exp": False, "verify_iat": False}
    assert jwt.decode(token, found[KID], ["RS256"], audience=AUDIENCE, options=options)["sub"] == "77"
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token, found[OTHER_KID], ["RS256"], audience=AUDIENCE, options=options)
    assert "PRIVATE" not in json.dumps(keys)
    assert all(set(one) == {"kty", "use", "alg", "kid", "n", "e"} for one in keys["keys"])
    assert signed.published({}) == {"keys": []}


@pytest.mark.parametrize(
    ("claims", "now", "says"),
    [
        (CLAIMS, NOW + 3600 + 59.999, None),
        (CLAIMS, NOW + 3600 + 60, "expired"),
        (CLAIMS, NOW + 10**9, "expired"),
        (CLAIMS, NOW - 60, None),
        (CLAIMS, NOW - 60.001, "not valid yet"),
        (CLAIMS, 0, "not valid yet"),
        (changed(aud="1234567890123457"), NOW, "another workspace"),
        (changed(aud=""), NOW, "another workspace"),
    ],
)
def test_time_and_audience(claims: Claims, now: float, says: str | None) -> None:
    token = sign(claims, KID, PRIVATE).encode()
    if says is None:
        assert verify(token, KEYS, AUDIENCE, now) == claims
    else:
        with pytest.raises(Unauthenticated, match=says):
            verify(token, KEYS, AUDIENCE, now)


GOOD = sign(CLAIMS, KID, PRIVATE).encode()
HEAD, BODY, SIGNATURE = GOOD.split(b".")


def _by_public_key(algorithm: str) -> bytes:
    """A token "signed" with what everybody knows, for a reader that lets the token choose the algorithm."""
    text = part({**HEADER, "alg": algorithm}) + b"." + BODY
    return text + b"." + part(hmac.new(PUBLIC.encode(), text, hashlib.sha256).digest())


@pytest.mark.parametrize(
    "token",
    [
        pytest.param(part({"alg": "none", "kid": KID}) + b"." + BODY + b".", id="no algorithm"),
        pytest.param(part({"alg": "none"}) + b"." + BODY + b"." + SIGNATURE, id="no algorithm, a signature"),
        pytest.param(part({"alg": "NONE", "kid": KID}) + b"." + BODY + b".", id="no algorithm, loudly"),
        pytest.param(_by_public_key("HS256"), id="the public key as a password"),
        pytest.param(_by_public_key("RS256"), id="the public key as a password, called something else"),
        pytest.param(sign(CLAIMS, KID, OTHER_PRIVATE).encode(), id="a foreign key under our name"),
        pytest.param(sign(CLAIMS, OTHER_KID, OTHER_PRIVATE).encode(), id="a foreign key"),
        pytest.param(sign(CLAIMS, OTHER_KID, PRIVATE).encode(), id="our key under a name that is unknown"),
        pytest.param(by_hand({"alg": "RS256"}, PLAIN), id="no name of a key"),
        pytest.param(by_hand({**HEADER, "kid": None}, PLAIN), id="null as the name of a key"),
        pytest.param(by_hand({**HEADER, "kid": [KID]}, PLAIN), id="a list as the name of a key"),
        pytest.param(by_hand({**HEADER, "alg": "RS384"}, PLAIN), id="another algorithm"),
        pytest.param(by_hand({**HEADER, "crit": ["exp"]}, PLAIN), id="a condition that nobody here knows"),
        pytest.param(by_hand({**HEADER, "b64": False}, PLAIN), id="a payload that is not encoded"),
        pytest.param(by_hand({**HEADER, "jwk": signed.published(KEYS)["keys"][0]}, PLAIN, OTHER_PRIVATE), id="jwk"),
        pytest.param(by_hand(HEADER, {**PLAIN, "sub": 77}), id="a number as the principal"),
        pytest.param(by_hand(HEADER, {**PLAIN, "exp": "never"}), id="a word as the time"),
        pytest.param(by_hand(HEADER, {**PLAIN, "exp": 1e300}), id="a time too far"),
        pytest.param(by_hand(HEADER, {**PLAIN, "exp": None}), id="no time"),
        pytest.param(by_hand(HEADER, {**PLAIN, "aud": [AUDIENCE]}), id="audiences"),
        pytest.param(by_hand(HEADER, {**PLAIN, "authorization_details": ["x"]}), id="details that are none"),
        pytest.param(by_hand(HEADER, {key: PLAIN[key] for key in PLAIN if key != "sid"}), id="no client secret"),
        pytest.param(by_hand(HEADER, b"[]"), id="a list"),
        pytest.param(by_hand(HEADER, b"[" * 5000), id="too deep"),
        pytest.param(by_hand(HEADER, b"\xff\xfe"), id="not UTF-8"),
        pytest.param(by_hand(HEADER, b""), id="nothing"),
        pytest.param(part(b"[" * 5000) + b"." + BODY + b"." + SIGNATURE, id="a header too deep"),
        pytest.param(HEAD + b"." + part({**PLAIN, "sub": "1"}) + b"." + SIGNATURE, id="another principal"),
        pytest.param(HEAD + b"." + BODY, id="no signature"),
        pytest.param(HEAD + b"." + BODY + b".", id="an empty signature"),
        pytest.param(GOOD[:-4], id="cut short"),
        pytest.param(GOOD + b"." + SIGNATURE, id="a part too many"),
        pytest.param(b"." + GOOD, id="a dot too many"),
        pytest.param(b"", id="empty"),
        pytest.param(b"..", id="dots"),
        pytest.param(b"\x00.\x00.\x00", id="zeros"),
    ],
)
def test_what_is_not_ours(token: bytes) -> None:
    with pytest.raises(Unauthenticated, match="not one that this server signed") as caught:
        verify(token, KEYS, AUDIENCE, NOW)
    assert PLAIN["sid"] not in caught.value.message.split()


def test_what_is_forged_costs_little_however_long_it_is() -> None:
    """Anybody can send it, as often as they like, and it is checked in the loop."""
    head, padding = part({"alg": "RS256", "kid": KID}), part({"x": "y" * 11_000})
    token = head + b"." + padding + b"." + part(b"\1" * 256)
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    signed.load()
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        with pytest.raises(Unauthenticated):
            verify(token, KEYS, AUDIENCE, NOW)
    finally:
        sys.setprofile(before)
    assert calls < 200


def test_a_long_token_is_not_read() -> None:
    long = sign(changed(scope="x" * 20_000), KID, PRIVATE).encode()
    with pytest.raises(Unauthenticated, match="longer than 16 KiB"):
        verify(long, KEYS, AUDIENCE, NOW)
    some = sign(changed(scope="x" * 11_000), KID, PRIVATE).encode()
    assert len(some) < signed.MAX_BYTES
    verify(some, KEYS, AUDIENCE, NOW)


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda x: HEAD + b"." + part(x) + b"." + SIGNATURE))
def test_garbage(token: bytes) -> None:
    with pytest.raises(Unauthenticated):
        verify(token, KEYS, AUDIENCE, NOW)


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_one_other_byte(at: int, byte: int) -> None:
    token = GOOD[:at] + bytes([byte]) + GOOD[at + 1 :]
    text, _, signature = token.rpartition(b".")
    if text == HEAD + b"." + BODY and decoded(signature) == decoded(SIGNATURE):
        assert verify(token, KEYS, AUDIENCE, NOW) == CLAIMS
        return
    with pytest.raises(Unauthenticated):
        verify(token, KEYS, AUDIENCE, NOW)


def decoded(piece: bytes) -> bytes | None:
    """The last character of base64 has bits that mean nothing."""
    try:
        return urlsafe_b64decode(piece + b"=" * (-len(piece) % 4))
    except ValueError:
        return None


@given(
    st.builds(
        Claims,
        *[st.text(max_size=20)] * 4,
        st.integers(0, 2 * NOW),
        st.integers(0, 2 * NOW),
        *[st.text(max_size=20)] * 3,
        st.tuples() | st.tuples(st.builds(Detail, *[st.text(max_size=9)] * 3, st.tuples(st.text(max_size=9)))),
    )
)
def test_any_claims_come_back(claims: Claims) -> None:
    token = sign(claims, KID, PRIVATE).encode()
    if claims.iat > NOW + 60 or claims.exp + 60 <= NOW:
        with pytest.raises(Unauthenticated):
            verify(token, KEYS, claims.aud, NOW)
    else:
        assert verify(token, KEYS, claims.aud, NOW) == claims


# ------------------------------------------------------------ what a token stands for

MAY = Principal("77", "app-id", "svc", kind="service_principal")


def endpoint(name: str, key: str) -> Endpoint:
    return Endpoint(name, Task.CHAT, (), ServingEndpoint(name, EndpointConfig()), id=key)


SNAPSHOT = Snapshot(
    1,
    {"one": endpoint("one", "e1"), "two": endpoint("two", "e2")},
    {},
    principals={"77": MAY},
    keys=KEYS,
    client_secrets=frozenset({"s1"}),
)


@pytest.mark.parametrize(
    ("scope", "details", "endpoints"),
    [
        ("all-apis", (), None),
        ("offline_access all-apis", (), None),
        ("all-apis", (ON_ONE,), {"e1"}),
        ("model-serving", (ON_ONE,), {"e1"}),
        ("model-serving-inference", (), {"e1", "e2"}),
        ("model-serving sql", (), {"e1", "e2"}),
        ("sql", (), set()),
        ("sql", (ON_ONE,), set()),
        ("", (), set()),
        ("xall-apis", (), set()),
        ("all-apis", (msgspec.structs.replace(ON_ONE, actions=("manage_inference_endpoint",)),), set()),
    ],
)
def test_what_a_token_can_do(scope: str, details: tuple[Detail, ...], endpoints: set[str] | None) -> None:
    found = credential(SNAPSHOT, changed(scope=scope, authorization_details=details))
    assert found.principal is MAY
    assert found.expires_at == CLAIMS.exp + 60
    assert found.endpoints == endpoints


def test_a_token_ends_with_its_principal_and_with_its_client_secret() -> None:
    with pytest.raises(Unauthenticated, match="principal"):
        credential(msgspec.structs.replace(SNAPSHOT, principals={}), CLAIMS)
    with pytest.raises(Unauthenticated, match="client secret"):
        credential(msgspec.structs.replace(SNAPSHOT, client_secrets=frozenset()), CLAIMS)
