"""`tesela tokens` against a real store in a temporary home."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tesela.records import SYSTEM
from tesela.snapshot import digest
from tesela.store.contents import read_contents
from tesela.store.opening import open_store


@pytest.fixture
def local(make_tesela: Any) -> Any:
    return make_tesela()


def credentials(home: Path) -> Any:
    store, _ = open_store(home, "", {})
    try:
        return read_contents(store).credentials
    finally:
        store.close()


def test_create_prints_the_token_alone(local: Any, tmp_path: Path) -> None:
    done = local("tokens", "create", "--comment", "ci", "--lifetime", "2h")
    assert done.returncode == 0, done.stderr
    access_token = done.stdout.decode().strip()
    credential = credentials(tmp_path / "home")[digest(access_token.encode())]
    assert credential.principal.admin
    assert 7100 < credential.expires_at - time.time() <= 7200
    assert access_token not in done.stderr.decode()


def test_list_shows_what_there_is_but_no_token(local: Any) -> None:
    access_token = local("tokens", "create", "--comment", "for ever").stdout.decode().strip()
    (row,) = local("tokens", "list").stdout.decode().splitlines()
    assert row.split("\t")[1] == "for ever"
    assert row.endswith("never")
    assert access_token not in row
    (told,) = json.loads(local("tokens", "list", "--json").stdout)
    assert told["expiry_time"] == -1
    assert told["token_id"] == row.split("\t")[0]


def test_revoke_forgets_it(local: Any, tmp_path: Path) -> None:
    local("tokens", "create")
    identity = local("tokens", "list").stdout.decode().split("\t")[0]
    assert local("tokens", "revoke", identity).returncode == 0
    assert credentials(tmp_path / "home") == {}


def test_revoking_what_is_not_there_says_so(local: Any) -> None:
    done = local("tokens", "revoke", "nothing")
    assert done.returncode == 1
    assert b"there is no access token nothing" in done.stderr


@pytest.mark.parametrize("lifetime", ["0d", "90", "d", "-1d", "1w", "99999999d"])
def test_a_lifetime_has_a_number_and_a_unit(local: Any, lifetime: str) -> None:
    done = local("tokens", "create", f"--lifetime={lifetime}")
    assert done.returncode == 2
    assert b"is not a duration" in done.stderr


def test_home_is_chosen_by_its_option(local: Any, tmp_path: Path) -> None:
    assert local("tokens", "create", "--home", "elsewhere").returncode == 0
    assert len(credentials(tmp_path / "elsewhere")) == 1


def test_a_token_for_somebody_else(local: Any, tmp_path: Path) -> None:
    store, _ = open_store(tmp_path / "home", "", {})
    ann = store.identities.create(SYSTEM, "user", "ann@example.com", "Ann")
    store.close()
    access_token = local("tokens", "create", "--for", "Ann@example.com").stdout.decode().strip()
    assert credentials(tmp_path / "home")[digest(access_token.encode())].principal.id == ann.id
    nobody = local("tokens", "create", "--for", "nobody@example.com")
    assert nobody.returncode == 1
    assert b"there is no user and no service principal 'nobody@example.com'" in nobody.stderr
