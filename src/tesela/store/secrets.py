"""Secret scopes, their values (sealed) and who may read, write or manage them.

Names are spelled as they were first written and found in any case, as in a workspace.
"""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from tesela.errors import AlreadyExists, ConfigError, InvalidRequest, NotFound, PermissionDenied
from tesela.records import REFERRED_MAX, SECRET_PERMISSIONS, Actor, Holder, SecretInfo, SecretPermission
from tesela.snapshot import Principal
from tesela.store.database import Database
from tesela.store.endpoint_rows import referring
from tesela.store.identity_rules import USERS
from tesela.store.named import any_holder, holder, holders
from tesela.store.tables import SCOPES, SECRET_ACLS, SECRETS
from tesela.store.vault import OVERHEAD, Vault

SCOPES_MAX = 1000
SECRETS_MAX = 1000
"""Of one scope.  Both are Databricks' limits (docs.databricks.com, security/secrets)."""
ALL_MAX = 20_000
"""Of all scopes."""


class Secrets:
    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    # Scopes

    def create_scope(self, by: Actor, scope: str, *, everyone: bool = False) -> None:
        """Its maker gets MANAGE on it, or the group of all users.  Raises AlreadyExists, InvalidRequest."""
        with self._database.change(by, "secrets.create_scope", scope, "secrets") as (connection, _, now):
            there = _scope(connection, scope)
            if there is not None:
                raise AlreadyExists(f"there is a secret scope {there!r} already", param="scope")
            if _count(connection, SCOPES) >= SCOPES_MAX:
                raise InvalidRequest(f"there are {SCOPES_MAX} secret scopes already: delete one first", param="scope")
            left = next((name for name, creator in referring(connection, scope) if creator != by.id), None)
            if left is not None:
                # It would send what is put here to wherever it points, without anybody's leave.
                raise InvalidRequest(
                    f"endpoint {left!r} still refers to a secret scope of this name, which was deleted: choose another "
                    "name, or have that endpoint changed or deleted first",
                    param="scope",
                )
            manager = holder(connection, "group", USERS) if everyone else _maker(connection, by)
            if manager is None:
                raise PermissionDenied(f"{by.name} is no principal that a secret scope can be given to")
            connection.execute(insert(SCOPES).values(name=scope, created_s=now))
            connection.execute(insert(SECRET_ACLS).values(scope=scope, principal_id=manager.id, permission="MANAGE"))

    def scopes(self, principal: Principal) -> list[str]:
        """The names of the scopes that the principal may at least read, in order."""
        return sorted(self.readable(principal))

    def delete_scope(self, by: Actor, scope: str) -> None:
        """With all that is in it.  Raises NotFound."""
        with self._database.change(by, "secrets.delete_scope", scope, "secrets") as (connection, _, _):
            name = _there(connection, scope)
            for table in (SECRETS, SECRET_ACLS):
                connection.execute(delete(table).where(table.c.scope == name))
            connection.execute(delete(SCOPES).where(SCOPES.c.name == name))

    # Secrets

    def put(self, by: Actor, scope: str, key: str, value: bytes) -> None:
        """Keep a value, in the place of the one that was there.  Raises NotFound, InvalidRequest."""
        with self._database.change(by, "secrets.put", f"{scope}/{key}", "secrets") as (connection, _, now):
            scope = _there(connection, scope)
            there = _key(connection, scope, key)
            if there is None and _count(connection, SECRETS, SECRETS.c.scope == scope) >= SECRETS_MAX:
                raise InvalidRequest(f"scope {scope!r} holds {SECRETS_MAX} secrets: delete one first", param="key")
            if there is None and _count(connection, SECRETS) >= ALL_MAX:
                raise InvalidRequest(f"the scopes together hold {ALL_MAX} secrets: delete one first", param="key")
            key = there or key
            sealed = self._vault.seal(value, context(scope, key))
            row = {"scope": scope, "key": key, "value": sealed, "updated_ms": int(now * 1000)}
            self._database.put(connection, SECRETS, row)

    def delete(self, by: Actor, scope: str, key: str) -> None:
        """Raises NotFound."""
        with self._database.change(by, "secrets.delete", f"{scope}/{key}", "secrets") as (connection, _, _):
            scope = _there(connection, scope)
            key = _there_key(connection, scope, key)
            connection.execute(delete(SECRETS).where(SECRETS.c.scope == scope, SECRETS.c.key == key))

    def keys(self, scope: str) -> list[SecretInfo]:
        """Raises NotFound."""
        with self._database.read() as connection:
            mine = SECRETS.c.scope == _there(connection, scope)
            found = select(SECRETS.c.key, SECRETS.c.updated_ms).where(mine).order_by(SECRETS.c.key)
            return [SecretInfo(row.key, row.updated_ms) for row in connection.execute(found)]

    def get(self, scope: str, key: str) -> bytes:
        """The value.  Raises NotFound, and ConfigError when it was sealed with another master key."""
        with self._database.read() as connection:
            scope = _there(connection, scope)
            key = _there_key(connection, scope, key)
            one = select(SECRETS.c.value).where(SECRETS.c.scope == scope, SECRETS.c.key == key)
            sealed = connection.execute(one).scalar_one()
        return self._vault.unseal(sealed, context(scope, key))

    def values(self, connection: Connection, known: Mapping[str, str]) -> dict[str, str]:
        """All values by `scope/key`, for the snapshot.

        What cannot be opened, because the master key has been rotated, is what it was among the `known` ones.  What is
        not there, too long or not UTF-8 is left out: an endpoint that refers to it is broken, and no other is.
        """
        out: dict[str, str] = {}
        short = func.length(SECRETS.c.value) <= REFERRED_MAX + OVERHEAD
        for row in connection.execute(select(SECRETS.c.scope, SECRETS.c.key, SECRETS.c.value).where(short)):
            name = f"{row.scope}/{row.key}"
            try:
                out[name] = self._vault.unseal(row.value, context(row.scope, row.key)).decode()
            except UnicodeDecodeError:
                continue
            except ConfigError:
                if name in known:
                    out[name] = known[name]
        return out

    def reseal(self, connection: Connection, vault: Vault) -> int:
        """Seal every value with another master key; how many there are.  Raises ConfigError if one cannot be opened."""
        rows = connection.execute(select(SECRETS.c.scope, SECRETS.c.key, SECRETS.c.value)).all()
        for row in rows:
            place = context(row.scope, row.key)
            sealed = vault.seal(self._vault.unseal(row.value, place), place)
            mine = (SECRETS.c.scope == row.scope, SECRETS.c.key == row.key)
            connection.execute(update(SECRETS).where(*mine).values(value=sealed))
        return len(rows)

    # Access control lists

    def put_acl(self, by: Actor, scope: str, name: str, permission: SecretPermission) -> None:
        """Give a user, group or service principal this permission, instead of the one it has.

        Raises NotFound for the scope, InvalidRequest for the principal.
        """
        thing = f"{scope}: {name}={permission}"
        with self._database.change(by, "secrets.put_acl", thing, "secrets") as (connection, _, _):
            scope = _there(connection, scope)
            found = any_holder(connection, name)
            if found is None:
                raise InvalidRequest(
                    f"there is no user, group or service principal {name!r}; a service principal is named by its "
                    "application id",
                    param="principal",
                )
            row = {"scope": scope, "principal_id": found.id, "permission": permission}
            self._database.put(connection, SECRET_ACLS, row)

    def delete_acl(self, by: Actor, scope: str, name: str) -> None:
        """Raises NotFound."""
        with self._database.change(by, "secrets.delete_acl", f"{scope}: {name}", "secrets") as (connection, _, _):
            scope = _there(connection, scope)
            found, _ = _acl(connection, scope, name)
            mine = (SECRET_ACLS.c.scope == scope, SECRET_ACLS.c.principal_id == found.id)
            connection.execute(delete(SECRET_ACLS).where(*mine))

    def acls(self, scope: str) -> list[tuple[Holder, SecretPermission]]:
        """Who was given what, by name.  Raises NotFound."""
        with self._database.read() as connection:
            mine = SECRET_ACLS.c.scope == _there(connection, scope)
            rows = connection.execute(select(SECRET_ACLS.c.principal_id, SECRET_ACLS.c.permission).where(mine)).all()
            named = holders(connection, [row.principal_id for row in rows])
        out = [(named[row.principal_id], row.permission) for row in rows if row.principal_id in named]
        return sorted(out, key=lambda one: one[0].name)

    def acl(self, scope: str, name: str) -> tuple[Holder, SecretPermission]:
        """Raises NotFound."""
        with self._database.read() as connection:
            return _acl(connection, _there(connection, scope), name)

    def may(self, principal: Principal, scope: str, permission: SecretPermission) -> bool:
        """False for a scope that is not there."""
        with self._database.read() as connection:
            name = _scope(connection, scope)
            return name is not None and (principal.admin or name in _held(connection, principal, permission, name))

    def require(self, principal: Principal, scope: str, permission: SecretPermission) -> None:
        """Raises NotFound when there is no such scope, PermissionDenied when the principal may not do that with it."""
        with self._database.read() as connection:
            name = _there(connection, scope)
            if not principal.admin and name not in _held(connection, principal, permission, name):
                raise PermissionDenied(
                    f"{principal.name} does not have {permission} permission on scope {name}; whoever has MANAGE on it "
                    "can give it"
                )

    def readable(self, principal: Principal) -> set[str]:
        """The names of the scopes whose secrets the principal may read.  An admin may read all."""
        with self._database.read() as connection:
            if principal.admin:
                return set(connection.execute(select(SCOPES.c.name)).scalars())
            return _held(connection, principal, "READ")


