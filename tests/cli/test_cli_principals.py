"""`tesela principals` and `tesela audit` against a real server, and signing in as a service principal."""

import json
import shlex
from typing import Any
from uuid import uuid4

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def name() -> str:
    return f"p-{uuid4().hex[:8]}"


def listed(admin: Any, kind: str) -> dict[str, list[str]]:
    """The rows of one kind, by what the third column or else the second says."""
    done = admin("principals", "list", kind)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    return {row[2] or row[1]: row for row in rows}


def exported(done: Any) -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert all(line.startswith("export ") for line in lines)
    return dict(line.removeprefix("export ").split("=", 1) for line in lines)


def test_users_groups_and_their_members(admin: Any, name: str) -> None:
    ann = f"{name}@example.com"
    assert admin("principals", "create", "group", name).returncode == 0
    done = admin("principals", "create", "user", ann, "--display-name", f"Ann {name}", "--group", name)
    assert done.stdout.decode().startswith(f"Made user {ann}, id ")
    row = listed(admin, "user")[f"Ann {name}"]
    assert (row[0], row[1], row[3], name in row[4].split(", ")) == ("user", ann, "", True)
    assert admin("principals", "remove-from-group", name, "user", ann).returncode == 0
    assert name not in listed(admin, "user")[f"Ann {name}"][4].split(", ")
    assert admin("principals", "add-to-group", name, "user", ann).returncode == 0
    assert name in listed(admin, "user")[f"Ann {name}"][4].split(", ")
    assert admin("principals", "delete", "user", ann, "--yes").returncode == 0
    assert admin("principals", "delete", "group", name, "--yes").returncode == 0
    assert f"Ann {name}" not in listed(admin, "user")
    assert name not in listed(admin, "group")


def test_everyone_as_json(admin: Any) -> None:
    found = json.loads(admin("principals", "list", "--json").stdout)
    assert {one["displayName"] for one in found["Groups"]} >= {"admins", "users"}
    assert found["Users"][0]["userName"]
    assert "ServicePrincipals" in found


def test_a_service_principal_signs_in_with_the_printed_lines(
    admin: Any, make_tesela: Any, served: Any, name: str
) -> None:
    done = admin("principals", "create", "service-principal", name, "--secret", "--lifetime", "1h")
    lines = exported(done)
    assert lines.keys() == {"DATABRICKS_HOST", "DATABRICKS_CLIENT_ID", "DATABRICKS_CLIENT_SECRET"}
    assert lines["DATABRICKS_CLIENT_SECRET"].encode() not in done.stderr
    robot = make_tesela(**lines)
    assert robot("endpoints", "list").stdout == b""
    refused = robot("endpoints", "delete", "chat", "--yes")
    assert refused.returncode == 1
    assert b"chat" in refused.stderr
    who = lines["DATABRICKS_CLIENT_ID"]
    assert admin("endpoints", "permissions", "chat", "--grant", f"service-principal:{who}=CAN_QUERY").returncode == 0
    assert robot("endpoints", "list").stdout.startswith(b"chat\t")
    assert robot("principals", "create", "user", "x@example.com").returncode == 1

    more = exported(admin("principals", "add-secret", name))
    assert more["DATABRICKS_CLIENT_SECRET"] != lines["DATABRICKS_CLIENT_SECRET"]
    assert make_tesela(**more)("endpoints", "list").returncode == 0

    records = json.loads(admin("audit", "--actor", who, "--json").stdout)
    assert {one["actor"] for one in records} == {who}
    assert all(one["status"] == 403 for one in records)
    assert admin("principals", "delete", "service-principal", name, "--yes").returncode == 0
    gone = robot("endpoints", "list")
    assert gone.returncode == 1
    assert b"gave no token for DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET: " in gone.stderr
    assert lines["DATABRICKS_CLIENT_SECRET"].encode() not in gone.stderr


def test_an_admin_that_is_a_program(admin: Any, make_tesela: Any, name: str) -> None:
    lines = exported(admin("principals", "create", "service-principal", name, "--group", "admins", "--secret"))
    robot = make_tesela(**lines)
    assert robot("audit", "--limit", "1").returncode == 0
    assert robot("principals", "delete", "service-principal", lines["DATABRICKS_CLIENT_ID"], "-y").returncode == 0


def test_a_token_that_is_given_comes_before_a_client_secret(make_tesela: Any, served: Any) -> None:
    both = make_tesela(
        DATABRICKS_HOST=served.host,
        DATABRICKS_TOKEN=served.token,
        DATABRICKS_CLIENT_ID="nobody",
        DATABRICKS_CLIENT_SECRET="wrong",
    )
    assert both("endpoints", "list").returncode == 0


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"DATABRICKS_CLIENT_ID": "x"}, "DATABRICKS_CLIENT_SECRET"),
        ({"DATABRICKS_CLIENT_SECRET": "x"}, "DATABRICKS_CLIENT_ID"),
    ],
)
def test_half_of_what_signs_in(make_tesela: Any, server: Any, given: dict[str, str], missing: str) -> None:
    done = make_tesela(DATABRICKS_HOST=server.host, **given)("endpoints", "list")
    assert done.returncode == 2
    assert done.stderr.decode().startswith(f"tesela: {missing} is not set")
    assert server.asked == []


