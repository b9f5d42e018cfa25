"""Access tokens over the REST API, on a real store."""

from typing import Any

import pytest

from tesela.snapshot import digest


def test_create_list_delete(world: Any) -> None:
    answer = world.call("POST", "/api/2.0/token/create", {"comment": "ci", "lifetime_seconds": 3600})
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    info = made["token_info"]
    assert made["token_value"].startswith("dapi")
    assert info["comment"] == "ci"
    assert info["creation_time"] == 1_800_000_000_000
    assert info["expiry_time"] == 1_800_003_600_000
    assert digest(made["token_value"].encode()) in world.store.credentials()
    listed = world.call("GET", "/api/2.0/token/list")
    assert listed.json() == {"token_infos": [info]}
    assert made["token_value"].encode() not in listed.body
    assert world.call("POST", "/api/2.0/token/delete", {"token_id": info["token_id"]}).json() == {}
    assert world.store.credentials() == {}
    assert world.changes == 2


def test_without_a_lifetime_it_does_not_expire(world: Any) -> None:
    for body in (None, {}, {"comment": None, "lifetime_seconds": None}):
        made = world.call("POST", "/api/2.0/token/create", body).json()
        assert made["token_info"]["expiry_time"] == -1
        assert made["token_info"]["comment"] == ""


def test_a_lifetime_in_a_string_is_a_number(world: Any) -> None:
    made = world.call("POST", "/api/2.0/token/create", {"lifetime_seconds": "60"}).json()
    assert made["token_info"]["expiry_time"] == 1_800_000_060_000


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"lifetime_seconds": 0}, "lifetime_seconds"),
        ({"lifetime_seconds": -5}, "lifetime_seconds"),
        ({"lifetime_seconds": 1.5}, "lifetime_seconds"),
        ({"lifetime_seconds": True}, "lifetime_seconds"),
        ({"lifetime_seconds": "soon"}, "lifetime_seconds"),
        ({"lifetime_seconds": 10**12}, "lifetime_seconds"),
        ({"comment": 5}, "comment"),
        ({"comment": "x" * 2000}, "comment"),
        ({"scopes": ["sql"]}, "scopes"),
    ],
)
def test_what_cannot_be_is_refused_by_name(world: Any, body: dict[str, Any], field: str) -> None:
    answer = world.call("POST", "/api/2.0/token/create", body)
    assert answer.status == 400
    assert answer.json()["param"] == field
    assert world.store.tokens(None) == []
    assert world.changes == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 400), (b"\xff", 400), (b'"x"', 400), (b'{"comment": "' + b"x" * 2_000_000 + b'"}', 413)],
)
def test_a_body_that_is_none(world: Any, body: bytes, status: int) -> None:
    answer = world.call("POST", "/api/2.0/token/create", body)
    assert answer.status == status
    assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"


def test_deleting_needs_an_id_that_is_there(world: Any) -> None:
    assert world.call("POST", "/api/2.0/token/delete", {}).json()["param"] == "token_id"
    missing = world.call("POST", "/api/2.0/token/delete", {"token_id": "none"})
    assert (missing.status, missing.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


def test_other_peoples_tokens_are_out_of_reach(world: Any) -> None:
    made = world.call("POST", "/api/2.0/token/create", {}).json()
    world.somebody()
    assert world.call("GET", "/api/2.0/token/list").json() == {"token_infos": []}
    answer = world.call("POST", "/api/2.0/token/delete", {"token_id": made["token_info"]["token_id"]})
    assert answer.status == 404
    assert len(world.store.tokens(None)) == 1
