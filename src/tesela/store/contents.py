"""Reads what a snapshot is built from, of one moment, and only the kinds of things that have changed since the last."""

import msgspec
from sqlalchemy import Connection, select

from tesela.errors import ConfigError
from tesela.records import Contents, StoredEndpoint, Workspace
from tesela.store.database import Database
from tesela.store.store import Store
from tesela.store.tables import KINDS, STATE


def read_version(database: Database) -> int:
    """The number that every change raises.  Raises StoreUnavailable."""
    with database.read() as connection:
        return int(connection.execute(select(STATE.c.version)).scalar_one())


def read_contents(store: Store, before: Contents | None = None) -> Contents:
    """All of it, as it is now; `before` itself when nothing has changed since.  Raises StoreUnavailable."""
    with store.database.read() as connection:
        version, workspace, account, created = connection.execute(
            select(STATE.c.version, STATE.c.workspace_id, STATE.c.account_id, STATE.c.created_s)
        ).one()
        if before is not None and version == before.version:
            return before
        if before is None:
            before = Contents(-1, Workspace(workspace, account, created), {}, {})
        since = before.version
        changed = set(connection.execute(select(KINDS.c.kind).where(KINDS.c.version > since)).scalars())
        if since < 0:
            changed |= {"principals", "tokens", "endpoints", "permissions", "secrets", "keys"}
        parts: dict[str, object] = {"version": int(version)}
        principals = before.principals
        if "principals" in changed:
            parts["principals"] = principals = store.identities.principals(connection)
            parts["everyone"] = store.identities.everyone(connection)
        if changed & {"principals", "tokens"}:
            parts["credentials"] = store.tokens.credentials(connection, principals)
        if "endpoints" in changed:
            parts["endpoints"] = _endpoints(store, connection, before)
        if changed & {"permissions", "endpoints"}:
            parts["permissions"] = store.permissions.all(connection)
        if "secrets" in changed:
            parts["secrets"] = store.secrets.values(connection, before.secrets)
        if "keys" in changed:
            parts["keys"] = store.signing.public_keys(connection)
            parts["client_secrets"] = store.client_secrets.ids(connection)
    return msgspec.structs.replace(before, **parts)


def _endpoints(store: Store, connection: Connection, before: Contents) -> tuple[StoredEndpoint, ...]:
    """Those that have changed since, beside those that have not."""
    there = store.endpoints.ids(connection)
    found = {one.name: one for one in before.endpoints if one.id in there}
    known = {one.id: one for one in before.endpoints}
    for one in store.endpoints.changed_since(connection, before.version):
        found[one.name] = _opened(store, one, known.get(one.id))
    return tuple(found[name] for name in sorted(found))


def _opened(store: Store, one: StoredEndpoint, before: StoredEndpoint | None) -> StoredEndpoint:
    """With the keys of its active configuration, the only one that is called.

    When they cannot be opened, because the master key has been rotated, it is what it was before.
    """
    if one.active is None:
        return one
    try:
        return msgspec.structs.replace(one, active=store.endpoints.opened(one.active, one.id))
    except ConfigError as exc:
        if before is not None:
            return before
        return msgspec.structs.replace(one, active=None, update_message=exc.message)
