"""The master key, which seals what must not lie in the database in plain: from a variable, or from a file of the home.

The database holds a mark of the key (`mark`), so a wrong one is noticed at the start.  A new key is made only for a
store that has none yet: a store whose key is lost is refused, never sealed with two keys.
"""

import binascii
import hmac
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import select, update

from tesela.errors import ConfigError
from tesela.records import SYSTEM
from tesela.store.database import Database
from tesela.store.store import Store
from tesela.store.tables import STATE
from tesela.store.vault import KEY_BYTES, Vault, mark

VARIABLE = "TESELA_MASTER_KEY"
FILE = "master.key"
NEXT = "master.key.new"
"""The key that a rotation is about to bring in; after a crash it may already be the one."""


def load_key(home: Path, environ: Mapping[str, str], database: Database) -> bytes:
    """The key of a store whose tables are there (`schema.prepare`), made when the store has none yet.

    Raises ConfigError when it is not the key of this store, cannot be read, or can be read by others.
    """
    given = environ.get(VARIABLE)
    if given:
        key = decoded(given, f"the variable {VARIABLE}")
        if _claimed(database, key):
            return key
        raise ConfigError(
            f"the variable {VARIABLE} does not hold the master key of the store ({database.name})"
            + (f"; the file {home / FILE} does: unset the variable" if _of_store(home, database) else "")
        )
    kept = _of_store(home, database)
    if kept is not None:
        return kept
    marked = _mark(database) is not None
    if not (home / FILE).exists():
        if marked:
            raise ConfigError(
                f"the store ({database.name}) was sealed with a master key that is not here: set {VARIABLE}, or copy "
                f"the file {FILE} of the host that has it to {home / FILE}"
            )
        _write_first(home / FILE, os.urandom(KEY_BYTES))
    made = _read(home / FILE)
    if made is not None and _claimed(database, made):
        return made
    raise ConfigError(f"the file {home / FILE} does not hold the master key of the store ({database.name})")


def rotate(store: Store, new: bytes) -> int:
    """Seals everything anew with another key, in one change; how many values there were.

    From then on a process that has the old key can change nothing (`Database.change`).  Raises ConfigError when
    something cannot be opened with the store's key, and StoreUnavailable.
    """
    vault = Vault(new)
    # No kind of thing has changed: servers that run go on with what they have read, and could not open it anew.
    with store.database.change(SYSTEM, "keys.rotate", "the master key") as change:
        connection = change.connection
        count = sum(part.reseal(connection, vault) for part in (store.secrets, store.endpoints, store.signing))
        connection.execute(update(STATE).values(key_check=mark(new)))
    return count


def rotate_file(store: Store, new: bytes) -> int:
    """`rotate`, with the new key in the file of the home folder when it is done, whatever happens on the way."""
    # If we end between the change and the last step, the next start finds the key in this file: see `_of_store`.
    _write(store.home / NEXT, new)
    count = rotate(store, new)
    os.replace(store.home / NEXT, store.home / FILE)
    _settle(store.home)
    return count


def decoded(value: str, where: str) -> bytes:
    """A key from text.  Raises ConfigError, which does not show the text."""
    try:
        key = b64decode(value.strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ConfigError(
            f"{where} is not a master key: it is the base64 of {KEY_BYTES} random bytes, as in: "
            f"head -c {KEY_BYTES} /dev/urandom | base64"
        )
    return key


def _of_store(home: Path, database: Database) -> bytes | None:
    """The key in the home folder that the store is sealed with; mends what a rotation left half done."""
    marked = _mark(database)
    for name in (FILE, NEXT) if marked else ():
        key = _read(home / name)
        if key is not None and hmac.compare_digest(mark(key), marked or b""):
            if name == NEXT:
                os.replace(home / NEXT, home / FILE)
                _settle(home)
            return key
    return None


def _mark(database: Database) -> bytes | None:
    with database.read() as connection:
        found: bytes | None = connection.execute(select(STATE.c.key_check)).scalar_one()
    return found


def _claimed(database: Database, key: bytes) -> bool:
    """Whether it is the store's key; a store that has none gets this one."""
    with database.write() as connection:
        connection.execute(update(STATE).where(STATE.c.key_check.is_(None)).values(key_check=mark(key)))
        marked = connection.execute(select(STATE.c.key_check)).scalar_one()
    return hmac.compare_digest(mark(key), marked or b"")


def _read(file: Path) -> bytes | None:
    """None when it is not there."""
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode & 0o777
            text = opened.read(1024)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from error
    if mode & 0o077:
        raise ConfigError(f"{file}: others can read the master key; take that from them: chmod 600 {file}")
    return decoded(text.decode("ascii", "replace"), f"the file {file}")


def _write_first(file: Path, key: bytes) -> None:
    """Makes the file, whole or not at all; of several that try the first one wins."""
    part = file.with_name(f"{file.name}.{secrets.token_hex(8)}")
    try:
        _write(part, key)
        os.link(part, file)
        _settle(file.parent)
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigError(f"{file}: cannot be made: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _write(file: Path, key: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.unlink(missing_ok=True)
        with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as opened:
            opened.write(b64encode(key) + b"\n")
            opened.flush()
            os.fsync(opened.fileno())
        _settle(file.parent)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror or error}") from error


def _settle(folder: Path) -> None:
    """Makes the names in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
