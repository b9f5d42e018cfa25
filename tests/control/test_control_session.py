"""Signing in to the web pages: whose session it is, how long it lasts, and how it ends."""

import math
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.control.conftest import Answer, World

from tesela import invitation
from tesela.gateway.auth import authenticate
from tesela.records import SYSTEM
from tesela.snapshot import Credential, digest

PATH = "/api/2.0/tesela/session"
PAGE = {"x-tesela-page": "1"}
COOKIE = "tesela_session_7"


@pytest.fixture
def door(world: World, tmp_path: Path) -> World:
    """The control plane of a worker: it knows tokens and codes."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    world.facts = msgspec.structs.replace(
        world.facts,
        cookie=COOKIE,
        authenticate=lambda header: authenticate(world.snapshot, header, world.now),
        take_code=lambda code: invitation.take(run_dir, code, world.now),
    )
    return world


def cookie(answer: Answer) -> dict[str, str]:
    """The attributes of the cookie that an answer sets, with the token under ''."""
    parts = answer.headers["set-cookie"].split("; ")
    name, _, content = parts[0].partition("=")
    assert name == COOKIE
    attributes = {key.lower(): value for key, _, value in (one.partition("=") for one in parts[1:])}
    return {"": content.strip('"'), **attributes}


def sign_in(door: World, body: Any, **more: Any) -> Answer:
    return door.call("POST", PATH, body, headers={**PAGE, **more}, anonymous=True)


def test_a_token_signs_in_and_the_session_is_another_token(door: World) -> None:
    token, _ = door.store.tokens.create(SYSTEM, door.admin.id, "mine", None)
    door._changed()
    answer = sign_in(door, {"token": token})
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["user"] == {"id": door.admin.id, "name": door.admin.name, "admin": True}
    set_ = cookie(answer)
    assert set_[""] != token
    assert token.encode() not in answer.body
    assert set_[""].encode() not in answer.body
    assert set_ | {"": ""} == {"": "", "httponly": "", "max-age": "43200", "path": "/", "samesite": "strict"}
    session = door.snapshot.credentials[digest(set_[""].encode())]
    assert session.principal.id == door.admin.id
    assert session.expires_at < math.inf
    assert door.changes >= 2


def test_over_https_the_cookie_never_goes_in_the_clear(door: World) -> None:
    token, _ = door.store.tokens.create(SYSTEM, door.admin.id, "mine", None)
    door._changed()
    headers = {**PAGE, "x-forwarded-proto": "https"}
    answer = door.call("POST", PATH, {"token": token}, headers=headers, anonymous=True, trust_forwarded=True)
    assert "secure" in cookie(answer)


def test_a_code_signs_in_once(door: World, tmp_path: Path) -> None:
    code = invitation.invite(tmp_path / "run", door.admin.id, door.now)
    assert sign_in(door, {"code": code}).json()["user"]["id"] == door.admin.id
    again = sign_in(door, {"code": code})
    assert (again.status, again.json()["error_code"]) == (401, "UNAUTHENTICATED")
    assert "set-cookie" not in again.headers
    assert code not in again.json()["message"]


def test_a_session_ends_no_later_than_the_token_it_came_from(door: World) -> None:
    door.facts = msgspec.structs.replace(
        door.facts, authenticate=lambda _: Credential(door.snapshot.principals[door.admin.id], door.now + 60)
    )
    assert cookie(sign_in(door, {"token": "short"}))["max-age"] == "60"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400), ({"token": ""}, 400), ({"token": 7}, 400), (b"{", 400), (b"[]", 400),
        ({"token": "dapi" + "0" * 32}, 401), ({"token": "ñ→"}, 401), ({"token": "x" * 100_000}, 401),
        ({"code": "nothing"}, 401), ({"code": "../../etc/passwd"}, 401),
    ],
)  # fmt: skip
def test_nothing_else_signs_in(door: World, body: Any, status: int) -> None:
    answer = sign_in(door, body)
    assert answer.status == status, answer.body
    assert "set-cookie" not in answer.headers


def test_a_token_for_queries_alone_is_refused(door: World) -> None:
    restricted = Credential(door.snapshot.principals[door.admin.id], endpoints=frozenset({"x"}))
    door.facts = msgspec.structs.replace(door.facts, authenticate=lambda _: restricted)
    assert sign_in(door, {"token": "t"}).status == 403


def test_another_site_can_sign_nobody_in_or_out(door: World) -> None:
    for method in ("POST", "DELETE"):
        answer = door.call(method, PATH, {"token": "x"}, anonymous=True)
        assert (answer.status, answer.json()["error_code"]) == (403, "PERMISSION_DENIED")


def test_signing_out_ends_the_session_and_no_other_token(door: World) -> None:
    token, _ = door.store.tokens.create(SYSTEM, door.admin.id, "mine", None)
    door._changed()
    session = cookie(sign_in(door, {"token": token}))[""]
    answer = door.call("DELETE", PATH, headers={**PAGE, "cookie": f"{COOKIE}={session}"})
    assert answer.status == 200
    assert cookie(answer)["max-age"] == "0"
    assert digest(session.encode()) not in door.snapshot.credentials
    assert digest(token.encode()) in door.snapshot.credentials
    # Twice is once, and without a cookie nothing ends.
    assert door.call("DELETE", PATH, headers={**PAGE, "cookie": f"{COOKIE}={session}"}).status == 200
    assert door.call("DELETE", PATH, headers=PAGE).status == 200
    assert digest(token.encode()) in door.snapshot.credentials


def test_who_is_signed_in(door: World) -> None:
    assert door.call("GET", PATH, anonymous=True).json() == {"user": None}
    door.somebody()
    told = door.call("GET", PATH).json()
    assert told["user"] == {"id": door.principal.id, "name": "somebody@example.com", "admin": False}
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", told["version"])
