"""Users, groups and service principals in the store: what always holds, whoever changes what."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select
from tests.store import people as change_of

from tesela.errors import AlreadyExists, InvalidRequest, NotFound
from tesela.records import Actor, Identity, IdentityEntry, IdentityRevision
from tesela.store import membership
from tesela.store.identity_rules import MEMBERS_MAX, MOST
from tesela.store.store import Store
from tesela.store.tables import AUDIT, MEMBERS, PRINCIPALS, STATE

ROOT = Actor("1", "root@example.com", "127.0.0.1", "r-1")
EVERY_STRING = (
    "'; DROP TABLE principals; --",
    "x' OR '1'='1",
    "alice@example.com' UNION SELECT digest FROM access_tokens --",
    "%",
    "_",
    "\\",
    '"',
    "${jndi:x}",
    "{{secrets/a/b}}",
    "Ünï©ødé 🜁",
)


def version(store: Store) -> int:
    with store.database.read() as connection:
        return int(connection.execute(select(STATE.c.version)).scalar_one())


def group_named(store: Store, name: str) -> Identity:
    found = store.identities.find("group", name)
    assert found is not None
    return found


def user(store: Store, name: str, **more: Any) -> Identity:
    return store.identities.create(ROOT, "user", f"{name}@example.com", name, **more)


def group(store: Store, name: str, *members: Identity) -> Identity:
    return store.identities.create(ROOT, "group", name, members=[one.id for one in members])


def test_a_user_is_found_by_id_and_by_name_in_any_case(store: Store) -> None:
    made = store.identities.create(
        ROOT, "user", "Alice@Example.com", "Alice", external_id="x-1", details={"roles": ["a"]}
    )
    assert made.name == "alice@example.com"
    assert re.fullmatch(r"[1-9]\d{15}", made.id)
    assert store.identities.get(made.id) == made == store.identities.get(made.id, "user")
    assert store.identities.find("user", "ALICE@example.COM") == made
    assert store.identities.list("user") == [made]
    assert made.details == {"roles": ["a"]}
    assert store.identities.find("user", "bob@example.com") is None
    assert store.identities.find("group", "alice@example.com") is None
    with pytest.raises(NotFound, match="there is no group with id"):
        store.identities.get(made.id, "group")


def test_a_service_principal_gets_an_application_id(store: Store) -> None:
    made = store.identities.create(ROOT, "service_principal", "", "robot")
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made.name)
    given_id = "6F1A7F0E-5a53-4f6c-9d0b-0a3f3b1f2c4d"
    other = store.identities.create(ROOT, "service_principal", given_id, "robot")
    assert other.name == given_id.lower()
    assert store.identities.find("service_principal", given_id) == other


@pytest.mark.parametrize(
    ("kind", "name", "again"),
    [
        ("user", "a@example.com", "A@EXAMPLE.com"),
        ("group", "team", "team"),
        ("group", "admins", "users"),
        (
            "service_principal",
            "6f1a7f0e-5a53-4f6c-9d0b-0a3f3b1f2c4d",
            "{6F1A7F0E5A534F6C9D0B0A3F3B1F2C4D}",
        ),
    ],
)
def test_a_name_is_taken_once(store: Store, kind: Any, name: str, again: str) -> None:
    if name != "admins":
        store.identities.create(ROOT, kind, name)
    before = version(store)
    with pytest.raises(AlreadyExists, match="already"):
        store.identities.create(ROOT, kind, again)
    assert version(store) == before


@pytest.mark.parametrize(
    ("kind", "name", "more", "field"),
    [
        ("user", "", {}, "userName"),
        ("user", "nobody", {}, "userName"),
        ("user", "two words@example.com", {}, "userName"),
        ("user", "a@b@c", {}, "userName"),
        ("user", "a\x00@example.com", {}, "userName"),
        ("user", "a" * 1_000_000 + "@example.com", {}, "userName"),
        ("user", "a@example.com", {"display_name": "x" * 257}, "displayName"),
        ("user", "a@example.com", {"display_name": "x\ny"}, "displayName"),
        ("user", "a@example.com", {"external_id": "\ud800"}, "externalId"),
        ("user", "a@example.com", {"external_id": "x" * 257}, "externalId"),
        ("group", "   ", {}, "displayName"),
        ("group", "a\u2028b", {}, "displayName"),
        ("service_principal", "robot", {}, "applicationId"),
    ],
)
def test_what_cannot_be_called_so_is_refused_by_field(
    store: Store, kind: Any, name: str, more: dict[str, Any], field: str
) -> None:
    before = version(store)
    with pytest.raises(InvalidRequest) as refused:
        store.identities.create(ROOT, kind, name, **more)
    assert refused.value.param == field
    assert len(refused.value.message) < 300
    assert version(store) == before


@pytest.mark.parametrize("text", EVERY_STRING)
def test_text_is_text_to_the_database(store: Store, text: str) -> None:
    made = group(store, text)
    other = user(store, "x", external_id=text, details={"roles": [text]})
    assert store.identities.find("group", text) == made
    assert store.identities.get(other.id).external_id == text
    assert store.identities.get(other.id).details == {"roles": [text]}
    with pytest.raises(NotFound):
        store.identities.get(text)
    assert {one.name for one in store.identities.list("group")} == {"admins", "users", text}


@pytest.mark.parametrize("odd", ["", "\x00", "x" * 1_000_000, "\ud800", "1'--", "1" * 65, "٣"])
def test_ids_and_names_that_cannot_be_are_not_there(store: Store, odd: str) -> None:
    with pytest.raises(NotFound) as refused:
        store.identities.get(odd)
    assert len(refused.value.message) < 500
    assert store.identities.find("group", odd) is None
    with pytest.raises(NotFound):
        store.identities.delete(ROOT, odd)
    with pytest.raises(InvalidRequest):
        store.identities.create(ROOT, "group", "g", members=[odd])
    assert store.identities.find("group", "g") is None


def test_groups_contain_groups_and_principals_know_all_of_them(store: Store) -> None:
    ann, bob = user(store, "ann"), user(store, "bob")
    robot = store.identities.create(ROOT, "service_principal", "", "robot")
    inner = group(store, "inner", ann, robot)
    outer = group(store, "outer", inner)
    change_of.add_member(store, ROOT, group_named(store, "admins").id, outer.id)
    found = store.identities.principals()
    users, admins = group_named(store, "users").id, group_named(store, "admins").id
    assert set(found) == {ann.id, bob.id, robot.id}
    assert found[ann.id].groups == {inner.id, outer.id, users, admins}
    assert found[robot.id].groups == found[ann.id].groups
    assert (found[ann.id].admin, found[bob.id].admin) == (True, False)
    assert found[bob.id].groups == {users}
    assert found[robot.id].kind == "service_principal"
    assert (found[robot.id].name, found[robot.id].display_name) == (robot.name, "robot")
    assert [one.name for one in change_of.groups_of(store, ann.id)] == ["inner", "users"]
    assert [one.name for one in change_of.members(store, outer.id)] == ["inner"]
    assert {one.id for one in change_of.members(store, users)} == {ann.id, bob.id, robot.id}
    assert {one.identity.id: one for one in store.identities.entries("user")} == {
        one: store.identities.entry(one) for one in (ann.id, bob.id)
    }
    assert {one.identity.id: one for one in store.identities.entries("group")} == {
        one: store.identities.entry(one) for one in (inner.id, outer.id, users, admins)
    }


def test_no_group_contains_itself(store: Store) -> None:
    first = group(store, "first")
    second = group(store, "second", first)
    third = group(store, "third", second)
    before = version(store)
    for inside in (first, second, third):
        with pytest.raises(InvalidRequest, match="it contains that group or is it"):
            change_of.add_member(store, ROOT, first.id, inside.id)
    with pytest.raises(InvalidRequest, match="everybody would be in it"):
        change_of.add_member(store, ROOT, first.id, group_named(store, "users").id)
    assert version(store) == before
    assert change_of.members(store, first.id) == ()


def test_a_circle_that_is_there_all_the_same_loops_nobody(store: Store) -> None:
    ann = user(store, "ann")
    first = group(store, "first", ann)
    second = group(store, "second", first)
    with store.database.write() as connection:
        connection.execute(insert(MEMBERS).values(group_id=first.id, member_id=second.id))
        admins = group_named(store, "admins").id
        connection.execute(insert(MEMBERS).values(group_id=admins, member_id=second.id))
        assert membership.first_admin(connection) == ann.id
        assert membership.containers(connection, first.id) == {first.id, second.id, admins}
    assert store.identities.principals()[ann.id].admin


def test_members_are_set_added_and_removed(store: Store) -> None:
    ann, bob = user(store, "ann"), user(store, "bob")
    team = group(store, "team", ann)
    change_of.add_member(store, ROOT, team.id, bob.id)
    change_of.remove_member(store, ROOT, team.id, ann.id)
    assert change_of.members(store, team.id) == (bob,)
    change_of.set_members(store, ROOT, team.id, [ann.id])
    assert change_of.members(store, team.id) == (ann,)
    before = version(store)
    change_of.set_members(store, ROOT, team.id, [ann.id])
    change_of.add_member(store, ROOT, team.id, ann.id)
    change_of.remove_member(store, ROOT, team.id, bob.id)
    assert version(store) == before
    with pytest.raises(InvalidRequest, match="there is no user, service principal or group with id '77'"):
        change_of.set_members(store, ROOT, team.id, [bob.id, "77"])
    assert change_of.members(store, team.id) == (ann,)
    with pytest.raises(NotFound):
        change_of.add_member(store, ROOT, ann.id, bob.id)
    with pytest.raises(InvalidRequest, match="every active user and service principal is"):
        change_of.remove_member(store, ROOT, group_named(store, "users").id, ann.id)


@pytest.mark.slow
def test_there_are_so_many_users_and_members_and_no_more(store: Store) -> None:
    assert MEMBERS_MAX == MOST["user"] == 10_000
    team, robot = group(store, "team"), store.identities.create(ROOT, "service_principal", "")
    row = {"kind": "user", "display_name": "x", "active": True, "details": "{}", "created_s": 1.0, "version": 1}
    with store.database.write() as connection:
        people = [{"id": str(n), "name": f"{n}@example.com", **row} for n in range(10_000)]
        connection.execute(insert(PRINCIPALS), people)
        connection.execute(insert(MEMBERS), [{"group_id": team.id, "member_id": one["id"]} for one in people[1:]])
    with pytest.raises(InvalidRequest, match="there are 10000 users, and 10000 are allowed"):
        user(store, "one-more")
    with pytest.raises(InvalidRequest, match="the group would have 10001 members, and 10000 are allowed"):
        change_of.set_members(store, ROOT, team.id, [robot.id, *(str(n) for n in range(10_000))])
    change_of.add_member(store, ROOT, team.id, robot.id)
    with pytest.raises(InvalidRequest, match="the group would have 10001 members"):
        change_of.add_member(store, ROOT, team.id, "0")
    assert len(change_of.members(store, team.id)) == 10_000
    change_of.set_members(store, ROOT, team.id, ["0"])
    assert [one.id for one in change_of.members(store, team.id)] == ["0"]


def test_a_revision_sees_what_is_and_nobody_comes_between(opened: Callable[[], Store]) -> None:
    stores = [opened(), opened()]
    people = [user(stores[0], f"u{n}") for n in range(12)]
    team = group(stores[0], "team")
    with ThreadPoolExecutor(4) as pool:
        for done in [
            pool.submit(change_of.add_member, stores[n % 2], ROOT, team.id, one.id) for n, one in enumerate(people)
        ]:
            done.result()
    assert {one.id for one in change_of.members(stores[1], team.id)} == {one.id for one in people}


def test_a_change_is_recorded_and_one_that_changes_nothing_is_not(store: Store) -> None:
    ann = user(store, "ann")
    before = version(store)
    assert change_of.replace(store, ROOT, ann.id, display_name="Ann").display_name == "Ann"
    assert change_of.replace(store, ROOT, ann.id, display_name="Ann", external_id=None).display_name == "Ann"
    assert version(store) == before + 1
    assert change_of.replace(store, ROOT, ann.id, display_name=" ").display_name == "ann@example.com"
    store.identities.delete(ROOT, ann.id)
    with store.database.read() as connection:
        found = select(AUDIT.c.actor, AUDIT.c.action, AUDIT.c.object).order_by(AUDIT.c.id)
        recorded = [tuple(row) for row in connection.execute(found)]
    assert recorded == [
        ("root@example.com", f"users.{action}", "ann@example.com")
        for action in ("create", "update", "update", "delete")
    ]


def test_deleting_takes_memberships_and_tokens_along(store: Store) -> None:
    ann = user(store, "ann")
    team = group(store, "team", ann)
    store.tokens.create(ROOT, ann.id, "", None)
    store.identities.delete(ROOT, ann.id, "user")
    assert change_of.members(store, team.id) == ()
    assert store.tokens.list() == []
    with pytest.raises(NotFound):
        store.identities.delete(ROOT, ann.id)
    with pytest.raises(NotFound):
        store.identities.delete(ROOT, team.id, "user")
    store.identities.delete(ROOT, team.id)
    assert {one.name for one in store.identities.list()} == {"admins", "users"}


def test_who_is_not_active_has_no_tokens_and_is_no_principal(store: Store) -> None:
    ann = user(store, "ann")
    store.tokens.create(ROOT, ann.id, "", None)
    change_of.replace(store, ROOT, ann.id, active=False)
    assert store.tokens.list(ann.id) == []
    assert store.identities.principals() == {}
    assert change_of.groups_of(store, ann.id) == ()
    assert change_of.members(store, group_named(store, "users").id) == ()
    change_of.replace(store, ROOT, ann.id, active=True)
    assert set(store.identities.principals()) == {ann.id}
    assert store.tokens.list(ann.id) == []


def test_the_fixed_groups_stay(store: Store) -> None:
    for name in ("admins", "users"):
        fixed = group_named(store, name)
        with pytest.raises(InvalidRequest, match="cannot be deleted"):
            store.identities.delete(ROOT, fixed.id)
        with pytest.raises(InvalidRequest, match="cannot be renamed"):
            change_of.replace(store, ROOT, fixed.id, display_name="others")
        assert change_of.replace(store, ROOT, fixed.id, active=False).active
    team = group(store, "team")
    with pytest.raises(AlreadyExists):
        change_of.replace(store, ROOT, team.id, display_name="admins")
    renamed = change_of.replace(store, ROOT, team.id, display_name="crew")
    assert (renamed.name, store.identities.find("group", "crew")) == ("crew", renamed)


def test_the_first_admin_is_made_once(opened: Callable[[], Store]) -> None:
    stores = [opened() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = {one.id for one in pool.map(lambda store: store.identities.first_admin(5.0), stores)}
    assert len(found) == 1
    admin = stores[0].identities.first_admin(9.0)
    assert (admin.name, admin.admin, {admin.id}) == ("admin@localhost", True, found)
    assert stores[0].identities.get(admin.id).created_s == 5.0


def test_a_first_admin_who_is_there_but_is_none_becomes_one(store: Store) -> None:
    made = store.identities.create(ROOT, "user", "admin@localhost", "Mine", active=False)
    admin = store.identities.first_admin(1.0)
    assert (admin.id, admin.admin, admin.display_name) == (made.id, True, "Mine")


def remove_directly(store: Store, admin: str, admins: str, _team: str) -> None:
    change_of.remove_member(store, ROOT, admins, admin)


def set_nobody(store: Store, _admin: str, admins: str, _team: str) -> None:
    change_of.set_members(store, ROOT, admins, [])


def deactivate(store: Store, admin: str, _admins: str, _team: str) -> None:
    change_of.replace(store, ROOT, admin, active=False)


def delete_admin(store: Store, admin: str, _admins: str, _team: str) -> None:
    store.identities.delete(ROOT, admin)


def delete_team(store: Store, _admin: str, _admins: str, team: str) -> None:
    store.identities.delete(ROOT, team)


def empty_team(store: Store, _admin: str, _admins: str, team: str) -> None:
    change_of.set_members(store, ROOT, team, [])


@pytest.mark.parametrize(
    ("nested", "ways"),
    [
        (False, (remove_directly, set_nobody, deactivate, delete_admin)),
        (True, (set_nobody, deactivate, delete_admin, delete_team, empty_team)),
    ],
)
def test_the_last_admin_stays(store: Store, nested: bool, ways: tuple[Callable[..., None], ...]) -> None:
    admins = group_named(store, "admins").id
    ann, sleeper = user(store, "ann"), user(store, "sleeper", active=False)
    team = group(store, "team", *[ann] * nested)
    change_of.set_members(store, ROOT, admins, [sleeper.id, team.id if nested else ann.id])
    before = version(store)
    for way in ways:
        with pytest.raises(InvalidRequest, match="this is the last admin"):
            way(store, ann.id, admins, team.id)
        assert version(store) == before
        assert store.identities.principals()[ann.id].admin
    bob = user(store, "bob")
    change_of.add_member(store, ROOT, admins, bob.id)
    ways[-1](store, ann.id, admins, team.id)
    assert [one.name for one in store.identities.principals().values() if one.admin] == ["bob@example.com"]


def test_what_a_revision_raises_undoes_it(store: Store) -> None:
    ann = user(store, "ann")

    def refuse(_: IdentityEntry) -> IdentityRevision:
        raise InvalidRequest("no")

    before = version(store)
    with pytest.raises(InvalidRequest, match="no"):
        store.identities.revise(ROOT, ann.id, refuse)
    with pytest.raises(InvalidRequest, match="bytes"):
        change_of.replace(store, ROOT, ann.id, details={"roles": ["x" * 40_000]})
    assert version(store) == before


PEOPLE = 4
GROUPS = 4
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["add", "remove", "off", "on", "delete"]),
        st.integers(0, GROUPS),
        st.integers(0, PEOPLE + GROUPS - 1),
    ),
    max_size=25,
)


@pytest.mark.slow
@given(STEPS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_tried_an_admin_is_left_and_no_group_contains_itself(
    opened: Callable[[], Store], steps: list[tuple[str, int, int]]
) -> None:
    store = opened()
    with store.database.write() as connection:
        connection.execute(PRINCIPALS.delete().where(PRINCIPALS.c.name.not_in(("admins", "users"))))
    people = [user(store, f"p{n}") for n in range(PEOPLE)]
    admins = group_named(store, "admins")
    groups = [admins, *(group(store, f"g{n}") for n in range(GROUPS))]
    things = [*people, *groups[1:]]
    change_of.add_member(store, ROOT, admins.id, people[0].id)
    does: dict[str, Callable[[str, str], Any]] = {
        "add": lambda inside, thing: change_of.add_member(store, ROOT, inside, thing),
        "remove": lambda inside, thing: change_of.remove_member(store, ROOT, inside, thing),
        "off": lambda _, thing: change_of.replace(store, ROOT, thing, active=False),
        "on": lambda _, thing: change_of.replace(store, ROOT, thing, active=True),
        "delete": lambda _, thing: store.identities.delete(ROOT, thing),
    }
    for action, inside, thing in steps:
        with suppress(InvalidRequest, NotFound):
            does[action](groups[inside].id, things[thing].id)
        assert any(one.admin for one in store.identities.principals().values())
        with store.database.read() as connection:
            for one in store.identities.list("group"):
                above = membership.containers(connection, one.id) - {one.id}
                assert all(one.id not in membership.containers(connection, other) for other in above)
    store.close()
