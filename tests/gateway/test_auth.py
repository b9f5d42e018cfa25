"""Who is let in: every form in which clients send a token, and all that only looks like it."""

import math
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.errors import Unauthenticated
from tesela.gateway.auth import authenticate
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
