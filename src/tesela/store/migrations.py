"""The tables of the control plane, as the ordered steps that made them.

A step is never changed once it has been released; a new one is added at the end.  The names of those that were done
stand in the table `schema_migrations`, so a store can tell whether it was written by a newer program.
"""

from typing import NamedTuple


class Migration(NamedTuple):
    name: str
    statements: tuple[str, ...]


MIGRATIONS: tuple[Migration, ...] = (
    Migration(
        "m001_principals_and_access_tokens",
        (
            # One row.  `version` is raised by every change that a request could notice.
            """CREATE TABLE state (
                only INTEGER PRIMARY KEY CHECK (only = 1),
                version INTEGER NOT NULL,
                workspace_id INTEGER NOT NULL,
                account_id TEXT NOT NULL,
                created_s REAL NOT NULL,
                first_token_made INTEGER NOT NULL CHECK (first_token_made IN (0, 1))
            )""",
            """CREATE TABLE principals (
                id TEXT PRIMARY KEY,
                name TEXT NOT NULL UNIQUE,
                display_name TEXT NOT NULL,
                admin INTEGER NOT NULL CHECK (admin IN (0, 1)),
                created_s REAL NOT NULL
            )""",
            # `expires_s` is NULL for a token that does not expire.
            """CREATE TABLE access_tokens (
                id TEXT PRIMARY KEY,
                digest BLOB NOT NULL UNIQUE,
                principal_id TEXT NOT NULL REFERENCES principals (id) ON DELETE CASCADE,
                comment TEXT NOT NULL,
                created_s REAL NOT NULL,
                expires_s REAL
            )""",
            "CREATE INDEX access_tokens_of_principal ON access_tokens (principal_id, created_s)",
        ),
    ),
)
