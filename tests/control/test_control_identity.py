"""What clients ask while they start, and what answers without a credential."""

import json
import re
from typing import Any

import pytest
from starlette.routing import Route

from tesela.control import routes


def test_databricks_config_is_public_and_absolute(world: Any) -> None:
    config = world.call("GET", "/.well-known/databricks-config", anonymous=True).json()
    assert config["oidc_endpoint"] == "http://tesela.test:8787/oidc"
    assert int(config["workspace_id"]) == world.contents.workspace.id
    assert config["account_id"] == world.contents.workspace.account_id


FORWARDED = {"x-forwarded-proto": "https", "x-forwarded-host": "serving.example.com, inner"}


def test_forwarded_headers_count_only_when_that_is_configured(world: Any) -> None:
    path = "/.well-known/databricks-config"
    without = world.call("GET", path, headers=FORWARDED).json()
    assert without["oidc_endpoint"] == "http://tesela.test:8787/oidc"
    trusted = world.call("GET", path, headers=FORWARDED, trust_forwarded=True).json()
    assert trusted["oidc_endpoint"] == "https://serving.example.com/oidc"


@pytest.mark.parametrize("host", ['evil"/><script>', "a b", "", "x/y"])
def test_a_host_that_is_none_is_not_echoed(world: Any, host: str) -> None:
    found = world.call("GET", "/.well-known/databricks-config", headers={"host": host}).json()
    assert found["oidc_endpoint"] == "http://127.0.0.1:8787/oidc"


def test_me_is_the_caller(world: Any) -> None:
    answer = world.call("GET", "/api/2.0/preview/scim/v2/Me")
    me = answer.json()
    assert int(answer.headers["x-databricks-org-id"]) == world.contents.workspace.id
    assert me["id"] == world.admin.id
    assert me["userName"] == world.admin.name
    assert me["active"] is True
    assert "urn:ietf:params:scim:schemas:core:2.0:User" in me["schemas"]
    assert [one["display"] for one in me["groups"]] == ["admins", "users"]
    world.somebody()
    me = world.call("GET", "/api/2.0/preview/scim/v2/Me").json()
    assert (me["id"], me["userName"]) == (world.principal.id, "somebody@example.com")
    assert [one["display"] for one in me["groups"]] == ["users"]


def test_health(world: Any) -> None:
    assert world.call("GET", "/health", anonymous=True).json() == {"status": "ok"}
    world.wrong = "the store cannot be read"
    answer = world.call("GET", "/health", anonymous=True)
    assert answer.status == 200, "queries are answered, so a load balancer must not turn away"
    assert answer.json() == {"status": "degraded", "message": "the store cannot be read"}


def test_every_path_but_the_public_ones_wants_a_credential(world: Any, public: frozenset[str]) -> None:
    seen = set()
    for route in routes(world.facts):
        assert isinstance(route, Route)
        path = re.sub(r"\{\w+\}", "gpt", route.path)
        for method in (route.methods or set()) - {"HEAD"}:
            answer = world.call(method, path, {}, anonymous=True)
            seen.add(route.path)
            if route.path in public:
                assert b"no access token" not in answer.body
            else:
                assert (answer.status, answer.json()["error_code"]) == (401, "UNAUTHENTICATED"), path
                assert answer.headers["www-authenticate"].startswith("Bearer")
    assert public <= seen


@pytest.mark.parametrize(
    "path", ["/nothing", "/api/2.0/nothing", "/api/2.0/connector-service/feature-flags/PYTHON/4.9.0", "/health/"]
)
def test_an_unknown_path_has_the_databricks_shape(world: Any, path: str) -> None:
    answer = world.call("GET", path)
    assert answer.status == 404
    assert answer.headers["content-type"] == "application/json"
    found = answer.json()
    assert found["error_code"] == "ENDPOINT_NOT_FOUND"
    assert path in found["message"]
    assert not {"error", "detail", "status", "scimType"} & set(found)


def test_an_unknown_method_says_which_there_are(world: Any) -> None:
    answer = world.call("PUT", "/api/2.0/token/create", {})
    assert (answer.status, answer.json()["error_code"]) == (405, "BAD_REQUEST")
    assert answer.headers["allow"] == "POST"


def test_a_fault_of_ours_is_left_to_whoever_stands_before(world: Any) -> None:
    world.facts = type(world.facts)(
        **{name: getattr(world.facts, name) for name in world.facts.__struct_fields__ if name != "health"},
        health=lambda: json.loads("{"),
    )
    with pytest.raises(json.JSONDecodeError):
        world.call("GET", "/health")
