"""The OAuth secrets of service principals, kept as digests: whoever reads the store cannot sign in with them."""

import hmac
import math
import secrets
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select

from tesela.errors import InvalidRequest, NotFound
from tesela.records import Actor, ClientSecretInfo
from tesela.snapshot import digest
from tesela.store.database import Database
from tesela.store.tables import CLIENT_SECRETS, PRINCIPALS

MOST = 5
"""Secrets of one service principal, as in a Databricks workspace."""
LIFETIME_S = 730 * 86_400.0
"""How long a secret is valid when nobody says, and at most."""


class Client(NamedTuple):
    """A service principal that has shown one of its secrets.  `application_id` is what it calls itself."""

    principal_id: str
    application_id: str
    secret_id: str


class ClientSecrets:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, by: Actor, principal_id: str, lifetime_s: float | None = None) -> tuple[str, ClientSecretInfo]:
        """A new secret and what may be told of it.  The secret is kept nowhere.

        Raises NotFound when there is no such service principal, InvalidRequest when it has five already.
        """
        secret = f"dose{secrets.token_hex(16)}"
        secret_id = secrets.token_hex(16)
        kept = digest(secret.encode())
        with self._database.change(by, "service_principal_secrets.create", principal_id, "keys") as change:
            _exists(change.connection, principal_id)
            mine = CLIENT_SECRETS.c.principal_id == principal_id
            count = change.connection.execute(select(func.count()).select_from(CLIENT_SECRETS).where(mine)).scalar_one()
            if count >= MOST:
                raise InvalidRequest(
                    f"service principal {principal_id} has {MOST} secrets, which is as many as it can have; delete one"
                )
            expires = change.now + (LIFETIME_S if lifetime_s is None else lifetime_s)
            row = {
                "id": secret_id,
                "principal_id": principal_id,
                "digest": kept,
                "created_s": change.now,
                "expires_s": expires,
            }
            change.connection.execute(insert(CLIENT_SECRETS).values(row))
        return secret, ClientSecretInfo(secret_id, principal_id, kept.hex(), change.now, expires)

    def of(self, principal_id: str) -> list[ClientSecretInfo]:
        """The secrets of a service principal, the oldest first.  Raises NotFound when there is no such one."""
        order = (CLIENT_SECRETS.c.created_s, CLIENT_SECRETS.c.id)
        with self._database.read() as connection:
            _exists(connection, principal_id)
            mine = select(CLIENT_SECRETS).where(CLIENT_SECRETS.c.principal_id == principal_id).order_by(*order)
            return [_info(row) for row in connection.execute(mine)]

    def delete(self, by: Actor, principal_id: str, secret_id: str) -> None:
        """Forget a secret, and with it the tokens that were got with it.  Raises NotFound."""
        with self._database.change(by, "service_principal_secrets.delete", principal_id, "keys") as change:
            _exists(change.connection, principal_id)
            one = (CLIENT_SECRETS.c.id == secret_id) & (CLIENT_SECRETS.c.principal_id == principal_id)
            if change.connection.execute(delete(CLIENT_SECRETS).where(one)).rowcount == 0:
                raise NotFound(f"service principal {principal_id} has no secret with id {secret_id[:64]!r}")

    def check(self, client_id: str, secret: str, now: float) -> Client | None:
        """Who has shown this secret; None for a wrong or expired one, and for a service principal that is not active.

        What is looked up is the digest of what was sent, so the time that it takes tells nothing about a secret.
        """
        kept = digest(secret.encode("utf-8", "surrogatepass"))
        statement = (
            select(CLIENT_SECRETS.c.id, CLIENT_SECRETS.c.expires_s, PRINCIPALS.c.id, PRINCIPALS.c.name)
            .join(PRINCIPALS, PRINCIPALS.c.id == CLIENT_SECRETS.c.principal_id)
            .where(CLIENT_SECRETS.c.digest == kept, PRINCIPALS.c.kind == "service_principal", PRINCIPALS.c.active)
        )
        with self._database.read() as connection:
            row = connection.execute(statement).one_or_none()
        if row is None:
            return None
        secret_id, expires, principal_id, name = row
        same = hmac.compare_digest(name.encode(), client_id.encode("utf-8", "surrogatepass"))
        return Client(principal_id, name, secret_id) if same and (expires is None or now < expires) else None

    def ids(self, connection: Connection) -> frozenset[str]:
        """The ids of all secrets: a signed token ends with the one that it was got with."""
        return frozenset(connection.execute(select(CLIENT_SECRETS.c.id)).scalars())


def _exists(connection: Connection, principal_id: str) -> None:
    found = (PRINCIPALS.c.id == principal_id) & (PRINCIPALS.c.kind == "service_principal")
    if connection.execute(select(PRINCIPALS.c.id).where(found)).one_or_none() is None:
        raise NotFound(f"there is no service principal with id {principal_id[:64]!r}")


def _info(row: Any) -> ClientSecretInfo:
    expires = math.inf if row.expires_s is None else row.expires_s
    return ClientSecretInfo(row.id, row.principal_id, row.digest.hex(), row.created_s, expires)