def test_a_host_that_answers_no_token(make_tesela: Any, server: Any) -> None:
    robot = make_tesela(
        DATABRICKS_HOST=server.host, DATABRICKS_CLIENT_ID="i", DATABRICKS_CLIENT_SECRET="s-that-is-secret"
    )
    server.answer("POST", "/oidc/v1/token", {"token_type": "Bearer"})
    done = robot("endpoints", "list")
    assert done.returncode == 1
    assert b"answered no access token" in done.stderr
    server.answer("POST", "/oidc/v1/token", {"error": "invalid_client", "error_description": "no such client"}, 401)
    done = robot("endpoints", "list")
    assert done.returncode == 1
    assert done.stderr.endswith(b"DATABRICKS_CLIENT_SECRET: no such client\n")
    assert b"s-that-is-secret" not in done.stderr


def test_lines_for_a_shell_hold_no_commands(tesela: Any, server: Any) -> None:
    made = {"id": "7", "applicationId": "$(touch here)", "displayName": "x"}
    server.answer("POST", "/api/2.0/preview/scim/v2/ServicePrincipals", made, 201)
    secrets = "/api/2.0/accounts/servicePrincipals/7/credentials/secrets"
    server.answer("POST", secrets, {"secret": "a'; touch there"})
    lines = exported(tesela("principals", "create", "service-principal", "x", "--secret"))
    assert lines["DATABRICKS_CLIENT_ID"] == "'$(touch here)'"
    assert shlex.split(lines["DATABRICKS_CLIENT_SECRET"]) == ["a'; touch there"]


def test_somebody_who_is_not_there(admin: Any, name: str) -> None:
    done = admin("principals", "delete", "user", name, "--yes")
    assert done.returncode == 1
    assert done.stderr.decode().startswith(f"tesela: there is no user '{name}'")
    done = admin("principals", "create", "user", f"{name}@example.com", "--group", "nobody")
    assert done.returncode == 1
    assert b"there is no group 'nobody'" in done.stderr
    assert f"{name}@example.com" not in listed(admin, "user")


def test_a_name_of_two_is_not_enough(admin: Any, name: str) -> None:
    ids = [
        json.loads(admin("principals", "create", "service-principal", name, "--json").stdout)["applicationId"]
        for _ in range(2)
    ]
    done = admin("principals", "delete", "service-principal", name, "--yes")
    assert done.returncode == 1
    assert all(one in done.stderr.decode() for one in ids)
    assert admin("principals", "delete", "service-principal", *ids, "--yes").returncode == 0


def test_a_name_with_quotes_is_a_name(admin: Any, name: str) -> None:
    quoted = f'{name} "x" or displayName pr \\'
    assert admin("principals", "create", "group", quoted).returncode == 0
    assert admin("principals", "delete", "group", quoted, "--yes").returncode == 0
    assert "admins" in listed(admin, "group")


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "robot", "x"],
        ["create", "user", "x", "--secret"],
        ["create", "service-principal", "x", "--lifetime", "1h"],
        ["create", "group", "x", "--display-name", "X"],
        ["delete", "user", "x"],
        ["delete", "user"],
    ],
)
def test_principals_misused(tesela: Any, server: Any, arguments: list[str]) -> None:
    assert tesela("principals", *arguments).returncode == 2
    assert server.asked == []


def test_a_list_of_many_pages(tesela: Any, server: Any) -> None:
    path = "/api/2.0/preview/scim/v2/Groups"
    names = [f"g{number}" for number in range(3)]
    for start, found in ((1, names[:2]), (3, names[2:])):
        page = {"totalResults": 3, "Resources": [{"id": one, "displayName": one} for one in found]}
        server.answer("GET", f"{path}?startIndex={start}&count=500", page)
    done = tesela("principals", "list", "group")
    assert [line.split("\t")[1] for line in done.stdout.decode().splitlines()] == names


def test_the_audit_newest_first(admin: Any, name: str) -> None:
    assert admin("principals", "create", "group", name).returncode == 0
    assert admin("principals", "delete", "group", name, "--yes").returncode == 0
    lines = [line.split("\t") for line in admin("audit", "--limit", "2").stdout.decode().splitlines()]
    assert [(line[1], line[2], line[4]) for line in lines] == [
        ("admin@localhost", "groups.delete", "done"),
        ("admin@localhost", "groups.create", "done"),
    ]
    assert admin("audit", "--action", "groups.delete", "--limit", "1").stdout.decode().split("\t")[2] == "groups.delete"


def test_the_audit_page_by_page(tesela: Any, server: Any) -> None:
    def page(*ids: int, more: str = "") -> dict[str, Any]:
        record = {"at_ms": 0, "actor": "a", "action": "b", "object": "c", "status": 200, "message": ""}
        told = {"records": [{**record, "id": str(one)} for one in ids]}
        return told | ({"next_page_token": more} if more else {})

    server.answer("GET", "/api/2.0/tesela/audit?limit=1000", page(9, 8, more="8"))
    server.answer("GET", "/api/2.0/tesela/audit?limit=998&page_token=8", page(7))
    done = tesela("audit", "--limit", "1000", "--json")
    assert [one["id"] for one in json.loads(done.stdout)] == ["9", "8", "7"]
    assert tesela("audit", "--limit", "0").returncode == 2
