"""Who belongs to which group, directly or through other groups, and what follows from it.

Groups may contain groups, in no circle.  Every active user and service principal belongs to `users` without being
written down there, and whoever belongs to `admins` is an admin.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import CTE, Connection, literal, select

from tesela.snapshot import Principal
from tesela.store.identity_rules import ADMINS, FIXED, USERS
from tesela.store.tables import MEMBERS, PRINCIPALS

UP = (MEMBERS.c.member_id, MEMBERS.c.group_id)
DOWN = (MEMBERS.c.group_id, MEMBERS.c.member_id)


def reach(start: str, way: tuple[Any, Any]) -> CTE:
    """The id, and those of all that it contains (`DOWN`) or is contained in (`UP`), however deep."""
    found = select(literal(start).label("id")).cte("reach", recursive=True)
    # UNION, not UNION ALL: what was found already is not looked into again, so a circle would end too.
    return found.union(select(way[1]).join(found, way[0] == found.c.id))


def fixed_id(connection: Connection, name: str) -> str:
    """The id of one of the groups that are always there."""
    found = select(PRINCIPALS.c.id).where(PRINCIPALS.c.kind == "group", PRINCIPALS.c.name == name)
    return str(connection.execute(found).scalar_one())


def first_admin(connection: Connection) -> str | None:
    """The id of the oldest active admin."""
    inside = reach(fixed_id(connection, ADMINS), DOWN)
    found = (
        select(PRINCIPALS.c.id)
        .join(inside, PRINCIPALS.c.id == inside.c.id)
        .where(PRINCIPALS.c.active, PRINCIPALS.c.kind != "group")
        .order_by(PRINCIPALS.c.created_s, PRINCIPALS.c.id)
        .limit(1)
    )
    return connection.execute(found).scalar_one_or_none()


def containers(connection: Connection, group_id: str) -> frozenset[str]:
    """The ids of the group and of all groups that it is in: none of them can become a member of it."""
    return frozenset(connection.execute(select(reach(group_id, UP).c.id)).scalars())


def principals(connection: Connection) -> dict[str, Principal]:
    """Every active user and service principal by id, the oldest first, with all the groups that they belong to."""
    columns = (PRINCIPALS.c.id, PRINCIPALS.c.kind, PRINCIPALS.c.name, PRINCIPALS.c.display_name, PRINCIPALS.c.active)
    rows = connection.execute(select(*columns).order_by(PRINCIPALS.c.created_s, PRINCIPALS.c.id)).all()
    parents: dict[str, list[str]] = {}
    for group_id, member_id in connection.execute(select(MEMBERS.c.group_id, MEMBERS.c.member_id)):
        parents.setdefault(member_id, []).append(group_id)
    fixed = {row.name: row.id for row in rows if row.kind == "group" and row.name in FIXED}
    known: dict[tuple[str, ...], frozenset[str]] = {}
    out: dict[str, Principal] = {}
    for id_, kind, name, display_name, active in rows:
        if kind == "group" or not active:
            continue
        direct = (*sorted(parents.get(id_, ())), fixed[USERS])
        groups = known.get(direct)
        if groups is None:
            groups = known[direct] = _above(direct, parents)
        out[id_] = Principal(id_, name, display_name, fixed[ADMINS] in groups, kind, groups)
    return out


def _above(direct: Iterable[str], parents: Mapping[str, Sequence[str]]) -> frozenset[str]:
    """The groups, and all the groups that they are in."""
    found: set[str] = set()
    todo = list(direct)
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo += parents.get(one, ())
    return frozenset(found)
