"""The keys that access tokens are signed with: made when one is needed, replaced every thirty days.

An old public half stays published until every token that its key signed has expired.
"""

from typing import NamedTuple

from sqlalchemy import Connection, Row, delete, insert, select, update

from tesela import signed
from tesela.records import SYSTEM
from tesela.store.database import Database
from tesela.store.tables import SIGNING_KEYS
from tesela.store.vault import Vault

ROTATE_S = 30 * 86_400
"""A key signs for so long."""
KEPT_S = ROTATE_S + signed.LIFETIME_S + 10 * signed.LEEWAY_S
"""A key's public half is needed for so long, with some time more because clocks differ."""


class SigningKey(NamedTuple):
    """Both halves are in PEM, the private one as PKCS #8."""

    id: str
    private: bytes
    public: str

    def __repr__(self) -> str:
        return f"SigningKey({self.id!r})"


class _AlreadyMade(Exception):
    """Another process was faster: nothing is to be changed."""

    def __init__(self, key: Row[tuple[str, bytes, str, float]]) -> None:
        super().__init__()
        self.key = key


class SigningKeys:
    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def current(self, now: float) -> SigningKey:
        """The key to sign with now, in seconds since the epoch.  Makes it when there is none or it is too old.

        All processes get the same one.  Raises StoreUnavailable, and ConfigError when the master key is not the one
        that the private half was sealed with.
        """
        with self._database.read() as connection:
            found = _usable(connection, now)
        if found is None:
            found = self._rotate(now)
        return SigningKey(found.id, self._vault.unseal(found.private, _place(found.id)), found.public)

    def public_keys(self, connection: Connection) -> dict[str, str]:
        """The public halves (PEM) by id, the oldest first."""
        rows = connection.execute(select(SIGNING_KEYS.c.id, SIGNING_KEYS.c.public).order_by(SIGNING_KEYS.c.created_s))
        return {row.id: row.public for row in rows}

    def reseal(self, connection: Connection, vault: Vault) -> int:
        """Seals every private half with another master key; how many there are."""
        rows = connection.execute(select(SIGNING_KEYS.c.id, SIGNING_KEYS.c.private)).all()
        for row in rows:
            sealed = vault.seal(self._vault.unseal(row.private, _place(row.id)), _place(row.id))
            connection.execute(update(SIGNING_KEYS).where(SIGNING_KEYS.c.id == row.id).values(private=sealed))
        return len(rows)

    def _rotate(self, now: float) -> Row[tuple[str, bytes, str, float]]:
        # Made before the transaction begins, because it takes long.
        key_id, private, public = signed.make_key()
        row = {
            "id": key_id,
            "private": self._vault.seal(private, _place(key_id)),
            "public": public,
            "created_s": now,
        }
        try:
            with self._database.change(SYSTEM, "signing_keys.create", key_id, "keys") as change:
                # Whoever waited for another change to end sees here what it has made.
                already = _usable(change.connection, now)
                if already is not None:
                    raise _AlreadyMade(already)  # noqa: TRY301 - it must undo the change
                change.connection.execute(delete(SIGNING_KEYS).where(SIGNING_KEYS.c.created_s < now - KEPT_S))
                made = insert(SIGNING_KEYS).values(row).returning(*SIGNING_KEYS.c)
                return change.connection.execute(made).one()
        except _AlreadyMade as exc:
            return exc.key


def _usable(connection: Connection, now: float) -> Row[tuple[str, bytes, str, float]] | None:
    newest = select(SIGNING_KEYS).order_by(SIGNING_KEYS.c.created_s.desc(), SIGNING_KEYS.c.id).limit(1)
    found = connection.execute(newest).one_or_none()
    return found if found is not None and now - found.created_s < ROTATE_S else None


def _place(key_id: str) -> str:
    return f"signing/{key_id}"
