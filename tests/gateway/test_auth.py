"""Who is let in: every form in which clients send a token, and all that only looks like it."""

import math
from base64 import b64encode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela import signed
from tesela.errors import Unauthenticated
from tesela.gateway.auth import Sessions, authenticate
from tesela.snapshot import Credential, Principal, Snapshot, digest

TOKEN = b"dapi" + b"0123456789abcdef" * 2
KNOWN = Credential(Principal("1", "a@example.com"), math.inf, "t1")
SHORT = Credential(Principal("2", "b@example.com"), 100.0, "t2")
SNAPSHOT = Snapshot(1, {}, {digest(TOKEN): KNOWN, digest(b"short"): SHORT})


def basic(pair: bytes) -> bytes:
    return b64encode(pair)


@pytest.mark.parametrize(
    "header",
    [
        b"Bearer " + TOKEN,
        b"bearer " + TOKEN,
        b"BEARER " + TOKEN,
        b"bEaReR " + TOKEN,
        b"Bearer  " + TOKEN,
        b"bearer  " + TOKEN,
        b"Bearer " + TOKEN + b" ",
        b"Basic " + basic(b"token:" + TOKEN),
        b"basic " + basic(b"token:" + TOKEN),
        b"BASIC   " + basic(b"token:" + TOKEN),
    ],
)
def test_forms_of_a_token(header: bytes) -> None:
    assert authenticate(SNAPSHOT, header, 0.0) is KNOWN


@pytest.mark.parametrize("header", [None, b"", b" ", TOKEN, b"Digest " + TOKEN, b"Bearer", b"basic", b"Token " + TOKEN])
def test_nothing_that_could_be_a_token(header: bytes | None) -> None:
    with pytest.raises(Unauthenticated) as caught:
        authenticate(SNAPSHOT, header, 0.0)
    assert caught.value.status == 401
    assert TOKEN.decode() not in caught.value.message


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (b"Bearer ", "not valid here"),
        (b"Bearer x", "not valid here"),
        (b"Bearer " + TOKEN[:-1], "not valid here"),
        (b"Bearer " + TOKEN + b"0", "not valid here"),
        (b"Bearer " + TOKEN.upper(), "not valid here"),
        (b"Bearer " + digest(TOKEN), "not valid here"),
        (b"Bearer " + digest(TOKEN).hex().encode(), "not valid here"),
        (b"Bearer Bearer " + TOKEN, "not valid here"),
        (b"Bearer\t" + TOKEN, "no access token"),
        (b"Basic " + basic(b"token:wrong"), "not valid here"),
        (b"Basic " + basic(b"token:" + TOKEN + b":"), "not valid here"),
        (b"Basic " + basic(b"token:"), "not valid here"),
        (b"Basic " + basic(b"admin:" + TOKEN), "user name 'token'"),
        (b"Basic " + basic(b"Token:" + TOKEN), "user name 'token'"),
        (b"Basic " + basic(TOKEN + b":"), "user name 'token'"),
        (b"Basic " + basic(b"token" + TOKEN), "user name 'token'"),
        (b"Basic token:" + TOKEN, "not valid basic"),
        (b"Basic \xff\xfe", "not valid basic"),
        (b"Basic " + basic(b"token:" + TOKEN)[:-1], "not valid basic"),
        (b"Basic " + basic(b"token:" + TOKEN) + b"!", "not valid basic"),
    ],
)
def test_what_is_no_token_of_ours(header: bytes, says: str) -> None:
    with pytest.raises(Unauthenticated, match=says) as caught:
        authenticate(SNAPSHOT, header, 0.0)
    assert TOKEN.decode() not in caught.value.message


def test_a_token_ends_at_its_time_and_not_before() -> None:
    assert authenticate(SNAPSHOT, b"Bearer short", 99.999) is SHORT
    assert authenticate(SNAPSHOT, b"Basic " + basic(b"token:short"), 99.999) is SHORT
    for now in (100.0, 1e12):
        with pytest.raises(Unauthenticated, match="expired"):
            authenticate(SNAPSHOT, b"Bearer short", now)


@given(st.binary() | st.binary().map(lambda x: b"Bearer " + x) | st.binary().map(lambda x: b"Basic " + b64encode(x)))
def test_garbage_is_refused_and_nothing_else_happens(header: bytes) -> None:
    with pytest.raises(Unauthenticated):
        authenticate(SNAPSHOT, header, 0.0)


# ------------------------------------------------------------ signed tokens

NOW = 1_800_000_000.0
WORKSPACE = "1234567890123456"
KID, PRIVATE, PUBLIC = signed.make_key()
ROBOT = Principal("77", "app-id", "robot", kind="service_principal")
CLAIMS = signed.Claims("77", "app-id", "", WORKSPACE, int(NOW), int(NOW) + 3600, "j1", "all-apis", "s1")
SIGNED = signed.sign(CLAIMS, KID, PRIVATE).encode()
TRUSTING = msgspec.structs.replace(
    SNAPSHOT, principals={"77": ROBOT}, keys={KID: PUBLIC}, client_secrets=frozenset({"s1"})
)


