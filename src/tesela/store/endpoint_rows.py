"""Rows of the table of endpoints, to and from values."""

import re
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, or_, select

from tesela.records import StoredEndpoint
from tesela.store.tables import ENDPOINTS

NAME_MAX = 64
COLUMNS = [ENDPOINTS.c[name] for name in StoredEndpoint.__struct_fields__]


def possible(name: str) -> bool:
    """PostgreSQL refuses to look for text with NUL in it, and a name of a megabyte need not be sent."""
    return 0 < len(name) <= NAME_MAX and "\0" not in name


def find(connection: Connection, where: Any) -> StoredEndpoint | None:
    row = connection.execute(select(*COLUMNS).where(where)).first()
    return None if row is None else endpoint_of(row)


def referring(connection: Connection, scope: str) -> list[tuple[str, str]]:
    """(name, id of the creator) of the endpoints that refer to a secret of this scope, whether or not it is there."""
    columns = (ENDPOINTS.c.name, ENDPOINTS.c.creator_id, ENDPOINTS.c.active, ENDPOINTS.c.pending)
    some = or_(*(ENDPOINTS.c[config].contains("secrets/") for config in ("active", "pending")))
    reference = re.compile(r"\{\{\s*secrets/" + re.escape(scope) + "/", re.IGNORECASE)
    return [
        (row.name, row.creator_id)
        for row in connection.execute(select(*columns).where(some).order_by(ENDPOINTS.c.name))
        if reference.search(row.active or "") or reference.search(row.pending or "")
    ]


def select_all(connection: Connection, where: Any) -> tuple[StoredEndpoint, ...]:
    rows = connection.execute(select(*COLUMNS).where(where).order_by(ENDPOINTS.c.name))
    return tuple(endpoint_of(row) for row in rows)


_decode = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode
_JSON = ("active", "pending", "settings")


def json_text(value: Any) -> str:
    return _encode(value).decode()


def row_of(endpoint: StoredEndpoint) -> dict[str, Any]:
    row = msgspec.structs.asdict(endpoint)
    return {**row, **{name: json_text(row[name]) for name in _JSON if row[name] is not None}}


def endpoint_of(row: Row[Any]) -> StoredEndpoint:
    values = row._asdict()
    return StoredEndpoint(**{**values, **{name: _decode(values[name]) for name in _JSON if values[name] is not None}})
