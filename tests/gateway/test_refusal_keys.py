"""A provider that repeats our key in its refusal does not tell it to the caller or to the log."""

import pytest

from tesela.gateway.refusal import without_keys
from tesela.providers.sigv4 import Signer
from tesela.serving import Origin, Upstream

KEY = "sk-this-must-never-be-shown"


@pytest.mark.parametrize("value", [KEY, f"Bearer {KEY}", f"Basic {KEY}"])
@pytest.mark.parametrize("said", [f"wrong key: {KEY}", f"Bearer {KEY} and {KEY}", f'{{"error": "{KEY}"}}'])
def test_the_key_is_taken_out_wherever_it_stands(value: str, said: str) -> None:
    upstream = Upstream(Origin(), "m", headers=(("x-key", value),))
    cut = said.encode()
    found = without_keys([cut[:12], cut[12:20], cut[20:]], upstream)
    assert KEY.encode() not in found
    assert found == said.replace(KEY, "***").encode()


def test_the_rest_of_the_message_stays() -> None:
    upstream = Upstream(Origin(), "m", headers=(("authorization", "Bearer x"), ("x-org", "")))
    assert without_keys([b"a box of exes"], upstream) == b"a box of exes"
    assert without_keys(None, upstream) == b""


def test_a_session_token_is_taken_out_too() -> None:
    upstream = Upstream(Origin(), "m", signer=Signer("AKIA", "never-sent", "us-east-1", KEY))
    assert without_keys([f"x-amz-security-token:{KEY}".encode()], upstream) == b"x-amz-security-token:***"
    keyless = Upstream(Origin(), "m", signer=Signer("AKIA", "never-sent", "us-east-1"))
    assert without_keys([b"as it was"], keyless) == b"as it was"
