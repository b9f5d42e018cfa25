"""Users, groups and service principals, and who belongs to what.

Some things always hold: there is an active admin once there was one, the groups `admins` and `users` are there under
these names, and no group contains itself.  A change that would end that is refused as a whole.
"""

import builtins
import uuid
from collections.abc import Callable, Collection
from typing import Any

from sqlalchemy import Connection, delete

from tesela.errors import InvalidRequest
from tesela.records import SYSTEM, Actor, Identity, IdentityEntry, IdentityRevision
from tesela.snapshot import Kind, Principal
from tesela.store import identity_rows as rows
from tesela.store import identity_rules as rules
from tesela.store import membership
from tesela.store.database import Database
from tesela.store.identity_rows import ADMIN, NothingToDo
from tesela.store.tables import PRINCIPALS

KINDS = ("principals", "tokens")
"""What changes with an identity: its tokens can end."""


class Identities:
    """The identities of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Reading.

    def get(self, id: str, kind: Kind | None = None) -> Identity:
        """Raises NotFound, also for another kind than the one that is asked for."""
        with self._database.read() as connection:
            return rows.get(connection, id, kind)

    def find(self, kind: Kind, name: str) -> Identity | None:
        """By user name, application id or the name of a group."""
        with self._database.read() as connection:
            return rows.find(connection, kind, name)

    def list(self, kind: Kind | None = None) -> builtins.list[Identity]:
        """The oldest first."""
        with self._database.read() as connection:
            return rows.all_of(connection, kind)

    def entry(self, id: str, kind: Kind | None = None) -> IdentityEntry:
        """Raises NotFound."""
        with self._database.read() as connection:
            return rows.entry(connection, rows.get(connection, id, kind))

    def entries(self, kind: Kind) -> builtins.list[IdentityEntry]:
        """All of a kind, the oldest first."""
        with self._database.read() as connection:
            return rows.entries(connection, kind)

    def principals(self, connection: Connection | None = None) -> dict[str, Principal]:
        """Every active user and service principal by id, with all the groups that they belong to."""
        if connection is not None:
            return membership.principals(connection)
        with self._database.read() as opened:
            return membership.principals(opened)

    def everyone(self, connection: Connection) -> str:
        """The id of the group `users`."""
        return membership.fixed_id(connection, rules.USERS)

    # Changing.

    def create(
        self,
        by: Actor,
        kind: Kind,
        name: str,
        display_name: str = "",
        *,
        active: bool = True,
        external_id: str | None = None,
        details: dict[str, Any] | None = None,
        members: Collection[str] = (),
        groups: Collection[str] = (),
    ) -> Identity:
        """`members` are ids, of a group; `groups` are the ids of groups to be in from the start.

        An application id is made when the name is empty.  Raises AlreadyExists and InvalidRequest.
        """
        if kind == "service_principal" and not name:
            name = str(uuid.uuid4())
        name = rules.name(kind, name)
        shown = name if kind == "group" else rules.text(display_name, "displayName").strip() or name
        new = Identity("", kind, name, shown, active or kind == "group", rules.external_id(external_id), details or {})
        with self._database.change(by, f"{kind}s.create", name, "principals") as change:
            made = rows.make(change, new)
            rows.add_members(change.connection, made, frozenset(members))
            for group in rows.groups(change.connection, groups):
                rows.add_members(change.connection, group, [made.id])
            return made

    def revise(
        self, by: Actor, id: str, revision: Callable[[IdentityEntry], IdentityRevision], kind: Kind | None = None
    ) -> IdentityEntry:
        """Make of an identity what the function makes of it.  Nobody else changes it meanwhile.

        A user or service principal that is not active any more loses its access tokens.  Raises NotFound,
        AlreadyExists and InvalidRequest, and whatever the function raises.
        """
        before = self.entry(id, kind)
        action = f"{before.identity.kind}s.update"
        try:
            with (
                self._database.change(by, action, before.identity.name, *KINDS) as change,
                rows.an_admin_left(change.connection),
            ):
                before = rows.entry(change.connection, rows.get(change.connection, id, kind))
                rows.revise(change, before, revision(before))
                return rows.entry(change.connection, rows.get(change.connection, id))
        except NothingToDo:
            return before

    def delete(self, by: Actor, id: str, kind: Kind | None = None) -> None:
        """With its access tokens, permissions and memberships.  Raises NotFound and InvalidRequest."""
        found = self.get(id, kind)
        with (
            self._database.change(by, f"{found.kind}s.delete", found.name, *KINDS, "permissions") as change,
            rows.an_admin_left(change.connection),
        ):
            if found.kind == "group" and found.name in rules.FIXED:
                raise InvalidRequest(f"the group {found.name!r} cannot be deleted: it is always there")
            if change.connection.execute(delete(PRINCIPALS).where(PRINCIPALS.c.id == id)).rowcount == 0:
                raise rows.unknown(id, found.kind)

    def first_admin(self, now: float | None = None) -> Principal:
        """The oldest admin.  When there is none, `admin@localhost` is made one, as of `now`."""
        with self._database.read() as connection:
            found = membership.first_admin(connection)
            if found is not None:
                return membership.principals(connection)[found]
        with self._database.change(SYSTEM, "users.create", ADMIN, "principals") as change:
            made = rows.ensure_admin(change if now is None else change._replace(now=now))
            return membership.principals(change.connection)[made]
