"""The database behind the store: SQLite in a file of the home folder, or PostgreSQL by URL.

Reads see one moment; a change is one transaction that raises the version, writes its audit record, and happens whole
or not at all.  A database that does not answer in time is a StoreUnavailable; nothing here waits for ever.
"""

import importlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from sqlalchemy import Connection, Engine, NullPool, Table, create_engine, event, exc, insert, or_, text, update
from sqlalchemy.engine import URL, make_url

from tesela.errors import ConfigError, StoreUnavailable
from tesela.records import Actor
from tesela.store.reasons import reason, sentence
from tesela.store.tables import AUDIT, KINDS, STATE

BUSY_S = 10.0
"""How long a change waits for another one's end."""
CONNECT_S = 5
LOCK = 7_233_106_591
"""The number of PostgreSQL's advisory lock for work on the tables themselves; chosen by lot, once."""
CONNECTIONS = 5
FILE = "tesela.db"
DONE = 200
"""The status of audit records of what was done."""

UPSERTS = {"sqlite": "sqlalchemy.dialects.sqlite", "postgresql": "sqlalchemy.dialects.postgresql"}
"""Where each database's own INSERT, with its ON CONFLICT, is: loaded when it is needed, for 4 MB and 25 ms."""


class Change(NamedTuple):
    """A change under way: `version` is the one that it makes, `now` in seconds since the epoch."""

    connection: Connection
    version: int
    now: float


def _nobody(_version: int) -> None:
    return


class Database:
    """Opened lazily, one for a process; threads share it.  `announce` is called with the version of each change that
    has been made here.  `key_mark` is the mark of our master key: who has another than the store's can change nothing.
    """

    def __init__(
        self, url: str, clock: Any = time.time, *, wait_s: float = BUSY_S, key_mark: bytes | None = None
    ) -> None:
        self.url = address(url)
        self.dialect = self.url.get_backend_name()
        self.announce: Callable[[int], None] = _nobody
        self._clock = clock
        self._wait_s = wait_s
        self._key_mark = key_mark
        self._engine: Engine | None = None
        self._starting = threading.Lock()

    def __repr__(self) -> str:
        return f"Database({self.name!r})"

    @property
    def name(self) -> str:
        """Its URL without the password."""
        # A password can stand among the parameters too, where SQLAlchemy does not look for it.
        shown = self.url.difference_update_query(["password", "sslpassword"])
        return shown.render_as_string(hide_password=True)

    @property
    def file(self) -> Path | None:
        """Where SQLite keeps it; None for PostgreSQL."""
        return Path(self.url.database or "") if self.dialect == "sqlite" else None

    @property
    def engine(self) -> Engine:
        with self._starting:
            if self._engine is None:
                make = _sqlite if self.dialect == "sqlite" else _postgresql
                self._engine = make(self.url, self._wait_s)
            return self._engine

    def close(self) -> None:
        with self._starting:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One moment of the store.  Raises StoreUnavailable."""
        with self._told(), self.engine.connect() as connection:
            if self.dialect == "postgresql":
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def change(self, by: Actor, action: str, thing: str, *kinds: str) -> Iterator[Change]:
        """One change of things of these kinds, with its audit record.

        Whatever is raised inside undoes all of it.  `action` is a word of the audit such as "endpoints.create", `thing`
        what it is done to.  Raises StoreUnavailable.
        """
        with self._transaction("BEGIN IMMEDIATE") as connection:
            now = self._clock()
            # First of all: this row's lock puts changes in order.
            raised = update(STATE).values(version=STATE.c.version + 1).returning(STATE.c.version)
            if self._key_mark is not None:
                raised = raised.where(or_(STATE.c.key_check == self._key_mark, STATE.c.key_check.is_(None)))
            row = connection.execute(raised).first()
            if row is None:
                raise StoreUnavailable(
                    "the master key has been rotated since this server started, so it can change nothing; queries go "
                    "on; whoever runs it has to restart it"
                )
            version = int(row.version)
            yield Change(connection, version, now)
            for kind in kinds:
                self.put(connection, KINDS, {"kind": kind, "version": version})
            record(connection, by, action, thing, now)
        self.announce(version)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that no snapshot needs to know of: audit records of what was refused, housekeeping."""
        with self._transaction("BEGIN IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def alone(self) -> Iterator[Connection]:
        """A transaction for work on the tables themselves: whoever else wants the same waits for its end."""
        with self._transaction("BEGIN EXCLUSIVE") as connection:
            if self.dialect == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
                # Copying a large table takes its time.
                connection.execute(text("SET LOCAL statement_timeout = 0"))
            yield connection

    @contextmanager
    def peek(self) -> Iterator[Connection]:
        """A look that changes nothing, not even how a file that is not ours is kept."""
        if self.dialect == "postgresql":
            with self.read() as connection:
                yield connection
            return
        place = f"file:{quote(str(self.file))}?mode=ro"
        engine = create_engine(
            "sqlite://", creator=lambda: sqlite3.connect(place, uri=True, timeout=self._wait_s), poolclass=NullPool
        )
        with self._told(), engine.connect() as connection:
            yield connection

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        """All or nothing.  `begin` is what SQLite is told: only a writer from the start is sure to get to its end."""
        doing = ["do"]
        with (
            self._told(doing),
            self.engine.connect().execution_options(sqlite_begin=begin) as connection,
            connection.begin() as transaction,
        ):
            yield connection
            doing[0] = "commit"
            transaction.commit()

    def put(self, connection: Connection, table: Any, row: dict[str, Any]) -> None:
        """Insert the row, or bring the one with the same primary key up to date."""
        keys = [column.name for column in table.primary_key]
        statement = upsert(self.dialect, table).values(row)
        rest = {name: value for name, value in row.items() if name not in keys}
        if rest:
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=rest))
        else:
            connection.execute(statement.on_conflict_do_nothing(index_elements=keys))

    @contextmanager
    def _told(self, doing: Sequence[str] = ("read",)) -> Iterator[None]:
        try:
            yield
        except (exc.DatabaseError, exc.InterfaceError, exc.TimeoutError) as error:
            said = reason(error)
            if said is None:
                raise
            raise StoreUnavailable(sentence(said, doing[0]), retry_after_s=5) from error


