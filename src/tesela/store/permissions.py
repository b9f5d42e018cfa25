"""Who may see, query and manage which endpoint, and who may have access tokens."""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet

from sqlalchemy import Connection, delete, exc, select

from tesela.errors import NotFound
from tesela.records import Actor, Holder
from tesela.snapshot import LEVELS, Level, Principal
from tesela.store.database import Database
from tesela.store.identity_rules import ADMINS, USERS
from tesela.store.named import holder, holders
from tesela.store.tables import ENDPOINTS, PERMISSIONS

TOKENS = "authorization/tokens"
"""Stands for an endpoint's id in the rows that say who may have access tokens."""
CAN_USE = "CAN_USE"


class Permissions:
    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self, connection: Connection) -> dict[str, dict[str, Level]]:
        """The level of each principal, by the endpoint's id.  For the snapshot."""
        out: dict[str, dict[str, Level]] = {}
        for row in connection.execute(select(PERMISSIONS).where(PERMISSIONS.c.endpoint_id != TOKENS)):
            out.setdefault(row.endpoint_id, {})[row.principal_id] = row.level
        return out

    def of(self, endpoint_id: str) -> dict[str, Level]:
        """The level of each principal that was given one."""
        with self._database.read() as connection:
            return _of(connection, endpoint_id)

    def set(
        self, by: Actor, endpoint_id: str, levels: Mapping[str, Level], *, stored: bool = False
    ) -> dict[str, Level]:
        """Replace what was given; only the endpoint's creator still manages it.  Gives what holds then.

        `stored` says that the store has the endpoint.  Raises NotFound when it, or a principal, is gone.
        """

        def replaced(connection: Connection) -> dict[str, Level]:
            creator = connection.execute(select(ENDPOINTS.c.creator_id).where(ENDPOINTS.c.id == endpoint_id)).scalar()
            kept: dict[str, Level] = {
                who: level for who, level in _of(connection, endpoint_id).items() if who == creator
            }
            _forget(connection, endpoint_id)
            return {**levels, **kept}

        return self._give(by, "permissions.set", endpoint_id, levels, replaced, stored)

    def merge(
        self, by: Actor, endpoint_id: str, levels: Mapping[str, Level], *, stored: bool = False
    ) -> dict[str, Level]:
        """Give more; nobody loses anything.  Gives what holds then.  Raises like `set`."""

        def merged(connection: Connection) -> dict[str, Level]:
            out = _of(connection, endpoint_id)
            for who, level in levels.items():
                out[who] = max(out.get(who, level), level, key=LEVELS.index)
            return out

        return self._give(by, "permissions.update", endpoint_id, levels, merged, stored)

    # Access tokens.  The first time that somebody says who may have them, the group of admins is written too, so
    # that rows for nobody else differ from no rows at all, which let everyone have them.

    def token_users(self) -> dict[str, Holder]:
        """Who may have access tokens besides the admins, by id."""
        with self._database.read() as connection:
            return holders(connection, _token_users(connection))

    def may_have_tokens(self, principal: Principal) -> bool:
        if principal.admin:
            return True
        with self._database.read() as connection:
            return not _token_users(connection).isdisjoint({principal.id, *principal.groups})

    def set_token_users(self, by: Actor, ids: Iterable[str]) -> None:
        """Raises NotFound when a principal is gone."""
        self._token_change(by, "permissions.set", ids, lambda _: set())

    def add_token_users(self, by: Actor, ids: Iterable[str]) -> None:
        """Raises NotFound when a principal is gone."""
        self._token_change(by, "permissions.update", ids, _token_users)

    # Names

    def resolve(self, wanted: Iterable[tuple[str, str]]) -> list[Holder]:
        """The principals with these kinds and names.  Raises NotFound for the first one that is not there."""
        with self._database.read() as connection:
            out: list[Holder] = []
            for kind, name in wanted:
                found = holder(connection, kind, name)
                if found is None:
                    how = "; it is named by its application id" if kind == "service_principal" else ""
                    raise NotFound(f"there is no {kind.replace('_', ' ')} {name!r}{how}", param="access_control_list")
                out.append(found)
            return out

    def describe(self, ids: Iterable[str]) -> dict[str, Holder]:
        """The principals with these ids."""
        with self._database.read() as connection:
            return holders(connection, ids)

    def _give(
        self,
        by: Actor,
        action: str,
        endpoint_id: str,
        asked: Mapping[str, Level],
        change: Callable[[Connection], dict[str, Level]],
        stored: bool,
    ) -> dict[str, Level]:
        thing = f"{endpoint_id}: " + (", ".join(f"{who}={level}" for who, level in asked.items()) or "nobody")
        try:
            with self._database.change(by, action, thing, "permissions") as (connection, _, _):
                if (
                    stored
                    and connection.execute(select(ENDPOINTS.c.id).where(ENDPOINTS.c.id == endpoint_id)).first() is None
                ):
                    raise NotFound("the endpoint was deleted meanwhile, so nothing was changed")
                out = change(connection)
                for who, level in out.items():
                    row = {"endpoint_id": endpoint_id, "principal_id": who, "level": level}
                    self._database.put(connection, PERMISSIONS, row)
        except exc.IntegrityError as error:
            raise _gone() from error
        return out

    def _token_change(
        self, by: Actor, action: str, ids: Iterable[str], before: Callable[[Connection], AbstractSet[str]]
    ) -> None:
        wanted = set(ids)
        thing = f"{TOKENS}: " + (", ".join(f"{who}={CAN_USE}" for who in sorted(wanted)) or "nobody")
        try:
            with self._database.change(by, action, thing, "permissions") as (connection, _, _):
                users = before(connection) | wanted
                _forget(connection, TOKENS)
                admins = holder(connection, "group", ADMINS)
                levels = dict.fromkeys(users, CAN_USE) | ({admins.id: "CAN_MANAGE"} if admins else {})
                for who, level in levels.items():
                    row = {"endpoint_id": TOKENS, "principal_id": who, "level": level}
                    self._database.put(connection, PERMISSIONS, row)
        except exc.IntegrityError as error:
            raise _gone() from error


def _of(connection: Connection, endpoint_id: str) -> dict[str, Level]:
    rows = connection.execute(select(PERMISSIONS).where(PERMISSIONS.c.endpoint_id == endpoint_id))
    return {row.principal_id: row.level for row in rows}


def _forget(connection: Connection, endpoint_id: str) -> None:
    connection.execute(delete(PERMISSIONS).where(PERMISSIONS.c.endpoint_id == endpoint_id))


def _token_users(connection: Connection) -> AbstractSet[str]:
    rows = connection.execute(select(PERMISSIONS).where(PERMISSIONS.c.endpoint_id == TOKENS)).all()
    if rows:
        return {row.principal_id for row in rows if row.level == CAN_USE}
    users = holder(connection, "group", USERS)
    return {users.id} if users else frozenset()


def _gone() -> NotFound:
    return NotFound(
        "one of the principals was deleted meanwhile, so nothing was changed: look who is still there",
        param="access_control_list",
    )
