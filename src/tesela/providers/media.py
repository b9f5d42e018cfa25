"""Images, sounds and files as chat has them: an address, or the content itself in a data URL (RFC 2397).

Providers say little about content that they cannot read, so what is plainly no image is refused here, with the reason.
"""

import re
from base64 import b64decode

from tesela.errors import InvalidRequest

_DATA = re.compile(r"data:([\w.+-]+/[\w.+-]+)(?:;[\w.+-]+=[^;,]*)*;base64,")
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}\Z")
_ADDRESS = re.compile(r"(?:https?|gs|s3)://[^\s/]", re.IGNORECASE)


def content(url: str, at: str, *, image: bool) -> tuple[str, str] | None:
    """(media type, data in base64) of a data URL; None for an address.

    Raises InvalidRequest, naming `at`, for what is neither, for data that is no base64, and for an image that is none.
    """
    if not url.startswith("data:"):
        if not _ADDRESS.match(url):
            what = "the address of an image" if image else "an address"
            raise InvalidRequest(f"{at!r} must be {what}, https://…, or a data URL", param=at)
        return None
    found = _DATA.match(url)
    if found is None:
        raise InvalidRequest(f"{at!r} must be a data URL of the form data:TYPE;base64,DATA", param=at)
    kind, data = found[1], url[found.end() :]
    if not _BASE64.match(data) or len(data) % 4:
        raise InvalidRequest(f"{at!r} holds no content in base64: it is empty, cut off, or has other signs", param=at)
    if image:
        _see(kind.lower(), data, at)
    return kind, data


def _see(kind: str, data: str, at: str) -> None:
    """Look whether it begins as images of its type do."""
    if not kind.startswith("image/"):
        raise InvalidRequest(f"{at!r} is declared as {kind}, which is no image", param=at)
    begins = SIGNS.get(kind)
    if begins is None:
        return
    head = b64decode(data[:24])
    if not any(head[place : place + len(sign)] == sign for place, sign in begins):
        raise InvalidRequest(f"{at!r} is declared as {kind} and its content is something else", param=at)


SIGNS = {
    "image/png": ((0, b"\x89PNG"),),
    "image/jpeg": ((0, b"\xff\xd8\xff"),),
    "image/gif": ((0, b"GIF8"),),
    "image/webp": ((8, b"WEBP"),),
}
"""How files of these types begin: https://mimesniff.spec.whatwg.org/#image-type-pattern-matching-algorithm"""
