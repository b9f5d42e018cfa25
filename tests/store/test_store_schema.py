"""The tables: how they are made, brought up to date, and left alone."""

import hashlib
import json
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import select, text

from tesela.errors import ConfigError, StoreUnavailable
from tesela.records import SYSTEM
from tesela.store import schema
from tesela.store.contents import read_contents
from tesela.store.database import Database, home_url
from tesela.store.opening import open_store
from tesela.store.revisions import REVISIONS
from tesela.store.store import Store
from tesela.store.tables import ACCESS_TOKENS, KINDS, MEMBERS, METADATA, PRINCIPALS, STATE

HEAD = REVISIONS[-1]

# What the versions before Alembic made, word for word.
OLD = """
CREATE TABLE schema_migrations (name TEXT PRIMARY KEY, applied_s REAL NOT NULL);
CREATE TABLE state (
                only INTEGER PRIMARY KEY CHECK (only = 1),
                version INTEGER NOT NULL,
                workspace_id INTEGER NOT NULL,
                account_id TEXT NOT NULL,
                created_s REAL NOT NULL,
                first_token_made INTEGER NOT NULL CHECK (first_token_made IN (0, 1))
            );
CREATE TABLE principals (
                id TEXT PRIMARY KEY,
                name TEXT NOT NULL UNIQUE,
                display_name TEXT NOT NULL,
                admin INTEGER NOT NULL CHECK (admin IN (0, 1)),
                created_s REAL NOT NULL
            );
CREATE TABLE access_tokens (
                id TEXT PRIMARY KEY,
                digest BLOB NOT NULL UNIQUE,
                principal_id TEXT NOT NULL REFERENCES principals (id) ON DELETE CASCADE,
                comment TEXT NOT NULL,
                created_s REAL NOT NULL,
                expires_s REAL
            );
CREATE INDEX access_tokens_of_principal ON access_tokens (principal_id, created_s);
INSERT INTO schema_migrations VALUES ('m001_principals_and_access_tokens', 1763800000.5);
INSERT INTO state VALUES (1, 4, 4567890123456789, '3f0c2f0e-9f2e-4b6a-8a53-8b6a1f0c9d11', 1763800000.5, 1);
INSERT INTO principals VALUES ('1234567890123456', 'admin@localhost', 'Administrator', 1, 1763800000.5);
INSERT INTO principals VALUES ('2345678901234567', 'ana@example.com', 'Ana', 0, 1763800001.5);
INSERT INTO access_tokens VALUES ('aa', x'{admin}', '1234567890123456', 'first access token', 1763800000.5, NULL);
INSERT INTO access_tokens VALUES ('bb', x'{ana}', '2345678901234567', 'it''s 100% %s', 1763800002.5, 1963800002.5);
"""


def digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@pytest.fixture
def old_file(tmp_path: Path) -> Path:
    """A store of the versions before Alembic, with two tokens."""
    home = tmp_path / "old"
    home.mkdir(mode=0o700)
    file = home / "tesela.db"
    db = sqlite3.connect(file)
    db.execute("PRAGMA journal_mode = WAL")
    db.executescript(OLD.format(admin=digest("dapi1"), ana=digest("dapi2")))
    db.close()
    file.chmod(0o600)
    return file


@pytest.fixture
def opening() -> Iterator[Callable[[str], Database]]:
    """Opens databases, and closes them at the end."""
    opened: list[Database] = []

    def database(url: str) -> Database:
        opened.append(Database(url))
        return opened[-1]

    yield database
    for one in opened:
        one.close()


def test_the_revisions_make_the_tables_that_the_program_knows(store: Store) -> None:
    with store.database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "target_metadata": METADATA})
        assert compare_metadata(context, METADATA) == []


