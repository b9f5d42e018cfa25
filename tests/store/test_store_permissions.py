"""Permissions in the store: replaced, added to, never taken from an endpoint's maker."""

import pytest
from sqlalchemy import select, text
from tests.store.people import ADMIN, ANN, APPLICATION, BOB, ROBOT, TEAM, actor, group, populate, principal

from tesela.errors import NotFound
from tesela.records import Actor
from tesela.store.contents import read_version
from tesela.store.store import Store
from tesela.store.tables import AUDIT

ENDPOINT = "0123456789abcdef0123456789abcdef"
CONFIG = {"served_entities": [{"name": "tiny", "entity_name": "tiny"}]}


@pytest.fixture(autouse=True)
def people(store: Store) -> None:
    populate(store)


def made(store: Store, by: str = ANN) -> str:
    """The id of a new endpoint."""
    return store.endpoints.create(actor(by), "mine", CONFIG, {}, ready=True).id


def test_setting_replaces_what_was_given(store: Store) -> None:
    given = store.permissions.set(actor(ADMIN), ENDPOINT, {ANN: "CAN_QUERY", TEAM: "CAN_VIEW"})
    assert given == store.permissions.of(ENDPOINT) == {ANN: "CAN_QUERY", TEAM: "CAN_VIEW"}
    assert store.permissions.set(actor(ADMIN), ENDPOINT, {ROBOT: "CAN_MANAGE"}) == {ROBOT: "CAN_MANAGE"}
    assert store.permissions.set(actor(ADMIN), ENDPOINT, {}) == {}
    with store.database.read() as connection:
        assert store.permissions.all(connection) == {}


def test_adding_raises_and_never_lowers(store: Store) -> None:
    store.permissions.set(actor(ADMIN), ENDPOINT, {ANN: "CAN_QUERY", TEAM: "CAN_MANAGE"})
    after = store.permissions.merge(actor(ADMIN), ENDPOINT, {ANN: "CAN_MANAGE", TEAM: "CAN_VIEW", ROBOT: "CAN_VIEW"})
    assert after == store.permissions.of(ENDPOINT) == {ANN: "CAN_MANAGE", TEAM: "CAN_MANAGE", ROBOT: "CAN_VIEW"}


def test_its_maker_goes_on_managing_an_endpoint(store: Store) -> None:
    endpoint = made(store)
    assert store.permissions.of(endpoint) == {ANN: "CAN_MANAGE"}
    assert store.permissions.set(actor(ADMIN), endpoint, {BOB: "CAN_VIEW"}) == {ANN: "CAN_MANAGE", BOB: "CAN_VIEW"}
    after = store.permissions.set(actor(ADMIN), endpoint, {ANN: "CAN_VIEW"})
    assert after == store.permissions.of(endpoint) == {ANN: "CAN_MANAGE"}


def test_a_maker_who_is_gone_is_not_granted_anything(store: Store) -> None:
    endpoint = made(store)
    with store.database.write() as connection:
        connection.execute(text("DELETE FROM principals WHERE name = 'ann@example.com'"))
    assert store.permissions.set(actor(ADMIN), endpoint, {BOB: "CAN_VIEW"}) == {BOB: "CAN_VIEW"}


def test_what_is_deleted_takes_its_permissions_along(store: Store) -> None:
    endpoint = made(store)
    store.permissions.merge(actor(ANN), endpoint, {BOB: "CAN_VIEW"})
    store.endpoints.delete(actor(ANN), "mine")
    assert store.permissions.of(endpoint) == {}
    # Who looked before it was deleted, and writes after.
    for give in (store.permissions.set, store.permissions.merge):
        with pytest.raises(NotFound, match="deleted meanwhile"):
            give(actor(ANN), endpoint, {BOB: "CAN_VIEW"}, stored=True)
    assert store.permissions.of(endpoint) == {}


