"""The tables of the control plane.  docs/reference/schema.md describes them, revisions/ makes them.

Times are seconds since the epoch (`_s`) or milliseconds (`_ms`), as their readers need them.  A column `version` holds
the store's version at the row's last change, so that readers can take over what is new and leave the rest.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

STATE = Table(
    "state",
    METADATA,
    Column("only", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("workspace_id", BigInteger, nullable=False),
    Column("account_id", String(36), nullable=False),
    Column("created_s", Double, nullable=False),
    Column("first_token_made", Boolean, nullable=False),
    # The mark of the master key, so that a wrong one is noticed at once.
    Column("key_check", LargeBinary),
)
"""One row.  Every change raises `version` first, which also puts changes in order."""

KINDS = Table(
    "kinds",
    METADATA,
    Column("kind", String(32), primary_key=True),
    Column("version", BigInteger, nullable=False),
)
"""The version of the last change to each kind of thing: what a reader need not read again."""

PRINCIPALS = Table(
    "principals",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("kind", String(20), nullable=False),
    # The user name of a user, the application id of a service principal, the display name of a group.
    Column("name", String(256), nullable=False),
    Column("display_name", String(256), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("external_id", String(256)),
    # The rest of what SCIM was told (emails, parts of the name, entitlements, roles), as JSON.
    Column("details", Text, nullable=False),
    Column("created_s", Double, nullable=False),
    Column("version", BigInteger, nullable=False),
    UniqueConstraint("kind", "name"),
)

MEMBERS = Table(
    "members",
    METADATA,
    Column("group_id", ForeignKey("principals.id", ondelete="CASCADE"), primary_key=True),
    Column("member_id", ForeignKey("principals.id", ondelete="CASCADE"), primary_key=True),
    Index("ix_members_member_id", "member_id"),
)

ACCESS_TOKENS = Table(
    "access_tokens",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("principal_id", ForeignKey("principals.id", ondelete="CASCADE"), nullable=False),
    Column("created_by", String(32), nullable=False),
    Column("comment", Text, nullable=False),
    Column("created_s", Double, nullable=False),
    # NULL for a token that does not expire.
    Column("expires_s", Double),
    Column("version", BigInteger, nullable=False),
    Index("ix_access_tokens_principal_id", "principal_id", "created_s"),
)

CLIENT_SECRETS = Table(
    "client_secrets",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("principal_id", ForeignKey("principals.id", ondelete="CASCADE"), nullable=False),
    Column("digest", LargeBinary(32), nullable=False, unique=True),
    Column("created_s", Double, nullable=False),
    Column("expires_s", Double),
    Index("ix_client_secrets_principal_id", "principal_id"),
)
"""The OAuth secrets of service principals.  They are random, so a plain digest keeps them."""

SIGNING_KEYS = Table(
    "signing_keys",
    METADATA,
    Column("id", String(64), primary_key=True),
    # PKCS #8, sealed with the master key.
    Column("private", LargeBinary, nullable=False),
    Column("public", Text, nullable=False),
    Column("created_s", Double, nullable=False),
)

SCOPES = Table(
    "secret_scopes",
    METADATA,
    Column("name", String(128), primary_key=True),
    Column("created_s", Double, nullable=False),
)

SECRETS = Table(
    "secrets",
    METADATA,
    Column("scope", ForeignKey("secret_scopes.name", ondelete="CASCADE"), primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
)
"""Values are sealed with the master key, for their scope and key."""

SECRET_ACLS = Table(
    "secret_acls",
    METADATA,
    Column("scope", ForeignKey("secret_scopes.name", ondelete="CASCADE"), primary_key=True),
    Column("principal_id", ForeignKey("principals.id", ondelete="CASCADE"), primary_key=True),
    Column("permission", String(8), nullable=False),
)

ENDPOINTS = Table(
    "endpoints",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("creator_id", String(32), nullable=False),
    Column("creator", String(256), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("config_version", Integer, nullable=False),
    Column("active", Text),
    Column("pending", Text),
    Column("pending_ms", BigInteger, nullable=False),
    # The store's version when the pending configuration came: what tells it from one that replaced it.
    Column("pending_version", BigInteger, nullable=False),
    Column("update_state", String(20), nullable=False),
    Column("update_message", Text, nullable=False),
    Column("settings", Text, nullable=False),
    Column("version", BigInteger, nullable=False),
)
"""`active`, `pending` and `settings` are JSON in the shapes of the REST API; keys given in plain are sealed there."""

PERMISSIONS = Table(
    "permissions",
    METADATA,
    Column("endpoint_id", String(32), primary_key=True),
    Column("principal_id", ForeignKey("principals.id", ondelete="CASCADE"), primary_key=True),
    Column("level", String(16), nullable=False),
)
"""Endpoints of the configuration file can be granted too, so `endpoint_id` refers to no table."""

AUDIT = Table(
    "audit",
    METADATA,
    Column("id", Integer().with_variant(BigInteger, "postgresql"), primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor_id", String(32), nullable=False),
    Column("actor", String(256), nullable=False),
    Column("address", String(64), nullable=False),
    Column("request_id", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("object", String(256), nullable=False),
    # The status that the caller got, 200 for what was done.
    Column("status", Integer, nullable=False),
    Column("message", Text, nullable=False),
    Index("ix_audit_at_ms", "at_ms"),
)