def test_a_new_store_has_the_rows_that_must_exist(store: Store) -> None:
    with store.database.read() as connection:
        state = connection.execute(select(STATE)).one()
        groups = connection.execute(select(PRINCIPALS.c.name, PRINCIPALS.c.id).order_by("name")).all()
        kinds = dict(list(connection.execute(select(KINDS.c.kind, KINDS.c.version))))
    assert state.version == 1
    assert 10**15 <= state.workspace_id < 10**16
    assert len(state.account_id) == 36
    assert state.first_token_made is False
    assert [name for name, _ in groups] == ["admins", "users"]
    assert all(len(id_) == 16 and id_.isdigit() for _, id_ in groups)
    assert kinds == dict.fromkeys(("endpoints", "tokens", "principals", "permissions", "secrets", "keys"), 1)


def test_a_start_makes_what_is_not_there_and_leaves_what_is(empty_url: str, opening: Callable[[str], Database]) -> None:
    database = opening(empty_url)
    schema.prepare(database)
    with database.read() as connection:
        first = connection.execute(select(STATE)).one()
    schema.prepare(opening(empty_url))
    with database.read() as connection:
        assert connection.execute(select(STATE)).one() == first
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [HEAD]


def test_the_file_and_its_folder_are_the_owners_alone(tmp_path: Path, opening: Callable[[str], Database]) -> None:
    home = tmp_path / "a" / "b"
    database = opening(home_url(home))
    schema.prepare(database)
    with database.read() as connection:
        connection.execute(select(STATE)).one()
        modes = {one.name: stat.S_IMODE(one.stat().st_mode) for one in home.iterdir()}
    assert "tesela.db" in modes
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_a_sentence(tmp_path: Path, opening: Callable[[str], Database]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be opened: Not a directory"):
        schema.prepare(opening(home_url(tmp_path / "file" / "home")))


STARTS = """
import sys
from tesela.store import schema
from tesela.store.database import Database
sys.stdin.readline()
database = Database(sys.argv[1])
schema.prepare(database)
database.close()
"""


@pytest.mark.slow
def test_servers_that_start_at_once_all_start(empty_url: str, opening: Callable[[str], Database]) -> None:
    starting = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", STARTS, empty_url], stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(4)
    ]
    for one in starting:
        assert one.stdin is not None
        one.stdin.write(b"go\n")
        one.stdin.flush()
    told = [one.communicate(timeout=60)[1].decode() for one in starting]
    assert told == [""] * len(starting)
    with opening(empty_url).read() as connection:
        assert len(connection.execute(select(STATE)).all()) == 1
        assert len(connection.execute(select(PRINCIPALS)).all()) == 2


def test_a_start_with_nothing_to_do_does_without_alembic(store_url: str) -> None:
    source = STARTS.replace("sys.stdin.readline()", "") + "print([one for one in sys.modules if 'alembic' in one])"
    done = subprocess.run([sys.executable, "-c", source, store_url], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr


def test_an_old_file_is_copied_and_brought_up_to_date(old_file: Path, opening: Callable[[str], Database]) -> None:
    database = opening(home_url(old_file.parent))
    schema.prepare(database)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "target_metadata": METADATA})
        assert compare_metadata(context, METADATA) == []
        state = connection.execute(select(STATE)).one()
        people = {one.name: one for one in connection.execute(select(PRINCIPALS))}
        members = connection.execute(select(MEMBERS)).all()
        tokens = {one.id: one for one in connection.execute(select(ACCESS_TOKENS))}
        tables = set(connection.execute(text(schema.NAMES["sqlite"])).scalars())
    assert (state.workspace_id, state.account_id) == (4567890123456789, "3f0c2f0e-9f2e-4b6a-8a53-8b6a1f0c9d11")
    assert state.first_token_made is True
    # Whoever watches the version notices that everything is new.
    assert state.version == 5
    assert set(people) == {"admins", "users", "admin@localhost", "ana@example.com"}
    ana = people["ana@example.com"]
    assert (ana.id, ana.kind, ana.display_name, ana.active, json.loads(ana.details), ana.created_s) == (
        "2345678901234567", "user", "Ana", True, {}, 1763800001.5,
    )  # fmt: skip
    assert [tuple(one) for one in members] == [(people["admins"].id, "1234567890123456")]
    assert tokens["aa"].digest.hex() == digest("dapi1")
    assert tokens["aa"].expires_s is None
    assert (tokens["bb"].principal_id, tokens["bb"].created_by) == ("2345678901234567", "2345678901234567")
    assert (tokens["bb"].comment, tokens["bb"].expires_s) == ("it's 100% %s", 1963800002.5)
    assert tables == {*METADATA.tables, "alembic_version"}

    copy = old_file.with_name(f"tesela.db.before-{HEAD}")
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    db = sqlite3.connect(copy)
    try:
        assert db.execute("SELECT name, admin FROM principals ORDER BY name").fetchall() == [
            ("admin@localhost", 1), ("ana@example.com", 0),
        ]  # fmt: skip
    finally:
        db.close()


