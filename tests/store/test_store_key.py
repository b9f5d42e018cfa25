"""The master key: where it comes from, when it is refused, and how another one takes its place."""

import os
import stat
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from tesela.errors import ConfigError, StoreUnavailable
from tesela.records import SYSTEM, Actor
from tesela.store.contents import read_contents
from tesela.store.key import FILE, NEXT, VARIABLE, decoded, load_key, rotate, rotate_file
from tesela.store.opening import open_store
from tesela.store.store import Store
from tesela.store.tables import ENDPOINTS, PRINCIPALS, SECRETS, SIGNING_KEYS, STATE

ANA = Actor("1", "ana@example.com")
OTHER = bytes(range(100, 132))
SECRET = b"sk-do-not-show-this"
CONFIG = {
    "served_entities": [
        {
            "name": "one",
            "external_model": {
                "name": "gpt-4o",
                "provider": "openai",
                "task": "llm/v1/chat",
                "openai_config": {"openai_api_key_plaintext": SECRET.decode()},
            },
        }
    ]
}


def text(key: bytes) -> str:
    return b64encode(key).decode()


def fill(store: Store) -> None:
    with store.database.write() as connection:
        row = {"id": ANA.id, "kind": "user", "name": ANA.name, "display_name": "Ana", "active": True, "details": "{}"}
        connection.execute(PRINCIPALS.insert().values(**row, created_s=1.0, version=1))
    store.secrets.create_scope(ANA, "team")
    store.secrets.put(ANA, "team", "openai", SECRET)
    store.signing.current(1_800_000_000.0)
    store.endpoints.create(ANA, "chat", CONFIG, {}, ready=True)


def sealed(store: Store) -> list[bytes]:
    """All that is sealed, as it lies in the database."""
    with store.database.read() as connection:
        return [
            connection.execute(select(SECRETS.c.value)).scalar_one(),
            connection.execute(select(SIGNING_KEYS.c.private)).scalar_one(),
            str(connection.execute(select(ENDPOINTS.c.active, ENDPOINTS.c.pending)).one()).encode(),
        ]


def readable(store: Store) -> None:
    assert store.secrets.get("team", "openai") == SECRET
    assert b"PRIVATE KEY" in store.signing.current(1_800_000_001.0).private
    (endpoint,) = store.endpoints.list()
    config = endpoint.pending or endpoint.active
    assert config is not None
    opened = store.endpoints.opened(config, endpoint.id)
    assert opened["served_entities"][0]["external_model"]["openai_config"] == {
        "openai_api_key_plaintext": SECRET.decode()
    }


def test_the_first_start_makes_the_key_and_the_next_one_finds_it(empty_url: str, tmp_path: Path) -> None:
    home = tmp_path / "new"
    store, key = open_store(home, empty_url, {})
    store.close()
    assert len(key) == 32
    file = home / FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert decoded(file.read_text(), "the file") == key
    store, again = open_store(home, empty_url, {})
    store.close()
    assert again == key
    assert [one.name for one in home.iterdir() if one.name.startswith("master")] == [FILE]


def test_the_variable_wins_and_nothing_is_written(store: Store, tmp_path: Path) -> None:
    home = tmp_path / "new"
    assert load_key(home, {VARIABLE: text(OTHER)}, store.database) == OTHER
    assert not home.exists()
    assert load_key(home, {VARIABLE: f" {text(OTHER)}\n"}, store.database) == OTHER


@pytest.mark.parametrize("value", ["short", text(OTHER[:31]), text(OTHER + b"x"), "é" * 44, "=" * 44])
def test_a_variable_that_is_no_key_is_a_sentence_that_does_not_show_it(value: str, store: Store) -> None:
    with pytest.raises(ConfigError, match="the variable TESELA_MASTER_KEY is not a master key") as caught:
        load_key(store.home, {VARIABLE: value}, store.database)
    assert value not in caught.value.message


def test_a_wrong_variable_is_noticed(store: Store) -> None:
    load_key(store.home, {VARIABLE: text(OTHER)}, store.database)
    with pytest.raises(ConfigError, match="does not hold the master key of the store"):
        load_key(store.home, {VARIABLE: text(OTHER[::-1])}, store.database)


def test_a_wrong_file_is_noticed(store: Store) -> None:
    load_key(store.home, {}, store.database)
    (store.home / FILE).write_text(text(OTHER))
    with pytest.raises(ConfigError, match=rf"{FILE} does not hold the master key of the store"):
        load_key(store.home, {}, store.database)
    assert decoded((store.home / FILE).read_text(), "the file") == OTHER


def test_a_lost_file_is_not_made_anew(store: Store, tmp_path: Path) -> None:
    load_key(store.home, {}, store.database)
    with pytest.raises(ConfigError, match="set TESELA_MASTER_KEY, or copy the file"):
        load_key(tmp_path / "another host", {}, store.database)
    assert not (tmp_path / "another host").exists()


