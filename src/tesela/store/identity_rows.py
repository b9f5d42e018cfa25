"""Identities as rows: finding, making and changing them within one transaction.

What always holds is held here, so that nobody who changes a row can forget it.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from tesela.errors import AlreadyExists, InvalidRequest, NotFound
from tesela.records import Identity, IdentityEntry, IdentityRevision
from tesela.snapshot import Kind
from tesela.store import identity_rules as rules
from tesela.store import membership
from tesela.store.database import Change
from tesela.store.identity_rules import ADMINS, FIXED, USERS
from tesela.store.schema import sixteen_digits
from tesela.store.tables import ACCESS_TOKENS, MEMBERS, PRINCIPALS

ADMIN = "admin@localhost"
COLUMNS = [PRINCIPALS.c[name] for name in Identity.__struct_fields__]
OLDEST_FIRST = (PRINCIPALS.c.created_s, PRINCIPALS.c.id)
IN_ONE_GO = 500
"""Ids in one statement."""


class NothingToDo(Exception):
    """Undoes a change that would change nothing, so that no reader has to look at it."""


# Reading.


def get(connection: Connection, id: str, kind: Kind | None = None) -> Identity:
    """Raises NotFound, also for another kind than the one that is asked for."""
    row = connection.execute(_select().where(PRINCIPALS.c.id == id)).first() if rules.possible_id(id) else None
    if row is None or kind not in (None, row.kind):
        raise unknown(id, kind)
    return _identity(row)


def find(connection: Connection, kind: Kind, name: str) -> Identity | None:
    if not rules.possible_text(name):
        return None
    wanted = PRINCIPALS.c.name == rules.same_name(kind, name)
    row = connection.execute(_select().where(PRINCIPALS.c.kind == kind, wanted)).first()
    return None if row is None else _identity(row)


def groups(connection: Connection, ids: Collection[str]) -> list[Identity]:
    """Raises InvalidRequest for an id that is none of a group."""
    found = {one.id: one for one in _by_ids(connection, ids) if one.kind == "group"}
    missing = next((one for one in ids if one not in found), None)
    if missing is not None:
        raise InvalidRequest(f"there is no group with id {missing[:64]!r}", param="groups")
    return list(found.values())


def all_of(connection: Connection, kind: Kind | None = None) -> list[Identity]:
    """The oldest first."""
    found = _select() if kind is None else _select().where(PRINCIPALS.c.kind == kind)
    return [_identity(row) for row in connection.execute(found.order_by(*OLDEST_FIRST))]


def entry(connection: Connection, identity: Identity) -> IdentityEntry:
    groups = _select().join(MEMBERS, MEMBERS.c.group_id == PRINCIPALS.c.id)
    found = groups.where(MEMBERS.c.member_id == identity.id).order_by(*OLDEST_FIRST)
    direct = [_identity(row) for row in connection.execute(found)]
    if identity.kind != "group":
        if identity.active:
            direct.append(get(connection, membership.fixed_id(connection, USERS)))
        return IdentityEntry(identity, tuple(direct))
    if identity.name == USERS:
        inside = _select().where(PRINCIPALS.c.active, PRINCIPALS.c.kind != "group")
    else:
        inside = _select().join(MEMBERS, MEMBERS.c.member_id == PRINCIPALS.c.id)
        inside = inside.where(MEMBERS.c.group_id == identity.id)
    members = connection.execute(inside.order_by(*OLDEST_FIRST))
    return IdentityEntry(identity, tuple(direct), tuple(_identity(row) for row in members))


def entries(connection: Connection, kind: Kind) -> list[IdentityEntry]:
    """All of a kind, the oldest first."""
    everybody = {one.id: one for one in all_of(connection)}
    users = next(one for one in everybody.values() if one.kind == "group" and one.name == USERS)
    groups: dict[str, list[Identity]] = {}
    members: dict[str, list[Identity]] = {}
    pairs = connection.execute(select(MEMBERS.c.member_id, MEMBERS.c.group_id)).all()
    age = {id_: at for at, id_ in enumerate(everybody)}
    for member_id, group_id in sorted(pairs, key=lambda pair: (age[pair[0]], age[pair[1]])):
        groups.setdefault(member_id, []).append(everybody[group_id])
        members.setdefault(group_id, []).append(everybody[member_id])
    for one in everybody.values():
        if one.kind != "group" and one.active:
            groups.setdefault(one.id, []).append(users)
            members.setdefault(users.id, []).append(one)
    mine = [one for one in everybody.values() if one.kind == kind]
    return [IdentityEntry(one, tuple(groups.get(one.id, ())), tuple(members.get(one.id, ()))) for one in mine]


# Changing.


def make(change: Change, identity: Identity) -> Identity:
    """Raises AlreadyExists, and InvalidRequest when there are too many."""
    connection = change.connection
    _refuse_taken(connection, identity.kind, identity.name)
    there = connection.execute(select(func.count()).where(PRINCIPALS.c.kind == identity.kind)).scalar_one()
    most = rules.MOST[identity.kind]
    if there >= most:
        raise InvalidRequest(f"there are {there} {rules.CALLED[identity.kind]}s, and {most} are allowed")
    made = msgspec.structs.replace(identity, id=str(sixteen_digits()), created_s=change.now)
    row = msgspec.structs.asdict(made) | {"details": rules.details(made.details), "version": change.version}
    connection.execute(insert(PRINCIPALS).values(row))
    return made


def revise(change: Change, before: IdentityEntry, wanted: IdentityRevision) -> None:
    """Raises NothingToDo when it is so already, AlreadyExists and InvalidRequest."""
    connection, was = change.connection, before.identity
    is_group = was.kind == "group"
    shown = rules.text(wanted.display_name, "displayName").strip() or was.name
    name = rules.name("group", shown) if is_group else was.name
    if name != was.name:
        if was.name in FIXED:
            raise InvalidRequest(f"the group {was.name!r} cannot be renamed: it is always there", param="displayName")
        _refuse_taken(connection, "group", name)
    now = msgspec.structs.replace(
        was,
        name=name,
        display_name=name if is_group else shown,
        active=wanted.active or is_group,
        external_id=rules.external_id(wanted.external_id),
        details=wanted.details,
    )
    ids = frozenset(one.id for one in before.members)
    added, removed = (
        (frozenset(), frozenset()) if wanted.members is None else (wanted.members - ids, ids - wanted.members)
    )
    if now == was and not added and not removed:
        raise NothingToDo
    row = {name: getattr(now, name) for name in ("name", "display_name", "active", "external_id")}
    row |= {"details": rules.details(now.details), "version": change.version}
    connection.execute(update(PRINCIPALS).where(PRINCIPALS.c.id == now.id).values(row))
    if was.active and not now.active:
        connection.execute(delete(ACCESS_TOKENS).where(ACCESS_TOKENS.c.principal_id == now.id))
    remove_members(connection, now, removed)
    add_members(connection, now, added)


def add_members(connection: Connection, group: Identity, ids: Collection[str]) -> None:
    """Raises InvalidRequest for what cannot be a member, a circle, and too many."""
    if not ids:
        return
    _refuse_users(group)
    found = {one.id: one for one in _by_ids(connection, ids)}
    missing = next((one for one in ids if one not in found), None)
    if missing is not None:
        raise InvalidRequest(f"there is no user, service principal or group with id {missing[:64]!r}", param="members")
    inside = [one for one in found.values() if one.kind == "group"]
    above = membership.containers(connection, group.id) if inside else frozenset()
    for one in inside:
        if one.name == USERS:
            raise InvalidRequest(
                "the group 'users' cannot be a member of another: everybody would be in it", param="members"
            )
        if one.id in above:
            raise InvalidRequest(
                f"the group {one.name!r} cannot be a member of {group.name!r}: it contains that group or is it",
                param="members",
            )
    connection.execute(insert(MEMBERS), [{"group_id": group.id, "member_id": one} for one in found])
    count = connection.execute(select(func.count()).where(MEMBERS.c.group_id == group.id)).scalar_one()
    if count > rules.MEMBERS_MAX:
        raise InvalidRequest(
            f"the group would have {count} members, and {rules.MEMBERS_MAX} are allowed", param="members"
        )


def remove_members(connection: Connection, group: Identity, ids: Collection[str]) -> None:
    if ids:
        _refuse_users(group)
    for some in _portions(sorted(ids)):
        connection.execute(delete(MEMBERS).where(MEMBERS.c.group_id == group.id, MEMBERS.c.member_id.in_(some)))


def ensure_admin(change: Change) -> str:
    """The id of the oldest admin, who is made within this change when there is none."""
    connection = change.connection
    found = membership.first_admin(connection)
    if found is not None:
        return found
    there = find(connection, "user", ADMIN) or make(change, Identity("", "user", ADMIN, "Administrator"))
    connection.execute(update(PRINCIPALS).where(PRINCIPALS.c.id == there.id).values(active=True))
    group = entry(connection, get(connection, membership.fixed_id(connection, ADMINS)))
    if there.id not in {one.id for one in group.members}:
        add_members(connection, group.identity, [there.id])
    return there.id


@contextmanager
def an_admin_left(connection: Connection) -> Iterator[None]:
    """Refuses what would leave nobody who may change anything."""
    had = membership.first_admin(connection) is not None
    yield
    if had and membership.first_admin(connection) is None:
        raise InvalidRequest(
            "this is the last admin, who cannot be deleted, deactivated or taken out of the group 'admins': put "
            "another active user or service principal into that group first"
        )


def unknown(id: str, kind: Kind | None) -> NotFound:
    called = rules.CALLED[kind] if kind else "user, service principal or group"
    return NotFound(f"there is no {called} with id {id[:64]!r}")


def _refuse_taken(connection: Connection, kind: Kind, name: str) -> None:
    if find(connection, kind, name) is not None:
        field = rules.NAMED_BY[kind]
        raise AlreadyExists(f"there is a {rules.CALLED[kind]} with {field} {name!r} already", param=field)


def _refuse_users(group: Identity) -> None:
    if group.name == USERS:
        raise InvalidRequest(
            "who is in the group 'users' cannot be changed: every active user and service principal is", param="members"
        )


def _by_ids(connection: Connection, ids: Collection[str]) -> Iterator[Identity]:
    for some in _portions([one for one in ids if rules.possible_id(one)]):
        for row in connection.execute(_select().where(PRINCIPALS.c.id.in_(some))):
            yield _identity(row)


def _portions(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), IN_ONE_GO):
        yield ids[start : start + IN_ONE_GO]


def _select() -> Select[Any]:
    return select(*COLUMNS)


def _identity(row: Row[Any]) -> Identity:
    return Identity(**{**row._asdict(), "details": msgspec.json.decode(row.details)})