def test_the_tokens_of_an_old_file_go_on_working(old_file: Path) -> None:
    store, _ = open_store(old_file.parent, "", {})
    try:
        credentials = read_contents(store).credentials
        store.tokens.create(SYSTEM, "2345678901234567", "a new one", None)
    finally:
        store.close()
    first, second = (credentials[bytes.fromhex(digest(token))] for token in ("dapi1", "dapi2"))
    assert (first.principal.name, first.principal.admin) == ("admin@localhost", True)
    assert (second.principal.name, second.principal.admin) == ("ana@example.com", False)
    assert second.expires_at == 1963800002.5


def test_an_upgrade_that_fails_changes_nothing(old_file: Path, opening: Callable[[str], Database]) -> None:
    db = sqlite3.connect(old_file)
    db.executescript("CREATE TABLE members (something TEXT); INSERT INTO members VALUES ('of somebody')")
    before = list(db.iterdump())
    with pytest.raises(StoreUnavailable, match="table members already exists"):
        schema.prepare(opening(home_url(old_file.parent)))
    assert list(db.iterdump()) == before
    db.close()


def test_an_old_file_whose_copy_cannot_be_made_is_left_alone(
    old_file: Path, opening: Callable[[str], Database]
) -> None:
    (old_file.parent / f"tesela.db.before-{HEAD}" / "in the way").mkdir(parents=True)
    with pytest.raises(ConfigError, match="nothing was changed"):
        schema.prepare(opening(home_url(old_file.parent)))
    assert schema.look(opening(home_url(old_file.parent))) == schema.Found("0001", stamped=False)


def test_check_says_what_would_change_and_changes_nothing(old_file: Path, opening: Callable[[str], Database]) -> None:
    before = {one.name: one.read_bytes() for one in old_file.parent.iterdir()}
    said = schema.check(opening(home_url(old_file.parent)))
    assert said[0].endswith(f"the tables of revision 0001 would become those of revision {HEAD}")
    assert any(one.startswith("CREATE TABLE endpoints (") for one in said)
    assert any("FROM old_access_tokens" in one for one in said)
    assert {one.name: one.read_bytes() for one in old_file.parent.iterdir() if one.suffix == ".db"} == before


def test_check_of_an_empty_database_makes_nothing(empty_url: str, opening: Callable[[str], Database]) -> None:
    said = schema.check(opening(empty_url))
    assert said[0].endswith(f"there would be those of revision {HEAD}")
    assert any(one.startswith("CREATE TABLE audit (") for one in said)
    assert schema.look(opening(empty_url)) == schema.Found("")
    if empty_url.startswith("sqlite"):
        assert not Path(empty_url.removeprefix("sqlite:///")).exists()


def test_check_of_a_current_database_says_nothing(store_url: str, opening: Callable[[str], Database]) -> None:
    assert schema.check(opening(store_url)) == []


