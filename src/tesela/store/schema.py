"""Makes the tables of the store and the rows that must exist, and brings older ones up to date.

Tables that are not ours are never touched, and neither are those of a newer version.
"""

import secrets
import time
import uuid
from pathlib import Path

from sqlalchemy import Connection, insert, select

from tesela.store import revisions
from tesela.store.database import UPSERTS, Database
from tesela.store.tables import KINDS, METADATA, STATE

KIND_NAMES = ("endpoints", "tokens", "principals", "permissions", "secrets", "keys")


def create(database: Database) -> None:
    """All tables in an empty database, and the rows that must exist.  Raises StoreUnavailable."""
    with database.write() as connection:
        upgrade(connection)
        first_rows(database, connection)


def upgrade(connection: Connection) -> None:
    """Runs the revisions that the database has not had, in the transaction of the connection."""
    # It takes 110 ms and 11 MB, which a start that has nothing to do here need not pay.
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    folder = str(Path(revisions.__file__).parent)
    script = ScriptDirectory(folder, version_locations=[folder])
    head = revisions.REVISIONS[-1]
    with EnvironmentContext(Config(), script, fn=lambda now, _: script._upgrade_revs(head, now)) as environment:
        environment.configure(connection=connection, target_metadata=METADATA, transactional_ddl=True)
        environment.run_migrations()


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
        connection.execute(UPSERTS[database.dialect](KINDS).values(row).on_conflict_do_nothing(index_elements=["kind"]))


def sixteen_digits() -> int:
    """Clients expect the ids of workspaces and principals to be whole numbers; JavaScript reads these exactly."""
    return 10**15 + secrets.randbelow(8 * 10**15)
