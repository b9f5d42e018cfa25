"""Makes the tables of the store and the rows that must exist, and brings older ones up to date.

Tables that are not ours are never touched, and neither are those of a newer version.
"""

import io
import os
import secrets
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, exc, insert, select, text

from tesela.errors import ConfigError, StoreUnavailable
from tesela.store.database import Database, upsert
from tesela.store.revisions import REVISIONS
from tesela.store.tables import KINDS, METADATA, STATE

HEAD = REVISIONS[-1]
KIND_NAMES = ("endpoints", "tokens", "principals", "permissions", "secrets", "keys")

OURS = {"state", "principals", "access_tokens"}
"""The tables that every revision has; Alembic's own table is in other programs' databases too."""
FIRST = "m001_principals_and_access_tokens"
"""How the versions before Alembic named what is now revision 0001, in a table `schema_migrations`."""
NAMES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()",
}


class Found(NamedTuple):
    """What is in a database.  `revision` is empty when there are no tables; `stamped` says that Alembic knows it."""

    revision: str
    stamped: bool = True


def prepare(database: Database) -> None:
    """What a server does first: makes the tables when there are none, brings those of a SQLite file up to date.

    A PostgreSQL that has older tables is left as it is, since other servers may be using it.  Several may do this at
    once.  Raises ConfigError for a database that cannot be used as it is, StoreUnavailable for one that does not
    answer.
    """
    with _explained(database):
        if look(database).revision == HEAD:
            return
        _make_file(database)
        with database.alone() as connection:
            found = inspect(database, connection)
            if found.revision == HEAD:
                return
            if found.revision and database.dialect != "sqlite":
                raise ConfigError(
                    f"the database {database.name} has tables of an older version ({found.revision}; this one needs "
                    f"{HEAD}); stop the servers that use it and run: tesela db upgrade"
                )
            _upgrade(database, connection, found)


def upgrade(database: Database) -> list[str]:
    """Brings the tables up to date, or makes them; gives a sentence for each thing that was done.

    A SQLite file is copied beside itself first.  Raises ConfigError and StoreUnavailable, as `prepare` does.
    """
    with _explained(database):
        if look(database).revision == HEAD:
            return []
        _make_file(database)
        with database.alone() as connection:
            return _upgrade(database, connection, inspect(database, connection))


def check(database: Database) -> list[str]:
    """What `upgrade` would do: a sentence, and the statements.  Changes nothing; nothing to do gives an empty list."""
    with _explained(database):
        found = look(database)
    if found.revision == HEAD:
        return []
    what = f"the tables of revision {found.revision} would become" if found.revision else "there would be"
    return [f"{database.name}: {what} those of revision {HEAD}", *_statements(database, found)]


def create(database: Database) -> None:
    """All tables in an empty database, and the rows that must exist.  Raises StoreUnavailable."""
    _make_file(database)
    with database.alone() as connection:
        _upgrade(database, connection, Found(""))


def look(database: Database) -> Found:
    """What is in the database, without a change to it.  Raises ConfigError and StoreUnavailable."""
    if database.file is not None and (not database.file.exists() or database.file.stat().st_size == 0):
        return Found("")
    with database.peek() as connection:
        return inspect(database, connection)


def inspect(database: Database, connection: Connection) -> Found:
    """Which of our revisions a database has.  Raises ConfigError for one that is not ours or newer."""
    names = set(connection.execute(text(NAMES[database.dialect])).scalars())
    if not names:
        return Found("")
    if names >= OURS and "alembic_version" in names:
        had = list(connection.execute(text("SELECT version_num FROM alembic_version")).scalars())
        if len(had) == 1 and had[0] in REVISIONS:
            return Found(had[0])
        raise _newer(database, ", ".join(had))
    if names >= OURS and "schema_migrations" in names:
        had = list(connection.execute(text("SELECT name FROM schema_migrations")).scalars())
        if had == [FIRST]:
            return Found(REVISIONS[0], stamped=False)
        raise _newer(database, ", ".join(sorted(set(had) - {FIRST})))
    raise ConfigError(
        f"the database {database.name} has tables that are not Tesela's ({', '.join(sorted(names)[:3])}"
        f"{' …' if len(names) > 3 else ''}), and nothing in it was touched; give Tesela an empty database of its own"
    )


def _newer(database: Database, revision: str) -> ConfigError:
    return ConfigError(
        f"the database {database.name} was written by a newer Tesela (it has revision {revision or 'unknown'}, and "
        f"this version knows none after {HEAD}); use that version, or another TESELA_HOME or TESELA_DATABASE_URL"
    )


