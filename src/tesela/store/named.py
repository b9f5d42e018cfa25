"""Finds principals by the names that people write, and names them again."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, func, select

from tesela.records import Holder
from tesela.store.tables import PRINCIPALS

PIECE = 500
"""How many values one statement may ask for: some builds of SQLite take no more than 999."""

COLUMNS = (PRINCIPALS.c.id, PRINCIPALS.c.kind, PRINCIPALS.c.name, PRINCIPALS.c.display_name)


def holder(connection: Connection, kind: str, name: str) -> Holder | None:
    """The principal of this kind with this name.  Spelling counts before it is found in another case."""
    of_kind = select(*COLUMNS).where(PRINCIPALS.c.kind == kind)
    row = connection.execute(of_kind.where(PRINCIPALS.c.name == name)).first()
    if row is None and kind == "user":
        # An e-mail address is the same in any case.
        row = connection.execute(of_kind.where(func.lower(PRINCIPALS.c.name) == func.lower(name))).first()
    return None if row is None else _holder(row)


def any_holder(connection: Connection, name: str) -> Holder | None:
    """The user, group or service principal with this name, looked for in this order."""
    for kind in ("user", "group", "service_principal"):
        found = holder(connection, kind, name)
        if found is not None:
            return found
    return None


def holders(connection: Connection, ids: Iterable[str]) -> dict[str, Holder]:
    """The principals with these ids, by id.  Those that are gone are left out."""
    wanted = sorted(set(ids))
    out: dict[str, Holder] = {}
    for start in range(0, len(wanted), PIECE):
        rows = connection.execute(select(*COLUMNS).where(PRINCIPALS.c.id.in_(wanted[start : start + PIECE])))
        out |= {row.id: _holder(row) for row in rows}
    return out


def _holder(row: Any) -> Holder:
    return Holder(row.id, row.kind, row.name, row.display_name)
