"""What the store keeps, as plain values: what its readers and the snapshot's builder hand to each other.

Times are in milliseconds since the epoch where a name ends in `_ms`, else in seconds.  Values of secrets are in
`Contents`, in memory only; no repr shows them.
"""

import math
from typing import Any, Literal

import msgspec

from tesela.snapshot import Credential, Kind, Level, Principal

Struct = msgspec.Struct


class Actor(Struct, frozen=True):
    """Who makes a change, for the audit: `address` is where the request came from, empty for this machine itself."""

    id: str
    name: str
    address: str = ""
    request_id: str = ""


SYSTEM = Actor("", "tesela")
"""The server itself, for what nobody asked: the first token, an engine that became ready."""


class Workspace(Struct, frozen=True):
    """What makes this installation tell-apart: made once, with the store.  `id` is a whole number of 16 digits."""

    id: int
    account_id: str
    created: float


class TokenInfo(Struct, frozen=True):
    """What may be told of an access token.  `expires` is inf for never."""

    id: str
    principal_id: str
    comment: str
    created: float
    expires: float = math.inf
    created_by: str = ""


class Identity(Struct, frozen=True):
    """A user, group or service principal.

    `name` is the user name of a user, the application id of a service principal, the display name of a group; it is
    unique among its kind.  `details` holds the rest of what SCIM was told: `emails`, `name`, `entitlements`, `roles`.
    """

    id: str
    kind: Kind
    name: str
    display_name: str
    active: bool = True
    external_id: str | None = None
    details: dict[str, Any] = msgspec.field(default_factory=dict)
    created_s: float = 0.0


class IdentityEntry(Struct, frozen=True):
    """An identity with the groups that it is in itself (not through others) and, of a group, its members."""

    identity: Identity
    groups: tuple[Identity, ...] = ()
    members: tuple[Identity, ...] = ()


class IdentityRevision(Struct, frozen=True):
    """What an identity shall be from now on.  `members` are ids; None leaves them as they are."""

    display_name: str
    active: bool
    external_id: str | None
    details: dict[str, Any]
    members: frozenset[str] | None = None


class ClientSecretInfo(Struct, frozen=True):
    """What may be told of an OAuth secret of a service principal.  `expires` is inf for never, `hash` its SHA-256."""

    id: str
    principal_id: str
    hash: str
    created: float
    expires: float = math.inf


COMMAND_LINE = Actor("", "tesela (command line)")
"""Whoever may read the home folder, and so needs no token."""


UpdateState = Literal["NOT_UPDATING", "IN_PROGRESS", "UPDATE_FAILED", "UPDATE_CANCELED"]


class StoredEndpoint(Struct, frozen=True):
    """An endpoint that was made through the API.

    `active` and `pending` are `config` objects of the REST API as they were asked for (`served_entities`,
    `traffic_config`), with keys that were given in plain sealed; `active` is None until the first one is ready.
    `settings` holds the rest of what was asked for: `tags`, `ai_gateway`, `rate_limits`, `description` and so on.
    `pending_version` tells one pending configuration from another that replaced it.
    """

    id: str
    name: str
    creator_id: str
    creator: str
    created_ms: int
    updated_ms: int
    config_version: int
    active: dict[str, Any] | None
    pending: dict[str, Any] | None
    pending_ms: int
    update_state: UpdateState
    update_message: str
    settings: dict[str, Any]
    version: int
    pending_version: int = 0

    def __repr__(self) -> str:
        return f"StoredEndpoint({self.name!r}, {self.update_state})"


SecretPermission = Literal["READ", "WRITE", "MANAGE"]
SECRET_PERMISSIONS: tuple[SecretPermission, ...] = ("READ", "WRITE", "MANAGE")
"""What one may do with a secret scope, the least first; each includes those before it."""


REFERRED_MAX = 8 * 1024
"""Bytes of a secret that endpoints can refer to: all of these are in the memory of every process that serves."""


class SecretInfo(Struct, frozen=True):
    """What may be told of a secret."""

    key: str
    updated_ms: int


class Holder(Struct, frozen=True):
    """Who can be granted something, by the name that people write.

    `name` is the user name of a user, the application id of a service principal, the display name of a group.
    """

    id: str
    kind: Kind
    name: str
    display_name: str = ""


AUDIT_FILTERS = ("action", "actor")
"""What audit records can be looked for by."""


class AuditRecord(Struct, frozen=True):
    """Who changed what, when and from where.  `status` is what the caller got: 200 for what was done."""

    id: int
    at_ms: int
    actor_id: str
    actor: str
    address: str
    request_id: str
    action: str
    object: str
    status: int
    message: str


class Contents(Struct, frozen=True):
    """All of the store that a snapshot is built from, as of one version.

    `everyone` is the id of the group `users`; `permissions` gives a level for each principal, by the endpoint's id;
    `secrets` gives values by `scope/key`;
    `keys` are the public halves of the signing keys (PEM) by their id, `client_secrets` the ids of those that there
    are.
    """

    version: int
    workspace: Workspace
    principals: dict[str, Principal]
    credentials: dict[bytes, Credential]
    endpoints: tuple[StoredEndpoint, ...] = ()
    everyone: str = ""
    permissions: dict[str, dict[str, Level]] = msgspec.field(default_factory=dict)
    secrets: dict[str, str] = msgspec.field(default_factory=dict)
    keys: dict[str, str] = msgspec.field(default_factory=dict)
    client_secrets: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        return f"Contents(version={self.version}, endpoints={len(self.endpoints)})"