def _upgrade(database: Database, connection: Connection, found: Found) -> list[str]:
    if found.revision == HEAD:
        return []
    done = []
    if found.revision and database.file is not None:
        copy = database.file.with_name(f"{database.file.name}.before-{HEAD}")
        _copy(database.file, copy)
        done.append(f"copied {database.file} to {copy}")
    run(connection, HEAD, stamp="" if found.stamped else found.revision)
    if not found.stamped:
        connection.execute(text("DROP TABLE schema_migrations"))
    first_rows(database, connection)
    done.append(f"{'brought' if found.revision else 'made'} the tables of {database.name} to revision {HEAD}")
    return done


def run(connection: Connection, revision: str, *, stamp: str = "") -> None:
    """Runs the revisions that the database has not had, up to one, in the transaction of the connection.

    `stamp` is the one that it has without Alembic's knowing it.
    """
    with _environment(revision) as environment:
        environment.configure(connection=connection, target_metadata=METADATA, transactional_ddl=True)
        if stamp:
            environment.get_context().stamp(environment.script, stamp)
        environment.run_migrations()


def _statements(database: Database, found: Found) -> list[str]:
    """What the revisions would tell the database, in SQL."""
    written = io.StringIO()
    with _environment(HEAD, as_sql=True, starting_rev=found.revision or None) as environment:
        environment.configure(
            dialect_name=database.dialect, target_metadata=METADATA, literal_binds=True, output_buffer=written
        )
        environment.run_migrations()
    parts = ("\n".join(part.splitlines()).strip() for part in written.getvalue().split(";\n"))
    return [part for part in parts if part]


@contextmanager
def _environment(revision: str, **options: Any) -> Iterator[Any]:
    # It takes 110 ms and 11 MB, which a start that has nothing to do here need not pay.
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    folder = str(Path(__file__).parent / "revisions")
    script = ScriptDirectory(folder, version_locations=[folder])
    with EnvironmentContext(
        Config(), script, fn=lambda now, _: script._upgrade_revs(revision, now), destination_rev=revision, **options
    ) as environment:
        yield environment


def first_rows(database: Database, connection: Connection) -> None:
    """The rows that must exist, where they do not: the state and a version for each kind.

    The groups `admins` and `users` are made by the revision that made groups.
    """
    if connection.execute(select(STATE.c.only)).first() is None:
        row = {
            "only": 1,
            "version": 1,
            "workspace_id": sixteen_digits(),
            "account_id": str(uuid.uuid4()),
            "created_s": time.time(),
            "first_token_made": False,
        }
        connection.execute(insert(STATE).values(row))
    version = connection.execute(select(STATE.c.version)).scalar_one()
    for kind in KIND_NAMES:
        row = {"kind": kind, "version": version}
        connection.execute(upsert(database.dialect, KINDS).values(row).on_conflict_do_nothing(index_elements=["kind"]))


def sixteen_digits() -> int:
    """Clients expect the ids of workspaces and principals to be whole numbers; JavaScript reads these exactly."""
    return 10**15 + secrets.randbelow(8 * 10**15)


def _make_file(database: Database) -> None:
    """An empty file for SQLite, which only its owner can read, in a folder that only its owner can."""
    if database.file is None:
        return
    try:
        database.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(database.file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise ConfigError(f"{database.file}: cannot be opened: {error.strerror or error}") from error


def _copy(file: Path, copy: Path) -> None:
    """A copy of a SQLite file as it is now, whole or not at all."""
    part = copy.with_name(copy.name + ".part")
    try:
        part.unlink(missing_ok=True)
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        source, target = sqlite3.connect(file), sqlite3.connect(part)
        try:
            source.backup(target)
        finally:
            source.close()
            target.close()
        os.replace(part, copy)
    except (OSError, sqlite3.Error) as error:
        part.unlink(missing_ok=True)
        raise ConfigError(
            f"{file}: its tables must be brought up to date, and a copy of it ({copy}) cannot be made first: {error}; "
            "nothing was changed"
        ) from error


@contextmanager
def _explained(database: Database) -> Iterator[None]:
    """Whoever starts a server may see which database it is, and all that it said."""
    try:
        yield
    except StoreUnavailable as error:
        cause = error.__cause__
        said = str(cause.orig).strip().splitlines() if isinstance(cause, exc.DBAPIError) else []
        raise StoreUnavailable(f"{error.message} ({': '.join([database.name, *said[:1]])})") from error
