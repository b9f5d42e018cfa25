"""The control plane's store in one SQLite file: who may call, and with which access tokens.

Access tokens are kept as digests, so the file cannot be used to call.  Nothing on the path of a request comes here:
workers ask for `version` now and then and read the rest when it has changed.  One object serves all threads of a
process; each process opens its own.
"""

import math
import os
import secrets
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from tesela.errors import ConfigError, NotFound
from tesela.snapshot import Credential, Principal, digest
from tesela.store.migrations import MIGRATIONS, Migration

BUSY_S = 10.0
"""How long a write waits for another process's."""

FILE = "tesela.db"
ADMIN = "admin@localhost"


Row: TypeAlias = tuple[Any, ...]


class TokenInfo(msgspec.Struct, frozen=True):
    """What may be told of an access token.  Times are in seconds since the epoch; `expires` is inf for never."""

    id: str
    principal_id: str
    comment: str
    created: float
    expires: float


class Workspace(msgspec.Struct, frozen=True):
    """What makes this installation tell-apart: made once, with the store.  `id` is a whole number of 16 digits."""

    id: int
    account_id: str
    created: float


class Store:
    """The store of one home folder.  `open` before use, `close` after.

    `migrations` is there for the tests of the migrations themselves.
    """

    def __init__(self, home: Path, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        self._path = home / FILE
        self._migrations = migrations
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        # Reads have a connection of their own: they are made on the event loop, which must not stand behind a write
        # that waits for another process's.
        self._reading = threading.Lock()
        self._reader: sqlite3.Connection | None = None

    def open(self) -> None:
        """Make the file (0600) when it is not there, and bring its tables up to date.

        Raises ConfigError when the file cannot be used: not a store, not writable, or written by a newer program.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            db = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        except OSError as exc:
            raise ConfigError(f"{self._path}: cannot be opened: {exc.strerror or exc}") from exc
        except sqlite3.Error as exc:
            raise ConfigError(f"{self._path}: cannot be opened: {exc}") from exc
        self._db = db
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            with self._change(raise_version=False):
                self._migrate(db, time.time())
            self._reader = sqlite3.connect(self._path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            self._reader.execute("PRAGMA query_only = ON")
        except sqlite3.Error as exc:
            self.close()
            raise ConfigError(f"{self._path}: cannot be used as the store: {exc}") from exc
        except ConfigError:
            self.close()
            raise

    def close(self) -> None:
        with self._lock:
            if self._db is not None:
                self._db.close()
                self._db = None
        with self._reading:
            if self._reader is not None:
                self._reader.close()
                self._reader = None

    def version(self) -> int:
        """A number that every change raises."""
        return int(self._row("SELECT version FROM state")[0])

    def workspace(self) -> Workspace:
        row = self._row("SELECT workspace_id, account_id, created_s FROM state")
        return Workspace(int(row[0]), str(row[1]), float(row[2]))

    def principals(self) -> list[Principal]:
        """Everyone who may hold an access token, the oldest first."""
        rows = self._rows("SELECT id, name, display_name, admin FROM principals ORDER BY created_s, id")
        return [Principal(row[0], row[1], row[2], bool(row[3])) for row in rows]

    def credentials(self) -> dict[bytes, Credential]:
        """What each access token stands for, by its digest.  Expired ones are there too: the caller is told so."""
        rows = self._rows(
            "SELECT t.digest, t.expires_s, t.id, p.id, p.name, p.display_name, p.admin"
            " FROM access_tokens t JOIN principals p ON p.id = t.principal_id"
        )
        return {
            row[0]: Credential(Principal(row[3], row[4], row[5], bool(row[6])), _expires(row[1]), row[2])
            for row in rows
        }

    def first_start(self, now: float) -> str | None:
        """Make the admin, when there is none, and the first access token.

        Gives the token exactly once: whoever comes second, in this process or another, gets None.
        """
        with self._change() as db:
            done = db.execute("UPDATE state SET first_token_made = 1 WHERE first_token_made = 0")
            if done.rowcount == 0:
                return None
            return self._insert_token(db, self._admin(db, now).id, "first access token", math.inf, now)[0]

    def admin(self) -> Principal:
        """The first admin, made when there is none yet."""
        with self._change() as db:
            return self._admin(db, time.time())

    def create_token(
        self, principal_id: str, comment: str, lifetime_s: float | None, now: float
    ) -> tuple[str, TokenInfo]:
        """A new access token, and what will be told of it.  The token itself is kept nowhere.

        Raises NotFound for a principal that does not exist.
        """
        expires = math.inf if lifetime_s is None else now + lifetime_s
        with self._change() as db:
            if db.execute("SELECT 1 FROM principals WHERE id = ?", (principal_id,)).fetchone() is None:
                raise NotFound(f"there is no principal {principal_id!r}")
            return self._insert_token(db, principal_id, comment, expires, now)

    def tokens(self, principal_id: str | None) -> list[TokenInfo]:
        """The access tokens of one principal, or of all, the oldest first."""
        rows = self._rows(
            "SELECT id, principal_id, comment, created_s, expires_s FROM access_tokens"
            " WHERE principal_id = coalesce(?, principal_id) ORDER BY created_s, id",
            (principal_id,),
        )
        return [TokenInfo(row[0], row[1], row[2], row[3], _expires(row[4])) for row in rows]

    def revoke(self, token_id: str, principal_id: str | None = None) -> bool:
        """Forget an access token; False when there is none of that id (and, if given, of that principal)."""
        with self._change() as db:
            done = db.execute(
                "DELETE FROM access_tokens WHERE id = ? AND principal_id = coalesce(?, principal_id)",
                (token_id, principal_id),
            )
            return done.rowcount > 0

    def _admin(self, db: sqlite3.Connection, now: float) -> Principal:
        found = "SELECT id, name, display_name, admin FROM principals WHERE admin = 1 ORDER BY created_s, id LIMIT 1"
        row = db.execute(found).fetchone()
        if row is None:
            new = (str(_sixteen_digits()), ADMIN, "Administrator", 1, now)
            db.execute("INSERT INTO principals VALUES (?, ?, ?, ?, ?)", new)
            row = new
        return Principal(row[0], row[1], row[2], bool(row[3]))

    def _insert_token(
        self, db: sqlite3.Connection, principal_id: str, comment: str, expires: float, now: float
    ) -> tuple[str, TokenInfo]:
        access_token = "dapi" + secrets.token_hex(16)
        info = TokenInfo(uuid.uuid4().hex, principal_id, comment, now, expires)
        db.execute(
            "INSERT INTO access_tokens VALUES (?, ?, ?, ?, ?, ?)",
            (
                info.id,
                digest(access_token.encode()),
                principal_id,
                comment,
                now,
                None if math.isinf(expires) else expires,
            ),
        )
        return access_token, info

    def _migrate(self, db: sqlite3.Connection, now: float) -> None:
        db.execute("CREATE TABLE IF NOT EXISTS schema_migrations (name TEXT PRIMARY KEY, applied_s REAL NOT NULL)")
        done = {row[0] for row in db.execute("SELECT name FROM schema_migrations")}
        newer = done - {one.name for one in self._migrations}
        if newer:
            raise ConfigError(
                f"{self._path}: was written by a newer Tesela (it has {', '.join(sorted(newer))}); use that version, "
                "or another TESELA_HOME"
            )
        for one in self._migrations:
            if one.name not in done:
                for statement in one.statements:
                    db.execute(statement)
                db.execute("INSERT INTO schema_migrations VALUES (?, ?)", (one.name, now))
        db.execute("INSERT OR IGNORE INTO state VALUES (1, 1, ?, ?, ?, 0)", (_sixteen_digits(), str(uuid.uuid4()), now))

    @contextmanager
    def _change(self, *, raise_version: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction; the version goes up when it changed anything."""
        with self._lock:
            db = _opened(self._db)
            db.execute("BEGIN IMMEDIATE")
            before = db.total_changes
            try:
                yield db
                if raise_version and db.total_changes != before:
                    db.execute("UPDATE state SET version = version + 1")
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def _rows(self, query: str, values: tuple[str | None, ...] = ()) -> list[Row]:
        with self._reading:
            return _opened(self._reader).execute(query, values).fetchall()

    def _row(self, query: str) -> Row:
        return self._rows(query)[0]


def _opened(db: sqlite3.Connection | None) -> sqlite3.Connection:
    if db is None:
        raise RuntimeError("the store is not open")
    return db


def _expires(value: float | None) -> float:
    return math.inf if value is None else value


def _sixteen_digits() -> int:
    """Clients expect the ids of workspaces and principals to be whole numbers; JavaScript reads these exactly."""
    return 10**15 + secrets.randbelow(8 * 10**15)
