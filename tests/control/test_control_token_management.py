"""Everybody's access tokens, for admins, and tokens on behalf of service principals."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.control.desk import Desk
from tests.store import people
from tests.store.people import ADMIN, ANN, APPLICATION, BOB, ROBOT, actor

from tesela.control import token_management
from tesela.snapshot import digest

PATH = "/api/2.0/token-management"
ON_BEHALF = f"{PATH}/on-behalf-of/tokens"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, token_management.routes)
    yield desk
    desk.store.close()


def ids(desk: Desk, query: str = "") -> list[str]:
    answer = desk.call("GET", f"{PATH}/tokens{query}")
    assert answer.status == 200
    return [one["token_id"] for one in answer.json()["token_infos"]]


def test_a_token_on_behalf_of_a_service_principal(desk: Desk) -> None:
    asked = {"application_id": APPLICATION.upper(), "comment": "job", "lifetime_seconds": "60", "scopes": []}
    answer = desk.call("POST", ON_BEHALF, asked)
    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")
    made = answer.json()
    info = made["token_info"]
    assert info == {
        "token_id": info["token_id"],
        "comment": "job",
        "creation_time": info["creation_time"],
        "expiry_time": info["creation_time"] + 60_000,
        "owner_id": int(ROBOT),
        "created_by_id": int(ADMIN),
        "created_by_username": "root@example.com",
        "workspace_id": 1,
    }
    with desk.store.database.read() as connection:
        known = desk.store.tokens.credentials(connection, desk.store.identities.principals(connection))
    assert known[digest(made["token_value"].encode())].principal.id == ROBOT
    assert desk.call("GET", f"{PATH}/tokens/{info['token_id']}").json() == {"token_info": info}
    assert desk.changes == 1


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "application_id"),
        ({"application_id": 5}, 400, "application_id"),
        ({"application_id": "ann@example.com"}, 404, "application_id"),
        ({"application_id": ROBOT}, 404, "application_id"),
        ({"application_id": "'; DROP TABLE access_tokens; --"}, 404, "application_id"),
        ({"application_id": "x" * 900_000}, 404, "application_id"),
        ({"application_id": APPLICATION, "scopes": ["sql"]}, 400, "scopes"),
        ({"application_id": APPLICATION, "lifetime_seconds": 0}, 400, "lifetime_seconds"),
        ({"application_id": APPLICATION, "comment": "x" * 2000}, 400, "comment"),
    ],
)
def test_what_cannot_be_is_refused_by_name(desk: Desk, body: Any, status: int, field: str) -> None:
    answer = desk.call("POST", ON_BEHALF, body)
    assert (answer.status, answer.json()["param"]) == (status, field)
    assert len(answer.body) < 500
    assert desk.store.tokens.list() == []


def test_lists_are_by_whoever_made_them(desk: Desk) -> None:
    mine = desk.store.tokens.create(actor(ANN), ANN, "", None)[1].id
    robots = desk.store.tokens.create(actor(ADMIN), ROBOT, "", None)[1].id
    assert ids(desk) == [mine, robots]
    assert ids(desk, f"?created_by_id={ANN}") == [mine]
    assert ids(desk, "?created_by_username=ROOT@example.com") == [robots]
    assert ids(desk, f"?created_by_username=root@example.com&created_by_id={ANN}") == []
    assert ids(desk, f"?created_by_id={BOB}") == ids(desk, "?created_by_username=%27%20OR%201=1") == []
    assert desk.call("GET", f"{PATH}/tokens?created_by_id=x").json()["param"] == "created_by_id"
    people.add_member(desk.store, actor(ADMIN), _admins(desk), ANN)
    desk.store.identities.delete(actor(ANN), ADMIN)
    listed = desk.call("GET", f"{PATH}/tokens", by=ANN).json()["token_infos"]
    assert [one.get("created_by_username") for one in listed] == ["ann@example.com", None]


def test_getting_changing_and_deleting_anyones(desk: Desk) -> None:
    path = f"{PATH}/tokens/{desk.store.tokens.create(actor(ANN), ANN, 'before', None)[1].id}"
    assert desk.call("GET", path).json()["token_info"]["expiry_time"] == -1
    changed = desk.call("PATCH", path, {"token": {"comment": "after"}, "update_mask": "comment"})
    assert (changed.status, changed.json()["comment"]) == (200, "after")
    assert desk.call("PATCH", path, {}).json()["comment"] == "after"
    assert desk.call("PATCH", path, {"token": {"scopes": ["x"]}, "update_mask": "scopes"}).status == 400
    assert (desk.call("DELETE", path).json(), desk.changes) == ({}, 1)
    for method in ("GET", "PATCH", "DELETE"):
        answer = desk.call(method, path, {"token": {"comment": "x"}})
        assert (answer.status, answer.code) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert desk.call("GET", f"{PATH}/tokens/%27%3B%20--").status == 404


def test_it_is_for_admins(desk: Desk) -> None:
    mine = desk.store.tokens.create(actor(ANN), ANN, "", None)[1].id
    for method, path in (
        ("GET", f"{PATH}/tokens"),
        ("GET", f"{PATH}/tokens/{mine}"),
        ("PATCH", f"{PATH}/tokens/{mine}"),
        ("DELETE", f"{PATH}/tokens/{mine}"),
        ("POST", ON_BEHALF),
    ):
        answer = desk.call(method, path, {"application_id": APPLICATION}, by=ANN)
        assert (answer.status, answer.code) == (403, "PERMISSION_DENIED")
    assert [one.id for one in desk.store.tokens.list()] == [mine]


def _admins(desk: Desk) -> str:
    found = desk.store.identities.find("group", "admins")
    assert found is not None
    return found.id
