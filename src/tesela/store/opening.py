"""Opens the store of a home folder as a process needs it: the folder, the master key, the tables, in this order."""

from collections.abc import Mapping
from pathlib import Path

from tesela.errors import ConfigError
from tesela.store import schema
from tesela.store.database import Database, home_url
from tesela.store.key import load_key
from tesela.store.store import Store


def open_store(home: Path, url: str, environ: Mapping[str, str]) -> tuple[Store, bytes]:
    """The store, ready for use, and its master key.

    Raises ConfigError when the folder, the key or the database cannot be used, and StoreUnavailable when the database
    does not answer.
    """
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise ConfigError(f"{home}: cannot hold the server's state: {exc.strerror or exc}") from exc
    database = Database(url or home_url(home))
    try:
        schema.prepare(database)
        key = load_key(home, environ, database)
    finally:
        database.close()
    return Store(home, url, key=key), key
