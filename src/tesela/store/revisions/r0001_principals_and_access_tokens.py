"""The first tables: the state, principals and access tokens, as the first versions of Tesela made them in SQLite."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

WHOLE = sa.Integer().with_variant(sa.BigInteger(), "postgresql")
MOMENT: sa.types.TypeEngine[Any] = sa.REAL().with_variant(sa.Double(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "state",
        sa.Column(
            "only", sa.Integer, sa.CheckConstraint('"only" = 1', name="only"), primary_key=True, autoincrement=False
        ),
        sa.Column("version", WHOLE, nullable=False),
        sa.Column("workspace_id", WHOLE, nullable=False),
        sa.Column("account_id", sa.Text, nullable=False),
        sa.Column("created_s", MOMENT, nullable=False),
        sa.Column(
            "first_token_made",
            sa.Integer,
            sa.CheckConstraint("first_token_made IN (0, 1)", name="made"),
            nullable=False,
        ),
    )
    op.create_table(
        "principals",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("admin", sa.Integer, sa.CheckConstraint("admin IN (0, 1)", name="admin"), nullable=False),
        sa.Column("created_s", MOMENT, nullable=False),
    )
    op.create_table(
        "access_tokens",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("digest", sa.LargeBinary, nullable=False, unique=True),
        sa.Column("principal_id", sa.Text, sa.ForeignKey("principals.id", ondelete="CASCADE"), nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("created_s", MOMENT, nullable=False),
        sa.Column("expires_s", MOMENT),
    )
    op.create_index("access_tokens_of_principal", "access_tokens", ["principal_id", "created_s"])
