"""The immutable view that one request reads.

A request takes the snapshot that is current when it begins and finishes with it.  A change builds a new one and swaps
the reference, so nothing on the path of a request waits for a database or a lock.
"""

import hashlib
import math
from typing import Literal

import msgspec

from tesela.serving import Endpoint

Struct = msgspec.Struct


Kind = Literal["user", "group", "service_principal"]
Level = Literal["CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"]
LEVELS: tuple[Level, ...] = ("CAN_VIEW", "CAN_QUERY", "CAN_MANAGE")
"""What one may do with an endpoint, the least first; each includes those before it."""


class Principal(Struct, frozen=True):
    """Who is calling.

    `id` is what the SCIM paths show, `name` the user name (an e-mail address) of a person and the application id of a
    service principal.  `groups` are the ids of all groups that it belongs to, directly or through other groups.
    """

    id: str
    name: str
    display_name: str = ""
    admin: bool = False
    kind: Kind = "user"
    groups: frozenset[str] = frozenset()


class Credential(Struct, frozen=True):
    """What an access token stands for.  `expires_at` is in seconds since the epoch.

    `endpoints` are the ids of the endpoints that it can query, and nothing else can be done with it; None for a
    credential that may do all that its principal may.
    """

    principal: Principal
    expires_at: float = math.inf
    token_id: str = ""
    endpoints: frozenset[str] | None = None


class Grants(Struct, frozen=True):
    """The ids of the principals and groups that may see, query and manage one endpoint."""

    view: frozenset[str] = frozenset()
    query: frozenset[str] = frozenset()
    manage: frozenset[str] = frozenset()


NOBODY = Grants()


class Snapshot(Struct, frozen=True):
    """All that a request may need to know.

    `endpoints` and `grants` are keyed by the endpoint's name, `credentials` by `digest(access token)`, `principals` by
    id (those that are active), `keys` (public, in PEM) by the id that a signed token names.  `client_secrets` are the
    ids of those that there are: a signed token ends with its own.  Admins may do everything.  `broken` says, by name,
    why an endpoint that was asked for cannot serve.  `open_to_all` are the ids of the
    endpoints that come with the server, which everybody may query until somebody says otherwise.
    """

    version: int
    endpoints: dict[str, Endpoint]
    credentials: dict[bytes, Credential]
    grants: dict[str, Grants] = msgspec.field(default_factory=dict)
    principals: dict[str, Principal] = msgspec.field(default_factory=dict)
    keys: dict[str, str] = msgspec.field(default_factory=dict)
    client_secrets: frozenset[str] = frozenset()
    broken: dict[str, str] = msgspec.field(default_factory=dict)
    open_to_all: frozenset[str] = frozenset()

    def may_query(self, principal: Principal, endpoint: str) -> bool:
        return principal.admin or _among(principal, self.grants.get(endpoint, NOBODY).query)

    def may_see(self, principal: Principal, endpoint: str) -> bool:
        return principal.admin or _among(principal, self.grants.get(endpoint, NOBODY).view)

    def may_manage(self, principal: Principal, endpoint: str) -> bool:
        return principal.admin or _among(principal, self.grants.get(endpoint, NOBODY).manage)


def _among(principal: Principal, ids: frozenset[str]) -> bool:
    return principal.id in ids or not ids.isdisjoint(principal.groups)


def digest(access_token: bytes) -> bytes:
    """How an access token is kept and looked up.  It is 128 random bits, so a plain SHA-256 is enough."""
    return hashlib.sha256(access_token, usedforsecurity=True).digest()
