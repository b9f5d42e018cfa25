"""Access tokens over the REST API, on a real store: everyone's own."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.control.desk import Desk
from tests.store.people import ADMIN, ANN, BOB, ROBOT

from tesela.control import tokens
from tesela.snapshot import digest

PATH = "/api/2.0/token"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, tokens.routes)
    yield desk
    desk.store.close()


def owners(desk: Desk) -> dict[bytes, str]:
    """Whom a request with each of the access tokens would come from."""
    with desk.store.database.read() as connection:
        principals = desk.store.identities.principals(connection)
        known = desk.store.tokens.credentials(connection, principals)
    return {key: one.principal.id for key, one in known.items()}


def make(desk: Desk, by: str = ADMIN, **asked: Any) -> Any:
    answer = desk.call("POST", f"{PATH}/create", asked, by=by)
    assert answer.status == 200, answer.body
    return answer.json()


def test_create_list_delete(desk: Desk) -> None:
    answer = desk.call("POST", f"{PATH}/create", {"comment": "ci", "lifetime_seconds": 3600}, by=ANN)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    info = made["token_info"]
    assert made["token_value"].startswith("dapi")
    assert set(info) == {"token_id", "creation_time", "expiry_time", "comment"}
    assert info["comment"] == "ci"
    assert info["creation_time"] > 1_700_000_000_000
    assert info["expiry_time"] - info["creation_time"] == 3_600_000
    assert owners(desk) == {digest(made["token_value"].encode()): ANN}
    listed = desk.call("GET", f"{PATH}/list", by=ANN)
    assert listed.json() == {"token_infos": [info]}
    assert made["token_value"].encode() not in listed.body
    assert desk.call("POST", f"{PATH}/delete", {"token_id": info["token_id"]}, by=ANN).json() == {}
    assert owners(desk) == {}
    assert desk.changes == 2


def test_a_service_principal_manages_its_own(desk: Desk) -> None:
    made = make(desk, by=ROBOT)
    assert owners(desk) == {digest(made["token_value"].encode()): ROBOT}
    assert len(desk.call("GET", f"{PATH}/list", by=ROBOT).json()["token_infos"]) == 1


def test_without_a_lifetime_it_does_not_expire(desk: Desk) -> None:
    bodies: tuple[Any, ...] = (None, {}, {"comment": None, "lifetime_seconds": None, "scopes": []})
    for body in bodies:
        made = desk.call("POST", f"{PATH}/create", body).json()
        assert made["token_info"]["expiry_time"] == -1
        assert made["token_info"]["comment"] == ""


def test_a_lifetime_in_a_string_is_a_number(desk: Desk) -> None:
    info = make(desk, lifetime_seconds="60")["token_info"]
    assert info["expiry_time"] - info["creation_time"] == 60_000


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
        ({"comment": "x" * 1_000_000}, "comment"),
        ({"comment": "a\x00b"}, "comment"),
        ({"scopes": ["sql"]}, "scopes"),
        ({"autoscope_enabled": True}, "autoscope_enabled"),
    ],
)
def test_what_cannot_be_is_refused_by_name(desk: Desk, body: dict[str, Any], field: str) -> None:
    answer = desk.call("POST", f"{PATH}/create", body)
    assert answer.status == 400
    assert answer.json()["param"] == field
    assert len(answer.body) < 500
    assert desk.store.tokens.list() == []
    assert desk.changes == 0


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 400), (b"[]", 400), (b"\xff", 400), (b'"x"', 400), (b'{"comment": "' + b"x" * 2_000_000 + b'"}', 413)],
)
def test_a_body_that_is_none(desk: Desk, body: bytes, status: int) -> None:
    answer = desk.call("POST", f"{PATH}/create", body)
    assert (answer.status, answer.code) == (status, "INVALID_PARAMETER_VALUE")


def test_deleting_needs_an_id_that_is_there(desk: Desk) -> None:
    assert desk.call("POST", f"{PATH}/delete", {}).json()["param"] == "token_id"
    assert desk.call("POST", f"{PATH}/delete", {"token_id": 5}).json()["param"] == "token_id"
    for odd in ("none", "'; DROP TABLE access_tokens; --", "\x00", "x" * 900_000):
        missing = desk.call("POST", f"{PATH}/delete", {"token_id": odd})
        assert (missing.status, missing.code) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert len(missing.body) < 500


def test_other_peoples_tokens_are_out_of_reach(desk: Desk) -> None:
    token_id = make(desk)["token_info"]["token_id"]
    assert desk.call("GET", f"{PATH}/list", by=ANN).json() == {"token_infos": []}
    assert desk.call("POST", f"{PATH}/delete", {"token_id": token_id}, by=ANN).status == 404
    assert desk.call("PATCH", f"{PATH}/{token_id}", {"token": {"comment": "mine"}}, by=ANN).status == 404
    assert desk.store.tokens.get(token_id).comment == ""


def test_an_admin_deletes_anyones(desk: Desk) -> None:
    token_id = make(desk, by=ANN)["token_info"]["token_id"]
    assert desk.call("POST", f"{PATH}/delete", {"token_id": token_id}).status == 200
    assert owners(desk) == {}


def test_the_comment_is_changed(desk: Desk) -> None:
    path = f"{PATH}/{make(desk, by=ANN)['token_info']['token_id']}"
    for sent, comment in (
        ({"token": {"comment": "one"}, "update_mask": "comment"}, "one"),
        ({"token": {"comment": "two"}}, "two"),
        ({"token": {"comment": "three", "scopes": []}, "update_mask": "comment,scopes"}, "three"),
        ({"token": {"comment": "not meant"}, "update_mask": "scopes"}, "three"),
        ({}, "three"),
        ({"token": {}, "update_mask": "*"}, ""),
    ):
        answer = desk.call("PATCH", path, sent, by=ANN)
        assert (answer.status, answer.json()) == (200, {})
        assert desk.call("GET", f"{PATH}/list", by=ANN).json()["token_infos"][0]["comment"] == comment


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"token": {"scopes": ["sql"]}, "update_mask": "scopes"}, "scopes"),
        ({"token": {"comment": 5}}, "comment"),
        ({"token": {"comment": "x" * 2000}}, "comment"),
        ({"token": {"expiry_time": 5}}, "update_mask"),
        ({"token": {"comment": "x"}, "update_mask": "x" * 900_000}, "update_mask"),
        ({"token": {"comment": "x"}, "update_mask": ["comment"]}, "update_mask"),
        ({"token": "x"}, None),
    ],
)
def test_a_change_that_cannot_be(desk: Desk, body: dict[str, Any], field: str | None) -> None:
    token_id = make(desk, by=BOB, comment="before")["token_info"]["token_id"]
    answer = desk.call("PATCH", f"{PATH}/{token_id}", body, by=BOB)
    assert (answer.status, answer.json().get("param")) == (400, field)
    assert desk.store.tokens.get(token_id).comment == "before"
    assert desk.call("PATCH", f"{PATH}/nobody", {"token": {"comment": "x"}}, by=BOB).status == 404
