"""Who is calling: from the Authorization header to a credential of the snapshot.

Known access tokens cost one SHA-256 and one dictionary look-up; nothing here compares secrets byte by byte, because
what is looked up is the digest of what the caller sent.  A signed token is checked once for each snapshot, and known
from then on.
"""

import binascii
from base64 import b64decode

from tesela import signed
from tesela.errors import Unauthenticated
from tesela.snapshot import Credential, Snapshot, digest

MISSING = "no access token: send 'Authorization: Bearer <token>', or basic authentication with the user name 'token'"
REFUSED = "the access token is not valid here: it may be mistyped, revoked or made on another server"
EXPIRED = "the access token has expired: make a new one with 'tesela tokens create'"

MOST = 10_000
"""Signed tokens that are remembered: some 5 MB.  One more makes the oldest be checked again."""


class Sessions:
    """The signed tokens that were found good, by their digest, for as long as the snapshot stays the same.

    `workspace_id` is what a token must be made for.
    """

    __slots__ = ("_found", "_most", "_snapshot", "workspace_id")

    def __init__(self, workspace_id: str, most: int = MOST) -> None:
        self.workspace_id = workspace_id
        self._most = most
        self._snapshot: Snapshot | None = None
        self._found: dict[bytes, Credential] = {}

    def __len__(self) -> int:
        return len(self._found)

    def find(self, snapshot: Snapshot, token: bytes, key: bytes, now: float) -> Credential:
        """What a signed token stands for; `key` is its digest.  Raises Unauthenticated."""
        if snapshot is not self._snapshot:
            # A principal, a client secret or a key may be gone.
            self._found.clear()
            self._snapshot = snapshot
        known = self._found.get(key)
        if known is not None and now < known.expires_at:
            return known
        credential = signed.credential(snapshot, signed.verify(token, snapshot.keys, self.workspace_id, now))
        if len(self._found) >= self._most:
            del self._found[next(iter(self._found))]
        self._found[key] = credential
        return credential


def authenticate(
    snapshot: Snapshot, authorization: bytes | None, now: float, sessions: Sessions | None = None
) -> Credential:
    """The credential behind a header value.  `now` is in seconds since the epoch.  Raises Unauthenticated.

    Without `sessions` no signed token is known.
    """
    if not authorization:
        raise Unauthenticated(MISSING)
    token = token_of(authorization)
    key = digest(token)
    credential = snapshot.credentials.get(key)
    if credential is None:
        # A personal access token has no dot, and every signed one does.
        if sessions is None or b"." not in token:
            raise Unauthenticated(REFUSED)
        return sessions.find(snapshot, token, key, now)
    if credential.expires_at <= now:
        raise Unauthenticated(EXPIRED)
    return credential


def token_of(authorization: bytes) -> bytes:
    """The token of a header value.  Raises Unauthenticated."""
    return authorization[7:].strip() if authorization.startswith(b"Bearer ") else _token(authorization)


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
