"""The control plane: groups and service principals, OAuth, secrets, endpoints, permissions and the audit.

Principals and access tokens of the first tables are kept; who was an admin there becomes a member of the group
`admins`.
"""

import secrets
import time

from alembic import op
from sqlalchemy.schema import CreateIndex, CreateTable

from tesela.store.tables import METADATA

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEPT = ("access_tokens", "principals", "state")
"""The tables of 0001 that are made anew; first those that refer to others."""

COPIES = """
INSERT INTO state ("only", version, workspace_id, account_id, created_s, first_token_made)
    SELECT "only", version + 1, workspace_id, account_id, created_s, first_token_made = 1 FROM old_state;
INSERT INTO principals (id, kind, name, display_name, active, details, created_s, version)
    SELECT id, 'user', name, display_name, true, '{}', created_s, 1 FROM old_principals;
INSERT INTO access_tokens (id, digest, principal_id, created_by, comment, created_s, expires_s, version)
    SELECT id, digest, principal_id, principal_id, comment, created_s, expires_s, 1 FROM old_access_tokens
"""
GROUPS = """
INSERT INTO principals (id, kind, name, display_name, active, details, created_s, version)
    VALUES ('{id}', 'group', '{name}', '{name}', true, '{{}}', {now!r}, 1)
"""
MEMBERS = "INSERT INTO members (group_id, member_id) SELECT '{admins}', id FROM old_principals WHERE admin = 1"


def upgrade() -> None:
    # Not renamed: in PostgreSQL the names of their constraints would stay taken.
    for name in KEPT:
        op.execute(f"CREATE TABLE old_{name} AS SELECT * FROM {name}")  # noqa: S608
    for name in KEPT:
        op.drop_table(name)
    for table in METADATA.sorted_tables:
        op.execute(CreateTable(table))
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            op.execute(CreateIndex(index))
    for statement in COPIES.split(";"):
        op.execute(statement)
    now = time.time()
    # Clients expect the ids of principals to be whole numbers of 16 digits.
    groups = {name: str(10**15 + secrets.randbelow(8 * 10**15)) for name in ("admins", "users")}
    for name, id_ in groups.items():
        op.execute(GROUPS.format(id=id_, name=name, now=now))
    op.execute(MEMBERS.format(admins=groups["admins"]))
    for name in KEPT:
        op.drop_table(f"old_{name}")
