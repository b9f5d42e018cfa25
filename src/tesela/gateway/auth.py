"""Who is calling: from the Authorization header to a credential of the snapshot.

Known access tokens cost one SHA-256 and one dictionary look-up; nothing here compares secrets byte by byte, because
what is looked up is the digest of what the caller sent.
"""

import binascii
from base64 import b64decode

from tesela.errors import Unauthenticated
from tesela.snapshot import Credential, Snapshot, digest

MISSING = "no access token: send 'Authorization: Bearer <token>', or basic authentication with the user name 'token'"
REFUSED = "the access token is not valid here: it may be mistyped, revoked or made on another server"


def authenticate(snapshot: Snapshot, authorization: bytes | None, now: float) -> Credential:
    """The credential behind a header value.  `now` is in seconds since the epoch.  Raises Unauthenticated."""
    if not authorization:
        raise Unauthenticated(MISSING)
    token = authorization[7:].strip() if authorization.startswith(b"Bearer ") else _token(authorization)
    credential = snapshot.credentials.get(digest(token))
    if credential is None:
        raise Unauthenticated(REFUSED)
    if credential.expires_at <= now:
        raise Unauthenticated("the access token has expired: make a new one with 'tesela tokens create'")
    return credential


def _token(authorization: bytes) -> bytes:
    """The token of the less usual forms: other cases of 'Bearer', and basic authentication (RFC 7617)."""
    scheme, _, rest = authorization.strip().partition(b" ")
    match scheme.lower():
        case b"bearer":
            return rest.strip()
        case b"basic":
            try:
                user, found, password = b64decode(rest.strip(), validate=True).partition(b":")
            except (binascii.Error, ValueError) as exc:
                raise Unauthenticated("the Authorization header is not valid basic authentication (RFC 7617)") from exc
            if not found or user != b"token":
                raise Unauthenticated("basic authentication takes the user name 'token' and the token as password")
            return password
    raise Unauthenticated(MISSING)
