"""`tesela secrets` against a real server: values go in unseen and come out only when they are asked for."""

import base64
import contextlib
import json
import os
import pty
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

pytestmark = pytest.mark.slow

VALUE = b"sk-of-a-test \xc3\xa9"


@pytest.fixture
def scope(admin: Any) -> Iterator[str]:
    made = f"scope-{uuid4().hex[:8]}"
    done = admin("secrets", "scopes", "create", made)
    assert done.returncode == 0, done.stderr
    yield made
    admin("secrets", "scopes", "delete", made, "--yes")


def shown(admin: Any, scope: str, key: str) -> bytes:
    done = admin("secrets", "get", scope, key, "--show")
    assert done.returncode == 0, done.stderr
    return bytes(done.stdout)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (VALUE, VALUE),
        (VALUE + b"\n", VALUE),
        (VALUE + b"\r\n", VALUE),
        (VALUE + b"\n\n", VALUE + b"\n"),
        (b"\xff\x00\n", b"\xff\x00"),
        (b"x" * 128 * 1024 + b"\n", b"x" * 128 * 1024),
    ],
)
def test_a_value_from_standard_input(admin: Any, scope: str, given: bytes, kept: bytes) -> None:
    done = admin("secrets", "put", scope, "key", stdin=given)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert shown(admin, scope, "key") == kept


def test_a_value_from_a_file_is_kept_byte_for_byte(admin: Any, scope: str, tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes(VALUE + b"\n")
    assert admin("secrets", "put", scope, "key", "--from-file", "value").returncode == 0
    assert shown(admin, scope, "key") == VALUE + b"\n"


def test_a_value_that_is_typed_is_not_shown(admin: Any, scope: str) -> None:
    ours, theirs = pty.openpty()
    process = admin.start("secrets", "put", scope, "key", stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    terminal = b""
    with contextlib.suppress(OSError):  # the other side of a pseudo-terminal is closed
        while piece := os.read(ours, 65536):
            terminal += piece
            if terminal.endswith(b": "):
                os.write(ours, b"typed-in-secret\n")
    os.close(ours)
    assert process.wait(timeout=30) == 0
    assert terminal.strip() == b"Value of key:"
    assert shown(admin, scope, "key") == b"typed-in-secret"


@pytest.mark.parametrize("value", [b"", b"\n", b"x" * (128 * 1024 + 1)], ids=["none", "a line break", "too much"])
def test_a_value_that_cannot_be(tesela: Any, server: Any, value: bytes) -> None:
    done = tesela("secrets", "put", "scope", "key", stdin=value)
    assert done.returncode == 2
    assert b"the value is " in done.stderr
    assert server.asked == []


def test_a_value_is_no_argument(tesela: Any, server: Any) -> None:
    done = tesela("secrets", "put", "scope", "key", "a-value-in-the-open")
    assert done.returncode == 2
    assert server.asked == []


def test_list_and_get_show_no_value(admin: Any, scope: str) -> None:
    admin("secrets", "put", scope, "Key", stdin=VALUE)
    listed = admin("secrets", "list", scope)
    assert listed.stdout.startswith(b"Key\t2")
    assert [one["key"] for one in json.loads(admin("secrets", "list", scope, "--json").stdout)["secrets"]] == ["Key"]
    told = admin("secrets", "get", scope, "key")
    assert told.returncode == 0
    assert told.stdout.startswith(b"Secret Key was put on ")
    assert VALUE not in listed.stdout + told.stdout + told.stderr


def test_get_without_show_does_not_ask_for_the_value(tesela: Any, server: Any) -> None:
    listed = {"secrets": [{"key": "k", "last_updated_timestamp": 1}]}
    server.answer("GET", "/api/2.0/secrets/list?scope=s", listed)
    server.answer("GET", "/api/2.0/secrets/get?scope=s&key=k", {"value": base64.b64encode(VALUE).decode()})
    assert tesela("secrets", "get", "s", "k").returncode == 0
    assert [asked[1] for asked in server.asked] == ["/api/2.0/secrets/list?scope=s"]


def test_delete_a_secret(admin: Any, scope: str) -> None:
    admin("secrets", "put", scope, "key", stdin=VALUE)
    assert admin("secrets", "delete", scope, "key").returncode == 2
    assert admin("secrets", "delete", scope, "key", "-y").returncode == 0
    for more in ([], ["--show"]):
        done = admin("secrets", "get", scope, "key", *more)
        assert done.returncode == 1
        assert done.stderr.startswith(b"tesela: ")
        assert done.stderr.count(b"\n") == 1


def test_scopes(admin: Any, scope: str) -> None:
    assert scope in admin("secrets", "scopes", "list").stdout.decode().splitlines()
    assert scope in [one["name"] for one in json.loads(admin("secrets", "scopes", "list", "--json").stdout)["scopes"]]
    again = admin("secrets", "scopes", "create", scope)
    assert again.returncode == 1
    assert scope.encode() in again.stderr
    assert admin("secrets", "scopes", "delete", scope).returncode == 2
    assert admin("secrets", "scopes", "delete", scope, "--yes").returncode == 0
    assert scope not in admin("secrets", "scopes", "list").stdout.decode().splitlines()
    done = admin("secrets", "put", scope, "key", stdin=b"x")
    assert done.returncode == 1
    assert b"`tesela secrets scopes list` shows what there is" in done.stderr


def test_who_may_use_a_scope(admin: Any, scope: str) -> None:
    def acl() -> dict[str, str]:
        rows = admin("secrets", "acl", "list", scope).stdout.decode().splitlines()
        return dict(row.split("\t") for row in rows)

    before = acl()
    assert admin("secrets", "acl", "put", scope, "users", "read").returncode == 0
    assert acl() == before | {"users": "READ"}
    found = json.loads(admin("secrets", "acl", "list", scope, "--json").stdout)
    assert {"principal": "users", "permission": "READ"} in found["items"]
    assert admin("secrets", "acl", "delete", scope, "users").returncode == 0
    assert acl() == before
    assert admin("secrets", "acl", "put", scope, "users", "OWN").returncode == 2
    assert admin("secrets", "acl", "put", scope, "nobody@example.com", "READ").returncode == 1


def test_a_scope_for_everyone(admin: Any) -> None:
    name = f"scope-{uuid4().hex[:8]}"
    assert admin("secrets", "scopes", "create", name, "--everyone").returncode == 0
    assert b"users\tMANAGE" in admin("secrets", "acl", "list", name).stdout
    assert admin("secrets", "scopes", "delete", name, "--yes").returncode == 0
