"""Signing keys and client secrets, on both databases."""

import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete, insert, select, update

from tesela import signed
from tesela.errors import ConfigError, InvalidRequest, NotFound
from tesela.records import Actor
from tesela.store.client_secrets import MOST, Client
from tesela.store.signing import KEPT_S, ROTATE_S
from tesela.store.store import Store
from tesela.store.tables import AUDIT, CLIENT_SECRETS, KINDS, PRINCIPALS, SIGNING_KEYS, STATE

NOW = 1_800_000_000.0
BY = Actor("1", "admin@example.com", "127.0.0.1")
APPLICATION = "a1b2c3d4-0000-4000-8000-000000000001"
ROBOT, OTHER, PERSON = "5000000000000001", "5000000000000002", "5000000000000003"
CLAIMS = signed.Claims(ROBOT, APPLICATION, "", "1", int(NOW), int(NOW) + 3600, "j", "all-apis", "s")


@pytest.fixture
def robot(store: Store) -> Store:
    """A store with two service principals and a user."""
    for key, kind, name in (
        (ROBOT, "service_principal", APPLICATION),
        (OTHER, "service_principal", "another"),
        (PERSON, "user", "somebody@example.com"),
    ):
        row = {"id": key, "kind": kind, "name": name, "display_name": name, "active": True, "details": "{}"}
        with store.database.write() as connection:
            connection.execute(insert(PRINCIPALS).values({**row, "created_s": NOW, "version": 1}))
    return store


def published(store: Store) -> list[str]:
    with store.database.read() as connection:
        return list(store.signing.public_keys(connection))


def version(store: Store, kind: str = "keys") -> tuple[int, int]:
    """The store's version, and the one of the last change of this kind."""
    with store.database.read() as connection:
        found = connection.execute(select(KINDS.c.version).where(KINDS.c.kind == kind)).scalar_one_or_none()
        return connection.execute(select(STATE.c.version)).scalar_one(), found or 0


def audit(store: Store) -> list[tuple[str, str, str]]:
    with store.database.read() as connection:
        rows = connection.execute(select(AUDIT.c.actor, AUDIT.c.action, AUDIT.c.object).order_by(AUDIT.c.id))
        return [(actor, action, thing) for actor, action, thing in rows]


# ------------------------------------------------------------ keys


def test_the_first_key_is_made_when_it_is_needed(store: Store) -> None:
    assert published(store) == []
    before = version(store)[0]
    key = store.signing.current(NOW)
    assert published(store) == [key.id]
    assert version(store) == (before + 1, before + 1)
    assert audit(store) == [("tesela", "signing_keys.create", key.id)]
    token = signed.sign(CLAIMS, key.id, key.private)
    assert signed.verify(token.encode(), {key.id: key.public}, "1", NOW) == CLAIMS
    assert "PRIVATE" not in repr(key)
    assert store.signing.current(NOW + ROTATE_S - 1) == key
    # The clock of another machine may be behind.
    assert store.signing.current(NOW - 1000) == key
    assert version(store) == (before + 1, before + 1)


def test_the_private_half_is_sealed_for_its_place(store: Store, opened: Callable[[], Store]) -> None:
    key = store.signing.current(NOW)
    with store.database.read() as connection:
        sealed = connection.execute(select(SIGNING_KEYS.c.private)).scalar_one()
    assert b"PRIVATE" not in sealed
    assert key.private not in sealed
    with store.database.write() as connection:
        connection.execute(update(SIGNING_KEYS).values(id="elsewhere"))
    with pytest.raises(ConfigError):
        store.signing.current(NOW)
    url = store.database.url.render_as_string(hide_password=False)
    stranger = Store(store.home, url, key=bytes(32))
    with store.database.write() as connection:
        connection.execute(update(SIGNING_KEYS).values(id=key.id))
    try:
        with pytest.raises(ConfigError):
            stranger.signing.current(NOW)
    finally:
        stranger.close()
    assert opened().signing.current(NOW) == key


def test_keys_rotate_and_old_ones_stay_for_as_long_as_their_tokens(store: Store) -> None:
    first = store.signing.current(NOW)
    second = store.signing.current(NOW + ROTATE_S)
    assert second.id != first.id
    assert published(store) == [first.id, second.id]
    # Signed by the first one at its last moment, read when it is nearly over.
    last = signed.LIFETIME_S + signed.LEEWAY_S
    assert ROTATE_S + last < KEPT_S
    third = store.signing.current(NOW + 2 * ROTATE_S)
    assert published(store) == [second.id, third.id]
    # After a long rest nobody can hold a token of an old one.
    late = store.signing.current(NOW + 10 * ROTATE_S)
    assert published(store) == [late.id]


def test_a_key_that_has_just_been_replaced_is_kept(store: Store) -> None:
    first = store.signing.current(NOW)
    second = store.signing.current(NOW + ROTATE_S + signed.LIFETIME_S)
    assert published(store) == [first.id, second.id]


def test_processes_at_once_end_with_one_key(opened: Callable[[], Store]) -> None:
    stores = [opened() for _ in range(4)]
    barrier = threading.Barrier(len(stores))

    def ask(store: Store, now: float) -> str:
        barrier.wait(10)
        return store.signing.current(now).id

    for now in (NOW, NOW + ROTATE_S):
        with ThreadPoolExecutor(len(stores)) as pool:
            found = set(pool.map(ask, stores, [now] * len(stores)))
        assert len(found) == 1
    assert len(published(stores[0])) == 2
    # What lost the race has changed nothing, and is in no audit.
    assert [action for _, action, _ in audit(stores[0])] == ["signing_keys.create"] * 2