def context(scope: str, key: str) -> str:
    """What a sealed value is bound to: it opens in no other place."""
    return f"secret/{scope}/{key}"


def _held(
    connection: Connection, principal: Principal, permission: SecretPermission, scope: str | None = None
) -> set[str]:
    """The scopes, or of one the name, on which the principal has the permission or more, maybe through a group."""
    enough = SECRET_PERMISSIONS[SECRET_PERMISSIONS.index(permission) :]
    asked = select(SECRET_ACLS.c.scope, SECRET_ACLS.c.principal_id).where(SECRET_ACLS.c.permission.in_(enough))
    rows = connection.execute(asked if scope is None else asked.where(SECRET_ACLS.c.scope == scope))
    return {row.scope for row in rows if row.principal_id == principal.id or row.principal_id in principal.groups}


def _scope(connection: Connection, scope: str) -> str | None:
    """The name of the scope as it is kept."""
    same = func.lower(SCOPES.c.name) == scope.lower()
    found: str | None = connection.execute(select(SCOPES.c.name).where(same)).scalar()
    return found


def _there(connection: Connection, scope: str) -> str:
    found = _scope(connection, scope)
    if found is None:
        raise NotFound(f"there is no secret scope {scope!r}", param="scope")
    return found


def _key(connection: Connection, scope: str, key: str) -> str | None:
    same = (SECRETS.c.scope == scope, func.lower(SECRETS.c.key) == key.lower())
    found: str | None = connection.execute(select(SECRETS.c.key).where(*same)).scalar()
    return found


def _there_key(connection: Connection, scope: str, key: str) -> str:
    found = _key(connection, scope, key)
    if found is None:
        raise NotFound(f"there is no secret {key!r} in scope {scope!r}", param="key")
    return found


def _acl(connection: Connection, scope: str, name: str) -> tuple[Holder, SecretPermission]:
    found = any_holder(connection, name)
    if found is not None:
        mine = (SECRET_ACLS.c.scope == scope, SECRET_ACLS.c.principal_id == found.id)
        permission = connection.execute(select(SECRET_ACLS.c.permission).where(*mine)).scalar()
        if permission is not None:
            return found, permission
    raise NotFound(f"{name!r} was given no permission on scope {scope!r}", param="principal")


def _maker(connection: Connection, by: Actor) -> Holder | None:
    return holders(connection, [by.id]).get(by.id)


def _count(connection: Connection, table: Any, *which: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(table).where(*which)).scalar_one())