def test_a_file_that_others_can_read_is_refused(store: Store) -> None:
    load_key(store.home, {}, store.database)
    (store.home / FILE).chmod(0o640)
    with pytest.raises(ConfigError, match=rf"chmod 600 {store.home / FILE}"):
        load_key(store.home, {}, store.database)


def test_a_file_that_is_no_key_is_a_sentence(store: Store) -> None:
    (store.home / FILE).write_text("something else\n")
    (store.home / FILE).chmod(0o600)
    with pytest.raises(ConfigError, match="is not a master key"):
        load_key(store.home, {}, store.database)


STARTS = """
import os, sys
from pathlib import Path
from tesela.store.opening import open_store
sys.stdin.readline()
store, key = open_store(Path(sys.argv[1]), sys.argv[2], {})
store.close()
print(key.hex())
"""


@pytest.mark.slow
def test_servers_that_start_at_once_have_one_key(empty_url: str, tmp_path: Path) -> None:
    starting = [
        subprocess.Popen(
            [sys.executable, "-W", "error", "-c", STARTS, str(tmp_path / "home"), empty_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for one in starting:
        assert one.stdin is not None
        one.stdin.write("go\n")
        one.stdin.flush()
    said = [one.communicate(timeout=60) for one in starting]
    assert {error for _, error in said} == {""}
    assert len({out for out, _ in said}) == 1
    names = [one.name for one in (tmp_path / "home").iterdir() if "master" in one.name]
    assert names == [FILE]


def test_rotation_seals_everything_anew(opened: Callable[..., Store]) -> None:
    store = opened()
    old = load_key(store.home, {}, store.database)
    store = opened(old)
    fill(store)
    before = sealed(store)
    assert rotate_file(store, OTHER) == 3
    after = sealed(store)
    assert not set(before) & set(after)
    assert load_key(store.home, {}, store.database) == OTHER
    assert not (store.home / NEXT).exists()
    readable(opened(OTHER))


def test_who_has_the_old_key_can_change_nothing(opened: Callable[..., Store]) -> None:
    database = opened().database
    old = load_key(opened().home, {}, database)
    running, rotating = opened(old), opened(old)
    fill(running)
    known = read_contents(running)
    rotate(rotating, OTHER)
    before = sealed(rotating)
    # It goes on with what it has read.
    now = read_contents(running, known)
    assert now.version == known.version + 1
    assert now.secrets == {"team/openai": SECRET.decode()}
    assert now.endpoints == known.endpoints
    with pytest.raises(StoreUnavailable, match="restart it"):
        running.secrets.put(ANA, "team", "openai", b"sealed with the old key")
    with pytest.raises(StoreUnavailable, match="restart it"):
        rotate(running, OTHER[::-1])
    assert sealed(rotating) == before
    # Nor do changes of a server that has the new key take away what it has read.
    renewed = opened(OTHER)
    renewed.secrets.put(ANA, "team", "anthropic", b"sealed with the new key")
    renewed.endpoints.update_config(ANA, "chat", CONFIG, ready=True)
    renewed.endpoints.create(ANA, "other", CONFIG, {}, ready=True)
    later = read_contents(running, now)
    assert later.secrets == now.secrets
    assert [one for one in later.endpoints if one.name == "chat"] == list(now.endpoints)
    assert next(one for one in later.endpoints if one.name == "other").active is None
    renewed.secrets.delete(ANA, "team", "openai")
    assert read_contents(running, later).secrets == {}


def test_rotation_is_all_or_nothing(opened: Callable[..., Store]) -> None:
    store = opened()
    key = load_key(store.home, {}, store.database)
    store = opened(key)
    fill(store)
    with store.database.change(SYSTEM, "test", "test") as change:
        change.connection.execute(SIGNING_KEYS.update().values(private=b"\x01damaged, and long enough to be one"))
    before = sealed(store)
    with pytest.raises(ConfigError, match="cannot be opened"):
        rotate_file(store, OTHER)
    assert sealed(store) == before
    assert load_key(store.home, {}, store.database) == key


@pytest.mark.parametrize("committed", [False, True])
def test_a_rotation_that_was_cut_off_is_mended_at_the_next_start(committed: bool, opened: Callable[..., Store]) -> None:
    store = opened()
    key = load_key(store.home, {}, store.database)
    store = opened(key)
    fill(store)
    # As far as a rotation has come when its process ends: the new file is there, the old one too.
    (store.home / NEXT).write_text(text(OTHER) + "\n")
    (store.home / NEXT).chmod(0o600)
    if committed:
        rotate(store, OTHER)
    right = OTHER if committed else key
    assert load_key(store.home, {}, store.database) == right
    assert decoded((store.home / FILE).read_text(), "the file") == right
    readable(opened(right))


def test_nothing_shows_the_key(store: Store) -> None:
    key = load_key(store.home, {}, store.database)
    with store.database.read() as connection:
        marked = connection.execute(select(STATE.c.key_check)).scalar_one()
    assert marked is not None
    assert key not in marked
    assert text(key) not in repr(store.database) + repr(vars(store.database))
    assert os.path.samestat((store.home / FILE).stat(), (store.home / FILE).lstat())