# ------------------------------------------------------------ client secrets


def test_a_client_secret_from_beginning_to_end(robot: Store) -> None:
    before = version(robot)[0]
    secret, info = robot.client_secrets.create(BY, ROBOT)
    assert version(robot) == (before + 1, before + 1)
    assert secret.startswith("dose")
    assert len(secret) == 36
    assert info.principal_id == ROBOT
    assert info.expires - info.created == 730 * 86_400
    assert robot.client_secrets.of(ROBOT) == [info]
    assert robot.client_secrets.of(OTHER) == []
    with robot.database.read() as connection:
        assert robot.client_secrets.ids(connection) == {info.id}
    assert robot.client_secrets.check(APPLICATION, secret, info.created) == Client(ROBOT, APPLICATION, info.id)
    robot.client_secrets.delete(BY, ROBOT, info.id)
    assert robot.client_secrets.of(ROBOT) == []
    assert robot.client_secrets.check(APPLICATION, secret, info.created) is None
    with robot.database.read() as connection:
        assert robot.client_secrets.ids(connection) == frozenset()
    words = ["service_principal_secrets.create", "service_principal_secrets.delete"]
    assert audit(robot) == [("admin@example.com", word, ROBOT) for word in words]


def test_the_secret_itself_is_nowhere_in_the_store(robot: Store) -> None:
    secret, _ = robot.client_secrets.create(BY, ROBOT)
    with robot.database.read() as connection:
        rows = [*connection.execute(select(CLIENT_SECRETS)), *connection.execute(select(AUDIT))]
    assert secret[4:] not in repr(rows)


def test_wrong_secrets(robot: Store) -> None:
    secret, info = robot.client_secrets.create(BY, ROBOT, 100.0)
    other, _ = robot.client_secrets.create(BY, OTHER)
    check, now = robot.client_secrets.check, info.created
    assert check(APPLICATION, secret, now + 99.9) is not None
    wrong: list[tuple[str, str, float]] = [
        (APPLICATION, secret, now + 100.0),
        (APPLICATION, other, now),
        ("another", secret, now),
        (ROBOT, secret, now),
        (APPLICATION.upper(), secret, now),
        (APPLICATION, secret[:-1], now),
        (APPLICATION, secret + " ", now),
        (APPLICATION, secret.upper(), now),
        (APPLICATION, info.hash, now),
        (APPLICATION, "", now),
        ("", "", now),
        ("' OR 1=1 --", "' OR 1=1 --", now),
        ("\0", "\0", now),
        ("\udc80", "\udc80", now),
        ("ü" * 100_000, "ü" * 100_000, now),
    ]
    assert [one for one in wrong if check(*one) is not None] == []


def test_a_service_principal_that_is_not_active(robot: Store) -> None:
    secret, info = robot.client_secrets.create(BY, ROBOT)
    with robot.database.write() as connection:
        connection.execute(update(PRINCIPALS).where(PRINCIPALS.c.id == ROBOT).values(active=False))
    assert robot.client_secrets.check(APPLICATION, secret, info.created) is None
    with robot.database.write() as connection:
        connection.execute(delete(PRINCIPALS).where(PRINCIPALS.c.id == ROBOT))
        assert robot.client_secrets.ids(connection) == frozenset()


@pytest.mark.parametrize("strange", [PERSON, "1", "", "' OR 1=1 --", "9" * 1000])
def test_only_service_principals_have_secrets(robot: Store, strange: str) -> None:
    before = version(robot)
    for call in (
        lambda: robot.client_secrets.create(BY, strange),
        lambda: robot.client_secrets.of(strange),
        lambda: robot.client_secrets.delete(BY, strange, "x"),
    ):
        with pytest.raises(NotFound) as caught:
            call()
        assert len(caught.value.message) < 200
    assert version(robot) == before
    assert audit(robot) == []


def test_five_secrets_and_no_more(robot: Store) -> None:
    infos = [robot.client_secrets.create(BY, ROBOT)[1] for _ in range(MOST)]
    assert robot.client_secrets.of(ROBOT) == sorted(infos, key=lambda one: (one.created, one.id))
    with pytest.raises(InvalidRequest, match="5 secrets"):
        robot.client_secrets.create(BY, ROBOT)
    assert len(robot.client_secrets.of(ROBOT)) == MOST
    robot.client_secrets.create(BY, OTHER)
    with pytest.raises(NotFound):
        robot.client_secrets.delete(BY, OTHER, infos[0].id)
    robot.client_secrets.delete(BY, ROBOT, infos[0].id)
    robot.client_secrets.create(BY, ROBOT)


def test_two_at_once_do_not_make_six(robot: Store, opened: Callable[[], Store]) -> None:
    for _ in range(MOST - 1):
        robot.client_secrets.create(BY, ROBOT)
    stores = [opened() for _ in range(3)]
    barrier = threading.Barrier(len(stores))

    def make(store: Store) -> bool:
        barrier.wait(10)
        try:
            store.client_secrets.create(BY, ROBOT)
        except InvalidRequest:
            return False
        return True

    with ThreadPoolExecutor(len(stores)) as pool:
        assert sorted(pool.map(make, stores)) == [False, False, True]


def test_a_secret_of_an_older_store_may_never_expire(robot: Store) -> None:
    secret, info = robot.client_secrets.create(BY, ROBOT)
    with robot.database.write() as connection:
        connection.execute(update(CLIENT_SECRETS).values(expires_s=None))
    assert robot.client_secrets.of(ROBOT)[0].expires == math.inf
    assert robot.client_secrets.check(APPLICATION, secret, info.created * 2) is not None
