"""The immutable view that one request reads.

A request takes the snapshot that is current when it begins and finishes with it.  A change builds a new one and swaps
the reference, so nothing on the path of a request waits for a database or a lock.
"""

import hashlib
import math

import msgspec

from tesela.serving import Endpoint

Struct = msgspec.Struct


class Principal(Struct, frozen=True):
    """Who is calling.  `id` is what the SCIM paths show, `name` the user name (an e-mail address for a person)."""

    id: str
    name: str
    display_name: str = ""
    admin: bool = False


class Credential(Struct, frozen=True):
    """What an access token stands for.  `expires_at` is in seconds since the epoch."""

    principal: Principal
    expires_at: float = math.inf
    token_id: str = ""


class Snapshot(Struct, frozen=True):
    """All that a request may need to know.

    `credentials` is keyed by `digest(access token)`.  `grants` gives, per endpoint name, the ids of the principals
    that may query it; admins may query all.
    """

    version: int
    endpoints: dict[str, Endpoint]
    credentials: dict[bytes, Credential]
    grants: dict[str, frozenset[str]] = msgspec.field(default_factory=dict)

    def may_query(self, principal: Principal, endpoint: str) -> bool:
        return principal.admin or principal.id in self.grants.get(endpoint, frozenset())


def digest(access_token: bytes) -> bytes:
    """How an access token is kept and looked up.  It is 128 random bits, so a plain SHA-256 is enough."""
    return hashlib.sha256(access_token, usedforsecurity=True).digest()
