"""Users, groups and service principals over SCIM, in the shapes that the official clients read."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from sqlalchemy import select
from tests.control.desk import Answer, Desk
from tests.store.people import ADMIN, ANN, APPLICATION, BOB, ROBOT, TEAM, actor, group

from tesela.control import identity, scim
from tesela.control.scim_shape import CORE
from tesela.store.store import Store
from tesela.store.tables import AUDIT

PATH = "/api/2.0/preview/scim/v2"
USERS, GROUPS, ROBOTS = f"{PATH}/Users", f"{PATH}/Groups", f"{PATH}/ServicePrincipals"
INJECTIONS = ("'; DROP TABLE principals; --", "x' OR '1'='1", "%", "\\", '"', "{{secrets/a/b}}", "Ünï©ødé 🜁")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path, scim.routes, identity.routes)
    yield desk
    desk.store.close()


def names(answer: Answer, field: str = "userName") -> list[str]:
    assert answer.status == 200, answer.body
    return [one[field] for one in answer.json()["Resources"]]


def patch(desk: Desk, path: str, *todo: dict[str, Any]) -> Answer:
    schema = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
    return desk.call("PATCH", path, {"schemas": [schema], "Operations": list(todo)})


def test_a_user_from_making_to_deleting(desk: Desk) -> None:
    sent = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "Carla@Example.com",
        "displayName": "Carla",
        "name": {"givenName": "Carla", "familyName": "C", "middleName": "ignored"},
        "emails": [{"value": "carla@home.example", "type": "home"}],
        "entitlements": [{"value": "workspace-access"}, {"value": "workspace-access"}],
        "roles": [{"value": "arn:x"}],
        "groups": [{"value": TEAM}],
        "externalId": "ext-1",
        "password": "ignored",
        "nobody": {"knows": "this"},
    }
    answer = desk.call("POST", USERS, sent)
    assert answer.status == 201
    made = answer.json()
    assert made == {
        "schemas": [
            "urn:ietf:params:scim:schemas:core:2.0:User",
            "urn:ietf:params:scim:schemas:extension:workspace:2.0:User",
        ],
        "id": made["id"],
        "userName": "carla@example.com",
        "displayName": "Carla",
        "externalId": "ext-1",
        "active": True,
        "name": {"givenName": "Carla", "familyName": "C"},
        "emails": [{"type": "home", "value": "carla@home.example", "primary": False}],
        "groups": [
            {"value": TEAM, "display": "team", "$ref": f"Groups/{TEAM}", "type": "direct"},
            made["groups"][1],
        ],
        "entitlements": [{"value": "workspace-access"}],
        "roles": [{"value": "arn:x"}],
        "meta": {"resourceType": "User"},
    }
    assert made["groups"][1]["display"] == "users"
    one = f"{USERS}/{made['id']}"
    assert desk.call("GET", one).json() == made
    assert desk.changes == 1
    assert desk.call("DELETE", one).status == 204
    assert (desk.call("GET", one).status, desk.changes) == (404, 2)
    assert desk.call("DELETE", one).code == "RESOURCE_DOES_NOT_EXIST"


def test_a_user_with_nothing_but_a_name(desk: Desk) -> None:
    made = desk.call("POST", USERS, {"userName": "carla@example.com", "active": None, "groups": None}).json()
    assert (made["displayName"], made["name"]) == ("carla@example.com", {"givenName": "carla@example.com"})
    assert made["emails"] == [{"type": "work", "value": "carla@example.com", "primary": True}]
    assert made["active"] is True
    assert "externalId" not in made
    assert "entitlements" not in made


def test_putting_replaces_and_leaves_the_name(desk: Desk) -> None:
    path = f"{USERS}/{ANN}"
    desk.call("PUT", path, {"userName": "ann@example.com", "displayName": "Ann", "roles": [{"value": "r"}]})
    desk.store.tokens.create(actor(ADMIN), ANN, "", None)
    found = desk.call("PUT", path, {"id": "9", "userName": "eve@example.com", "entitlements": [{"value": "e"}]})
    assert found.status == 200
    assert found.json() == desk.call("GET", path).json()
    assert (found.json()["id"], found.json()["userName"], found.json()["displayName"]) == (
        ANN,
        "ann@example.com",
        "ann@example.com",
    )
    assert "roles" not in found.json()
    assert found.json()["active"] is True
    assert desk.call("PUT", path, {"active": False}).json()["active"] is False
    assert desk.call("PUT", path, {"displayName": "Ann"}).json()["active"] is False
    assert desk.store.tokens.list(ANN) == []


def test_patching_a_user(desk: Desk) -> None:
    path = f"{USERS}/{ANN}"
    answer = patch(desk, path, {"op": "replace", "path": "displayName", "value": "Ann B"})
    assert (answer.status, answer.body) == (204, b"")
    assert desk.call("GET", path).json()["displayName"] == "Ann B"
    half = patch(desk, path, {"op": "replace", "path": "displayName", "value": "half"}, {"op": "add", "path": "active"})
    assert half.status == 400
    assert desk.call("GET", path).json()["displayName"] == "Ann B"
    assert desk.call("PATCH", path, {}).json()["param"] == "Operations"


def test_a_group_and_its_members(desk: Desk) -> None:
    made = desk.call("POST", GROUPS, {"displayName": "crew", "members": [{"value": ANN}, {"value": ROBOT}]})
    assert made.status == 201
    id_ = made.json()["id"]
    assert made.json() == {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"],
        "id": id_,
        "displayName": "crew",
        "members": [
            {"value": ANN, "display": "Ann", "$ref": f"Users/{ANN}"},
            {"value": ROBOT, "display": "robot", "$ref": f"ServicePrincipals/{ROBOT}"},
        ],
        "meta": {"resourceType": "WorkspaceGroup"},
    }
    one = f"{GROUPS}/{id_}"
    patch(desk, one, {"op": "add", "path": "members", "value": [{"value": TEAM}]})
    patch(desk, one, {"op": "remove", "path": f'members[value eq "{ANN}"]'})
    assert [member["value"] for member in desk.call("GET", one).json()["members"]] == [ROBOT, TEAM]
    inside = desk.call("GET", f"{GROUPS}/{TEAM}").json()
    assert [found["display"] for found in inside["groups"]] == ["crew"]
    renamed = desk.call("PUT", one, {"displayName": "ship", "members": [{"value": BOB}]}).json()
    assert (renamed["displayName"], [member["value"] for member in renamed["members"]]) == ("ship", [BOB])
    assert "members" not in desk.call("PUT", one, {"displayName": "ship"}).json()
    circle = patch(desk, f"{GROUPS}/{TEAM}", {"op": "add", "path": "members", "value": [{"value": TEAM}]})
    assert (circle.status, circle.json()["param"]) == (400, "members")
    assert desk.call("DELETE", one).status == 204


def test_the_fixed_groups_and_the_last_admin(desk: Desk) -> None:
    admins, users = group(desk.store, "admins"), group(desk.store, "users")
    refused = [
        desk.call("DELETE", f"{GROUPS}/{admins}"),
        desk.call("DELETE", f"{GROUPS}/{users}"),
        desk.call("PUT", f"{GROUPS}/{admins}", {"displayName": "others", "members": [{"value": ADMIN}]}),
        desk.call("PUT", f"{GROUPS}/{users}", {"displayName": "users", "members": []}),
        desk.call("PUT", f"{GROUPS}/{admins}", {"displayName": "admins"}),
        desk.call("DELETE", f"{USERS}/{ADMIN}"),
        patch(desk, f"{USERS}/{ADMIN}", {"op": "replace", "path": "active", "value": False}),
        patch(desk, f"{GROUPS}/{admins}", {"op": "remove", "path": f'members[value eq "{ADMIN}"]'}),
        patch(desk, f"{GROUPS}/{users}", {"op": "add", "path": "members", "value": [{"value": ANN}, {"value": TEAM}]}),
    ]
    assert [(one.status, one.code) for one in refused] == [(400, "INVALID_PARAMETER_VALUE")] * 9
    assert desk.changes == 0
    assert desk.call("PUT", f"{GROUPS}/{users}", {"displayName": "users", "externalId": "u"}).status == 200
    everybody = desk.call("GET", f"{GROUPS}/{users}").json()["members"]
    assert [one["value"] for one in everybody] == [ADMIN, ANN, BOB, ROBOT]


def test_a_service_principal(desk: Desk) -> None:
    made = desk.call("POST", ROBOTS, {"displayName": "svc", "active": True, "groups": [{"value": TEAM}]})
    assert made.status == 201
    found = made.json()
    assert len(found["applicationId"]) == 36
    assert (found["displayName"], found["active"], found["groups"][0]["value"]) == ("svc", True, TEAM)
    assert found["schemas"] == ["urn:ietf:params:scim:schemas:core:2.0:ServicePrincipal"]
    one = f"{ROBOTS}/{found['id']}"
    put = desk.call("PUT", one, {"applicationId": "ignored", "displayName": "other", "roles": [{"value": "r"}]}).json()
    assert (put["applicationId"], put["displayName"], put["roles"]) == (
        found["applicationId"],
        "other",
        [{"value": "r"}],
    )
    again = desk.call("POST", ROBOTS, {"applicationId": APPLICATION.upper()})
    assert (again.status, again.code) == (400, "RESOURCE_ALREADY_EXISTS")
    assert names(desk.call("GET", f"{ROBOTS}?filter=displayName+eq+other"), "id") == [found["id"]]
    assert desk.call("DELETE", one).status == 204


def test_ids_belong_to_their_path(desk: Desk) -> None:
    for path, id_ in ((USERS, TEAM), (USERS, ROBOT), (GROUPS, ANN), (ROBOTS, ANN), (USERS, "1"), (USERS, "x%00")):
        for method, body in (("GET", None), ("PUT", {"displayName": "x"}), ("DELETE", None)):
            answer = desk.call(method, f"{path}/{id_}", body)
            assert (answer.status, answer.code) == (404, "RESOURCE_DOES_NOT_EXIST"), (method, path, id_)
        assert patch(desk, f"{path}/{id_}", {"op": "replace", "path": "displayName", "value": "x"}).status == 404


def test_names_are_taken_once(desk: Desk) -> None:
    for path, body, field in (
        (USERS, {"userName": "ANN@example.com"}, "userName"),
        (GROUPS, {"displayName": "team"}, "displayName"),
        (GROUPS, {"displayName": "admins"}, "displayName"),
    ):
        answer = desk.call("POST", path, body)
        assert (answer.status, answer.code, answer.json()["param"]) == (400, "RESOURCE_ALREADY_EXISTS", field)
        assert not {"error", "detail", "status", "scimType"} & set(answer.json())
    assert desk.changes == 0


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["root@example.com", "ann@example.com", "bob@example.com"]),
        ('filter=userName eq "ann@example.com"', ["ann@example.com"]),
        ('filter=userName eq "ANN@example.com"', ["ann@example.com"]),
        ("filter=userName eq 'nobody'", []),
        ("filter=groups.display eq 'team'", ["bob@example.com"]),
        (f'filter=groups[value eq "{TEAM}"]', ["bob@example.com"]),
        ("sortBy=userName&sortOrder=descending", ["root@example.com", "bob@example.com", "ann@example.com"]),
        ("sortBy=displayName", ["ann@example.com", "bob@example.com", "root@example.com"]),
        ("startIndex=2", ["ann@example.com", "bob@example.com"]),
        ("startIndex=2&count=1", ["ann@example.com"]),
        ("startIndex=4&count=10000", []),
        ("startIndex=0&count=-1", []),
        ("count=0", []),
        ("startIndex=-5", ["root@example.com", "ann@example.com", "bob@example.com"]),
        ("nobody=knows", ["root@example.com", "ann@example.com", "bob@example.com"]),
    ],
)
def test_lists(desk: Desk, query: str, found: list[str]) -> None:
    answer = desk.call("GET", f"{USERS}?{quote(query, safe='=&')}")
    assert names(answer) == found
    listed = answer.json()
    assert listed["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:ListResponse"]
    assert listed["itemsPerPage"] == len(found)
    if not query.startswith("filter"):
        assert listed["totalResults"] == 3


def test_a_list_is_walked_to_its_end(desk: Desk) -> None:
    seen, start = [], 1
    while page := names(desk.call("GET", f"{USERS}?startIndex={start}&count=2")):
        seen += page
        start += len(page)
    assert seen == ["root@example.com", "ann@example.com", "bob@example.com"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("filter=password eq 'x'", "filter"),
        ("filter=userName", "filter"),
        ("filter='; DROP TABLE principals; --", "filter"),
        ("sortBy=password", "sortBy"),
        ("sortOrder=sideways", "sortOrder"),
        ("startIndex=one", "startIndex"),
        ("count=1.5", "count"),
        ("count=" + "9" * 50, "count"),
    ],
)
def test_lists_that_cannot_be(desk: Desk, query: str, field: str) -> None:
    answer = desk.call("GET", f"{USERS}?{quote(query, safe='=&')}")
    assert (answer.status, answer.json()["param"]) == (400, field)


def test_attributes_are_chosen(desk: Desk) -> None:
    one = f"{USERS}/{BOB}"
    assert set(desk.call("GET", f"{one}?attributes=userName,groups.value,active.x,nobody").json()) == {
        "schemas",
        "id",
        "userName",
        "groups",
        "active",
    }
    found = desk.call("GET", f"{one}?attributes=groups.value").json()
    assert found["groups"][0] == {"value": TEAM}
    found = desk.call("GET", f"{one}?excludedAttributes=groups,id,EMAILS").json()
    assert {"groups", "emails"}.isdisjoint(found)
    assert found["id"] == BOB
    listed = desk.call("GET", f"{GROUPS}?attributes=displayName").json()["Resources"]
    assert {frozenset(one) for one in listed} == {frozenset({"schemas", "id", "displayName"})}


def test_who_is_no_admin_reads_and_changes_nothing(desk: Desk) -> None:
    for form, id_ in (("Users", BOB), ("Groups", TEAM), ("ServicePrincipals", ROBOT)):
        assert desk.call("GET", f"{PATH}/{form}", by=ANN).status == 200
        assert desk.call("GET", f"{PATH}/{form}/{id_}", by=ANN).status == 200
        for method, path in (("POST", form), ("PUT", f"{form}/{id_}"), ("PATCH", f"{form}/{id_}")):
            answer = desk.call(method, f"{PATH}/{path}", {"userName": "x"}, by=ANN)
            assert (answer.status, answer.code) == (403, "PERMISSION_DENIED")
        assert desk.call("DELETE", f"{PATH}/{form}/{id_}", by=ANN).status == 403
    assert desk.call("PUT", f"{USERS}/{ANN}", {"displayName": "A"}, by=ANN).status == 403
    assert desk.changes == 0


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (USERS, {}, "userName"),
        (USERS, {"userName": 5}, "userName"),
        (USERS, {"userName": ["a@example.com"]}, "userName"),
        (USERS, {"userName": "a" * 900_000 + "@example.com"}, "userName"),
        (USERS, {"userName": "a@example.com\x00"}, "userName"),
        (USERS, {"userName": "a@example.com", "displayName": {}}, "displayName"),
        (USERS, {"userName": "a@example.com", "active": "perhaps"}, "active"),
        (USERS, {"userName": "a@example.com", "name": "A"}, "name"),
        (USERS, {"userName": "a@example.com", "name": {"givenName": 5}}, "givenName"),
        (USERS, {"userName": "a@example.com", "emails": "a@example.com"}, "emails"),
        (USERS, {"userName": "a@example.com", "emails": [{"type": "work"}]}, "emails"),
        (USERS, {"userName": "a@example.com", "emails": [{"value": "x", "type": "\x00"}]}, "emails"),
        (USERS, {"userName": "a@example.com", "roles": [{"value": "x" * 900_000}]}, "roles"),
        (USERS, {"userName": "a@example.com", "roles": [{"value": str(n)} for n in range(101)]}, "roles"),
        (USERS, {"userName": "a@example.com", "entitlements": [5]}, "entitlements"),
        (USERS, {"userName": "a@example.com", "groups": {"value": TEAM}}, "groups"),
        (USERS, {"userName": "a@example.com", "groups": [{"value": ANN}]}, "groups"),
        (USERS, {"userName": "a@example.com", "groups": [{"value": "'; DROP TABLE members; --"}]}, "groups"),
        (ROBOTS, {"groups": [{"value": "77"}]}, "groups"),
        (USERS, {"userName": "a@example.com", "externalId": "x" * 300}, "externalId"),
        (GROUPS, {}, "displayName"),
        (GROUPS, {"displayName": "g", "members": [{"value": "77"}]}, "members"),
        (GROUPS, {"displayName": "g", "members": [{"value": "'; DROP TABLE members; --"}]}, "members"),
        (GROUPS, {"displayName": "g", "members": [{"value": 5}]}, "members"),
        (ROBOTS, {"applicationId": "robot"}, "applicationId"),
        (ROBOTS, {"displayName": 5}, "displayName"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_leaves_nothing(desk: Desk, path: str, body: Any, field: str) -> None:
    before = desk.call("GET", path).json()
    answer = desk.call("POST", path, body)
    assert (answer.status, answer.json()["param"]) == (400, field)
    assert len(answer.body) < 1000
    assert desk.call("GET", path).json() == before
    assert desk.changes == 0


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'"x"', b'{"Operations": [[[', b'{"displayName": "\\ud800"}'])
def test_a_body_that_is_none(desk: Desk, body: bytes) -> None:
    for method, path in (("POST", USERS), ("PUT", f"{USERS}/{ANN}"), ("PATCH", f"{USERS}/{ANN}")):
        answer = desk.call(method, path, body)
        assert (answer.status, answer.code) == (400, "INVALID_PARAMETER_VALUE")


@pytest.mark.parametrize("text", INJECTIONS)
def test_text_comes_back_as_it_was_sent(desk: Desk, text: str) -> None:
    made = desk.call("POST", GROUPS, {"displayName": text, "externalId": text, "roles": [{"value": text}]}).json()
    assert (made["displayName"], made["externalId"], made["roles"]) == (text, text, [{"value": text}])
    for field in ("displayName", "externalId", "roles"):
        wanted = quote(f"{field} eq {json.dumps(text)}")
        found = desk.call("GET", f"{GROUPS}?filter={wanted}")
        assert names(found, "id") == [made["id"]]
    assert desk.call("GET", f"{USERS}/{quote(text, safe='')}").status == 404
    assert len(desk.call("GET", USERS).json()["Resources"]) == 3


def test_me(desk: Desk) -> None:
    me = desk.call("GET", f"{PATH}/Me", by=BOB)
    assert me.json() == desk.call("GET", f"{USERS}/{BOB}").json()
    assert me.headers["x-databricks-org-id"] == "1"
    assert [one["display"] for one in me.json()["groups"]] == ["team", "users"]
    robot = desk.call("GET", f"{PATH}/Me", by=ROBOT).json()
    assert (robot["id"], robot["userName"], robot["displayName"]) == (ROBOT, APPLICATION, "robot")
    assert set(desk.call("GET", f"{PATH}/Me?attributes=userName", by=BOB).json()) == {"schemas", "id", "userName"}


def test_me_is_there_without_a_store(world: Any, tmp_path: Path) -> None:
    gone = Store(tmp_path, "postgresql://nobody@127.0.0.1:1/nothing", key=bytes(32))
    world.facts = msgspec.structs.replace(world.facts, store=lambda: gone)
    found = world.call("GET", f"{PATH}/Me")
    assert (found.status, found.json()["id"]) == (200, world.admin.id)
    assert found.json()["userName"] == "admin@localhost"
    assert world.call("GET", USERS).json()["error_code"] == "TEMPORARILY_UNAVAILABLE"
    changed = world.call("POST", USERS, {"userName": "ann@example.com"})
    assert (changed.status, changed.headers["retry-after"]) == (503, "5")


def test_what_terraform_sends(desk: Desk) -> None:
    """The requests of its resources for users, groups, members, entitlements and service principals, in its order."""
    user = {"schemas": [f"{CORE}User"], "userName": "t@example.com", "displayName": "T", "active": True}
    made = desk.call("POST", USERS, {**user, "entitlements": [{"value": "allow-cluster-create"}]}).json()
    fields = "attributes=userName,displayName,active,externalId,entitlements"
    found = desk.call("GET", f"{USERS}/{made['id']}?{fields}").json()
    assert {name: found[name] for name in user if name != "schemas"} == {
        name: one for name, one in user.items() if name != "schemas"
    }
    desk.call("PUT", f"{USERS}/{made['id']}", {**user, "displayName": "T2", "groups": made["groups"]})
    assert desk.call("GET", f"{USERS}/{made['id']}?{fields}").json()["displayName"] == "T2"
    crew = desk.call("POST", GROUPS, {"schemas": [f"{CORE}Group"], "displayName": "crew"}).json()
    path = f"{GROUPS}/{crew['id']}"
    assert patch(desk, path, {"op": "add", "path": "members", "value": [{"value": made["id"]}]}).status == 204
    assert desk.call("GET", f"{path}?attributes=members").json()["members"][0]["value"] == made["id"]
    grant = {"op": "replace", "path": "entitlements", "value": [{"value": "workspace-access"}]}
    assert patch(desk, path, grant).status == 204
    assert patch(desk, path, {**grant, "op": "remove"}).status == 204
    assert "entitlements" not in desk.call("GET", f"{path}?attributes=entitlements").json()
    assert patch(desk, path, {"op": "remove", "path": f'members[value eq "{made["id"]}"]'}).status == 204
    assert "members" not in desk.call("GET", path).json()
    assert names(desk.call("GET", f"{GROUPS}?filter=displayName%20eq%20%22crew%22"), "id") == [crew["id"]]
    robot = {"schemas": [f"{CORE}ServicePrincipal"], "displayName": "svc", "active": True}
    svc = desk.call("POST", ROBOTS, robot).json()
    found = desk.call("PUT", f"{ROBOTS}/{svc['id']}", {**robot, "applicationId": svc["applicationId"]})
    assert (found.status, found.json()) == (200, svc)
    for one in (f"{ROBOTS}/{svc['id']}", path, f"{USERS}/{made['id']}"):
        assert (desk.call("DELETE", one).status, desk.call("GET", one).status) == (204, 404)


def test_changes_are_in_the_audit(desk: Desk) -> None:
    id_ = desk.call("POST", USERS, {"userName": "carla@example.com"}).json()["id"]
    desk.call("DELETE", f"{USERS}/{id_}")
    desk.call("DELETE", f"{USERS}/{id_}", by=ANN)
    recorded = [(one.actor, one.action, one.thing, one.status) for one in audit(desk)]
    assert recorded[:2] == [
        ("root@example.com", "users.create", "carla@example.com", 200),
        ("root@example.com", "users.delete", "carla@example.com", 200),
    ]
    assert (recorded[2][0], recorded[2][3]) == ("ann@example.com", 403)


def audit(desk: Desk) -> list[Any]:
    with desk.store.database.read() as connection:
        columns = (AUDIT.c.actor, AUDIT.c.action, AUDIT.c.object.label("thing"), AUDIT.c.status)
        return list(connection.execute(select(*columns).order_by(AUDIT.c.id)))
