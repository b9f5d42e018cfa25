"""The OAuth secrets of service principals over the API."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.control.oauth import ACCOUNT, ADMIN, OTHER, ROBOT, Answer, World

from tesela.snapshot import Principal

PATHS = [
    "/api/2.0/accounts/servicePrincipals/{}/credentials/secrets",
    f"/api/2.0/accounts/{ACCOUNT}/servicePrincipals/{{}}/credentials/secrets",
]
OF_OTHER = PATHS[0].format(OTHER.id)
PERSON = Principal("5000000000000077", "somebody@example.com")
YEARS_S = 730 * 86_400


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()


def refused(answer: Answer, status: int, code: str) -> str:
    told = answer.json()
    assert (answer.status, told["error_code"]) == (status, code), told
    return str(told["message"])


@pytest.mark.parametrize("path", PATHS)
def test_a_secret_from_beginning_to_end(world: World, path: str) -> None:
    path = path.format(OTHER.id)
    answer = world.call("POST", path, {}, principal=ADMIN)
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    made = answer.json()
    secret = made.pop("secret")
    assert secret.startswith("dose")
    assert set(made) == {"id", "secret_hash", "status", "create_time", "update_time", "expire_time"}
    assert made["status"] == "ACTIVE"
    assert made["create_time"].endswith("Z")
    assert world.changes == 1
    listed = world.call("GET", path, principal=ADMIN)
    assert listed.json() == {"secrets": [made]}
    grant = {"grant_type": "client_credentials"}
    assert world.ask(grant, basic=(OTHER.name, secret)).status == 200
    done = world.call("DELETE", f"{path}/{made['id']}", principal=ADMIN)
    assert (done.status, done.json()) == (200, {})
    assert world.call("GET", path, principal=ADMIN).json() == {"secrets": []}
    assert world.ask(grant, basic=(OTHER.name, secret)).status == 401
    assert refused(world.call("DELETE", f"{path}/{made['id']}", principal=ADMIN), 404, "RESOURCE_DOES_NOT_EXIST")


def test_a_body_is_not_needed(world: World) -> None:
    assert world.call("POST", OF_OTHER, principal=ADMIN).json()["secret"]


@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [
        ("3600s", 3600),
        ("3600", 3600),
        (3600, 3600),
        (f"{YEARS_S}s", YEARS_S),
        ("1s", 1),
        ("", YEARS_S),
        (None, YEARS_S),
    ],
)
def test_lifetimes(world: World, lifetime: Any, seconds: int) -> None:
    made = world.call("POST", OF_OTHER, {"lifetime": lifetime}, principal=ADMIN).json()
    (info,) = world.store.client_secrets.of(OTHER.id)
    assert info.expires - info.created == seconds
    assert made["id"] == info.id
    world.now = info.expires
    assert world.call("GET", OF_OTHER, principal=ADMIN).json()["secrets"][0]["status"] == "EXPIRED"


@pytest.mark.parametrize(
    "lifetime",
    ["0s", "0", 0, -1, "-1s", f"{YEARS_S + 1}s", "1.5s", 1.5, "1h", "s", " 1s", "1s\n", "٣s", True, [], {}, "9" * 100],
)
def test_lifetimes_that_are_none(world: World, lifetime: Any) -> None:
    answer = world.call("POST", OF_OTHER, {"lifetime": lifetime}, principal=ADMIN)
    assert "lifetime" in refused(answer, 400, "INVALID_PARAMETER_VALUE")
    assert world.store.client_secrets.of(OTHER.id) == []


@pytest.mark.parametrize("scopes", [["sql"], ["all-apis", "sql"], "sql", {"a": 1}, 1])
def test_a_secret_for_some_things_only_is_not_made(world: World, scopes: Any) -> None:
    assert "scopes" in refused(world.call("POST", OF_OTHER, {"scopes": scopes}, principal=ADMIN), 400, "BAD_REQUEST")
    assert world.store.client_secrets.of(OTHER.id) == []


def test_a_secret_for_everything(world: World) -> None:
    for scopes in (["all-apis"], [], None):
        assert world.call("POST", OF_OTHER, {"scopes": scopes, "else": 1}, principal=ADMIN).status == 200


def test_five_and_no_more(world: World) -> None:
    for _ in range(5):
        assert world.call("POST", OF_OTHER, {}, principal=ADMIN).status == 200
    assert "delete one" in refused(world.call("POST", OF_OTHER, {}, principal=ADMIN), 400, "INVALID_PARAMETER_VALUE")


def test_pages(world: World) -> None:
    ids = [world.call("POST", OF_OTHER, {}, principal=ADMIN).json()["id"] for _ in range(5)]
    ordered = [one.id for one in world.store.client_secrets.of(OTHER.id)]
    assert sorted(ordered) == sorted(ids)
    for size in (1, 2, 3, 5, 100):
        seen: list[str] = []
        query = f"page_size={size}"
        while True:
            page = world.call("GET", f"{OF_OTHER}?{query}", principal=ADMIN).json()
            assert len(page["secrets"]) <= size
            seen += [one["id"] for one in page["secrets"]]
            if "next_page_token" not in page:
                break
            query = f"page_size={size}&page_token={page['next_page_token']}"
        assert seen == ordered
    for query in ("page_size=x", "page_size=-1", "page_size=1e3", "page_token=x", "page_token=%00"):
        refused(world.call("GET", f"{OF_OTHER}?{query}", principal=ADMIN), 400, "INVALID_PARAMETER_VALUE")
    assert len(world.call("GET", f"{OF_OTHER}?page_size=0", principal=ADMIN).json()["secrets"]) == 5


def test_a_service_principal_replaces_its_own_secret_and_nobody_elses(world: World) -> None:
    own = PATHS[0].format(ROBOT.id)
    made = world.call("POST", own, {}, principal=ROBOT).json()
    assert world.call("DELETE", f"{own}/{world.secret_info.id}", principal=ROBOT).status == 200
    assert [one["id"] for one in world.call("GET", own, principal=ROBOT).json()["secrets"]] == [made["id"]]
    for who, path in ((ROBOT, OF_OTHER), (PERSON, own), (PERSON, PATHS[0].format(PERSON.id))):
        for method in ("POST", "GET"):
            refused(world.call(method, path, principal=who), 403, "PERMISSION_DENIED")
        refused(world.call("DELETE", f"{path}/{made['id']}", principal=who), 403, "PERMISSION_DENIED")
    assert len(world.store.client_secrets.of(ROBOT.id)) == 1


def test_without_a_credential(world: World) -> None:
    refused(world.call("GET", OF_OTHER), 401, "UNAUTHENTICATED")


@pytest.mark.parametrize("key", ["1", ADMIN.id, "x", "%00", "' OR 1=1 --", "9" * 33, "5" * 100_000, ROBOT.name])
def test_service_principals_that_are_not_there(world: World, key: str) -> None:
    for path in PATHS:
        for method in ("POST", "GET"):
            message = refused(world.call(method, path.format(key), principal=ADMIN), 404, "RESOURCE_DOES_NOT_EXIST")
            assert len(message) < 200
        refused(world.call("DELETE", f"{path.format(key)}/x", principal=ADMIN), 404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize("key", ["x", "%00", "' OR 1=1 --", "x" * 1000])
def test_secrets_that_are_not_there(world: World, key: str) -> None:
    path = f"{PATHS[0].format(ROBOT.id)}/{key}"
    refused(world.call("DELETE", path, principal=ADMIN), 404, "RESOURCE_DOES_NOT_EXIST")
    assert len(world.store.client_secrets.of(ROBOT.id)) == 1


def test_another_account(world: World) -> None:
    path = f"/api/2.0/accounts/another/servicePrincipals/{ROBOT.id}/credentials/secrets"
    refused(world.call("GET", path, principal=ADMIN), 404, "RESOURCE_DOES_NOT_EXIST")
    refused(world.call("POST", path, principal=ADMIN), 404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b"[" * 100_000, b'{"lifetime": ', b"x" * (1024 * 1024 + 1)])
def test_bodies_that_are_none(world: World, body: bytes) -> None:
    answer = world.call("POST", OF_OTHER, body, principal=ADMIN)
    assert answer.status in (400, 413)
    assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"
    assert world.store.client_secrets.of(OTHER.id) == []


def test_a_secret_is_told_once(world: World) -> None:
    secret = world.call("POST", OF_OTHER, {}, principal=ADMIN).json()["secret"]
    assert secret.encode() not in world.call("GET", OF_OTHER, principal=ADMIN).body