def upsert(dialect: str, table: Table) -> Any:
    """An INSERT that knows ON CONFLICT."""
    return importlib.import_module(UPSERTS[dialect]).insert(table)


def record(
    connection: Connection, by: Actor, action: str, thing: str, now: float, status: int = DONE, message: str = ""
) -> int:
    """Writes an audit record; its number."""
    row = {
        "at_ms": int(now * 1000),
        "actor_id": by.id,
        "actor": by.name[:256],
        "address": by.address[:64],
        "request_id": by.request_id[:64],
        "action": action[:64],
        "object": thing[:256],
        "status": status,
        "message": message[:1000],
    }
    return int(connection.execute(insert(AUDIT).values(row).returning(AUDIT.c.id)).scalar_one())


def home_url(home: Path) -> str:
    """The URL of the store that lives in the home folder."""
    return URL.create("sqlite", database=str(home / FILE)).render_as_string()


def address(url: str) -> URL:
    """Raises ConfigError for a URL that names no database which the store can be in.  It never shows the URL."""
    try:
        found = make_url(url)
    except (exc.ArgumentError, ValueError):
        raise ConfigError(
            "the URL of the store's database cannot be read; it is like postgresql://user:password@host/database"
        ) from None
    backend = found.get_backend_name()
    if backend in ("postgres", "postgresql"):
        return found.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise ConfigError(f"the store can be in PostgreSQL or SQLite, not in {backend!r}")
    if found.database in (None, "", ":memory:"):
        raise ConfigError("the store needs a file to be in; its URL is like sqlite:////folder/tesela.db")
    return found.set(drivername="sqlite")


def _sqlite(url: URL, wait_s: float) -> Engine:
    engine = create_engine(
        url,
        connect_args={"timeout": wait_s, "check_same_thread": False},
        pool_size=CONNECTIONS,
        pool_timeout=wait_s,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        # The driver must not begin transactions by its own rules: see "begin" below.
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get("sqlite_begin", "BEGIN"))

    return engine


def _postgresql(url: URL, wait_s: float) -> Engine:
    limit_ms = int(wait_s * 1000)
    # The shorter one is what the server tells us of.
    limits = f"-c statement_timeout={limit_ms} -c lock_timeout={limit_ms * 9 // 10} -c TimeZone=UTC"
    connect_s = max(1, min(CONNECT_S, int(wait_s)))
    try:
        from tesela.store.postgres import bounded

        engine = create_engine(
            url,
            connect_args={
                "connect_timeout": connect_s,
                "options": limits,
                "application_name": "tesela",
            },
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=wait_s,
            pool_pre_ping=True,
            # What a statement was given must not get into a traceback.
            hide_parameters=True,
        )
    except ModuleNotFoundError as error:
        raise ConfigError(
            "a store in PostgreSQL needs a package that is not installed: pip install 'psycopg[binary]'"
        ) from error
    # The server keeps to its limits by itself; one that is silent is given up a little later.
    event.listen(engine, "do_connect", bounded(wait_s + 1))
    return engine
