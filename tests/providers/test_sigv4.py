"""Amazon's signatures: the published example, an independent computation, and what its own client library signs."""

import hashlib
import hmac
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from tesela.providers.sigv4 import Signer, stamp

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
HOST = "bedrock-runtime.us-east-1.amazonaws.com"
PATH = "/model/anthropic.claude-3-5-sonnet-20241022-v2%3A0/converse"
NOW = 1_800_000_000
HEX = st.text("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~/%", max_size=20)


def test_the_published_example() -> None:
    """https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html, older text: ListUsers
    of IAM with its key of the day and its signature."""
    signer = Signer("AKIDEXAMPLE", SECRET, "us-east-1", service="iam")
    assert signer.key("20150830").hex() == "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
    headers = [
        ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
        ("Host", "iam.amazonaws.com"),
        ("X-Amz-Date", "20150830T123600Z"),
    ]
    found = signer.authorization("GET", "/", "Action=ListUsers&Version=2010-05-08", headers, b"", "20150830T123600Z")
    assert found == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


def test_what_amazons_own_library_signs() -> None:
    """Signatures that botocore 1.44.5 made for these two requests."""
    body = '{"a":"é"}'.encode()
    plain = dict(Signer("AKIDEXAMPLE", SECRET, "us-east-1").headers(HOST, PATH, body, NOW))
    assert plain["x-amz-date"] == "20270115T080000Z"
    assert plain["authorization"].endswith("804c178a3d98c6a76ac22238cd45c7845f3855762b1562227f42ea1c83c57261")
    named = dict(Signer("AKIDEXAMPLE", SECRET, "us-east-1", "tok/en+x==").headers(HOST, PATH, body, NOW))
    assert named["x-amz-security-token"] == "tok/en+x=="
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, " in named["authorization"]
    assert named["authorization"].endswith("5abcf7bfcc47ee579d2a4ecdf54f1cd8d6304df072238aeffbff738f78ac6c46")


def by_hand(path: str, body: bytes, now: int, region: str, session: str | None) -> str:
    """The signature by the steps of the page, with nothing of ours but the time's form."""
    time = stamp(now)
    twice = re.sub("[^A-Za-z0-9/._~-]", lambda found: f"%{ord(found[0]):02X}", path)
    lines = ["POST", twice, "", "content-type:application/json", f"host:{HOST}", f"x-amz-date:{time}"]
    names = "content-type;host;x-amz-date"
    if session is not None:
        lines.append(f"x-amz-security-token:{session}")
        names += ";x-amz-security-token"
    lines += ["", names, hashlib.sha256(body).hexdigest()]
    place = f"{time[:8]}/{region}/bedrock/aws4_request"
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    key = b"AWS4" + SECRET.encode()
    for part in place.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, f"AWS4-HMAC-SHA256\n{time}\n{place}\n{digest}".encode(), "sha256").hex()


@settings(max_examples=100)
@given(HEX, st.binary(max_size=40), st.integers(0, 4_000_000_000), st.sampled_from(["eu-west-3", "us-gov-east-1"]),
       st.none() | st.just("session"))  # fmt: skip
def test_the_same_by_hand(path: str, body: bytes, now: int, region: str, session: str | None) -> None:
    path = f"/model/{path}/converse"
    found = dict(Signer("AKIDEXAMPLE", SECRET, region, session).headers(HOST, path, body, now))
    assert found["authorization"].rpartition("=")[2] == by_hand(path, body, now, region, session)


def test_the_secret_stays() -> None:
    signer = Signer("AKIDEXAMPLE", SECRET, "us-east-1", "session")
    assert SECRET not in repr(signer)
    assert "session" not in repr(signer)
    assert SECRET not in repr(signer.headers(HOST, PATH, b"", NOW))
    assert signer == Signer("AKIDEXAMPLE", SECRET, "us-east-1", "session")
