"""What is particular to the SQLite store: the file, its rights, and its migrations."""

import sqlite3
import stat
from pathlib import Path

import pytest

from tesela.errors import ConfigError
from tesela.store import Store
from tesela.store.migrations import MIGRATIONS, Migration


def columns(path: Path) -> dict[str, list[tuple[str, str]]]:
    db = sqlite3.connect(path)
    try:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")]
        return {name: [(row[1], row[2]) for row in db.execute(f"PRAGMA table_info({name})")] for name in names}
    finally:
        db.close()


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    home = tmp_path / "a" / "b"
    store = Store(home)
    store.open()
    try:
        store.admin()
        modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in home.iterdir()}
    finally:
        store.close()
    assert "tesela.db" in modes
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_no_access_token_is_in_the_file(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open()
    token = store.first_start(1.0)
    store.close()
    assert token is not None
    everything = b"".join(one.read_bytes() for one in tmp_path.iterdir())
    assert b"first access token" in everything
    assert token.encode() not in everything
    assert token.removeprefix("dapi").encode() not in everything


def test_the_tables_are_what_the_migrations_say(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.open()
    store.close()
    assert columns(tmp_path / "tesela.db") == {
        "access_tokens": [
            ("id", "TEXT"),
            ("digest", "BLOB"),
            ("principal_id", "TEXT"),
            ("comment", "TEXT"),
            ("created_s", "REAL"),
            ("expires_s", "REAL"),
        ],
        "principals": [
            ("id", "TEXT"),
            ("name", "TEXT"),
            ("display_name", "TEXT"),
            ("admin", "INTEGER"),
            ("created_s", "REAL"),
        ],
        "schema_migrations": [("name", "TEXT"), ("applied_s", "REAL")],
        "state": [
            ("only", "INTEGER"),
            ("version", "INTEGER"),
            ("workspace_id", "INTEGER"),
            ("account_id", "TEXT"),
            ("created_s", "REAL"),
            ("first_token_made", "INTEGER"),
        ],
    }


NEXT = Migration("m999_a_later_step", ("ALTER TABLE principals ADD COLUMN note TEXT NOT NULL DEFAULT ''",))


def test_an_older_store_is_brought_up_to_date_and_keeps_what_it_has(tmp_path: Path) -> None:
    older = Store(tmp_path)
    older.open()
    admin = older.admin()
    older.close()
    newer = Store(tmp_path, (*MIGRATIONS, NEXT))
    newer.open()
    assert newer.principals() == [admin]
    newer.close()
    assert ("note", "TEXT") in columns(tmp_path / "tesela.db")["principals"]


def test_a_newer_store_is_refused_by_name(tmp_path: Path) -> None:
    newer = Store(tmp_path, (*MIGRATIONS, NEXT))
    newer.open()
    newer.close()
    with pytest.raises(ConfigError, match=r"tesela\.db: was written by a newer Tesela \(it has m999_a_later_step\)"):
        Store(tmp_path).open()


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    broken = Migration("m998_broken", ("CREATE TABLE half_done (x)", "CREATE TABLE half_done (x)"))
    with pytest.raises(ConfigError, match="half_done"):
        Store(tmp_path, (*MIGRATIONS, broken)).open()
    store = Store(tmp_path)
    store.open()
    store.close()
    assert "half_done" not in columns(tmp_path / "tesela.db")


def test_something_else_under_the_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tesela.db").write_bytes(b"this is not a database" * 100)
    with pytest.raises(ConfigError, match="cannot be used as the store: file is not a database"):
        Store(tmp_path).open()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "tesela.db").mkdir()
    with pytest.raises(ConfigError, match="cannot be opened"):
        Store(tmp_path / "folder").open()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(RuntimeError, match="not open"):
        store.version()
    store.close()
