"""Offers to speak something newer than HTTP/1.1, which are passed over (RFC 9110, section 7.8).

Java's client makes one with every request.  The parser stops after such a head and takes no body; read again without
the offer, the request is like any other.
"""

from collections.abc import Mapping

OFFER = (b"upgrade", b"http2-settings")
"""The headers that make an offer, and the words of Connection that belong to them."""


def without(method: bytes, target: bytes, version: str, headers: Mapping[bytes, bytes]) -> bytes:
    """The head of the same request, ended by its blank line."""
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode())]
    for name, content in headers.items():
        kind = name.lower()
        if kind == b"connection":
            content = b",".join(word for word in content.split(b",") if word.strip().lower() not in OFFER)
        if kind not in OFFER:
            lines.append(b"%b: %b" % (name, content))
    return b"\r\n".join((*lines, b"", b""))
