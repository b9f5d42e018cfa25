"""Permissions over HTTP: shapes as the SDK reads them, who may look and change, and what a wrong list is told."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.control.desk import Desk
from tests.store.people import ADMIN, ANN, APPLICATION, BOB, ROBOT, actor

from tesela.control import permissions
from tesela.serving import Endpoint, EndpointConfig, ServingEndpoint
from tesela.wire.tasks import Task

TOKENS = "/api/2.0/permissions/authorization/tokens"
FILE_ID = "f" * 32
ADMINS = {
    "group_name": "admins",
    "all_permissions": [
        {"permission_level": "CAN_MANAGE", "inherited": True, "inherited_from_object": ["/serving-endpoints/"]}
    ],
}


def at(id: str) -> str:
    return f"/api/2.0/permissions/serving-endpoints/{id}"


def line(level: str, **who: str) -> dict[str, Any]:
    return {**who, "all_permissions": [{"permission_level": level, "inherited": False}]}


ANNS = line("CAN_MANAGE", user_name="ann@example.com", display_name="Ann")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, permissions.routes)
    asked = ServingEndpoint("gpt", EndpointConfig())
    desk.endpoints = {"gpt": Endpoint("gpt", Task.CHAT, (), asked, id=FILE_ID)}
    yield desk
    desk.store.close()


@pytest.fixture
def mine(desk: Desk) -> str:
    """The path of an endpoint that Ann has made."""
    return at(desk.store.endpoints.create(actor(ANN), "mine", {"served_entities": []}, {}, ready=True).id)


def grant(level: str, **who: str) -> dict[str, Any]:
    return {"access_control_list": [{**who, "permission_level": level}]}


def test_a_new_endpoint_is_managed_by_its_maker_and_the_admins(desk: Desk, mine: str) -> None:
    id = mine.rpartition("/")[2]
    expected = {
        "object_id": f"/serving-endpoints/{id}",
        "object_type": "serving-endpoint",
        "access_control_list": [ANNS, ADMINS],
    }
    assert desk.call("GET", mine, by=ANN).json() == desk.call("GET", mine, by=ADMIN).json() == expected
    assert desk.call("GET", at("mine"), by=ANN).json() == expected


def test_a_list_is_set_and_added_to(desk: Desk, mine: str) -> None:
    robot = line("CAN_QUERY", service_principal_name=APPLICATION, display_name="robot")
    team = line("CAN_VIEW", group_name="team")
    asked = {
        "access_control_list": [
            {"group_name": "team", "permission_level": "CAN_VIEW"},
            {"service_principal_name": APPLICATION, "permission_level": "CAN_QUERY"},
        ]
    }
    assert desk.call("PUT", mine, asked, ANN).json()["access_control_list"] == [ANNS, robot, team, ADMINS]
    assert desk.changes == 1
    more = {
        "access_control_list": [
            {"group_name": "team", "permission_level": "CAN_QUERY"},
            {"service_principal_name": APPLICATION, "permission_level": "CAN_VIEW"},
            {"user_name": "bob@example.com", "permission_level": "CAN_VIEW"},
        ]
    }
    bob = line("CAN_VIEW", user_name="bob@example.com", display_name="Bob")
    team = line("CAN_QUERY", group_name="team")
    after = [ANNS, bob, robot, team, ADMINS]
    assert desk.call("PATCH", mine, more, ANN).json()["access_control_list"] == after
    assert desk.call("GET", mine, by=ANN).json()["access_control_list"] == after
    assert desk.call("PUT", mine, {}, ANN).json()["access_control_list"] == [ANNS, ADMINS]


def test_adding_nothing_changes_nothing(desk: Desk, mine: str) -> None:
    desk.call("PUT", mine, grant("CAN_VIEW", group_name="team"), ANN)
    before = desk.call("GET", mine, by=ANN).json()
    bodies: list[Any] = [None, {}, {"access_control_list": []}, {"access_control_list": None, "unknown": 1}]
    for body in bodies:
        assert desk.call("PATCH", mine, body, ANN).json() == before


def test_its_maker_and_the_admins_cannot_be_shut_out(desk: Desk, mine: str) -> None:
    assert desk.call("PUT", mine, grant("CAN_VIEW", user_name="ann@example.com"), ADMIN).json()[
        "access_control_list"
    ] == [ANNS, ADMINS]
    kept = desk.call("PUT", mine, grant("CAN_MANAGE", group_name="admins"), ADMIN)
    assert kept.json()["access_control_list"] == [ANNS, ADMINS]
    lowered = desk.call("PUT", mine, grant("CAN_VIEW", group_name="admins"), ADMIN)
    assert (lowered.status, lowered.code) == (400, "INVALID_PARAMETER_VALUE")


def test_of_two_lines_for_one_principal_the_higher_counts(desk: Desk, mine: str) -> None:
    lines = [{"group_name": "team", "permission_level": one} for one in ("CAN_VIEW", "CAN_MANAGE", "CAN_QUERY")]
    answer = desk.call("PUT", mine, {"access_control_list": lines}, ANN)
    assert line("CAN_MANAGE", group_name="team") in answer.json()["access_control_list"]


def test_endpoints_of_the_file_can_be_granted(desk: Desk) -> None:
    body = grant("CAN_QUERY", group_name="users")
    for id in (FILE_ID, "gpt"):
        answer = desk.call("PUT", at(id), body)
        assert answer.json()["object_id"] == f"/serving-endpoints/{FILE_ID}"
        assert answer.json()["access_control_list"] == [line("CAN_QUERY", group_name="users"), ADMINS]
    assert desk.call("PUT", at(FILE_ID), body, ANN).status == 403


@pytest.mark.parametrize("level", [None, "CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"])
@pytest.mark.parametrize(("who", "name"), [(BOB, {"group_name": "team"}), (ROBOT, {"group_name": "users"})])
def test_only_who_manages_an_endpoint_may_see_and_change_who_else_may(
    desk: Desk, mine: str, level: str | None, who: str, name: dict[str, str]
) -> None:
    if level:
        desk.call("PUT", mine, grant(level, **name), ANN)
    levels = desk.call("GET", f"{mine}/permissionLevels", by=who)
    before = desk.call("GET", mine, by=ADMIN).json()
    answers = {
        method: desk.call(method, mine, grant("CAN_VIEW", user_name="bob@example.com"), who)
        for method in ("GET", "PATCH", "PUT")
    }
    if level == "CAN_MANAGE":
        assert {answer.status for answer in answers.values()} == {200}
    else:
        for answer in answers.values():
            assert (answer.status, answer.code) == (403, "PERMISSION_DENIED")
        assert desk.call("GET", mine, by=ADMIN).json() == before
    assert levels.status == (200 if level else 403)


def test_the_levels_are_described(desk: Desk, mine: str) -> None:
    found = desk.call("GET", f"{mine}/permissionLevels", by=ANN).json()["permission_levels"]
    assert [one["permission_level"] for one in found] == ["CAN_MANAGE", "CAN_QUERY", "CAN_VIEW"]
    assert all(one["description"] for one in found)


@pytest.mark.parametrize("id", ["none", "0" * 32, "' OR 1=1 --", "%00", "x" * 5000])
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH"])
def test_an_endpoint_that_is_not_there(desk: Desk, method: str, id: str) -> None:
    answer = desk.call(method, at(id), grant("CAN_VIEW", group_name="team"))
    assert (answer.status, answer.code) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert len(answer.body) < 1000


@pytest.mark.parametrize(
    "who",
    [
        {"user_name": "nobody@example.com"},
        {"user_name": "team"},
        {"group_name": "ann@example.com"},
        {"service_principal_name": "robot"},
        {"user_name": "' OR 1=1 --"},
    ],
)
def test_a_principal_that_is_not_there_is_named_and_nobody_is_granted_anything(
    desk: Desk, mine: str, who: dict[str, str]
) -> None:
    before = desk.call("GET", mine).json()
    body = {
        "access_control_list": [
            {"group_name": "team", "permission_level": "CAN_VIEW"},
            {**who, "permission_level": "CAN_VIEW"},
        ]
    }
    for method in ("PUT", "PATCH"):
        answer = desk.call(method, mine, body)
        assert (answer.status, answer.code) == (404, "RESOURCE_DOES_NOT_EXIST")
        assert next(iter(who.values())) in answer.json()["message"]
    assert desk.call("GET", mine).json() == before


WRONG: list[Any] = [
    "x",
    {},
    [7],
    [None],
    [{}],
    [{"permission_level": "CAN_VIEW"}],
    [{"group_name": "team"}],
    [{"group_name": "team", "permission_level": "can_view"}],
    [{"group_name": "team", "permission_level": "CAN_RUN"}],
    [{"group_name": "team", "permission_level": "CAN_USE"}],
    [{"group_name": "team", "permission_level": ["CAN_VIEW"]}],
    [{"group_name": "team", "permission_level": {}}],
    [{"group_name": "team", "user_name": "ann@example.com", "permission_level": "CAN_VIEW"}],
    [{"group_name": 7, "permission_level": "CAN_VIEW"}],
    [{"group_name": "", "permission_level": "CAN_VIEW"}],
    [{"group_name": "a\0", "permission_level": "CAN_VIEW"}],
    [{"group_name": "x" * 1_000_000, "permission_level": "CAN_VIEW"}],
    [{"group_name": "team", "permission_level": "CAN_VIEW"}] * 501,
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda one: repr(one)[:40])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_wrong_list_is_refused_whole(desk: Desk, mine: str, method: str, wrong: Any) -> None:
    before = desk.call("GET", mine).json()
    answer = desk.call(method, mine, {"access_control_list": wrong})
    assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")
    assert "access_control_list" in answer.json()["message"]
    assert len(answer.body) < 1000
    assert desk.call("GET", mine).json() == before


def test_who_may_have_tokens(desk: Desk) -> None:
    admins = line("CAN_MANAGE", group_name="admins")
    users, team = line("CAN_USE", group_name="users"), line("CAN_USE", group_name="team")
    assert desk.call("GET", TOKENS).json() == {
        "object_id": "authorization/tokens",
        "object_type": "tokens",
        "access_control_list": [users, admins],
    }
    both = grant("CAN_USE", group_name="team")
    both["access_control_list"] += grant("CAN_MANAGE", group_name="admins")["access_control_list"]
    assert desk.call("PUT", TOKENS, both).json()["access_control_list"] == [team, admins]
    robot = line("CAN_USE", service_principal_name=APPLICATION, display_name="robot")
    after = desk.call("PATCH", TOKENS, grant("CAN_USE", service_principal_name=APPLICATION)).json()
    assert after["access_control_list"] == [robot, team, admins]
    assert desk.call("PUT", TOKENS, {}).json()["access_control_list"] == [admins]
    assert [
        one["permission_level"] for one in desk.call("GET", f"{TOKENS}/permissionLevels").json()["permission_levels"]
    ] == ["CAN_USE"]


def test_only_admins_say_who_may_have_tokens(desk: Desk) -> None:
    for method in ("GET", "PUT", "PATCH"):
        assert desk.call(method, TOKENS, grant("CAN_USE", user_name="ann@example.com"), ANN).code == "PERMISSION_DENIED"
    wrong = desk.call("PUT", TOKENS, grant("CAN_QUERY", group_name="team"))
    assert (wrong.status, wrong.code) == (400, "INVALID_PARAMETER_VALUE")


def test_who_may_have_no_tokens_makes_none(desk: Desk) -> None:
    def made(by: str) -> int:
        return desk.call("POST", "/api/2.0/token/create", {"comment": "x"}, by).status

    assert [made(by) for by in (ADMIN, ANN, BOB, ROBOT)] == [200] * 4
    desk.call("PUT", TOKENS, grant("CAN_USE", group_name="team"))
    assert [made(by) for by in (ADMIN, ANN, BOB, ROBOT)] == [200, 403, 200, 403]
    desk.call("PUT", TOKENS, {})
    assert [made(by) for by in (ADMIN, ANN, BOB, ROBOT)] == [200, 403, 403, 403]
