"""Endpoints in the store: how a configuration becomes the active one, and what lies in the database meanwhile."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import insert, select

from tesela.errors import AlreadyExists, ConfigError, Conflict, InvalidRequest, NotFound
from tesela.records import SYSTEM, Actor
from tesela.store import sealed
from tesela.store.endpoints import Endpoints
from tesela.store.sealed import PREFIX, seal, without_keys
from tesela.store.store import Store
from tesela.store.tables import AUDIT, ENDPOINTS, PERMISSIONS, PRINCIPALS, STATE
from tesela.store.vault import Vault

KEY = "sk-this-must-never-lie-in-the-database"
ALICE = Actor("1000000000000001", "alice@example.com", "127.0.0.1", "r1")


def config(key: str = KEY, model: str = "gpt-4.1") -> dict[str, Any]:
    return {
        "served_entities": [
            {
                "name": "gpt",
                "external_model": {
                    "name": model,
                    "provider": "openai",
                    "task": "llm/v1/chat",
                    "openai_config": {"openai_api_key_plaintext": key, "openai_api_base": "http://127.0.0.1:9/v1"},
                },
            },
            {
                "name": "second",
                "external_model": {
                    "name": model,
                    "provider": "custom",
                    "task": "llm/v1/chat",
                    "custom_provider_config": {
                        "custom_provider_url": "http://127.0.0.1:9/v1",
                        "bearer_token_auth": {"token_plaintext": key},
                    },
                },
            },
        ],
        "traffic_config": {"routes": [{"served_model_name": "gpt", "traffic_percentage": 100}]},
    }


LOCAL = {"served_entities": [{"name": "tiny", "entity_name": "tiny"}]}


@pytest.fixture(autouse=True)
def alice(store: Store) -> None:
    """Who makes the endpoints is known to the store."""
    row = {"id": ALICE.id, "kind": "user", "name": ALICE.name, "display_name": "", "active": True, "details": "{}"}
    with store.database.write() as connection:
        connection.execute(insert(PRINCIPALS).values({**row, "created_s": 0.0, "version": 0}))


def version(store: Store) -> int:
    with store.database.read() as connection:
        return int(connection.execute(select(STATE.c.version)).scalar_one())


def actions(store: Store) -> list[tuple[str, str, str]]:
    with store.database.read() as connection:
        rows = connection.execute(select(AUDIT.c.actor, AUDIT.c.action, AUDIT.c.object).order_by(AUDIT.c.id))
        return [tuple(row) for row in rows]


def grants(store: Store) -> list[tuple[str, str, str]]:
    with store.database.read() as connection:
        return [tuple(row) for row in connection.execute(select(PERMISSIONS))]


def test_a_ready_configuration_is_active_at_once(store: Store) -> None:
    made = store.endpoints.create(ALICE, "mine", LOCAL, {"tags": [{"key": "a"}]}, ready=True)
    assert (made.active, made.pending, made.config_version, made.update_state) == (LOCAL, None, 1, "NOT_UPDATING")
    assert (made.creator_id, made.creator, made.settings) == (ALICE.id, ALICE.name, {"tags": [{"key": "a"}]})
    assert len(made.id) == 32
    assert made.created_ms == made.updated_ms > 1_700_000_000_000
    assert made.version == version(store)
    assert store.endpoints.get("mine") == made == store.endpoints.by_id(made.id)
    assert store.endpoints.list() == (made,)


def test_the_creator_manages_what_they_made_and_it_is_written_down(store: Store) -> None:
    made = store.endpoints.create(ALICE, "mine", LOCAL, {}, ready=True)
    assert grants(store) == [(made.id, ALICE.id, "CAN_MANAGE")]
    assert actions(store) == [("alice@example.com", "endpoints.create", "mine")]


def test_a_creator_who_is_gone_is_granted_nothing(store: Store) -> None:
    store.endpoints.create(Actor("404", "gone"), "mine", LOCAL, {}, ready=True)
    assert grants(store) == []


def test_a_name_is_there_once(store: Store) -> None:
    made = store.endpoints.create(ALICE, "mine", LOCAL, {}, ready=True)
    before = version(store)
    with pytest.raises(AlreadyExists, match="'mine'"):
        store.endpoints.create(ALICE, "mine", config(), {}, ready=True)
    assert store.endpoints.list() == (made,)
    assert version(store) == before
    assert len(actions(store)) == 1


def test_there_are_only_so_many(store: Store) -> None:
    few = Endpoints(store.database, store.vault, most=2)
    for name in ("a", "b"):
        few.create(SYSTEM, name, LOCAL, {}, ready=True)
    before = version(store)
    with pytest.raises(InvalidRequest, match="no more are allowed"):
        few.create(SYSTEM, "c", LOCAL, {}, ready=True)
    assert version(store) == before
    few.delete(SYSTEM, "a")
    few.create(SYSTEM, "c", LOCAL, {}, ready=True)


def test_a_pending_configuration_waits_until_it_is_ready(store: Store) -> None:
    made = store.endpoints.create(ALICE, "mine", LOCAL, {}, ready=False)
    assert (made.active, made.pending, made.config_version) == (None, LOCAL, 0)
    assert made.update_state == "IN_PROGRESS"
    assert made.pending_version == made.version
    assert store.endpoints.activate(made.id, made.pending_version) is True
    done = store.endpoints.get("mine")
    assert done is not None
    assert (done.active, done.pending, done.config_version) == (LOCAL, None, 1)
    assert done.update_state == "NOT_UPDATING"


def test_settling_twice_changes_nothing(store: Store) -> None:
    made = store.endpoints.create(ALICE, "mine", LOCAL, {}, ready=False)
    store.endpoints.activate(made.id, made.pending_version)
    before, told = version(store), len(actions(store))
    assert store.endpoints.activate(made.id, made.pending_version) is False
    assert store.endpoints.fail(made.id, made.pending_version, "too late") is False
    assert store.endpoints.activate("0" * 32, 1) is False
    assert version(store) == before
    assert len(actions(store)) == told


def test_a_pending_configuration_that_was_replaced_is_not_settled_by_the_old_one(store: Store) -> None:
    first = store.endpoints.create(ALICE, "mine", LOCAL, {}, ready=False)
    store.endpoints.fail(first.id, first.pending_version, "no such file")
    other = {"served_entities": [{"name": "other", "entity_name": "tiny"}]}
    second = store.endpoints.update_config(ALICE, "mine", other, ready=False)
    assert store.endpoints.activate(first.id, first.pending_version) is False
    assert store.endpoints.fail(first.id, first.pending_version, "no") is False
    assert store.endpoints.activate(first.id, second.pending_version) is True
    assert store.endpoints.list()[0].active == other


def test_a_change_of_settings_leaves_the_pending_configuration_what_it_is(store: Store) -> None:
    made = store.endpoints.create(ALICE, "mine", LOCAL, {}, ready=False)
    store.endpoints.change_settings(ALICE, "mine", {"description": "new"})
    assert store.endpoints.activate(made.id, made.pending_version) is True


def test_an_update_that_failed_leaves_the_old_one_live_and_says_why(store: Store) -> None:
    store.endpoints.create(ALICE, "mine", LOCAL, {}, ready=True)
    pending = store.endpoints.update_config(ALICE, "mine", config(), ready=False)
    assert pending.active == LOCAL
    assert store.endpoints.fail(pending.id, pending.pending_version, "out of memory") is True
    failed = store.endpoints.get("mine")
    assert failed is not None
    assert (failed.active, failed.pending, failed.config_version) == (LOCAL, None, 1)
    assert (failed.update_state, failed.update_message) == ("UPDATE_FAILED", "out of memory")
    mended = store.endpoints.update_config(ALICE, "mine", LOCAL, ready=True)
    assert (mended.update_state, mended.update_message, mended.config_version) == ("NOT_UPDATING", "", 2)


def test_what_never_served_is_still_to_be_seen_after_it_failed(store: Store) -> None:
    made = store.endpoints.create(ALICE, "mine", LOCAL, {}, ready=False)
    store.endpoints.fail(made.id, made.pending_version, "no such file")
    failed = store.endpoints.get("mine")
    assert failed is not None
    assert (failed.active, failed.pending, failed.update_state) == (None, LOCAL, "UPDATE_FAILED")
    assert store.endpoints.activate(made.id, made.pending_version) is False


def test_an_update_during_an_update_is_refused(store: Store) -> None:
    made = store.endpoints.create(ALICE, "mine", LOCAL, {}, ready=False)
    for ready in (True, False):
        with pytest.raises(Conflict, match="under way"):
            store.endpoints.update_config(ALICE, "mine", config(), ready=ready)
    assert store.endpoints.get("mine") == made


def test_what_was_decided_on_one_endpoint_is_not_done_to_another_of_its_name(store: Store) -> None:
    was = store.endpoints.create(SYSTEM, "e", {"served_entities": []}, {}, ready=True)
    store.endpoints.delete(SYSTEM, "e")
    theirs = store.endpoints.create(SYSTEM, "e", {"served_entities": []}, {}, ready=True)
    with pytest.raises(NotFound):
        store.endpoints.delete(SYSTEM, "e", was=was)
    with pytest.raises(NotFound):
        store.endpoints.change_settings(SYSTEM, "e", {"description": "x"}, was=was)
    with pytest.raises(NotFound):
        store.endpoints.update_config(SYSTEM, "e", {"served_entities": [1]}, ready=True, was=was)
    assert store.endpoints.get("e") == theirs


def test_what_was_laid_over_an_old_configuration_does_not_undo_a_newer_one(store: Store) -> None:
    was = store.endpoints.create(SYSTEM, "e", {"served_entities": []}, {}, ready=True)
    newer = store.endpoints.update_config(SYSTEM, "e", {"served_entities": [1]}, ready=True, was=was)
    with pytest.raises(Conflict, match="meanwhile"):
        store.endpoints.update_config(SYSTEM, "e", {"served_entities": [2]}, ready=True, was=was)
    assert store.endpoints.get("e") == newer


def test_settings_are_laid_over_taken_away_and_rewritten(store: Store) -> None:
    store.endpoints.create(ALICE, "mine", LOCAL, {"description": "a", "tags": [1]}, ready=True)
    done = store.endpoints.change_settings(ALICE, "mine", {"description": None, "rate_limits": []})
    assert done.settings == {"tags": [1], "rate_limits": []}
    done = store.endpoints.change_settings(ALICE, "mine", lambda now: {**now, "tags": [*now["tags"], 2]})
    assert done.settings == {"tags": [1, 2], "rate_limits": []}
    assert (done.config_version, done.active) == (1, LOCAL)


def test_changes_of_settings_at_once_are_all_kept(store: Store) -> None:
    store.endpoints.create(ALICE, "mine", LOCAL, {"tags": []}, ready=True)

    def add(number: int) -> None:
        store.endpoints.change_settings(ALICE, "mine", lambda now: {**now, "tags": [*now["tags"], number]})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(12)))
    assert sorted(store.endpoints.list()[0].settings["tags"]) == list(range(12))


def test_what_is_deleted_is_gone_with_its_grants(store: Store) -> None:
    made = store.endpoints.create(ALICE, "mine", LOCAL, {}, ready=True)
    assert store.endpoints.delete(ALICE, "mine") == made
    assert store.endpoints.list() == ()
    assert grants(store) == []
    again = store.endpoints.create(ALICE, "mine", LOCAL, {}, ready=True)
    assert again.id != made.id


@pytest.mark.parametrize("name", ["nothing", "", "n\0l", "x" * 1_000_000, "'; DROP TABLE endpoints; --"])
def test_what_is_not_there(store: Store, name: str) -> None:
    kept = store.endpoints.create(ALICE, "mine", LOCAL, {}, ready=True)
    assert store.endpoints.get(name) is None
    assert store.endpoints.by_id(name) is None
    changes: tuple[Callable[[], object], ...] = (
        lambda: store.endpoints.update_config(ALICE, name, LOCAL, ready=True),
        lambda: store.endpoints.change_settings(ALICE, name, {}),
        lambda: store.endpoints.delete(ALICE, name),
    )
    for change in changes:
        with pytest.raises(NotFound):
            change()
    assert store.endpoints.list() == (kept,)


def test_a_reader_takes_over_what_is_new(store: Store) -> None:
    first = store.endpoints.create(ALICE, "b", LOCAL, {}, ready=True)
    second = store.endpoints.create(ALICE, "a", LOCAL, {}, ready=True)
    with store.database.read() as connection:
        assert store.endpoints.all(connection) == (second, first)
        assert store.endpoints.changed_since(connection, first.version) == (second,)
        assert store.endpoints.changed_since(connection, second.version) == ()
        assert store.endpoints.ids(connection) == {first.id, second.id}
    changed = store.endpoints.change_settings(SYSTEM, "b", {"description": "x"})
    with store.database.read() as connection:
        assert store.endpoints.changed_since(connection, second.version) == (changed,)


def test_keys_lie_sealed_and_come_back_as_they_were(store: Store) -> None:
    made = store.endpoints.create(ALICE, "mine", config(), {}, ready=False)
    with store.database.read() as connection:
        row = connection.execute(select(ENDPOINTS)).one()
    assert KEY not in repr(row)
    assert made.pending is not None
    assert json.dumps(made.pending).count(PREFIX) == 2
    assert store.endpoints.opened(made.pending, made.id) == config()
    assert KEY not in repr(made)
    store.endpoints.activate(made.id, made.pending_version)
    done = store.endpoints.get("mine")
    assert done is not None
    assert done.active is not None
    assert store.endpoints.opened(done.active, made.id) == config()


def test_a_sealed_key_opens_nowhere_else() -> None:
    vault = Vault(bytes(32))
    kept = seal(config(), "a" * 32, vault)
    with pytest.raises(ConfigError):
        sealed.opened(kept, "b" * 32, vault)
    with pytest.raises(ConfigError):
        sealed.opened(kept, "a" * 32, Vault(b"x" * 32))


@pytest.mark.parametrize("key", ["", "sealed:v1:AAAA", "ключ 🔑", "x" * 100_000])
def test_any_key_can_be_sealed(key: str) -> None:
    vault = Vault(bytes(32))
    kept = seal(config(key), "a" * 32, vault)
    assert sealed.opened(kept, "a" * 32, vault) == config(key)


def test_what_is_shown_has_neither_the_key_nor_its_seal() -> None:
    kept = seal(config(), "a" * 32, Vault(bytes(32)))
    shown = json.dumps(without_keys(kept))
    assert "plaintext" not in shown
    assert PREFIX not in shown
    assert "openai_api_base" in shown
    assert without_keys(LOCAL) == LOCAL


def test_keys_are_sealed_anew_for_a_new_master_key(store: Store) -> None:
    made = store.endpoints.create(ALICE, "mine", config(), {}, ready=True)
    store.endpoints.create(ALICE, "local", LOCAL, {}, ready=True)
    new = Vault(b"n" * 32)
    with store.database.write() as connection:
        assert store.endpoints.reseal(connection, new) == 1
    kept = store.endpoints.get("mine")
    assert kept is not None
    assert kept.active is not None
    assert sealed.opened(kept.active, made.id, new) == config()
    with pytest.raises(ConfigError):
        store.endpoints.opened(kept.active, made.id)


def test_of_many_that_make_the_same_name_one_does(opened: Callable[[], Store]) -> None:
    stores = [opened() for _ in range(4)]

    def make(store: Store) -> str:
        try:
            return store.endpoints.create(ALICE, "mine", LOCAL, {}, ready=True).id
        except AlreadyExists:
            return ""

    with ThreadPoolExecutor(4) as pool:
        made = [one for one in pool.map(make, stores) if one]
    assert [one.id for one in stores[0].endpoints.list()] == made
