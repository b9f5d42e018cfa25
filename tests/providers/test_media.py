"""Images that are images, addresses that are addresses."""

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.errors import InvalidRequest
from tesela.providers.media import content

BEGINNINGS = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff\xe0",
    "image/gif": b"GIF89a",
    "image/webp": b"RIFF\x00\x00\x00\x00WEBPVP8 ",
}


def url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{b64encode(data).decode()}"


@pytest.mark.parametrize("kind", BEGINNINGS)
def test_images(kind: str) -> None:
    data = BEGINNINGS[kind] + b"more"
    assert content(url(kind, data), "at", image=True) == (kind, b64encode(data).decode())
    for other in BEGINNINGS.keys() - {kind}:
        with pytest.raises(InvalidRequest, match="its content is something else") as caught:
            content(url(other, data), "at", image=True)
        assert caught.value.param == "at"
    assert content(url("image/svg+xml", b"<svg>"), "at", image=True) is not None, "the provider judges the others"


@pytest.mark.parametrize(
    ("given_url", "image", "words"),
    [
        ("not a url", True, "must be the address of an image"),
        ("ftp://x/a.png", True, "must be the address of an image"),
        ("https://", True, "must be the address of an image"),
        ("file:///etc/passwd", False, "must be an address"),
        ("", False, "must be an address"),
        ("data:image/png,abc", True, "data:TYPE;base64,DATA"),
        ("data:;base64,aGk=", True, "data:TYPE;base64,DATA"),
        ("data:image/png;base64,", True, "no content in base64"),
        ("data:image/png;base64,iVBO!w0K", True, "no content in base64"),
        ("data:image/png;base64,iVBORw0KG", True, "no content in base64"),
        ("data:text/plain;base64,aGk=", True, "declared as text/plain, which is no image"),
    ],
)
def test_what_is_neither(given_url: str, image: bool, words: str) -> None:
    with pytest.raises(InvalidRequest, match=words) as caught:
        content(given_url, "messages[0]", image=image)
    assert caught.value.param == "messages[0]"


def test_addresses_and_files_pass() -> None:
    for address in ("https://e.com/a.png", "HTTP://e.com", "gs://bucket/a", "s3://bucket/a"):
        assert content(address, "at", image=True) is None
    assert content("data:application/pdf;base64,JVBE", "at", image=False) == ("application/pdf", "JVBE")
    assert content("data:image/png;charset=x;base64,iVBORw0KGgo=", "at", image=True) == ("image/png", "iVBORw0KGgo=")


@given(st.text(max_size=40), st.booleans())
def test_anything_is_read_or_refused(given_url: str, image: bool) -> None:
    for one in (given_url, "data:image/png;base64," + given_url):
        try:
            found = content(one, "at", image=image)
        except InvalidRequest:
            continue
        assert found is None or found[1]
