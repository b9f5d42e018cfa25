"""Principals for tests, written into the tables as the identities part writes them, and the usual changes of them."""

from collections.abc import Callable, Collection
from typing import Any

import msgspec
from sqlalchemy import insert

from tesela.records import Actor, Identity, IdentityEntry, IdentityRevision
from tesela.snapshot import Kind, Principal
from tesela.store.membership import fixed_id, principals
from tesela.store.store import Store
from tesela.store.tables import MEMBERS, PRINCIPALS

ADMIN = "1000000000000001"
ANN = "1000000000000002"
BOB = "1000000000000003"
ROBOT = "1000000000000004"
TEAM = "1000000000000005"
APPLICATION = "6f1a7f0e-5a53-4f6c-9d0b-0a3f3b1f2c4d"

PEOPLE: tuple[tuple[str, Kind, str, str], ...] = (
    (ADMIN, "user", "root@example.com", "Root"),
    (ANN, "user", "ann@example.com", "Ann"),
    (BOB, "user", "bob@example.com", "Bob"),
    (ROBOT, "service_principal", APPLICATION, "robot"),
    (TEAM, "group", "team", "team"),
)


def populate(store: Store) -> None:
    """An admin, Ann, Bob who is in `team`, and a robot."""
    admins = group(store, "admins")
    with store.database.write() as connection:
        for at, (id, kind, name, display_name) in enumerate(PEOPLE):
            row = {
                "id": id,
                "kind": kind,
                "name": name,
                "display_name": display_name,
                "active": True,
                "details": "{}",
                "created_s": float(at),
                "version": 1,
            }
            connection.execute(insert(PRINCIPALS).values(row))
        connection.execute(insert(MEMBERS).values(group_id=admins, member_id=ADMIN))
        connection.execute(insert(MEMBERS).values(group_id=TEAM, member_id=BOB))


def group(store: Store, name: str) -> str:
    """The id of a group that is always there."""
    with store.database.read() as connection:
        return fixed_id(connection, name)


def principal(store: Store, id: str) -> Principal:
    """As the snapshot has it."""
    with store.database.read() as connection:
        return principals(connection)[id]


def actor(id: str) -> Actor:
    return Actor(id, next(name for one, _, name, _ in PEOPLE if one == id), "127.0.0.1", f"r-{id}")


def members(store: Store, group_id: str) -> tuple[Identity, ...]:
    return store.identities.entry(group_id, "group").members


def groups_of(store: Store, id: str) -> tuple[Identity, ...]:
    """The groups that it is in itself, `users` included."""
    return store.identities.entry(id).groups


def replace(store: Store, by: Actor, id: str, **changes: Any) -> Identity:
    """Lays fields of an IdentityRevision over what is there."""
    return store.identities.revise(by, id, lambda now: msgspec.structs.replace(_as_it_is(now), **changes)).identity


def set_members(store: Store, by: Actor, group_id: str, ids: Collection[str]) -> None:
    _change_members(store, by, group_id, lambda _: frozenset(ids))


def add_member(store: Store, by: Actor, group_id: str, member_id: str) -> None:
    _change_members(store, by, group_id, lambda now: now | {member_id})


def remove_member(store: Store, by: Actor, group_id: str, member_id: str) -> None:
    _change_members(store, by, group_id, lambda now: now - {member_id})


def _change_members(store: Store, by: Actor, group_id: str, ids: Callable[[frozenset[str]], frozenset[str]]) -> None:
    def revision(entry: IdentityEntry) -> IdentityRevision:
        return msgspec.structs.replace(_as_it_is(entry), members=ids(frozenset(one.id for one in entry.members)))

    store.identities.revise(by, group_id, revision, "group")


def _as_it_is(entry: IdentityEntry) -> IdentityRevision:
    now = entry.identity
    return IdentityRevision(now.display_name, now.active, now.external_id, now.details)
