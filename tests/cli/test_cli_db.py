"""`tesela db` against real stores in a temporary home."""

import json
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from tesela.store.opening import open_store
from tesela.store.revisions import REVISIONS

PASSWORD = "hunter2"


@pytest.fixture
def local(make_tesela: Any) -> Any:
    return make_tesela()


def make_store(home: Path) -> None:
    store, _ = open_store(home, "", {})
    store.close()


def test_upgrade_makes_the_tables_and_check_says_so_first(local: Any, tmp_path: Path) -> None:
    done = local("db", "upgrade", "--check")
    assert (done.returncode, done.stderr) == (1, b"")
    assert b"CREATE TABLE endpoints" in done.stdout
    assert not (tmp_path / "home").exists()

    done = local("db", "upgrade")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().endswith(f"to revision {REVISIONS[-1]}\n")
    assert stat.S_IMODE((tmp_path / "home" / "tesela.db").stat().st_mode) == 0o600

    for flags in ([], ["--check"]):
        done = local("db", "upgrade", *flags)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"the tables are up to date" in done.stdout


def test_info_tells_what_there_is(local: Any, tmp_path: Path) -> None:
    empty = json.loads(local("db", "info", "--json").stdout)
    assert (empty["revision"], empty["needed"]) == ("", REVISIONS[-1])
    assert not (tmp_path / "home").exists()

    local("tokens", "create")
    told = json.loads(local("db", "info", "--json").stdout)
    assert told["revision"] == told["needed"] == REVISIONS[-1]
    assert told["database"] == f"sqlite:///{tmp_path / 'home' / 'tesela.db'}"
    assert (told["access_tokens"], told["groups"], told["users"]) == (1, 2, 1)
    rows = dict(line.split("\t") for line in local("db", "info").stdout.decode().splitlines())
    assert rows["revision"] == REVISIONS[-1]
    assert rows["workspace id"] == str(told["workspace_id"])
    assert rows["created"].endswith(" UTC")


def test_rotate_key_changes_the_file(local: Any, tmp_path: Path) -> None:
    make_store(tmp_path / "home")
    file = tmp_path / "home" / "master.key"
    before = file.read_text()
    done = local("db", "rotate-key")
    assert (done.returncode, done.stderr) == (0, b"")
    assert str(file).encode() in done.stdout
    after = file.read_text()
    assert after != before
    assert after.strip().encode() not in done.stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    make_store(tmp_path / "home")


def test_rotate_key_with_a_variable_says_to_mend_it(make_tesela: Any, tmp_path: Path) -> None:
    make_store(tmp_path / "home")
    file = tmp_path / "home" / "master.key"
    given = file.read_text().strip()
    file.unlink()
    done = make_tesela(TESELA_MASTER_KEY=given)("db", "rotate-key")
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"TESELA_MASTER_KEY holds the old key" in done.stdout
    done = make_tesela(TESELA_MASTER_KEY=given)("db", "rotate-key")
    assert done.returncode == 2
    assert b"unset the variable" in done.stderr
    assert given.encode() not in done.stdout + done.stderr


def test_rotate_key_makes_no_store(local: Any, tmp_path: Path) -> None:
    done = local("db", "rotate-key")
    assert done.returncode == 1
    assert b"there is no store" in done.stderr
    assert not (tmp_path / "home").exists()


def test_what_is_not_ours_is_refused_in_one_sentence(local: Any, tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "shop.db")
    db.execute("CREATE TABLE orders (id INTEGER)")
    db.close()
    done = local("db", "upgrade", "--database", f"sqlite:///{tmp_path / 'shop.db'}")
    assert done.returncode == 2
    assert done.stderr.count(b"\n") == 1
    assert b"tables that are not Tesela's (orders)" in done.stderr


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        # Nothing listens on port 1.
        (f"postgresql://ana:{PASSWORD}@127.0.0.1:1/tesela", "does not answer"),
        (f"postgresql://127.0.0.1:1/tesela?user=ana&password={PASSWORD}", "does not answer"),
        (f"mysql://ana:{PASSWORD}@127.0.0.1:1/tesela", "PostgreSQL or SQLite"),
        (f"postgresql://ana:{PASSWORD}@127.0.0.1:port/tesela", "cannot be read"),
        (f"ana:{PASSWORD}", "cannot be read"),
        (f"postgresql://ana:{PASSWORD}@127.0.0.1:1/tesela?no_such_option=1", "does not answer"),
        ("sqlite://", "needs a file"),
    ],
)
@pytest.mark.parametrize("by", ["option", "variable", "file"])
def test_no_sentence_shows_the_password(make_tesela: Any, tmp_path: Path, by: str, url: str, sentence: str) -> None:
    if by == "file":
        (tmp_path / "tesela.yaml").write_text(f"database_url: {json.dumps(url)}\n")
    run = make_tesela(TESELA_DATABASE_URL=url) if by == "variable" else make_tesela()
    done = run("db", "info", *(["--database", url] if by == "option" else []))
    assert done.returncode in (1, 2)
    assert sentence in done.stderr.decode()
    assert PASSWORD.encode() not in done.stdout + done.stderr
    assert done.stderr.count(b"\n") == 1
