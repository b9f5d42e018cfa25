"""Personal access tokens, kept as digests: whoever reads the store cannot call with what is there."""

import builtins
import math
import secrets
import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, or_, select, update

from tesela.errors import InvalidRequest, NotFound
from tesela.records import SYSTEM, Actor, TokenInfo
from tesela.snapshot import Credential, Principal, digest
from tesela.store import identity_rows, identity_rules
from tesela.store.database import Change, Database
from tesela.store.identity_rules import COMMENT_MAX, LIFETIME_MAX_S
from tesela.store.tables import ACCESS_TOKENS, STATE

MOST = 600
"""The tokens that one principal may have, expired ones aside."""
KEPT_S = 7 * 86_400
"""How long an expired token is kept, so that whoever still sends it is told that it expired."""

COLUMNS = [ACCESS_TOKENS.c[name] for name in ("id", "principal_id", "comment", "created_s", "expires_s", "created_by")]


class Tokens:
    """The access tokens of the store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, by: Actor, principal_id: str, comment: str, lifetime_s: float | None) -> tuple[str, TokenInfo]:
        """A new access token, and what will be told of it.  The token itself is kept nowhere.

        Without a lifetime it does not expire.  Raises NotFound for a principal that cannot have one, InvalidRequest
        for a comment or lifetime that cannot be and for too many tokens.
        """
        identity_rules.text(comment, "comment", COMMENT_MAX)
        if lifetime_s is not None and not 0 < lifetime_s <= LIFETIME_MAX_S:
            raise InvalidRequest(
                f"'lifetime_seconds' must be from 1 to {LIFETIME_MAX_S}; leave it out for a token that does not expire",
                param="lifetime_seconds",
            )
        with self._database.change(by, "tokens.create", principal_id, "tokens") as change:
            owner = identity_rows.get(change.connection, principal_id)
            if owner.kind == "group" or not owner.active:
                raise NotFound(f"{owner.name!r} cannot have an access token: it is a group or not active")
            _refuse_too_many(change, principal_id)
            return _insert(change, by, principal_id, comment, lifetime_s)

    def list(self, principal_id: str | None = None) -> builtins.list[TokenInfo]:
        """Those of one principal or of all, the oldest first, expired ones included."""
        found = select(*COLUMNS).order_by(ACCESS_TOKENS.c.created_s, ACCESS_TOKENS.c.id)
        if principal_id is not None:
            found = found.where(ACCESS_TOKENS.c.principal_id == principal_id)
        with self._database.read() as connection:
            return [_info(row) for row in connection.execute(found)]

    def get(self, id: str) -> TokenInfo:
        """Raises NotFound."""
        with self._database.read() as connection:
            return _get(connection, id)

    def update(self, by: Actor, id: str, *, comment: str, principal_id: str | None = None) -> TokenInfo:
        """Raises NotFound when there is none of that id (and, if given, of that principal), and InvalidRequest."""
        identity_rules.text(comment, "comment", COMMENT_MAX)
        with self._database.change(by, "tokens.update", id[:64]) as change:
            _get(change.connection, id, principal_id)
            changed = update(ACCESS_TOKENS).where(ACCESS_TOKENS.c.id == id)
            change.connection.execute(changed.values(comment=comment, version=change.version))
            return _get(change.connection, id)

    def revoke(self, by: Actor, id: str, principal_id: str | None = None) -> bool:
        """Forget an access token; False when there is none of that id (and, if given, of that principal)."""
        try:
            with self._database.change(by, "tokens.revoke", id[:64], "tokens") as change:
                _get(change.connection, id, principal_id)
                change.connection.execute(delete(ACCESS_TOKENS).where(ACCESS_TOKENS.c.id == id))
        except NotFound:
            return False
        return True

    def first_start(self) -> str | None:
        """The first access token, of the first admin, who is made when there is none.

        It is given exactly once: whoever comes second, in this process or another, gets None.
        """
        with self._database.read() as connection:
            if connection.execute(select(STATE.c.first_token_made)).scalar_one():
                return None
        try:
            with self._database.change(SYSTEM, "tokens.create", "first access token", "tokens", "principals") as change:
                _claim_the_first(change.connection)
                admin = identity_rows.ensure_admin(change)
                return _insert(change, SYSTEM, admin, "first access token", None)[0]
        except identity_rows.NothingToDo:
            return None

    def credentials(self, connection: Connection, principals: Mapping[str, Principal]) -> dict[bytes, Credential]:
        """What each access token of these principals stands for, by its digest.

        Expired ones are there too: the caller is told so.
        """
        columns = (ACCESS_TOKENS.c.digest, ACCESS_TOKENS.c.principal_id, ACCESS_TOKENS.c.expires_s, ACCESS_TOKENS.c.id)
        return {
            bytes(key): Credential(principals[owner], math.inf if expires is None else expires, id_)
            for key, owner, expires, id_ in connection.execute(select(*columns))
            if owner in principals
        }


def _claim_the_first(connection: Connection) -> None:
    """Raises NothingToDo for everybody but one."""
    made = update(STATE).where(STATE.c.first_token_made.is_(False)).values(first_token_made=True)
    if connection.execute(made).rowcount == 0:
        raise identity_rows.NothingToDo


def _refuse_too_many(change: Change, principal_id: str) -> None:
    """Raises InvalidRequest; forgets what expired long ago."""
    mine = ACCESS_TOKENS.c.principal_id == principal_id
    expires = ACCESS_TOKENS.c.expires_s
    change.connection.execute(delete(ACCESS_TOKENS).where(mine, expires < change.now - KEPT_S))
    valid = select(func.count()).where(mine, or_(expires.is_(None), expires > change.now))
    if change.connection.execute(valid).scalar_one() >= MOST:
        raise InvalidRequest(
            f"QUOTA_EXCEEDED: {principal_id!r} has {MOST} access tokens, and no more are allowed; delete some first"
        )


def _insert(
    change: Change, by: Actor, principal_id: str, comment: str, lifetime_s: float | None
) -> tuple[str, TokenInfo]:
    access_token = "dapi" + secrets.token_hex(16)
    expires_s = None if lifetime_s is None else change.now + lifetime_s
    id_ = uuid.uuid4().hex
    row = {
        "id": id_,
        "digest": digest(access_token.encode()),
        "principal_id": principal_id,
        "created_by": by.id or principal_id,
        "comment": comment,
        "created_s": change.now,
        "expires_s": expires_s,
        "version": change.version,
    }
    change.connection.execute(insert(ACCESS_TOKENS).values(row))
    return access_token, _get(change.connection, id_)


def _get(connection: Connection, id: str, principal_id: str | None = None) -> TokenInfo:
    found = select(*COLUMNS).where(ACCESS_TOKENS.c.id == id)
    row = connection.execute(found).first() if identity_rules.possible_id(id) else None
    if row is None or principal_id not in (None, row.principal_id):
        # Whoever gives the token itself does not get it back, nor does the audit.
        which = "this id: an id is what token/list shows" if id.startswith("dapi") else f"id {id[:64]!r}"
        raise NotFound(f"there is no access token with {which}", param="token_id")
    return _info(row)


def _info(row: Row[Any]) -> TokenInfo:
    expires = math.inf if row.expires_s is None else row.expires_s
    return TokenInfo(row.id, row.principal_id, row.comment, row.created_s, expires, row.created_by)
