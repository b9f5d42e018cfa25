"""The database: changes in order, reads of one moment, and what happens when it is locked, full, silent or gone."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Connection, func, insert, select, text
from sqlalchemy.exc import IntegrityError, ProgrammingError
from tests.store.postgres import Missing, Server

from tesela.errors import ConfigError, StoreUnavailable
from tesela.records import Actor
from tesela.store import schema
from tesela.store.contents import read_version
from tesela.store.database import CONNECTIONS, Database
from tesela.store.reasons import SILENT, sentence
from tesela.store.tables import AUDIT, KINDS, SCOPES, STATE

ANA = Actor("1", "ana@example.com", "10.0.0.1", "request-1")
SHORT_S = 0.4
"""How long the tests let a database wait."""
BOUND_S = 8.0
"""By when an answer must have come; far more than it takes, far less than for ever."""


@pytest.fixture
def opening() -> Iterator[Callable[..., Database]]:
    """Opens databases that wait but a short time, and closes them at the end."""
    made: list[Database] = []

    def database(url: str, wait_s: float = SHORT_S) -> Database:
        made.append(Database(url, wait_s=wait_s))
        return made[-1]

    yield database
    for one in made:
        one.close()


@pytest.fixture
def database(store_url: str, opening: Callable[..., Database]) -> Database:
    return opening(store_url)


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A PostgreSQL server that a test may stop."""
    try:
        server = Server()
    except Missing as why:
        pytest.skip(str(why))
    try:
        yield server
    finally:
        server.stop()


def version(database: Database) -> int:
    with database.read() as connection:
        return int(connection.execute(select(STATE.c.version)).scalar_one())


def backend(connection: Connection) -> int:
    return int(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())


def add_scope(connection: Connection, name: str) -> None:
    connection.execute(insert(SCOPES).values(name=name, created_s=1.0))


def scopes(database: Database) -> list[str]:
    with database.read() as connection:
        return list(connection.execute(select(SCOPES.c.name).order_by(SCOPES.c.name)).scalars())


def refused(act: Callable[[], object]) -> str:
    """What the StoreUnavailable says that comes of it, in bounded time."""
    began = time.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        act()
    assert time.monotonic() - began < BOUND_S
    return caught.value.message


# ------------------------------------------------------------ changes


def test_a_change_raises_the_version_and_is_recorded(database: Database) -> None:
    heard: list[int] = []
    database.announce = heard.append
    before = version(database)
    with database.change(ANA, "secrets.create_scope", "team", "secrets") as change:
        assert change.version == before + 1
        add_scope(change.connection, "team")
        assert heard == []
    assert heard == [version(database)] == [before + 1]
    with database.read() as connection:
        kinds = dict(list(connection.execute(select(KINDS.c.kind, KINDS.c.version))))
        record = connection.execute(select(AUDIT)).one()
    assert kinds == {**dict.fromkeys(kinds, before), "secrets": before + 1}
    assert (record.actor_id, record.actor, record.address, record.request_id) == ANA_RECORD
    assert (record.action, record.object, record.status) == ("secrets.create_scope", "team", 200)


ANA_RECORD = (ANA.id, ANA.name, ANA.address, ANA.request_id)


def test_what_is_raised_inside_undoes_all_of_it(database: Database) -> None:
    heard: list[int] = []
    database.announce = heard.append
    before = version(database)

    def fail() -> None:
        with database.change(ANA, "secrets.create_scope", "team", "secrets") as change:
            add_scope(change.connection, "team")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert (version(database), scopes(database), heard) == (before, [], [])
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(AUDIT)).scalar_one() == 0


CHANGES = """
import sys
from tesela.records import SYSTEM
from tesela.store.database import Database
database = Database(sys.argv[1])
sys.stdin.readline()
for _ in range(int(sys.argv[2])):
    with database.change(SYSTEM, "test", "test") as change:
        pass
    print(change.version)
database.close()
"""


