"""Secrets in the store: what is kept is sealed, the lists say who may do what, and a failed change leaves nothing."""

import threading
from collections.abc import Callable

import pytest
from sqlalchemy import select, text
from tests.store.people import ADMIN, ANN, APPLICATION, BOB, ROBOT, TEAM, actor, populate, principal

from tesela.errors import AlreadyExists, ConfigError, InvalidRequest, NotFound, PermissionDenied
from tesela.records import REFERRED_MAX, SECRET_PERMISSIONS, Actor, SecretPermission
from tesela.store import secrets as module
from tesela.store.contents import read_version
from tesela.store.store import Store
from tesela.store.tables import AUDIT, SCOPES, SECRETS
from tesela.store.vault import Vault

VALUE = b"sk-this-must-never-lie-in-the-database"
HOSTILE = ["'; DROP TABLE secrets; --", '" OR 1=1', "a\\b", "%", "_", "é", "x" * 200]


@pytest.fixture(autouse=True)
def people(store: Store) -> None:
    populate(store)


def test_a_value_comes_back_as_it_was_put(store: Store) -> None:
    store.secrets.create_scope(actor(ANN), "s")
    for value in (b"", VALUE, bytes(range(256)), "ключ ✓".encode(), b"\0", b"x" * 131_072):
        store.secrets.put(actor(ANN), "s", "k", value)
        assert store.secrets.get("s", "k") == value


def test_what_lies_in_the_database_is_sealed_for_its_place(store: Store) -> None:
    store.secrets.create_scope(actor(ANN), "s")
    for key in ("a", "b"):
        store.secrets.put(actor(ANN), "s", key, VALUE)
    with store.database.write() as connection:
        kept = connection.execute(select(SECRETS.c.value).order_by(SECRETS.c.key)).scalars().all()
        assert not any(VALUE in one for one in kept)
        connection.execute(text("UPDATE secrets SET value = (SELECT value FROM secrets WHERE key = 'a')"))
    assert store.secrets.get("s", "a") == VALUE
    with pytest.raises(ConfigError):
        store.secrets.get("s", "b")


def test_its_maker_manages_a_scope_and_nobody_else_but_admins(store: Store) -> None:
    store.secrets.create_scope(actor(ANN), "s")
    held = [(one.name, permission) for one, permission in store.secrets.acls("s")]
    assert held == [("ann@example.com", "MANAGE")]
    may = {
        id: [one for one in SECRET_PERMISSIONS if store.secrets.may(principal(store, id), "s", one)]
        for id in (ADMIN, ANN, BOB, ROBOT)
    }
    assert may == {ADMIN: list(SECRET_PERMISSIONS), ANN: list(SECRET_PERMISSIONS), BOB: [], ROBOT: []}


def test_a_scope_can_be_given_to_everyone(store: Store) -> None:
    store.secrets.create_scope(actor(ANN), "s", everyone=True)
    assert [(one.name, permission) for one, permission in store.secrets.acls("s")] == [("users", "MANAGE")]
    assert all(store.secrets.may(principal(store, id), "s", "MANAGE") for id in (ANN, BOB, ROBOT))


def test_who_left_an_endpoint_behind_does_not_get_what_somebody_else_puts_into_a_scope_of_that_name(
    store: Store,
) -> None:
    for served in ("active", "pending"):
        scope = f"openai-{served}"
        store.secrets.create_scope(actor(BOB), scope)
        model = {"custom_provider_config": {"bearer_token_auth": {"token": f"{{{{ secrets/{scope.upper()}/key}}}}"}}}
        config = {"served_entities": [{"external_model": model}]}
        store.endpoints.create(actor(BOB), served, config, {}, ready=served == "active")
        store.secrets.delete_scope(actor(BOB), scope)
        for other in (ANN, ADMIN):
            with pytest.raises(InvalidRequest, match=f"{served!r} still refers to a secret scope of this name"):
                store.secrets.create_scope(actor(other), scope)
        store.secrets.create_scope(actor(ANN), f"{scope}-2")
        # Its own maker, such as Terraform, which makes things anew.
        store.secrets.create_scope(actor(BOB), scope)
        store.secrets.delete_scope(actor(BOB), scope)
        store.endpoints.delete(actor(BOB), served)
        store.secrets.create_scope(actor(ANN), scope)


@pytest.mark.parametrize(
    ("name", "id"),
    [("bob@example.com", BOB), ("BOB@Example.com", BOB), ("team", BOB), (APPLICATION, ROBOT), ("users", ROBOT)],
)
@pytest.mark.parametrize("given", SECRET_PERMISSIONS)
def test_a_permission_includes_the_lesser_ones(store: Store, name: str, id: str, given: SecretPermission) -> None:
    store.secrets.create_scope(actor(ANN), "s")
    store.secrets.put_acl(actor(ANN), "s", name, given)
    may = [one for one in SECRET_PERMISSIONS if store.secrets.may(principal(store, id), "s", one)]
    assert may == list(SECRET_PERMISSIONS[: SECRET_PERMISSIONS.index(given) + 1])
    assert store.secrets.readable(principal(store, id)) == {"s"}