def test_all_of_them_are_in_the_snapshot_but_those_on_tokens(store: Store) -> None:
    store.permissions.set(actor(ADMIN), ENDPOINT, {ANN: "CAN_QUERY"})
    store.permissions.set(actor(ADMIN), "f" * 32, {TEAM: "CAN_VIEW", ANN: "CAN_VIEW"})
    store.permissions.set_token_users(actor(ADMIN), [ANN])
    with store.database.read() as connection:
        assert store.permissions.all(connection) == {
            ENDPOINT: {ANN: "CAN_QUERY"},
            "f" * 32: {TEAM: "CAN_VIEW", ANN: "CAN_VIEW"},
        }


def test_a_principal_that_is_gone_fails_the_whole_change(store: Store) -> None:
    store.permissions.set(actor(ADMIN), ENDPOINT, {ANN: "CAN_QUERY"})
    version = read_version(store.database)
    for call in (
        lambda: store.permissions.set(actor(ADMIN), ENDPOINT, {BOB: "CAN_VIEW", "404": "CAN_VIEW"}),
        lambda: store.permissions.merge(actor(ADMIN), ENDPOINT, {BOB: "CAN_VIEW", "404": "CAN_VIEW"}),
        lambda: store.permissions.set_token_users(actor(ADMIN), [BOB, "404"]),
    ):
        with pytest.raises(NotFound, match="deleted meanwhile"):
            call()
    assert store.permissions.of(ENDPOINT) == {ANN: "CAN_QUERY"}
    assert read_version(store.database) == version


def test_names_become_principals_and_principals_names(store: Store) -> None:
    found = store.permissions.resolve(
        [("user", "Ann@example.com"), ("group", "team"), ("service_principal", APPLICATION)]
    )
    assert [one.id for one in found] == [ANN, TEAM, ROBOT]
    named = store.permissions.describe([ANN, TEAM, "404"])
    assert {id: (one.kind, one.name) for id, one in named.items()} == {
        ANN: ("user", "ann@example.com"),
        TEAM: ("group", "team"),
    }
    for kind, name in (("user", "team"), ("group", "Team"), ("service_principal", "robot"), ("user", "' OR ''='")):
        with pytest.raises(NotFound, match=name):
            store.permissions.resolve([(kind, name)])


def test_everyone_may_have_tokens_until_somebody_says_who(store: Store) -> None:
    everyone = (ADMIN, ANN, BOB, ROBOT)

    def who() -> list[str]:
        return [id for id in everyone if store.permissions.may_have_tokens(principal(store, id))]

    assert set(store.permissions.token_users()) == {group(store, "users")}
    assert who() == [ADMIN, ANN, BOB, ROBOT]
    store.permissions.set_token_users(actor(ADMIN), [TEAM])
    assert set(store.permissions.token_users()) == {TEAM}
    assert who() == [ADMIN, BOB]
    store.permissions.add_token_users(actor(ADMIN), [ROBOT])
    assert who() == [ADMIN, BOB, ROBOT]
    store.permissions.set_token_users(actor(ADMIN), [])
    assert store.permissions.token_users() == {}
    assert who() == [ADMIN]


def test_adding_to_everyone_keeps_everyone(store: Store) -> None:
    store.permissions.add_token_users(actor(ADMIN), [ANN])
    assert set(store.permissions.token_users()) == {ANN, group(store, "users")}


def test_the_audit_says_who_was_given_what(store: Store) -> None:
    store.permissions.set(actor(ADMIN), ENDPOINT, {ANN: "CAN_QUERY"})
    store.permissions.merge(Actor("1", "x"), ENDPOINT, {TEAM: "CAN_VIEW"})
    store.permissions.set_token_users(actor(ADMIN), [])
    with store.database.read() as connection:
        rows = connection.execute(select(AUDIT).order_by(AUDIT.c.id)).all()
    assert [(row.actor, row.action, row.object) for row in rows] == [
        ("root@example.com", "permissions.set", f"{ENDPOINT}: {ANN}=CAN_QUERY"),
        ("x", "permissions.update", f"{ENDPOINT}: {TEAM}=CAN_VIEW"),
        ("root@example.com", "permissions.set", "authorization/tokens: nobody"),
    ]