def test_older_tables_of_many_servers_wait_for_the_command(
    postgres_old_url: str, opening: Callable[[str], Database]
) -> None:
    with pytest.raises(ConfigError, match="run: tesela db upgrade"):
        schema.prepare(opening(postgres_old_url))
    assert schema.look(opening(postgres_old_url)) == schema.Found("0001")
    assert any("CREATE TABLE endpoints" in one for one in schema.check(opening(postgres_old_url)))
    assert schema.upgrade(opening(postgres_old_url))[-1].endswith(f"to revision {HEAD}")
    assert schema.upgrade(opening(postgres_old_url)) == []
    database = opening(postgres_old_url)
    schema.prepare(database)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "target_metadata": METADATA})
        assert compare_metadata(context, METADATA) == []
        assert connection.execute(select(STATE.c.first_token_made)).scalar_one() is True
        assert len(connection.execute(select(MEMBERS)).all()) == 1


def test_a_newer_store_is_refused(store_url: str, opening: Callable[[str], Database]) -> None:
    database = opening(store_url)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for step in (schema.prepare, schema.check, schema.upgrade):
        with pytest.raises(ConfigError, match=r"written by a newer Tesela \(it has revision 9999"):
            step(opening(store_url))


def test_a_file_that_was_newer_than_the_old_program_is_refused(
    old_file: Path, opening: Callable[[str], Database]
) -> None:
    db = sqlite3.connect(old_file)
    with db:
        db.execute("INSERT INTO schema_migrations VALUES ('m002_groups', 1.0)")
    db.close()
    with pytest.raises(ConfigError, match="written by a newer Tesela"):
        schema.prepare(opening(home_url(old_file.parent)))


@pytest.mark.parametrize("tables", [("orders",), ("orders", "alembic_version"), ("state", "alembic_version")])
def test_what_is_not_ours_is_not_touched(
    tables: tuple[str, ...], empty_url: str, opening: Callable[[str], Database]
) -> None:
    if empty_url.startswith("sqlite"):
        # Not by us: a file that somebody else made is in no WAL mode.
        file = Path(empty_url.removeprefix("sqlite:///"))
        db = sqlite3.connect(file)
        for name in tables:
            db.execute(f"CREATE TABLE {name} (version_num TEXT)")
            db.execute(f"INSERT INTO {name} VALUES ('{HEAD}')")
        db.commit()
        db.close()
        before = file.read_bytes()
    else:
        with opening(empty_url).write() as connection:
            for name in tables:
                connection.execute(text(f"CREATE TABLE {name} (version_num TEXT)"))
                connection.execute(text(f"INSERT INTO {name} VALUES ('{HEAD}')"))
    for step in (schema.prepare, schema.check, schema.upgrade):
        with pytest.raises(ConfigError, match=r"tables that are not Tesela's \("):
            step(opening(empty_url))
    if empty_url.startswith("sqlite"):
        assert file.read_bytes() == before
        assert [one.name for one in file.parent.iterdir()] == [file.name]
    else:
        with opening(empty_url).read() as connection:
            assert set(connection.execute(text(schema.NAMES["postgresql"])).scalars()) == set(tables)


def test_a_file_that_is_no_database_is_a_sentence(tmp_path: Path, opening: Callable[[str], Database]) -> None:
    file = tmp_path / "tesela.db"
    file.write_bytes(b"not a database at all, but long enough to be taken for one " * 20)
    before = file.read_bytes()
    with pytest.raises(StoreUnavailable, match="is not a SQLite database") as caught:
        schema.prepare(opening(home_url(tmp_path)))
    assert str(file) in caught.value.message
    assert file.read_bytes() == before


def test_the_page_of_the_schema_names_every_table_and_column() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "schema.md").read_text("utf-8")
    shown: dict[str, set[str]] = {}
    for part in page.split("\n| `")[1:]:
        # A table of the page begins with "| `name` | |" or "| `name`: what it is | |"; its rows name columns.
        head = part.split("\n")[0]
        if head.rstrip().endswith("| |"):
            current = shown.setdefault(head.split("`")[0], set())
            continue
        current |= set(re.findall(r"\w+", part.split("|")[0]))
    assert shown == {name: {column.name for column in table.columns} for name, table in METADATA.tables.items()}