def test_a_permission_is_replaced_and_taken_away(store: Store) -> None:
    store.secrets.create_scope(actor(ANN), "s")
    for permission in ("MANAGE", "READ"):
        store.secrets.put_acl(actor(ANN), "s", "team", permission)
    found, permission = store.secrets.acl("s", "team")
    assert (found.id, permission) == (TEAM, "READ")
    store.secrets.delete_acl(actor(ANN), "s", "team")
    assert not store.secrets.may(principal(store, BOB), "s", "READ")
    for call in (lambda: store.secrets.acl("s", "team"), lambda: store.secrets.delete_acl(actor(ANN), "s", "team")):
        with pytest.raises(NotFound, match="team"):
            call()


def test_an_unknown_scope_differs_from_one_that_is_closed(store: Store) -> None:
    store.secrets.create_scope(actor(ANN), "s")
    with pytest.raises(PermissionDenied, match=r"bob@example.com does not have READ permission on scope s"):
        store.secrets.require(principal(store, BOB), "s", "READ")
    with pytest.raises(NotFound, match="'t'"):
        store.secrets.require(principal(store, ADMIN), "t", "READ")
    assert not store.secrets.may(principal(store, ADMIN), "t", "READ")
    store.secrets.require(principal(store, ADMIN), "s", "MANAGE")


def test_everyone_sees_the_scopes_that_they_may_read(store: Store) -> None:
    for scope in ("b", "a", "c"):
        store.secrets.create_scope(actor(ANN), scope)
    store.secrets.put_acl(actor(ANN), "c", "team", "READ")
    assert store.secrets.scopes(principal(store, ANN)) == ["a", "b", "c"]
    assert store.secrets.scopes(principal(store, ADMIN)) == ["a", "b", "c"]
    assert store.secrets.scopes(principal(store, BOB)) == ["c"]
    assert store.secrets.scopes(principal(store, ROBOT)) == []


def test_names_are_found_in_any_case_and_kept_as_first_written(store: Store) -> None:
    store.secrets.create_scope(actor(ANN), "Prod")
    with pytest.raises(AlreadyExists, match="'Prod'"):
        store.secrets.create_scope(actor(ANN), "PROD")
    store.secrets.put(actor(ANN), "prod", "Key", b"1")
    store.secrets.put(actor(ANN), "PROD", "key", b"2")
    assert [one.key for one in store.secrets.keys("pROD")] == ["Key"]
    assert store.secrets.get("prod", "KEY") == b"2"
    assert store.secrets.may(principal(store, ANN), "prod", "MANAGE")
    with store.database.read() as connection:
        assert store.secrets.values(connection, {}) == {"Prod/Key": "2"}
    store.secrets.delete(actor(ANN), "prod", "kEY")
    store.secrets.delete_scope(actor(ANN), "prod")
    assert store.secrets.scopes(principal(store, ADMIN)) == []


def test_the_snapshot_gets_all_values_that_are_text_and_can_be_opened(store: Store) -> None:
    for scope in ("a", "b"):
        store.secrets.create_scope(actor(ANN), scope)
        store.secrets.put(actor(ANN), scope, "k", f"{scope} ✓".encode())
    store.secrets.put(actor(ANN), "a", "bytes", b"\xff\xfe")
    store.secrets.put(actor(ANN), "a", "longest", b"x" * REFERRED_MAX)
    store.secrets.put(actor(ANN), "a", "too long", b"x" * (REFERRED_MAX + 1))
    store.secrets.put(actor(ANN), "a", "damaged", VALUE)
    with store.database.write() as connection:
        connection.execute(SECRETS.update().where(SECRETS.c.key == "damaged").values(value=b"\x01damaged"))
        kept = {"a/k": "a ✓", "b/k": "b ✓", "a/longest": "x" * REFERRED_MAX}
        assert store.secrets.values(connection, {}) == kept


def test_all_values_can_be_sealed_with_another_key(store: Store) -> None:
    store.secrets.create_scope(actor(ANN), "s")
    for key in ("a", "b"):
        store.secrets.put(actor(ANN), "s", key, VALUE + key.encode())
    other = Vault(bytes(32))
    with store.database.write() as connection:
        assert store.secrets.reseal(connection, other) == 2
    with pytest.raises(ConfigError):
        store.secrets.get("s", "a")
    again = module.Secrets(store.database, other)
    assert [again.get("s", key) for key in ("a", "b")] == [VALUE + b"a", VALUE + b"b"]