class Counted(dict[str, str]):
    """Keys that count how often one of them was looked up: nothing is checked without its key."""

    looked = 0

    def get(self, *wanted: object) -> object:  # type: ignore[override]
        self.looked += 1
        return super().get(*wanted)  # type: ignore[call-overload]


def counting() -> tuple[Snapshot, Counted]:
    keys = Counted(TRUSTING.keys)
    return msgspec.structs.replace(TRUSTING, keys=keys), keys


@pytest.mark.parametrize(
    "header", [b"Bearer " + SIGNED, b"bearer  " + SIGNED, b"Basic " + b64encode(b"token:" + SIGNED)]
)
def test_a_signed_token(header: bytes) -> None:
    found = authenticate(TRUSTING, header, NOW, Sessions(WORKSPACE))
    assert found == Credential(ROBOT, CLAIMS.exp + 60, "j1", None)


def test_a_known_signed_token_costs_no_cryptography() -> None:
    snapshot, keys = counting()
    sessions = Sessions(WORKSPACE)
    first = authenticate(snapshot, b"Bearer " + SIGNED, NOW, sessions)
    assert keys.looked == 1
    for at in range(5):
        assert authenticate(snapshot, b"Bearer " + SIGNED, NOW + at, sessions) is first
    assert keys.looked == 1


def test_access_tokens_do_not_come_near_signed_ones() -> None:
    snapshot, keys = counting()
    sessions = Sessions(WORKSPACE)
    assert authenticate(snapshot, b"Bearer " + TOKEN, NOW, sessions) is KNOWN
    for wrong in (b"Bearer " + TOKEN[:-1], b"Bearer ", b"Basic " + b64encode(b"token:x")):
        with pytest.raises(Unauthenticated, match="not valid here"):
            authenticate(snapshot, wrong, NOW, sessions)
    assert keys.looked == 0
    assert len(sessions) == 0


def test_a_known_signed_token_ends_at_its_time() -> None:
    sessions = Sessions(WORKSPACE)
    authenticate(TRUSTING, b"Bearer " + SIGNED, NOW, sessions)
    authenticate(TRUSTING, b"Bearer " + SIGNED, NOW + 3659.9, sessions)
    for now in (NOW + 3660, NOW + 1e9):
        with pytest.raises(Unauthenticated, match="expired"):
            authenticate(TRUSTING, b"Bearer " + SIGNED, now, sessions)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"principals": {}}, "principal"),
        ({"client_secrets": frozenset({"s2"})}, "client secret"),
        ({"keys": {}}, "not one that this server signed"),
    ],
)
def test_a_known_signed_token_ends_with_what_it_rests_on(change: dict[str, object], says: str) -> None:
    sessions = Sessions(WORKSPACE)
    authenticate(TRUSTING, b"Bearer " + SIGNED, NOW, sessions)
    with pytest.raises(Unauthenticated, match=says):
        authenticate(msgspec.structs.replace(TRUSTING, **change), b"Bearer " + SIGNED, NOW, sessions)
    assert authenticate(TRUSTING, b"Bearer " + SIGNED, NOW, sessions).principal is ROBOT


def test_a_known_signed_token_follows_its_principal() -> None:
    sessions = Sessions(WORKSPACE)
    authenticate(TRUSTING, b"Bearer " + SIGNED, NOW, sessions)
    chief = msgspec.structs.replace(ROBOT, admin=True)
    found = authenticate(
        msgspec.structs.replace(TRUSTING, principals={"77": chief}), b"Bearer " + SIGNED, NOW, sessions
    )
    assert found.principal is chief


def test_sessions_are_bounded() -> None:
    snapshot, keys = counting()
    sessions = Sessions(WORKSPACE, 3)
    tokens = [
        signed.sign(msgspec.structs.replace(CLAIMS, jti=f"j{number}"), KID, PRIVATE).encode() for number in range(4)
    ]
    for token in tokens:
        authenticate(snapshot, b"Bearer " + token, NOW, sessions)
    assert (len(sessions), keys.looked) == (3, 4)
    authenticate(snapshot, b"Bearer " + tokens[3], NOW, sessions)
    assert keys.looked == 4
    # The oldest was forgotten, and is no less good for it.
    authenticate(snapshot, b"Bearer " + tokens[0], NOW, sessions)
    assert (len(sessions), keys.looked) == (3, 5)


def test_refused_signed_tokens_are_not_kept() -> None:
    sessions = Sessions("another workspace")
    for _ in range(3):
        with pytest.raises(Unauthenticated, match="another workspace"):
            authenticate(TRUSTING, b"Bearer " + SIGNED, NOW, sessions)
    assert len(sessions) == 0


def test_without_sessions_no_signed_token_is_known() -> None:
    with pytest.raises(Unauthenticated, match="not valid here"):
        authenticate(TRUSTING, b"Bearer " + SIGNED, NOW)


@given(
    st.binary().map(lambda x: b"Bearer " + x) | st.tuples(*[st.binary()] * 3).map(lambda x: b"Bearer " + b".".join(x))
)
def test_garbage_is_refused_where_signed_tokens_are_known(header: bytes) -> None:
    with pytest.raises(Unauthenticated):
        authenticate(TRUSTING, header, NOW, Sessions(WORKSPACE))
