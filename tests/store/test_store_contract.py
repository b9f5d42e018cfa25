"""What every store promises, whatever it is kept in.  Another store joins by a line in OPENERS."""

import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tesela.errors import NotFound
from tesela.snapshot import digest
from tesela.store import Store

OPENERS: dict[str, Callable[[Path], Store]] = {"sqlite": Store}


@pytest.fixture(params=sorted(OPENERS))
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Opens the same store again and again, as several processes do."""
    stores: list[Store] = []

    def again() -> Store:
        store = OPENERS[request.param](tmp_path / "home")
        store.open()
        stores.append(store)
        return store

    yield again
    for store in stores:
        store.close()


def test_the_first_token_is_given_once_and_works(opened: Callable[[], Store]) -> None:
    store = opened()
    token = store.first_start(100.0)
    assert token is not None
    assert token.startswith("dapi")
    assert len(token) == 36
    assert store.first_start(101.0) is None
    assert opened().first_start(102.0) is None
    credential = store.credentials()[digest(token.encode())]
    assert credential.principal.admin
    assert credential.expires_at == math.inf


def test_the_first_token_goes_to_one_of_many_that_start_together(opened: Callable[[], Store]) -> None:
    stores = [opened() for _ in range(6)]
    gate = threading.Barrier(len(stores))
    given: list[str | None] = []

    def start(store: Store) -> None:
        gate.wait(10)
        given.append(store.first_start(1.0))

    threads = [threading.Thread(target=start, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(given) == len(stores)
    assert len([token for token in given if token is not None]) == 1
    assert len(stores[0].principals()) == 1


def test_an_admin_made_before_the_first_start_does_not_cost_the_first_token(opened: Callable[[], Store]) -> None:
    store = opened()
    admin = store.admin()
    assert store.admin() == admin
    assert store.first_start(1.0) is not None
    assert [one.id for one in store.principals()] == [admin.id]


def test_tokens_are_listed_without_being_kept(opened: Callable[[], Store]) -> None:
    store = opened()
    admin = store.admin()
    first, info = store.create_token(admin.id, "one", 60.0, 1000.0)
    second, _ = store.create_token(admin.id, "two ✓", None, 1001.0)
    assert first != second
    assert (info.comment, info.created, info.expires) == ("one", 1000.0, 1060.0)
    assert [one.comment for one in store.tokens(admin.id)] == ["one", "two ✓"]
    assert store.tokens(None) == store.tokens(admin.id)
    assert store.tokens("nobody") == []
    credentials = store.credentials()
    assert credentials[digest(first.encode())].expires_at == 1060.0
    assert credentials[digest(first.encode())].token_id == info.id
    assert credentials[digest(second.encode())].expires_at == math.inf


def test_a_token_for_nobody_is_refused_and_changes_nothing(opened: Callable[[], Store]) -> None:
    store = opened()
    before = store.version()
    with pytest.raises(NotFound, match="'nobody'"):
        store.create_token("nobody", "", None, 1.0)
    assert store.version() == before
    assert store.credentials() == {}


def test_revoked_is_gone_for_everyone(opened: Callable[[], Store]) -> None:
    store, other = opened(), opened()
    admin = store.admin()
    token, info = store.create_token(admin.id, "", None, 1.0)
    assert not store.revoke(info.id, "somebody else")
    assert digest(token.encode()) in other.credentials()
    assert store.revoke(info.id, admin.id)
    assert not store.revoke(info.id)
    assert other.credentials() == {}


def test_every_change_raises_the_version_and_nothing_else_does(opened: Callable[[], Store]) -> None:
    store, other = opened(), opened()
    admin = store.admin()
    seen = [other.version()]
    _, info = store.create_token(admin.id, "", None, 1.0)
    seen.append(other.version())
    store.revoke(info.id)
    seen.append(other.version())
    assert seen == sorted(set(seen))
    store.revoke(info.id)
    store.admin()
    store.tokens(None)
    store.credentials()
    assert other.version() == seen[-1]


def test_the_workspace_stays_the_same(opened: Callable[[], Store]) -> None:
    workspace = opened().workspace()
    assert len(str(workspace.id)) == 16
    assert opened().workspace() == workspace


def test_writers_in_many_threads_all_get_through(opened: Callable[[], Store]) -> None:
    store, other = opened(), opened()
    admin = store.admin()
    before = store.version()
    threads = [
        threading.Thread(target=one.create_token, args=(admin.id, f"{i}", None, float(i)))
        for i in range(10)
        for one in (store, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(store.tokens(None)) == 20
    assert store.version() == before + 20