def test_every_change_raises_the_version_and_names_its_thing_but_no_value(store: Store) -> None:
    changes: list[Callable[[], object]] = [
        lambda: store.secrets.create_scope(actor(ANN), "s"),
        lambda: store.secrets.put(actor(ANN), "s", "k", VALUE),
        lambda: store.secrets.put_acl(actor(ANN), "s", "team", "READ"),
        lambda: store.secrets.delete_acl(actor(ANN), "s", "team"),
        lambda: store.secrets.delete(actor(ANN), "s", "k"),
        lambda: store.secrets.delete_scope(actor(ANN), "s"),
    ]
    version = read_version(store.database)
    for at, change in enumerate(changes, 1):
        change()
        assert read_version(store.database) == version + at
    with store.database.read() as connection:
        rows = connection.execute(select(AUDIT).order_by(AUDIT.c.id)).all()
    assert [(row.action, row.object) for row in rows] == [
        ("secrets.create_scope", "s"),
        ("secrets.put", "s/k"),
        ("secrets.put_acl", "s: team=READ"),
        ("secrets.delete_acl", "s: team"),
        ("secrets.delete", "s/k"),
        ("secrets.delete_scope", "s"),
    ]
    assert {row.actor for row in rows} == {"ann@example.com"}
    assert VALUE.decode() not in str(rows)


def test_what_fails_leaves_nothing_behind(store: Store) -> None:
    store.secrets.create_scope(actor(ANN), "s")
    version = read_version(store.database)
    failing: list[tuple[type[Exception], Callable[[], object]]] = [
        (AlreadyExists, lambda: store.secrets.create_scope(actor(ANN), "s")),
        (PermissionDenied, lambda: store.secrets.create_scope(Actor("404", "gone@example.com"), "t")),
        (NotFound, lambda: store.secrets.put(actor(ANN), "t", "k", VALUE)),
        (NotFound, lambda: store.secrets.delete(actor(ANN), "s", "k")),
        (NotFound, lambda: store.secrets.delete(actor(ANN), "t", "k")),
        (NotFound, lambda: store.secrets.get("s", "k")),
        (NotFound, lambda: store.secrets.keys("t")),
        (NotFound, lambda: store.secrets.delete_scope(actor(ANN), "t")),
        (NotFound, lambda: store.secrets.put_acl(actor(ANN), "t", "team", "READ")),
        (InvalidRequest, lambda: store.secrets.put_acl(actor(ANN), "s", "nobody", "READ")),
        (NotFound, lambda: store.secrets.acls("t")),
    ]
    for kind, call in failing:
        with pytest.raises(kind):
            call()
    assert read_version(store.database) == version
    assert store.secrets.scopes(principal(store, ADMIN)) == ["s"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_never_read_as_sql(store: Store, name: str) -> None:
    store.secrets.create_scope(actor(ANN), "s")
    store.secrets.put(actor(ANN), "s", "k", VALUE)
    for call in (
        lambda: store.secrets.get("s", name),
        lambda: store.secrets.get(name, "k"),
        lambda: store.secrets.delete_scope(actor(ANN), name),
        lambda: store.secrets.delete_acl(actor(ANN), "s", name),
    ):
        with pytest.raises(NotFound):
            call()
    assert store.secrets.get("s", "k") == VALUE


def test_there_is_a_limit_to_scopes_and_to_secrets_of_one(store: Store) -> None:
    store.secrets.create_scope(actor(ANN), "s")
    rows = [{"scope": "s", "key": f"k{i}", "value": b"", "updated_ms": 0} for i in range(module.SECRETS_MAX - 1)]
    scopes = [{"name": f"s{i}", "created_s": 0.0} for i in range(module.SCOPES_MAX - 2)]
    with store.database.write() as connection:
        connection.execute(SECRETS.insert(), rows)
        connection.execute(SCOPES.insert(), scopes)
    store.secrets.put(actor(ANN), "s", "last", VALUE)
    store.secrets.create_scope(actor(ANN), "last")
    with pytest.raises(InvalidRequest, match="1000 secrets"):
        store.secrets.put(actor(ANN), "s", "more", VALUE)
    with pytest.raises(InvalidRequest, match="1000 secret scopes"):
        store.secrets.create_scope(actor(ANN), "more")
    store.secrets.put(actor(ANN), "s", "last", b"replaced")
    assert store.secrets.get("s", "last") == b"replaced"


def test_one_of_many_who_make_the_same_scope_gets_it(store: Store) -> None:
    gate = threading.Barrier(6)
    outcomes: list[str] = []

    def make(i: int) -> None:
        gate.wait(10)
        try:
            store.secrets.create_scope(actor(ANN), "Race" if i % 2 else "race")
            outcomes.append("made")
        except AlreadyExists:
            outcomes.append("there")

    threads = [threading.Thread(target=make, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes) == ["made"] + ["there"] * 5


def test_who_is_deleted_loses_what_was_given(store: Store) -> None:
    store.secrets.create_scope(actor(ANN), "s")
    store.secrets.put_acl(actor(ANN), "s", "bob@example.com", "READ")
    with store.database.write() as connection:
        connection.execute(text("DELETE FROM principals WHERE name = 'bob@example.com'"))
    assert [one.name for one, _ in store.secrets.acls("s")] == ["ann@example.com"]
