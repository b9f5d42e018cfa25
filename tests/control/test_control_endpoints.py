"""Endpoints of the file and built-in ones as clients read them, and the refusals when they try to change one."""

from typing import Any

import pytest

from tesela.records import SYSTEM

SERVING = "/api/2.0/serving-endpoints"


@pytest.mark.parametrize("path", [SERVING, SERVING + "/"])
def test_the_list_has_every_endpoint_in_the_thin_shape(world: Any, path: str) -> None:
    answer = world.call("GET", path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    found = {one["name"]: one for one in answer.json()["endpoints"]}
    assert {"gpt", "tiny", "mini", "databricks-dbrx-instruct", "databricks-gte-large-en"} <= set(found)
    gpt = found["gpt"]
    assert gpt["state"] == {"ready": "READY", "config_update": "NOT_UPDATING"}
    assert gpt["endpoint_type"] == "EXTERNAL_MODEL"
    assert set(gpt["config"]) == {"served_entities", "traffic_config"}
    assert gpt["source"] == "file"
    assert found["databricks-dbrx-instruct"]["source"] == "built-in"
    assert set(gpt["config"]["served_entities"][0]) == {"name", "external_model"}
    assert "permission_level" not in gpt
    assert found["tiny"]["config"]["served_entities"][0]["foundation_model"]["name"] == "tiny"


def test_one_endpoint_in_the_full_shape(world: Any) -> None:
    gpt = world.call("GET", f"{SERVING}/gpt").json()
    assert gpt["task"] == "llm/v1/chat"
    assert gpt["description"] == "ours"
    assert gpt["tags"] == [{"key": "team", "value": "x"}]
    assert gpt["ai_gateway"] == {"fallback_config": {"enabled": True}}
    assert gpt["permission_level"] == "CAN_MANAGE"
    assert gpt["route_optimized"] is False
    assert gpt["endpoint_url"] == "http://tesela.test:8787/serving-endpoints/gpt/invocations"
    assert gpt["config"]["config_version"] == 1
    assert gpt["config"]["traffic_config"]["routes"] == [
        {"served_model_name": "gpt-4-1", "served_entity_name": "gpt-4-1", "traffic_percentage": 100},
        {"served_model_name": "second", "served_entity_name": "second", "traffic_percentage": 0},
    ]
    first, second = gpt["config"]["served_entities"]
    assert first["name"] == "gpt-4-1"
    assert first["external_model"] == {
        "name": "gpt-4.1",
        "provider": "openai",
        "task": "llm/v1/chat",
        "openai_config": {},
    }
    assert first["state"] == {"deployment": "DEPLOYMENT_READY", "deployment_state_message": ""}
    assert second["external_model"]["custom_provider_config"]["api_key_auth"] == {"key": "x-key", "value": "env:SECRET"}
    assert gpt["creation_timestamp"] > 1_700_000_000_000


def test_the_id_is_32_digits_stays_the_same_and_differs_between_names(world: Any) -> None:
    first = world.call("GET", f"{SERVING}/gpt").json()["id"]
    assert len(first) == 32
    assert int(first, 16) > 0
    assert world.call("GET", f"{SERVING}/gpt").json()["id"] == first
    assert world.call("GET", f"{SERVING}/tiny").json()["id"] != first


def test_no_secret_is_in_any_answer(world: Any, key: str) -> None:
    names = [one["name"] for one in world.call("GET", SERVING).json()["endpoints"]]
    for path in [SERVING, "/api/2.0/endpoints/", *(f"{SERVING}/{name}" for name in names)]:
        assert key.encode() not in world.call("GET", path).body


def test_a_borrowed_name_says_what_really_answers(world: Any) -> None:
    dbrx = world.call("GET", f"{SERVING}/databricks-dbrx-instruct").json()
    assert dbrx["description"] == "Answered by tiny, a 135M model that runs here; it is not DBRX Instruct."
    assert dbrx["config"]["served_entities"][0]["entity_name"] == "tiny"
    assert dbrx["endpoint_type"] == "FOUNDATION_MODEL_API"
    gte = world.call("GET", f"{SERVING}/databricks-gte-large-en").json()
    assert gte["description"].endswith("Its vectors have 384 dimensions, not 1024.")
    assert gte["task"] == "llm/v1/embeddings"


@pytest.mark.parametrize(
    ("status", "deployment", "ready"),
    [
        ("starting", "DEPLOYMENT_CREATING", "NOT_READY"),
        ("ready", "DEPLOYMENT_READY", "READY"),
        ("restarting", "DEPLOYMENT_RECOVERING", "NOT_READY"),
        ("failed", "DEPLOYMENT_FAILED", "NOT_READY"),
        ("stopped", "DEPLOYMENT_ABORTED", "NOT_READY"),
    ],
)
def test_an_endpoint_is_as_ready_as_its_engine(world: Any, status: str, deployment: str, ready: str) -> None:
    world.engines["tiny"].status = status
    world.engines["tiny"].message = "because"
    tiny = world.call("GET", f"{SERVING}/tiny").json()
    assert tiny["state"] == {"ready": ready, "config_update": "NOT_UPDATING"}
    assert tiny["config"]["served_entities"][0]["state"] == {
        "deployment": deployment,
        "deployment_state_message": "because",
    }
    assert world.call("GET", f"{SERVING}/mini").json()["state"]["ready"] == "READY"


def test_who_is_no_admin_sees_what_they_were_granted(world: Any) -> None:
    def seen(path: str) -> set[str]:
        return {one["name"] for one in world.call("GET", path).json()["endpoints"]}

    everything = set(world.snapshot.endpoints)
    world.somebody()
    assert seen(SERVING) == seen("/api/2.0/endpoints/") == everything - {"gpt"}
    assert world.call("GET", f"{SERVING}/tiny").json()["permission_level"] == "CAN_QUERY"
    refused = world.call("GET", f"{SERVING}/gpt")
    assert (refused.status, refused.json()["error_code"]) == (403, "PERMISSION_DENIED")
    world.somebody("gpt")
    assert seen(SERVING) == seen("/api/2.0/endpoints/") == everything
    assert world.call("GET", f"{SERVING}/gpt").json()["permission_level"] == "CAN_QUERY"


def test_what_comes_with_the_server_is_everybodys_until_an_admin_says_otherwise(world: Any) -> None:
    tiny = world.snapshot.endpoints["tiny"].id
    path = f"/api/2.0/permissions/serving-endpoints/{tiny}"

    def held() -> dict[str, str]:
        lines = world.call("GET", path).json()["access_control_list"]
        return {
            line.get("group_name") or line["user_name"]: line["all_permissions"][0]["permission_level"]
            for line in lines
        }

    assert held() == {"users": "CAN_QUERY", "admins": "CAN_MANAGE"}
    world.somebody()
    somebody = world.principal
    world.principal = world.admin
    more = {"access_control_list": [{"user_name": somebody.name, "permission_level": "CAN_MANAGE"}]}
    assert world.call("PATCH", path, more).status == 200
    assert held() == {"users": "CAN_QUERY", "admins": "CAN_MANAGE", somebody.name: "CAN_MANAGE"}
    assert world.call("PUT", path, {"access_control_list": []}).status == 200
    assert held() == {"admins": "CAN_MANAGE"}
    world.principal = somebody
    assert world.call("GET", f"{SERVING}/tiny").status == 403
    assert world.call("GET", f"{SERVING}/mini").status == 200


def test_what_an_admin_has_closed_does_not_open_when_the_last_who_may_is_deleted(world: Any) -> None:
    path = f"/api/2.0/permissions/serving-endpoints/{world.snapshot.endpoints['tiny'].id}"
    only = world.store.identities.create(SYSTEM, "user", "only@example.com")
    may = {"access_control_list": [{"user_name": only.name, "permission_level": "CAN_QUERY"}]}
    assert world.call("PUT", path, may).status == 200
    world.store.identities.delete(SYSTEM, only.id)
    world.somebody()
    assert world.call("GET", f"{SERVING}/tiny").status == 403


def test_an_endpoint_that_is_not_there(world: Any) -> None:
    answer = world.call("GET", f"{SERVING}/nothing")
    assert (answer.status, answer.json()["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert "'nothing'" in answer.json()["message"]


CHANGES = [
    ("DELETE", ""),
    ("PUT", "/config"),
    ("PUT", "/ai-gateway"),
    ("PUT", "/rate-limits"),
    ("PATCH", "/tags"),
    ("PATCH", "/notifications"),
    ("PATCH", "/telemetry-config"),
]


@pytest.mark.parametrize(("method", "tail"), CHANGES)
def test_changes_are_refused_with_the_file_to_edit(world: Any, method: str, tail: str) -> None:
    answer = world.call(method, f"{SERVING}/gpt{tail}", {"served_entities": []})
    assert (answer.status, answer.json()["error_code"]) == (400, "BAD_REQUEST")
    assert "'gpt' comes from tesela.yaml" in answer.json()["message"]
    built_in = world.call(method, f"{SERVING}/tiny{tail}", {})
    assert "'tiny' is built in" in built_in.json()["message"]
    assert world.call(method, f"{SERVING}/nothing{tail}", {}).status == 404


@pytest.mark.parametrize("level", ["CAN_VIEW", "CAN_QUERY", "CAN_MANAGE"])
def test_the_level_is_the_callers_own(world: Any, level: str) -> None:
    world.somebody("gpt", level=level)
    assert world.call("GET", f"{SERVING}/gpt").json()["permission_level"] == level
    refused = world.call("DELETE", f"{SERVING}/gpt")
    assert refused.status == (400 if level == "CAN_MANAGE" else 403)


def test_mlflows_gateway_reads_its_own_shape(world: Any) -> None:
    found = {one["name"]: one for one in world.call("GET", "/api/2.0/endpoints/").json()["endpoints"]}
    assert found["gpt"] == {
        "name": "gpt",
        "endpoint_type": "llm/v1/chat",
        "model": {"name": "gpt-4.1", "provider": "openai"},
        "endpoint_url": "/endpoints/gpt/invocations",
        "limit": None,
    }
    assert world.call("GET", "/api/2.0/endpoints/mini").json()["model"] == {"name": "mini", "provider": "tesela"}
    assert world.call("GET", "/api/2.0/endpoints/nothing").status == 404
