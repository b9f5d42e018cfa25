"""What a store holds, in numbers: for whoever runs it."""

from typing import Any

from sqlalchemy import func, select

from tesela.store.database import Database
from tesela.store.tables import ACCESS_TOKENS, AUDIT, CLIENT_SECRETS, ENDPOINTS, PRINCIPALS, SCOPES, SECRETS, STATE

COUNTED = {
    "access_tokens": ACCESS_TOKENS,
    "oauth_secrets": CLIENT_SECRETS,
    "endpoints": ENDPOINTS,
    "secret_scopes": SCOPES,
    "secrets": SECRETS,
    "audit_records": AUDIT,
}
KINDS = {"users": "user", "service_principals": "service_principal", "groups": "group"}


def summary(database: Database) -> dict[str, Any]:
    """Its version, what tells it from others, and how many there are of each thing.  Raises StoreUnavailable."""
    with database.read() as connection:
        state = connection.execute(select(STATE)).one()
        people: dict[str, int] = dict(
            list(connection.execute(select(PRINCIPALS.c.kind, func.count()).group_by(PRINCIPALS.c.kind)))
        )
        counts = {
            name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for name, table in COUNTED.items()
        }
    return {
        "version": state.version,
        "workspace_id": state.workspace_id,
        "account_id": state.account_id,
        "created_s": state.created_s,
        **{name: people.get(kind, 0) for name, kind in KINDS.items()},
        **counts,
    }