@pytest.mark.slow
def test_changes_from_everywhere_get_versions_of_their_own(store_url: str, opening: Callable[..., Database]) -> None:
    """Threads and processes change, and a reader looks on: what it sees is always the work of whole changes."""
    each, threads, processes = 12, 3, 2
    database = opening(store_url, 10.0)
    before = version(database)
    done = threading.Event()
    torn: list[tuple[int, int]] = []

    def look() -> int:
        looks = 0
        while not done.is_set():
            with database.read() as connection:
                seen = connection.execute(select(STATE.c.version)).scalar_one()
                # Every change writes one record, so their number says which changes are seen.
                records = connection.execute(select(func.count()).select_from(AUDIT)).scalar_one()
            if seen - before != records:
                torn.append((seen, records))
            looks += 1
        return looks

    def change(_: int) -> list[int]:
        versions = []
        for _ in range(each):
            with database.change(ANA, "test", "test") as one:
                pass
            versions.append(one.version)
            assert version(database) >= one.version
        return versions

    others = [
        subprocess.Popen(
            [sys.executable, "-c", CHANGES, store_url, str(each)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(processes)
    ]  # fmt: skip
    with ThreadPoolExecutor(threads + 1) as pool:
        looking = pool.submit(look)
        try:
            for one in others:
                assert one.stdin is not None
                one.stdin.write("go\n")
                one.stdin.flush()
            mine = list(pool.map(change, range(threads)))
            told = [one.communicate(timeout=60) for one in others]
        finally:
            done.set()
    assert [error for _, error in told] == [""] * processes
    lists = [*mine, *([int(line) for line in out.split()] for out, _ in told)]
    assert all(one == sorted(one) for one in lists)
    everything = sorted(number for one in lists for number in one)
    assert everything == list(range(before + 1, before + 1 + each * (threads + processes)))
    assert torn == []
    assert looking.result() > 0


# ------------------------------------------------------------ locked, full, damaged


def test_a_change_does_not_wait_for_ever_for_another(store_url: str, opening: Callable[..., Database]) -> None:
    slow, hurried = opening(store_url), opening(store_url)
    with slow.change(ANA, "test", "test"):

        def change() -> None:
            with hurried.change(ANA, "test", "test"):
                pass

        assert "was locked by another process all the while; nothing was changed" in refused(change)
        # Whoever reads need not wait.
        assert version(hurried) == 1
    change()
    assert version(hurried) == 3


def test_a_statement_that_takes_too_long_is_ended(
    postgres: Server, postgres_template: str, opening: Callable[..., Database]
) -> None:
    database = opening(postgres.database(postgres_template))

    def dawdle() -> None:
        with database.read() as connection:
            connection.execute(text("SELECT pg_sleep(60)"))

    assert "took too long over it" in refused(dawdle)
    assert version(database) == 1


def test_a_full_disk_is_told_and_nothing_is_half_written(
    sqlite_template: Path, tmp_path: Path, opening: Callable[..., Database]
) -> None:
    file = tmp_path / "tesela.db"
    file.write_bytes(sqlite_template.read_bytes())
    database = opening(f"sqlite:///{file}")

    def fill() -> None:
        with database.change(ANA, "test", "test") as change:
            # SQLite's own means to play a disk that is full; it stays with this connection.
            pages = change.connection.execute(text("PRAGMA page_count")).scalar_one()
            change.connection.execute(text(f"PRAGMA max_page_count = {pages + 2}"))
            for number in range(2000):
                add_scope(change.connection, f"{number:0128}")

    assert "has no room left on its disk; nothing was changed" in refused(fill)
    assert (version(database), scopes(database)) == (1, [])
    with database.change(ANA, "test", "test") as change:
        change.connection.execute(text("PRAGMA max_page_count = 1000000"))
        add_scope(change.connection, "fits")
    assert (version(database), scopes(database)) == (2, ["fits"])


def test_a_file_that_may_not_be_written_is_told(
    sqlite_template: Path, tmp_path: Path, opening: Callable[..., Database]
) -> None:
    file = tmp_path / "tesela.db"
    file.write_bytes(sqlite_template.read_bytes())
    database = opening(f"sqlite:///file:{file}?mode=ro&uri=true")

    def change() -> None:
        with database.change(ANA, "test", "test"):
            pass

    assert "cannot be written to; nothing was changed" in refused(change)


def test_a_damaged_file_is_told(sqlite_template: Path, tmp_path: Path, opening: Callable[..., Database]) -> None:
    file = tmp_path / "tesela.db"
    whole = sqlite_template.read_bytes()
    file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    database = opening(f"sqlite:///{file}")
    assert "is damaged" in refused(lambda: version(database))


def test_a_folder_that_is_gone_is_told(tmp_path: Path, opening: Callable[..., Database]) -> None:
    database = opening(f"sqlite:///{tmp_path / 'gone' / 'tesela.db'}")
    assert "cannot be opened" in refused(lambda: version(database))


def test_more_threads_than_connections_wait_only_so_long(
    postgres: Server, postgres_template: str, opening: Callable[..., Database]
) -> None:
    database = opening(postgres.database(postgres_template))
    opened = threading.Barrier(CONNECTIONS + 1)
    release = threading.Event()

    def hold() -> None:
        with database.read() as connection:
            connection.execute(select(STATE.c.version)).scalar_one()
            opened.wait(30)
            release.wait(30)

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        holding = [pool.submit(hold) for _ in range(CONNECTIONS)]
        opened.wait(30)
        try:
            assert "does not answer" in refused(lambda: version(database))
        finally:
            release.set()
        assert [one.result() for one in holding] == [None] * CONNECTIONS
    assert version(database) == 1


# ------------------------------------------------------------ silent, gone


def test_a_server_that_accepts_and_never_answers(opening: Callable[..., Database]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        database = opening(f"postgresql://ana:hunter2@127.0.0.1:{port}/tesela")
        said = refused(lambda: version(database))
    assert "does not answer" in said
    # Callers of the API see this: neither where the database is nor how to get in.
    assert "127.0.0.1" not in said
    assert "hunter2" not in said


def test_a_server_that_falls_silent_in_the_middle(
    postgres: Server, postgres_template: str, opening: Callable[..., Database]
) -> None:
    database = opening(postgres.database(postgres_template))
    stopped: list[int] = []

    def change() -> None:
        with database.change(ANA, "test", "test") as one:
            stopped.append(backend(one.connection))
            os.kill(stopped[0], signal.SIGSTOP)
            add_scope(one.connection, "team")

    try:
        assert "does not answer" in refused(change)
    finally:
        os.kill(stopped[0], signal.SIGCONT)
    with database.change(ANA, "test", "test"):
        pass
    assert (version(database), scopes(database)) == (2, [])


def test_a_connection_that_is_lost_in_the_middle_of_a_change(
    postgres: Server, postgres_template: str, opening: Callable[..., Database]
) -> None:
    database = opening(postgres.database(postgres_template))

    def change() -> None:
        with database.change(ANA, "test", "test") as one:
            add_scope(one.connection, "team")
            postgres.execute(f"SELECT pg_terminate_backend({backend(one.connection)}, 10000)")

    assert "does not answer; nothing was changed" in refused(change)
    assert (version(database), scopes(database)) == (1, [])
    with database.change(ANA, "test", "test"):
        pass
    assert version(database) == 2


def test_a_connection_that_was_lost_while_nobody_used_it(
    postgres: Server, postgres_template: str, opening: Callable[..., Database]
) -> None:
    database = opening(postgres.database(postgres_template))
    with database.read() as connection:
        idle = backend(connection)
    postgres.execute(f"SELECT pg_terminate_backend({idle}, 10000)")
    assert version(database) == 1


def test_a_connection_that_is_lost_at_the_end_leaves_it_open_what_happened(
    postgres: Server, postgres_template: str, opening: Callable[..., Database]
) -> None:
    database = opening(postgres.database(postgres_template))

    def write() -> None:
        with database.write() as connection:
            postgres.execute(f"SELECT pg_terminate_backend({backend(connection)}, 10000)")

    assert "whether the change was made is not known" in refused(write)


@pytest.mark.slow
def test_a_server_that_stops_and_comes_back(own_server: Server, opening: Callable[..., Database]) -> None:
    database = opening(own_server.database())
    schema.create(database)
    assert version(database) == 1
    own_server.halt()
    assert "does not answer" in refused(lambda: version(database))

    def change() -> None:
        with database.change(ANA, "test", "test"):
            pass

    assert "does not answer; nothing was changed" in refused(change)
    own_server.start()
    change()
    assert version(database) == 2


@pytest.mark.parametrize(
    ("said", "doing", "outcome"),
    [
        (SILENT, "read", "nothing was changed"),
        (SILENT, "do", "nothing was changed"),
        (SILENT, "commit", "whether the change was made is not known"),
        ("has no room left on its disk", "commit", "nothing was changed"),
    ],
)
def test_the_sentence_says_what_became_of_the_change(said: str, doing: str, outcome: str) -> None:
    assert f"the server's database {said}; {outcome}, " in sentence(said, doing)


def test_our_own_mistakes_are_not_blamed_on_the_database(database: Database) -> None:
    def twice() -> None:
        with database.change(ANA, "test", "test") as change:
            add_scope(change.connection, "team")
            add_scope(change.connection, "team")

    with pytest.raises(IntegrityError):
        twice()
    if database.dialect == "postgresql":
        with pytest.raises(ProgrammingError), database.read() as connection:
            connection.execute(text("SELEC version FROM state"))
    assert version(database) == 1


# ------------------------------------------------------------ URLs


@pytest.mark.parametrize(
    ("url", "drivername"),
    [
        ("postgres://db/tesela", "postgresql+psycopg"),
        ("postgresql://db/tesela", "postgresql+psycopg"),
        ("postgresql+asyncpg://db/tesela", "postgresql+psycopg"),
        ("sqlite:////var/tesela.db", "sqlite"),
    ],
)
def test_a_url_says_which_database(url: str, drivername: str) -> None:
    assert Database(url).url.drivername == drivername


@pytest.mark.parametrize(
    "url", ["", "tesela.db", "mysql://ana:hunter2@db/x", "sqlite://", "postgresql://ana:hunter2@db:x/y"]
)
def test_a_url_that_cannot_be_is_a_sentence_without_it(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Database(url)
    assert "hunter2" not in caught.value.message
    assert caught.value.__cause__ is None


def test_no_repr_shows_the_password() -> None:
    for url in ("postgresql://ana:hunter2@db/x", "postgresql://db/x?user=ana&password=hunter2&sslpassword=hunter2"):
        database = Database(url)
        assert "hunter2" not in repr(database) + database.name
        assert "db/x" in repr(database)


def test_a_read_is_of_one_moment(store_url: str, opening: Callable[..., Database]) -> None:
    reading, changing = opening(store_url), opening(store_url)
    with reading.read() as connection:
        first = connection.execute(select(STATE.c.version)).scalar_one()
        with changing.change(ANA, "test", "test") as change:
            add_scope(change.connection, "team")
        assert connection.execute(select(STATE.c.version)).scalar_one() == first
        assert connection.execute(select(SCOPES)).all() == []
    assert (version(reading), scopes(reading)) == (first + 1, ["team"])


def test_who_will_write_in_sqlite_is_the_writer_from_the_start(
    sqlite_template: Path, tmp_path: Path, opening: Callable[..., Database]
) -> None:
    """One that began as a reader could not become the writer once another has written."""
    file = tmp_path / "tesela.db"
    file.write_bytes(sqlite_template.read_bytes())
    one, other = opening(f"sqlite:///{file}"), opening(f"sqlite:///{file}")

    def look() -> None:
        with other.write() as connection:
            connection.execute(select(SCOPES)).all()

    with one.write() as connection:
        connection.execute(select(SCOPES)).all()
        assert "was locked" in refused(look)
        add_scope(connection, "one")
    look()
    assert scopes(other) == ["one"]


def test_a_sqlite_file_survives_a_crash_of_the_machine(sqlite_template: Path, tmp_path: Path) -> None:
    file = tmp_path / "tesela.db"
    file.write_bytes(sqlite_template.read_bytes())
    database = Database(f"sqlite:///{file}")
    with database.read() as connection:
        asked = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("synchronous", "foreign_keys")
        }
    database.close()
    # 2 is FULL: what was answered is on the disk.
    assert asked == {"synchronous": 2, "foreign_keys": 1}
    plain = sqlite3.connect(file)
    assert plain.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    plain.close()


def test_a_fault_shows_the_statement_and_nothing_of_what_was_put(database: Database) -> None:
    with pytest.raises(IntegrityError) as caught, database.write() as connection:
        connection.execute(insert(KINDS).values(kind="endpoints", version=7_654_321))
    assert "INSERT INTO kinds" in str(caught.value)
    assert "7654321" not in str(caught.value)


def test_tables_of_another_version_are_a_store_that_cannot_be_used_now(database: Database) -> None:
    with database.write() as connection:
        connection.execute(text("ALTER TABLE state RENAME COLUMN version TO edition"))
    with pytest.raises(StoreUnavailable):
        read_version(database)
