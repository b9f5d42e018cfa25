"""Links to chunks of results, which need no credential: signed, and good for a short time.

What is signed is the statement, the chunk and the end of the link's time; the key is the server's.
"""

import hashlib
import hmac
from urllib.parse import parse_qs

from tesela.errors import PermissionDenied

LIFETIME_S = 900
"""As Databricks' links: at most 15 minutes."""
PATH = "/api/2.0/sql/results"


def link(key: bytes, statement: str, chunk: int, now: float) -> tuple[str, int]:
    """Path and query of a chunk, and when it ends, in seconds since the epoch."""
    expires = int(now) + LIFETIME_S
    return f"{PATH}/{statement}/{chunk}?expires={expires}&signature={_sign(key, statement, chunk, expires)}", expires


def check(key: bytes, statement: str, chunk: int, query: str, now: float) -> None:
    """Raises PermissionDenied for a link that we did not make, or whose time is over."""
    asked = parse_qs(query)
    expires, signature = asked.get("expires", [""])[0], asked.get("signature", [""])[0]
    if not (expires.isascii() and expires.isdigit() and len(expires) < 20):
        raise PermissionDenied("the link is not one that this server made")
    if not hmac.compare_digest(_sign(key, statement, chunk, int(expires)).encode(), signature.encode()):
        raise PermissionDenied("the link is not one that this server made")
    if now >= int(expires):
        raise PermissionDenied("the link has expired: get the chunk again for a new one")


def _sign(key: bytes, statement: str, chunk: int, expires: int) -> str:
    said = f"{statement}/{chunk}/{expires}".encode()
    return hmac.new(key, said, hashlib.sha256).hexdigest()
