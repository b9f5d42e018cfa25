"""The control plane: groups and service principals, OAuth, secrets, endpoints, permissions and the audit.

Principals and access tokens of the first tables are kept; who was an admin there becomes a member of the group
`admins`.  The statements are written out, because tables.py goes on changing and this revision does not.
"""

import secrets
import time
from typing import Any

import sqlalchemy as sa
from alembic import op

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
    _identities()
    _sealed()
    _rest()
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


def principal(name: str, **options: Any) -> "sa.Column[Any]":
    return sa.Column(name, sa.String(32), sa.ForeignKey("principals.id", ondelete="CASCADE"), **options)


def _identities() -> None:
    op.create_table(
        "state",
        sa.Column("only", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("workspace_id", sa.BigInteger, nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("first_token_made", sa.Boolean, nullable=False),
        sa.Column("key_check", sa.LargeBinary),
    )
    op.create_table(
        "kinds",
        sa.Column("kind", sa.String(32), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "principals",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("name", sa.String(256), nullable=False),
        sa.Column("display_name", sa.String(256), nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("external_id", sa.String(256)),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("kind", "name"),
    )
    op.create_table("members", principal("group_id", primary_key=True), principal("member_id", primary_key=True))
    op.create_index("ix_members_member_id", "members", ["member_id"])
    op.create_table(
        "access_tokens",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        principal("principal_id", nullable=False),
        sa.Column("created_by", sa.String(32), nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("expires_s", sa.Double),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_index("ix_access_tokens_principal_id", "access_tokens", ["principal_id", "created_s"])


def _sealed() -> None:
    op.create_table(
        "client_secrets",
        sa.Column("id", sa.String(64), primary_key=True),
        principal("principal_id", nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False, unique=True),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("expires_s", sa.Double),
    )
    op.create_index("ix_client_secrets_principal_id", "client_secrets", ["principal_id"])
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("private", sa.LargeBinary, nullable=False),
        sa.Column("public", sa.Text, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
    )
    op.create_table(
        "secret_scopes",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("created_s", sa.Double, nullable=False),
    )
    scope = sa.ForeignKey("secret_scopes.name", ondelete="CASCADE")
    op.create_table(
        "secrets",
        sa.Column("scope", sa.String(128), scope, primary_key=True),
        sa.Column("key", sa.String(128), primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
    )
    scope = sa.ForeignKey("secret_scopes.name", ondelete="CASCADE")
    op.create_table(
        "secret_acls",
        sa.Column("scope", sa.String(128), scope, primary_key=True),
        principal("principal_id", primary_key=True),
        sa.Column("permission", sa.String(8), nullable=False),
    )


def _rest() -> None:
    op.create_table(
        "endpoints",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False, unique=True),
        sa.Column("creator_id", sa.String(32), nullable=False),
        sa.Column("creator", sa.String(256), nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
        sa.Column("config_version", sa.Integer, nullable=False),
        sa.Column("active", sa.Text),
        sa.Column("pending", sa.Text),
        sa.Column("pending_ms", sa.BigInteger, nullable=False),
        sa.Column("pending_version", sa.BigInteger, nullable=False),
        sa.Column("update_state", sa.String(20), nullable=False),
        sa.Column("update_message", sa.Text, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "permissions",
        sa.Column("endpoint_id", sa.String(32), primary_key=True),
        principal("principal_id", primary_key=True),
        sa.Column("level", sa.String(16), nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer().with_variant(sa.BigInteger(), "postgresql"), primary_key=True, autoincrement=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("actor_id", sa.String(32), nullable=False),
        sa.Column("actor", sa.String(256), nullable=False),
        sa.Column("address", sa.String(64), nullable=False),
        sa.Column("request_id", sa.String(64), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("object", sa.String(256), nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
    )
    op.create_index("ix_audit_at_ms", "audit", ["at_ms"])
