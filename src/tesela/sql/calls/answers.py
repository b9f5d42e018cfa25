"""Answers that were paid for, on disk: a SQLite file, keyed by a digest of who asked whom for what.

Everything here blocks and belongs in one thread.  What `keep` has returned from is durable: it survives the end of the
process, and in WAL mode with full synchronisation that of the machine (https://www.sqlite.org/wal.html).
"""

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from tesela.errors import StoreUnavailable

VERSION = 2
_MOST_VARIABLES = 500
_MARK = b"b2:"
"""Of the digest's algorithm, so that it can be changed one day."""


def key(owner: str, endpoint: str, served: str, body: bytes) -> bytes:
    """What an answer is kept under.

    `owner` is the principal's id: an answer is never given to somebody else, whatever they may query.  `served` tells
    one configuration of an endpoint from another, so that a changed one is asked anew.
    """
    digest = hashlib.blake2b(digest_size=32)
    for part in (owner.encode(), endpoint.encode(), served.encode(), body):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return _MARK + digest.digest()


class Answers:
    """The file.  Made when it is not there; one of another version is moved aside, because an answer can be asked for
    again and a wrong one cannot be taken back."""

    def __init__(self, file: Path) -> None:
        self._file = file
        file.parent.mkdir(parents=True, exist_ok=True)
        self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        try:
            return _prepared(self._file)
        except sqlite3.DatabaseError:
            aside = self._file.with_suffix(".unreadable")
            for suffix in ("", "-wal", "-shm"):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self._file}{suffix}").replace(f"{aside}{suffix}")
            return _prepared(self._file)

    def find(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Those answers that are there."""
        found: dict[bytes, bytes] = {}
        with self._failing("read"):
            for at in range(0, len(keys), _MOST_VARIABLES):
                some = keys[at : at + _MOST_VARIABLES]
                places = ",".join("?" * len(some))
                rows = self._connection.execute(f"SELECT key, body FROM answers WHERE key IN ({places})", some)  # noqa: S608
                found.update(rows)
        return found

    def keep(self, rows: Iterable[tuple[bytes, str, bytes]], *, now: float) -> None:
        """Keep answers (key, owner, body); all of them or none.  `now` is in seconds since the epoch.

        Raises StoreUnavailable.
        """
        with self._failing("written"), self._connection:
            self._connection.executemany(
                "INSERT OR REPLACE INTO answers (key, owner, body, kept) VALUES (?, ?, ?, ?)",
                [(name, owner, body, int(now)) for name, owner, body in rows],
            )

    def trim(self, *, before: float, most_bytes: int) -> int:
        """Forget answers that were kept before a time, then the oldest beyond a size.  Gives how many went."""
        with self._failing("written"), self._connection:
            gone = self._connection.execute("DELETE FROM answers WHERE kept < ?", (int(before),)).rowcount
            # Each answer is looked at for this, so only when it must be.
            if self._used_bytes() <= most_bytes:
                return gone
            gone += self._connection.execute(
                "DELETE FROM answers WHERE rowid IN (SELECT rowid FROM (SELECT rowid, sum(length(body)) OVER "
                "(ORDER BY kept DESC, rowid DESC) AS size FROM answers) WHERE size > ?)",
                (most_bytes,),
            ).rowcount
        return gone

    def _used_bytes(self) -> int:
        """Of the file: never less than the answers have."""
        pages, free, size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def clear(self, owner: str = "") -> int:
        """Forget the answers of an owner, or all; gives how many there were."""
        where, given = _of(owner)
        with self._failing("written"), self._connection:
            return self._connection.execute(f"DELETE FROM answers{where}", given).rowcount  # noqa: S608

    def size(self, owner: str = "") -> tuple[int, int, float | None]:
        """(how many answers, how many bytes they have, when the oldest was kept) of an owner, or of all."""
        where, given = _of(owner)
        with self._failing("read"):
            row = self._connection.execute(
                f"SELECT count(*), coalesce(sum(length(body)), 0), min(kept) FROM answers{where}",  # noqa: S608
                given,
            ).fetchone()
        return int(row[0]), int(row[1]), row[2]

    def close(self) -> None:
        self._connection.close()

    @contextlib.contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise StoreUnavailable(f"answers of statements cannot be {what} in {self._file}: {exc}") from exc


def _of(owner: str) -> tuple[str, tuple[str, ...]]:
    return (" WHERE owner = ?", (owner,)) if owner else ("", ())


def _prepared(file: Path) -> sqlite3.Connection:
    # The thread that opens it is not the one that uses it.
    connection = sqlite3.connect(file, timeout=10.0, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise sqlite3.DatabaseError(f"version {version}")
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS answers "
                "(key BLOB PRIMARY KEY, owner TEXT NOT NULL, body BLOB NOT NULL, kept INTEGER NOT NULL)"
            )
            connection.execute("CREATE INDEX IF NOT EXISTS answers_kept ON answers (kept)")
            connection.execute(f"PRAGMA user_version = {VERSION}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection
