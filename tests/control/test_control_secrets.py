"""Secrets over HTTP: what each permission allows, what a wrong request is told, and that no error repeats a value."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.control.desk import Answer, Desk
from tests.store.people import ADMIN, ANN, APPLICATION, BOB, ROBOT

from tesela.control import secrets

P = "/api/2.0/secrets"
VALUE = "sk-this-must-never-be-shown"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, secrets.routes)
    yield desk
    desk.store.close()


def post(desk: Desk, path: str, by: str = ANN, **fields: Any) -> Answer:
    return desk.call("POST", f"{P}/{path}", fields, by)


def got(desk: Desk, scope: str = "s", key: str = "k", by: str = ANN) -> bytes:
    return base64.b64decode(desk.call("GET", f"{P}/get?scope={scope}&key={key}", by=by).json()["value"])


@pytest.fixture
def scope(desk: Desk) -> Desk:
    """Ann's scope `s` with the secret `k`."""
    assert post(desk, "scopes/create", scope="s").json() == {}
    assert post(desk, "put", scope="s", key="k", string_value=VALUE).json() == {}
    return desk


def test_a_secret_from_its_making_to_its_end(scope: Desk) -> None:
    assert scope.call("GET", f"{P}/scopes/list", by=ANN).json() == {
        "scopes": [{"name": "s", "backend_type": "DATABRICKS"}]
    }
    [listed] = scope.call("GET", f"{P}/list?scope=s", by=ANN).json()["secrets"]
    assert listed["key"] == "k"
    assert listed["last_updated_timestamp"] > 1_600_000_000_000
    answer = scope.call("GET", f"{P}/get?scope=s&key=k", by=ANN)
    assert answer.json() == {"key": "k", "value": base64.b64encode(VALUE.encode()).decode()}
    assert answer.headers["cache-control"] == "no-store"
    post(scope, "put", scope="s", key="k", bytes_value=base64.b64encode(b"\xff\0").decode())
    assert got(scope) == b"\xff\0"
    assert post(scope, "delete", scope="s", key="k").status == 200
    assert scope.call("GET", f"{P}/get?scope=s&key=k", by=ANN).code == "RESOURCE_DOES_NOT_EXIST"
    assert post(scope, "scopes/delete", scope="s").status == 200
    assert scope.call("GET", f"{P}/scopes/list", by=ADMIN).json() == {"scopes": []}
    assert scope.changes == 5


def test_acls_from_their_making_to_their_end(scope: Desk) -> None:
    for principal, permission in (("team", "READ"), (APPLICATION, "WRITE"), ("bob@example.com", "READ")):
        assert post(scope, "acls/put", scope="s", principal=principal, permission=permission).json() == {}
    items = scope.call("GET", f"{P}/acls/list?scope=s", by=ANN).json()["items"]
    assert sorted(map(tuple, map(dict.values, items))) == [
        (APPLICATION, "WRITE"),
        ("ann@example.com", "MANAGE"),
        ("bob@example.com", "READ"),
        ("team", "READ"),
    ]
    assert scope.call("GET", f"{P}/acls/get?scope=s&principal=team", by=ANN).json() == {
        "principal": "team",
        "permission": "READ",
    }
    assert post(scope, "acls/delete", scope="s", principal="team").json() == {}
    for answer in (
        scope.call("GET", f"{P}/acls/get?scope=s&principal=team", by=ANN),
        post(scope, "acls/delete", scope="s", principal="team"),
        post(scope, "acls/delete", scope="s", principal="nobody"),
    ):
        assert (answer.status, answer.code) == (404, "RESOURCE_DOES_NOT_EXIST")


READING = [("GET", "list?scope=s", None), ("GET", "get?scope=s&key=k", None)]
WRITING: list[tuple[str, str, Any]] = [
    ("POST", "put", {"scope": "s", "key": "k2", "string_value": "x"}),
    ("POST", "delete", {"scope": "s", "key": "k2"}),
]
MANAGING: list[tuple[str, str, Any]] = [
    ("POST", "acls/put", {"scope": "s", "principal": "users", "permission": "READ"}),
    ("GET", "acls/list?scope=s", None),
    ("GET", "acls/get?scope=s&principal=users", None),
    ("POST", "acls/delete", {"scope": "s", "principal": "users"}),
    ("POST", "scopes/delete", {"scope": "s"}),
]
ALLOWED = {None: [], "READ": READING, "WRITE": READING + WRITING, "MANAGE": READING + WRITING + MANAGING}


@pytest.mark.parametrize("permission", [None, "READ", "WRITE", "MANAGE"])
def test_each_permission_allows_what_it_says_and_nothing_more(scope: Desk, permission: str | None) -> None:
    if permission:
        post(scope, "acls/put", scope="s", principal="team", permission=permission)
    for call in READING + WRITING + MANAGING:
        method, path, body = call
        answer = scope.call(method, f"{P}/{path}", body, BOB)
        if call in ALLOWED[permission]:
            assert answer.status == 200, call
        else:
            assert (answer.status, answer.code) == (403, "PERMISSION_DENIED"), call
            assert "bob@example.com does not have" in answer.json()["message"]


def test_an_admin_may_do_everything(scope: Desk) -> None:
    for method, path, body in READING + WRITING + MANAGING:
        assert scope.call(method, f"{P}/{path}", body, ADMIN).status == 200


def test_a_scope_that_is_closed_is_in_no_list(scope: Desk) -> None:
    assert scope.call("GET", f"{P}/scopes/list", by=BOB).json() == {"scopes": []}


def test_a_scope_for_everyone(desk: Desk) -> None:
    post(desk, "scopes/create", scope="all", initial_manage_principal="users", scope_backend_type="DATABRICKS")
    assert post(desk, "put", by=ROBOT, scope="all", key="k", string_value="1").status == 200
    assert got(desk, "all", by=BOB) == b"1"


def test_what_is_made_twice_is_there_already(scope: Desk) -> None:
    answer = post(scope, "scopes/create", scope="s")
    assert (answer.status, answer.code) == (400, "RESOURCE_ALREADY_EXISTS")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "list?scope=t", None),
        ("GET", "get?scope=t&key=k", None),
        ("GET", "get?scope=s&key=none", None),
        ("GET", "acls/list?scope=t", None),
        ("POST", "put", {"scope": "t", "key": "k", "string_value": VALUE}),
        ("POST", "delete", {"scope": "s", "key": "none"}),
        ("POST", "scopes/delete", {"scope": "t"}),
        ("POST", "acls/put", {"scope": "t", "principal": "team", "permission": "READ"}),
    ],
)
def test_what_is_not_there_is_a_404(scope: Desk, method: str, path: str, body: Any) -> None:
    answer = scope.call(method, f"{P}/{path}", body, ANN)
    assert (answer.status, answer.code) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert VALUE not in str(answer)


LONG = "x" * 1_000_000
WRONG_NAMES: list[Any] = [
    "",
    None,
    7,
    "a b",
    "a/b",
    "é",
    "x" * 129,
    LONG,
    "'; DROP TABLE secrets; --",
    "a\0",
    "a\n",
    {},
    ["s"],
    VALUE + "!",
]
WRONG: list[tuple[str, dict[str, Any], str]] = [
    *(("scopes/create", {"scope": name}, "scope") for name in WRONG_NAMES),
    *(("put", {"scope": name, "key": "k", "string_value": "v"}, "scope") for name in WRONG_NAMES),
    *(("put", {"scope": "s", "key": name, "string_value": "v"}, "key") for name in WRONG_NAMES),
    ("put", {"scope": "s", "key": "n"}, "string_value"),
    ("put", {"scope": "s", "key": "n", "string_value": None}, "string_value"),
    ("put", {"scope": "s", "key": "n", "string_value": VALUE, "bytes_value": "QUJD"}, "string_value"),
    ("put", {"scope": "s", "key": "n", "string_value": {"a": VALUE}}, "string_value"),
    ("put", {"scope": "s", "key": "n", "string_value": [VALUE]}, "string_value"),
    ("put", {"scope": "s", "key": "n", "bytes_value": VALUE}, "bytes_value"),
    ("put", {"scope": "s", "key": "n", "bytes_value": "QUJ"}, "bytes_value"),
    ("put", {"scope": "s", "key": "n", "bytes_value": "é"}, "bytes_value"),
    ("put", {"scope": "s", "key": "n", "string_value": "v" * 131_073}, "string_value"),
    ("put", {"scope": "s", "key": "n", "string_value": "é" * 65_537}, "string_value"),
    ("put", {"scope": "s", "key": "n", "bytes_value": base64.b64encode(b"v" * 131_073).decode()}, "bytes_value"),
    ("acls/put", {"scope": "s", "principal": "team", "permission": "read"}, "permission"),
    ("acls/put", {"scope": "s", "principal": "team"}, "permission"),
    ("acls/put", {"scope": "s", "principal": "nobody@example.com", "permission": "READ"}, "principal"),
    ("acls/put", {"scope": "s", "principal": "", "permission": "READ"}, "principal"),
    ("acls/put", {"scope": "s", "principal": "a\0", "permission": "READ"}, "principal"),
    ("acls/put", {"scope": "s", "principal": "x" * 257, "permission": "READ"}, "principal"),
    ("acls/put", {"scope": "s", "principal": "' OR 1=1 --", "permission": "READ"}, "principal"),
    ("scopes/create", {"scope": "t", "initial_manage_principal": "team"}, "initial_manage_principal"),
]


@pytest.mark.parametrize(("path", "body", "field"), WRONG)
def test_a_wrong_field_is_named_and_nothing_is_written(
    scope: Desk, path: str, body: dict[str, Any], field: str
) -> None:
    changes = scope.changes
    answer = scope.call("POST", f"{P}/{path}", body, ANN)
    assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
    assert field in answer.json()["message"]
    assert len(answer.body) < 1000
    assert VALUE not in str(answer)
    assert scope.changes == changes
    assert [one["key"] for one in scope.call("GET", f"{P}/list?scope=s", by=ANN).json()["secrets"]] == ["k"]
    assert len(scope.call("GET", f"{P}/scopes/list", by=ADMIN).json()["scopes"]) == 1


def test_another_backend_is_not_possible(desk: Desk) -> None:
    answer = post(desk, "scopes/create", scope="s", scope_backend_type="AZURE_KEYVAULT", backend_azure_keyvault={})
    assert (answer.status, answer.code) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(("size", "status"), [(1_048_577, 413), (2_000_000, 413)])
def test_a_body_that_is_too_large_is_refused(scope: Desk, size: int, status: int) -> None:
    assert scope.call("POST", f"{P}/put", b" " * size, ANN).status == status


@pytest.mark.parametrize("data", [b"[]", b"{", b'"x"', b"\xff", b'{"scope": "s", "string_value": "\\ud800"}'])
def test_a_body_that_is_no_object_is_refused(scope: Desk, data: bytes) -> None:
    assert scope.call("POST", f"{P}/put", data, ANN).status == 400


def test_a_caller_who_leaves_in_the_middle_changes_nothing_and_is_no_fault_of_ours(scope: Desk) -> None:
    whole = json.dumps({"scope": "s", "key": "k", "string_value": "new"}).encode()
    for size in (1, 20, len(whole)):
        assert scope.call("POST", f"{P}/put", whole[:size], ANN, cut=True).status == 408
    assert got(scope) == VALUE.encode()


def test_the_largest_value_fits(scope: Desk) -> None:
    for field, value in (("string_value", "\0" * 131_072), ("bytes_value", base64.b64encode(b"\0" * 131_072).decode())):
        assert post(scope, "put", scope="s", key="k", **{field: value}).status == 200
        assert got(scope) == b"\0" * 131_072


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    desk = Desk(tmp_path_factory.mktemp("shared"), secrets.routes)
    post(desk, "scopes/create", scope="s")
    yield desk
    desk.store.close()


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=200), st.binary(max_size=200)))
def test_any_value_comes_back(shared: Desk, value: str | bytes) -> None:
    if isinstance(value, str):
        post(shared, "put", scope="s", key="any", string_value=value)
        assert got(shared, key="any").decode() == value
    else:
        post(shared, "put", scope="s", key="any", bytes_value=base64.b64encode(value).decode())
        assert got(shared, key="any") == value
