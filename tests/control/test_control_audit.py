"""The audit over HTTP: for admins, page by page, and never with the value of a secret."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.control.desk import Desk
from tests.store.people import ADMIN, ANN, BOB, actor

from tesela.control import audit, permissions, secrets

PATH = "/api/2.0/tesela/audit"
VALUE = "sk-this-must-never-be-shown"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, audit.routes, secrets.routes, permissions.routes)
    yield desk
    desk.store.close()


def test_a_change_is_recorded_with_who_when_and_from_where(desk: Desk) -> None:
    desk.call("POST", "/api/2.0/secrets/scopes/create", {"scope": "s"}, ANN)
    [record] = desk.call("GET", PATH).json()["records"]
    assert record.pop("at_ms") > 1_600_000_000_000
    assert record == {
        "id": "1",
        "actor_id": ANN,
        "actor": "ann@example.com",
        "address": "127.0.0.9",
        "request_id": "r1",
        "action": "secrets.create_scope",
        "object": "s",
        "status": 200,
        "message": "",
    }


def test_pages_and_filters(desk: Desk) -> None:
    for i in range(5):
        desk.store.audit.refused(actor(ANN if i % 2 else BOB), "a", str(i), 400, "")
    first = desk.call("GET", f"{PATH}?limit=3").json()
    second = desk.call("GET", f"{PATH}?limit=3&page_token={first['next_page_token']}").json()
    assert [one["object"] for one in first["records"] + second["records"]] == ["4", "3", "2", "1", "0"]
    assert "next_page_token" not in second
    mine = desk.call("GET", f"{PATH}?actor=ann%40example.com&action=a").json()
    assert [one["object"] for one in mine["records"]] == ["3", "1"]
    assert desk.call("GET", f"{PATH}?action=none").json() == {"records": []}


def test_it_is_for_admins(desk: Desk) -> None:
    answer = desk.call("GET", PATH, by=ANN)
    assert (answer.status, answer.code) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0", "limit=1001", "limit=x", "limit=-1", "limit=1e2", "limit=" + "9" * 5000, "limit=%D9%A1",
        "page_token=x", "page_token=-1", "page_token=" + "9" * 19, "action=%00", "actor=" + "x" * 5000,
    ],
)  # fmt: skip
def test_a_wrong_query_is_told_which_field(desk: Desk, query: str) -> None:
    answer = desk.call("GET", f"{PATH}?{query}")
    assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
    assert query.partition("=")[0] in answer.json()["message"]


def test_no_value_of_a_secret_is_in_it(desk: Desk) -> None:
    desk.call("POST", "/api/2.0/secrets/scopes/create", {"scope": "s"}, ANN)
    for key in ("k", "no good"):
        desk.call("POST", "/api/2.0/secrets/put", {"scope": "s", "key": key, "string_value": VALUE}, ANN)
    desk.call("GET", "/api/2.0/secrets/get?scope=s&key=k", by=ANN)
    found = desk.call("GET", PATH, by=ADMIN)
    assert [(one["status"], one["object"]) for one in found.json()["records"]] == [
        (400, "/api/2.0/secrets/put"),
        (200, "s/k"),
        (200, "s"),
    ]
    assert VALUE not in found.body.decode()
