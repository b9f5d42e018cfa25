"""Endpoints that were made through the API: their configuration, the one that waits, and how the update went.

A configuration that can serve at once becomes the active one in the change that brings it.  Any other waits as the
pending one, and the active one goes on serving until `activate` says that everything is there.  An update that failed
is dropped; but where there was no configuration before, the one that was asked for is kept as the
pending one, or there would be nothing left to see.
"""

import secrets
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, literal, select, update

from tesela.errors import AlreadyExists, Conflict, InvalidRequest, NotFound
from tesela.records import SYSTEM, Actor, StoredEndpoint
from tesela.store import sealed
from tesela.store.database import Change, Database
from tesela.store.endpoint_rows import find, json_text, possible, row_of, select_all
from tesela.store.tables import ENDPOINTS, PERMISSIONS, PRINCIPALS
from tesela.store.vault import Vault

Rewrite = Callable[[dict[str, Any]], dict[str, Any]]

MESSAGE_MAX = 2000
MOST = 10_000
"""Endpoints, for all are in the memory of every process that serves, and anybody may make them."""


class _NothingToDo(Exception):
    """Undoes a change that came too late to mean anything."""


class Endpoints:
    """The endpoints of the store.  Configurations come out as they are kept, with keys sealed: see `opened`."""

    def __init__(self, database: Database, vault: Vault, most: int = MOST) -> None:
        self._database = database
        self._vault = vault
        self._most = most

    # Reading.

    def get(self, name: str) -> StoredEndpoint | None:
        return self._one(ENDPOINTS.c.name == name) if possible(name) else None

    def by_id(self, endpoint_id: str) -> StoredEndpoint | None:
        return self._one(ENDPOINTS.c.id == endpoint_id) if possible(endpoint_id) else None

    def list(self) -> tuple[StoredEndpoint, ...]:
        with self._database.read() as connection:
            return self.all(connection)

    def all(self, connection: Connection) -> tuple[StoredEndpoint, ...]:
        """In the order of their names."""
        return select_all(connection, ENDPOINTS.c.version >= 0)

    def changed_since(self, connection: Connection, version: int) -> tuple[StoredEndpoint, ...]:
        """Those made or changed after `version`; what is gone is not in `ids` any more."""
        return select_all(connection, ENDPOINTS.c.version > version)

    def ids(self, connection: Connection) -> frozenset[str]:
        return frozenset(connection.execute(select(ENDPOINTS.c.id)).scalars())

    def opened(self, config: dict[str, Any], endpoint_id: str) -> dict[str, Any]:
        """A configuration with the keys that it was given.  Raises ConfigError when they cannot be opened."""
        return sealed.opened(config, endpoint_id, self._vault)

    # Changing.

    def create(
        self,
        by: Actor,
        name: str,
        config: dict[str, Any],
        settings: dict[str, Any],
        *,
        ready: bool,
        id: str | None = None,
    ) -> StoredEndpoint:
        """Whoever makes an endpoint manages it.  Raises AlreadyExists, and InvalidRequest when there are too many."""
        made_id = id or secrets.token_hex(16)
        with self._database.change(by, "endpoints.create", name, "endpoints", "permissions") as change:
            if find(change.connection, ENDPOINTS.c.name == name) is not None:
                raise AlreadyExists(f"there is an endpoint {name!r} already", param="name")
            there = change.connection.execute(select(func.count()).select_from(ENDPOINTS)).scalar_one()
            if there >= self._most:
                raise InvalidRequest(f"there are {there} endpoints, and no more are allowed; delete some first")
            now = _ms(change)
            blank = StoredEndpoint(
                id=made_id,
                name=name,
                creator_id=by.id,
                creator=by.name[:256],
                created_ms=now,
                updated_ms=now,
                config_version=0,
                active=None,
                pending=None,
                pending_ms=0,
                update_state="NOT_UPDATING",
                update_message="",
                settings=settings,
                version=change.version,
            )
            made = self._configured(blank, config, ready, change)
            change.connection.execute(insert(ENDPOINTS).values(row_of(made)))
            # From a select: a principal that was removed a moment ago is granted nothing, and is no error.
            known = select(literal(made_id), PRINCIPALS.c.id, literal("CAN_MANAGE")).where(PRINCIPALS.c.id == by.id)
            change.connection.execute(insert(PERMISSIONS).from_select(["endpoint_id", "principal_id", "level"], known))
            return made

    def update_config(
        self, by: Actor, name: str, config: dict[str, Any], *, ready: bool, was: StoredEndpoint | None = None
    ) -> StoredEndpoint:
        """`was` is the endpoint as it was when this was decided, as for all changes here.

        Raises NotFound, and Conflict while another update is under way or when one was made since.
        """
        with self._database.change(by, "endpoints.update_config", name, "endpoints") as change:
            found = _named(change.connection, name, was)
            if was is not None and found.config_version != was.config_version:
                raise Conflict(
                    f"endpoint {name!r} got another configuration meanwhile: look at it, and send this again"
                )
            if found.update_state == "IN_PROGRESS":
                raise Conflict(
                    f"an update of endpoint {name!r} is under way: wait until it is done (state.config_update is "
                    "NOT_UPDATING then) and send this one again"
                )
            return _save(change, self._configured(found, config, ready, change))

    def activate(self, endpoint_id: str, pending_version: int, by: Actor = SYSTEM) -> bool:
        """The pending configuration becomes the active one.  False when it is not the pending one any more."""

        def ready(found: StoredEndpoint, change: Change) -> StoredEndpoint:
            return msgspec.structs.replace(
                found,
                active=found.pending,
                pending=None,
                config_version=found.config_version + 1,
                update_state="NOT_UPDATING",
                update_message="",
                updated_ms=_ms(change),
            )

        return self._settle(by, "endpoints.activate", endpoint_id, pending_version, ready)

    def fail(self, endpoint_id: str, pending_version: int, message: str, by: Actor = SYSTEM) -> bool:
        """The pending configuration cannot serve, and `message` says why.  The active one stays."""

        def failed(found: StoredEndpoint, _change: Change) -> StoredEndpoint:
            return msgspec.structs.replace(
                _given_up(found), update_state="UPDATE_FAILED", update_message=message[:MESSAGE_MAX]
            )

        return self._settle(by, "endpoints.fail", endpoint_id, pending_version, failed)

    def change_settings(
        self,
        by: Actor,
        name: str,
        changes: Mapping[str, Any] | Rewrite,
        action: str = "endpoints.change_settings",
        *,
        was: StoredEndpoint | None = None,
    ) -> StoredEndpoint:
        """Lays these over the settings; None takes one away.  A function gets the settings of now and gives the new.

        Raises NotFound.
        """
        with self._database.change(by, action, name, "endpoints") as change:
            found = _named(change.connection, name, was)
            settings = changes(found.settings) if callable(changes) else {**found.settings, **changes}
            kept = {key: value for key, value in settings.items() if value is not None}
            return _save(change, msgspec.structs.replace(found, settings=kept, updated_ms=_ms(change)))

    def delete(self, by: Actor, name: str, *, was: StoredEndpoint | None = None) -> StoredEndpoint:
        """What it was.  Raises NotFound."""
        with self._database.change(by, "endpoints.delete", name, "endpoints", "permissions") as change:
            found = _named(change.connection, name, was)
            change.connection.execute(delete(PERMISSIONS).where(PERMISSIONS.c.endpoint_id == found.id))
            change.connection.execute(delete(ENDPOINTS).where(ENDPOINTS.c.id == found.id))
            return found

    def reseal(self, connection: Connection, vault: Vault) -> int:
        """Seals every key anew with another vault, for a new master key; how many endpoints hold keys in plain."""
        changed = 0
        for one in self.all(connection):
            turned = {
                name: sealed.seal(self.opened(config, one.id), one.id, vault)
                for name, config in (("active", one.active), ("pending", one.pending))
                if config is not None and sealed.without_keys(config) != config
            }
            if turned:
                values = {name: json_text(config) for name, config in turned.items()}
                connection.execute(update(ENDPOINTS).where(ENDPOINTS.c.id == one.id).values(values))
                changed += 1
        return changed

    def _one(self, where: Any) -> StoredEndpoint | None:
        with self._database.read() as connection:
            return find(connection, where)

    def _configured(self, found: StoredEndpoint, config: dict[str, Any], ready: bool, change: Change) -> StoredEndpoint:
        kept = sealed.seal(config, found.id, self._vault)
        if ready:
            return msgspec.structs.replace(
                found,
                active=kept,
                pending=None,
                config_version=found.config_version + 1,
                update_state="NOT_UPDATING",
                update_message="",
                updated_ms=_ms(change),
            )
        return msgspec.structs.replace(
            found,
            pending=kept,
            pending_ms=_ms(change),
            pending_version=change.version,
            update_state="IN_PROGRESS",
            update_message="",
            updated_ms=_ms(change),
        )

    def _settle(
        self,
        by: Actor,
        action: str,
        endpoint_id: str,
        pending_version: int,
        settled: Callable[[StoredEndpoint, Change], StoredEndpoint],
    ) -> bool:
        try:
            with self._database.change(by, action, endpoint_id, "endpoints") as change:
                found = _waiting(change.connection, endpoint_id, pending_version)
                _save(change, settled(found, change))
        except _NothingToDo:
            return False
        return True


def _given_up(found: StoredEndpoint) -> StoredEndpoint:
    return found if found.active is None else msgspec.structs.replace(found, pending=None)


def _named(connection: Connection, name: str, was: StoredEndpoint | None = None) -> StoredEndpoint:
    found = find(connection, ENDPOINTS.c.name == name) if possible(name) else None
    # One that somebody made since under the name of the one that was meant is theirs.
    if found is None or (was is not None and found.id != was.id):
        raise NotFound(f"there is no endpoint {name!r}; GET /api/2.0/serving-endpoints lists what there is")
    return found


def _waiting(connection: Connection, endpoint_id: str, pending_version: int) -> StoredEndpoint:
    found = find(connection, ENDPOINTS.c.id == endpoint_id)
    if found is None or found.update_state != "IN_PROGRESS" or found.pending_version != pending_version:
        raise _NothingToDo
    return found


def _save(change: Change, endpoint: StoredEndpoint) -> StoredEndpoint:
    saved = msgspec.structs.replace(endpoint, version=change.version)
    change.connection.execute(update(ENDPOINTS).where(ENDPOINTS.c.id == saved.id).values(row_of(saved)))
    return saved


def _ms(change: Change) -> int:
    return int(change.now * 1000)
