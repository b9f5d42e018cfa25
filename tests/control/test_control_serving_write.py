"""Endpoints made, changed and deleted through the API, up to what the store keeps and the snapshot serves."""

import json
from typing import Any

import pytest

from tesela.records import REFERRED_MAX

SERVING = "/api/2.0/serving-endpoints"
KEY = "sk-given-in-plain-and-never-shown"


def external(name: str = "gpt-4.1", task: str = "llm/v1/chat", **more: Any) -> dict[str, Any]:
    return {
        "external_model": {
            "name": name,
            "provider": "openai",
            "task": task,
            "openai_config": {"openai_api_key_plaintext": KEY, "openai_api_base": "http://127.0.0.1:9/v1"},
        },
        **more,
    }


def local(name: str = "tiny", **more: Any) -> dict[str, Any]:
    return {"entity_name": name, **more}


def asked(name: str = "mine", *entities: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "config": {"name": name, "served_entities": list(entities or [external()])}, **more}


def refused(answer: Any, code: str = "INVALID_PARAMETER_VALUE", status: int = 400) -> str:
    assert (answer.status, answer.json()["error_code"]) == (status, code), answer.body
    assert not set(answer.json()) & {"error", "detail", "status", "scimType"}
    assert KEY.encode() not in answer.body
    return str(answer.json()["message"])


def settle(world: Any, name: str = "mine") -> None:
    """The engines of the pending configuration are ready now."""
    kept = world.store.endpoints.get(name)
    assert world.store.endpoints.activate(kept.id, kept.pending_version)
    world._changed()


# Making.


@pytest.mark.parametrize("path", [SERVING, SERVING + "/"])
def test_an_external_model_serves_at_once(world: Any, path: str) -> None:
    made = world.call("POST", path, asked(description="ours", tags=[{"key": "team", "value": "x"}]))
    assert made.status == 200, made.body
    found = made.json()
    assert found["name"] == "mine"
    assert len(found["id"]) == 32
    assert found["state"] == {"ready": "READY", "config_update": "NOT_UPDATING"}
    assert (found["task"], found["endpoint_type"]) == ("llm/v1/chat", "EXTERNAL_MODEL")
    assert (found["description"], found["tags"]) == ("ours", [{"key": "team", "value": "x"}])
    assert (found["permission_level"], found["creator"]) == ("CAN_MANAGE", world.principal.name)
    assert found["endpoint_url"] == "http://tesela.test:8787/serving-endpoints/mine/invocations"
    assert found["route_optimized"] is False
    assert "data_plane_info" not in found
    assert "pending_config" not in found
    assert found["config"]["config_version"] == 1
    assert found["config"]["traffic_config"] == {
        "routes": [{"traffic_percentage": 100, "served_model_name": "gpt-4-1", "served_entity_name": "gpt-4-1"}]
    }
    entity = found["config"]["served_entities"][0]
    assert entity["name"] == "gpt-4-1"
    assert entity["state"] == {"deployment": "DEPLOYMENT_READY", "deployment_state_message": ""}
    assert entity["external_model"]["openai_config"] == {"openai_api_base": "http://127.0.0.1:9/v1"}
    assert world.changes == 1
    served = world.snapshot.endpoints["mine"]
    assert served.entities[0].upstream.headers == (("authorization", f"Bearer {KEY}"),)


def test_what_was_made_is_there_before_the_snapshot_knows_of_it(world: Any) -> None:
    made = world.call("POST", SERVING, asked()).json()
    # Another worker, which has not heard yet.
    old = world.built
    world.call("PATCH", f"{SERVING}/mine/tags", {"add_tags": [{"key": "a"}]})
    world.built = old
    assert world.call("GET", f"{SERVING}/mine").json()["tags"] == [{"key": "a"}]
    assert made["state"]["ready"] == "READY"
    assert "mine" in {one["name"] for one in world.call("GET", SERVING).json()["endpoints"]}


def test_a_local_model_waits_for_its_engine(world: Any) -> None:
    found = world.call("POST", SERVING, asked("mine", local("big", workload_size="Small"))).json()
    assert found["state"] == {"ready": "NOT_READY", "config_update": "IN_PROGRESS"}
    assert found["config"] == {"served_entities": [], "config_version": 0}
    pending = found["pending_config"]
    assert pending["start_time"] > 1_700_000_000_000
    assert pending["config_version"] == 1
    assert pending["served_entities"][0]["state"]["deployment"] == "DEPLOYMENT_CREATING"
    assert found["task"] == "llm/v1/chat"
    listed = {one["name"]: one for one in world.call("GET", SERVING).json()["endpoints"]}["mine"]
    assert listed["config"]["served_entities"][0]["entity_name"] == "big"
    kept = world.store.endpoints.get("mine")
    assert world.store.endpoints.fail(kept.id, kept.pending_version, "no such file")
    world._changed()
    failed = world.call("GET", f"{SERVING}/mine").json()
    assert failed["state"] == {"ready": "NOT_READY", "config_update": "UPDATE_FAILED"}
    assert failed["pending_config"]["served_entities"][0]["state"] == {
        "deployment": "DEPLOYMENT_FAILED",
        "deployment_state_message": "no such file",
    }


def test_a_local_model_that_got_ready_shows_itself(world: Any) -> None:
    world.call("POST", SERVING, asked("mine", local("tiny")))
    settle(world)
    found = world.call("GET", f"{SERVING}/mine").json()
    assert found["state"] == {"ready": "READY", "config_update": "NOT_UPDATING"}
    assert (found["endpoint_type"], found["task"]) == ("FOUNDATION_MODEL_API", "llm/v1/chat")
    entity = found["config"]["served_entities"][0]
    assert entity["foundation_model"]["name"] == "tiny"
    assert found["capabilities"]["streaming"] is True
    assert found["capabilities"]["reasoning"] is False
    world.engines["tiny"].status, world.engines["tiny"].message = "failed", "because"
    broken = world.call("GET", f"{SERVING}/mine").json()
    assert broken["state"]["ready"] == "NOT_READY"
    assert broken["config"]["served_entities"][0]["state"]["deployment_state_message"] == "because"


def test_keys_are_in_no_answer_and_not_in_the_database(world: Any) -> None:
    bearer = {"custom_provider_url": "http://127.0.0.1:9/v1", "bearer_token_auth": {"token_plaintext": KEY}}
    second = {"name": "m", "provider": "custom", "task": "llm/v1/chat", "custom_provider_config": bearer}
    body = asked("mine", external(), {"name": "second", "external_model": second})
    routes = [{"served_model_name": "gpt-4-1", "traffic_percentage": 100}]
    body["config"]["traffic_config"] = {"routes": routes}
    answers = [world.call("POST", SERVING, body), world.call("GET", f"{SERVING}/mine"), world.call("GET", SERVING)]
    answers.append(world.call("PUT", f"{SERVING}/mine/config", {"traffic_config": {"routes": routes}}))
    for answer in answers:
        assert answer.status == 200
        assert KEY.encode() not in answer.body
        assert b"plaintext" not in answer.body
        assert b"sealed" not in answer.body
    for file in world.store.home.glob("tesela.db*"):
        assert KEY.encode() not in file.read_bytes()
    # Traffic alone was changed, so the keys are still those that were given.
    assert world.snapshot.endpoints["mine"].entities[1].upstream.headers == (("authorization", f"Bearer {KEY}"),)


def test_the_older_form_is_read(world: Any) -> None:
    served = {"model_name": "big", "model_version": "3", "workload_size": "Small", "scale_to_zero_enabled": True}
    body = {"name": "old", "config": {"name": "old", "served_models": [served]}}
    found = world.call("POST", SERVING, body).json()
    entity = found["pending_config"]["served_entities"][0]
    assert (entity["name"], entity["entity_name"], entity["entity_version"]) == ("big-3", "big", "3")
    assert entity["scale_to_zero_enabled"] is True


@pytest.mark.parametrize("shares", [(30, 70), ("30", "70")])
def test_percentages_are_numbers_or_numbers_in_words(world: Any, shares: tuple[Any, Any]) -> None:
    body = asked("mine", external(), external(name="other"))
    names = ("gpt-4-1", "other")
    routes = [{"served_entity_name": n, "traffic_percentage": s} for n, s in zip(names, shares, strict=True)]
    body["config"]["traffic_config"] = {"routes": routes}
    found = world.call("POST", SERVING, body).json()
    assert [one["traffic_percentage"] for one in found["config"]["traffic_config"]["routes"]] == [30, 70]


def test_provisioned_throughput_has_paths_of_its_own(world: Any) -> None:
    body: dict[str, Any] = {
        "name": "pt",
        "config": {"served_entities": [{"entity_name": "big", "provisioned_model_units": 50}]},
    }
    made = world.call("POST", f"{SERVING}/pt", body)
    assert made.status == 200, made.body
    assert made.json()["pending_config"]["served_entities"][0]["provisioned_model_units"] == 50
    settle(world, "pt")
    body["config"]["served_entities"][0]["provisioned_model_units"] = "100"
    done = world.call("PUT", f"{SERVING}/pt/pt/config", {"config": body["config"]})
    assert done.json()["pending_config"]["served_entities"][0]["provisioned_model_units"] == 100
    del body["config"]["served_entities"][0]["provisioned_model_units"]
    assert "provisioned_model_units" in refused(world.call("POST", f"{SERVING}/pt", {**body, "name": "other"}))
    assert "config:" in refused(world.call("PUT", f"{SERVING}/pt/pt/config", {"served_entities": []}))


def test_a_route_optimised_endpoint_tells_what_to_ask_a_token_for(world: Any) -> None:
    found = world.call("POST", SERVING, asked(route_optimized=True)).json()
    assert found["route_optimized"] is True
    query = found["data_plane_info"]["query_info"]
    assert query["endpoint_url"] == found["endpoint_url"]
    assert json.loads(query["authorization_details"]) == [
        {
            "type": "workspace_permission",
            "object_type": "serving-endpoints",
            "object_path": f"/serving-endpoints/{found['id']}",
            "actions": ["query_inference_endpoint"],
        }
    ]


def test_legacy_capture_is_kept_and_shown(world: Any) -> None:
    body = asked()
    body["config"]["auto_capture_config"] = {"catalog_name": "c", "schema_name": "s", "enabled": True}
    found = world.call("POST", SERVING, body).json()
    assert found["config"]["auto_capture_config"] == {"catalog_name": "c", "schema_name": "s", "enabled": True}
    done = world.call("PUT", f"{SERVING}/mine/config", {"served_entities": [external(name="new")]}).json()
    assert done["config"]["auto_capture_config"]["catalog_name"] == "c"


def test_fields_that_nobody_knows_are_left_out(world: Any) -> None:
    body = asked("mine", external(from_the_future=1), from_the_future={"a": 1})
    found = world.call("POST", SERVING, body)
    assert found.status == 200
    assert b"from_the_future" not in found.body


# Changing.


def test_a_new_configuration_takes_over(world: Any) -> None:
    world.call("POST", SERVING, asked())
    done = world.call("PUT", f"{SERVING}/mine/config", {"served_entities": [external(name="gpt-5", name_=1)]}).json()
    assert (done["config"]["config_version"], done["config"]["served_entities"][0]["name"]) == (2, "gpt-5")
    assert done["state"]["config_update"] == "NOT_UPDATING"
    assert world.snapshot.endpoints["mine"].entities[0].upstream.model == "gpt-5"


def test_the_old_configuration_serves_until_the_new_one_is_ready(world: Any) -> None:
    world.call("POST", SERVING, asked("mine", local("tiny")))
    settle(world)
    done = world.call("PUT", f"{SERVING}/mine/config", {"served_entities": [local("big")]}).json()
    assert done["state"] == {"ready": "READY", "config_update": "IN_PROGRESS"}
    assert done["config"]["served_entities"][0]["entity_name"] == "tiny"
    assert done["pending_config"]["served_entities"][0]["entity_name"] == "big"
    assert world.snapshot.endpoints["mine"].entities[0].upstream.model == "tiny"
    again = world.call("PUT", f"{SERVING}/mine/config", {"served_entities": [local("tiny")]})
    assert "under way" in refused(again, "RESOURCE_CONFLICT", 409)
    kept = world.store.endpoints.get("mine")
    world.store.endpoints.fail(kept.id, kept.pending_version, "no room")
    world._changed()
    failed = world.call("GET", f"{SERVING}/mine").json()
    assert failed["state"] == {"ready": "READY", "config_update": "UPDATE_FAILED"}
    assert "pending_config" not in failed
    assert "no room" in failed["config"]["served_entities"][0]["state"]["deployment_state_message"]


def test_traffic_is_kept_as_long_as_it_names_the_same_entities(world: Any) -> None:
    body = asked("mine", external(), external(name="other"))
    routes = [{"served_model_name": "gpt-4-1", "traffic_percentage": 100}]
    body["config"]["traffic_config"] = {"routes": routes}
    world.call("POST", SERVING, body)
    done = world.call("PUT", f"{SERVING}/mine/config", {"served_entities": [external(), external(name="other")]})
    assert done.json()["config"]["traffic_config"]["routes"][0]["traffic_percentage"] == 100
    assert "traffic_config" in refused(
        world.call("PUT", f"{SERVING}/mine/config", {"served_entities": [external(), external(name="third")]})
    )
    assert "served_entities" in refused(world.call("PUT", f"{SERVING}/mine/config", {}))


def test_external_stays_external_and_local_stays_local(world: Any) -> None:
    world.call("POST", SERVING, asked())
    told = refused(world.call("PUT", f"{SERVING}/mine/config", {"served_entities": [local()]}))
    assert "made with external models" in told
    world.call("POST", SERVING, asked("own", local()))
    settle(world, "own")
    told = refused(world.call("PUT", f"{SERVING}/own/config", {"served_entities": [external()]}))
    assert "made without external models" in told


def test_deleting_answers_json_and_is_final(world: Any) -> None:
    made = world.call("POST", SERVING, asked()).json()
    answer = world.call("DELETE", f"{SERVING}/mine")
    assert (answer.status, answer.json()) == (200, {})
    assert "mine" not in world.snapshot.endpoints
    assert world.call("GET", f"{SERVING}/mine").status == 404
    assert refused(world.call("DELETE", f"{SERVING}/mine"), "RESOURCE_DOES_NOT_EXIST", 404)
    assert world.call("POST", SERVING, asked()).json()["id"] != made["id"]


# Who may.


def test_everybody_may_make_an_endpoint_and_manages_it_then(world: Any) -> None:
    world.somebody()
    assert world.call("POST", SERVING, asked()).json()["permission_level"] == "CAN_MANAGE"
    assert world.call("PATCH", f"{SERVING}/mine/tags", {"add_tags": [{"key": "a"}]}).status == 200
    listed = {one["name"] for one in world.call("GET", SERVING).json()["endpoints"]}
    assert "mine" in listed
    assert "gpt" not in listed
    assert world.call("DELETE", f"{SERVING}/mine").status == 200


CHANGES: list[tuple[str, str, Any]] = [
    ("DELETE", "", None),
    ("PUT", "/config", {"served_entities": [external()]}),
    ("PUT", "/ai-gateway", {}),
    ("PUT", "/rate-limits", {"rate_limits": []}),
    ("PATCH", "/tags", {"add_tags": [{"key": "a"}]}),
    ("PATCH", "/notifications", {}),
    ("PATCH", "/telemetry-config", {}),
    ("GET", "/served-models/gpt-4-1/logs", None),
    ("GET", "/served-models/gpt-4-1/build-logs", None),
]


@pytest.mark.parametrize("level", ["CAN_VIEW", "CAN_QUERY", None])
@pytest.mark.parametrize(("method", "tail", "body"), CHANGES)
def test_changing_needs_can_manage(world: Any, level: str | None, method: str, tail: str, body: Any) -> None:
    world.call("POST", SERVING, asked())
    before = world.store.endpoints.get("mine")
    if level is None:
        world.somebody()
        assert refused(world.call("GET", f"{SERVING}/mine"), "PERMISSION_DENIED", 403)
        listed = {one["name"] for one in world.call("GET", SERVING).json()["endpoints"]}
        assert not {"mine", "gpt"} & listed
    else:
        world.somebody("mine", level=level)
        assert world.call("GET", f"{SERVING}/mine").json()["permission_level"] == level
    assert refused(world.call(method, f"{SERVING}/mine{tail}", body), "PERMISSION_DENIED", 403)
    assert world.store.endpoints.get("mine") == before


@pytest.mark.parametrize(("method", "tail", "body"), CHANGES[:7])
@pytest.mark.parametrize(("name", "says"), [("gpt", "'gpt' comes from tesela.yaml"), ("tiny", "'tiny' is built in")])
def test_what_the_store_does_not_keep_is_not_changed(
    world: Any, method: str, tail: str, body: Any, name: str, says: str
) -> None:
    told = refused(world.call(method, f"{SERVING}/{name}{tail}", body), "BAD_REQUEST")
    assert says in told
    assert world.store.endpoints.list() == ()


def test_the_environment_of_a_model_is_shown_to_its_managers(world: Any) -> None:
    world.call("POST", SERVING, asked("mine", local("tiny", environment_vars={"A": "b"})))
    settle(world)
    entity = world.call("GET", f"{SERVING}/mine").json()["config"]["served_entities"][0]
    assert entity["environment_vars"] == {"A": "b"}
    world.somebody("mine")
    assert b"environment_vars" not in world.call("GET", f"{SERVING}/mine").body


# Secrets.


def referring(to: str) -> dict[str, Any]:
    entity = external()
    entity["external_model"]["openai_config"] = {"openai_api_key": to, "openai_api_base": "http://127.0.0.1:9/v1"}
    return entity


def test_a_key_can_be_a_secret(world: Any) -> None:
    by = world.principal
    world.store.secrets.create_scope(actor_of(by), "llm")
    world.store.secrets.put(actor_of(by), "llm", "openai", KEY.encode())
    found = world.call("POST", SERVING, asked("mine", referring("{{secrets/llm/openai}}")))
    assert found.status == 200, found.body
    entity = found.json()["config"]["served_entities"][0]
    assert entity["external_model"]["openai_config"]["openai_api_key"] == "{{secrets/llm/openai}}"
    assert KEY.encode() not in found.body
    assert world.snapshot.endpoints["mine"].entities[0].upstream.headers == (("authorization", f"Bearer {KEY}"),)


def test_a_secret_that_goes_away_breaks_the_endpoint_and_no_other(world: Any) -> None:
    by = actor_of(world.principal)
    world.store.secrets.create_scope(by, "llm")
    world.store.secrets.put(by, "llm", "openai", KEY.encode())
    # Names of secrets are found in any case.
    assert world.call("POST", SERVING, asked("mine", referring("{{secrets/LLM/OpenAI}}"))).status == 200
    world.call("POST", SERVING, asked("other"))
    assert world.snapshot.endpoints["mine"].entities[0].upstream.headers == (("authorization", f"Bearer {KEY}"),)
    world.store.secrets.delete(by, "llm", "openai")
    world._changed()
    broken = world.call("GET", f"{SERVING}/mine").json()
    assert broken["state"] == {"ready": "NOT_READY", "config_update": "NOT_UPDATING"}
    state = broken["config"]["served_entities"][0]["state"]
    assert state["deployment"] == "DEPLOYMENT_FAILED"
    assert "'OpenAI'" in state["deployment_state_message"]
    assert world.call("GET", f"{SERVING}/other").json()["state"]["ready"] == "READY"
    assert world.call("DELETE", f"{SERVING}/mine").status == 200


def test_a_secret_must_be_there_and_readable(world: Any) -> None:
    by = actor_of(world.principal)
    path = "config.served_entities[0].external_model.openai_config.openai_api_key"
    told = refused(world.call("POST", SERVING, asked("mine", referring("{{secrets/llm/openai}}"))))
    assert told.startswith(path)
    assert "'llm'" in told
    world.store.secrets.create_scope(by, "llm")
    told = refused(world.call("POST", SERVING, asked("mine", referring("{{secrets/llm/openai}}"))))
    assert "'openai'" in told
    world.store.secrets.put(by, "llm", "openai", KEY.encode())
    world.store.secrets.put(by, "llm", "bytes", b"\xff")
    assert "not text" in refused(world.call("POST", SERVING, asked("mine", referring("{{secrets/llm/bytes}}"))))
    world.store.secrets.put(by, "llm", "long", b"x" * (REFERRED_MAX + 1))
    assert "8192 at most" in refused(world.call("POST", SERVING, asked("mine", referring("{{secrets/llm/long}}"))))
    world.somebody()
    told = refused(
        world.call("POST", SERVING, asked("mine", referring("{{secrets/llm/openai}}"))), "PERMISSION_DENIED", 403
    )
    assert "READ" in told
    assert world.store.endpoints.list() == ()


def test_only_keys_are_secrets(world: Any) -> None:
    """What a message may repeat must not be one."""
    by = actor_of(world.principal)
    world.store.secrets.create_scope(by, "llm")
    world.store.secrets.put(by, "llm", "openai", KEY.encode())
    for field in ("openai_api_base", "openai_api_type", "openai_organization"):
        body = asked()
        body["config"]["served_entities"][0]["external_model"]["openai_config"][field] = "{{secrets/llm/openai}}"
        told = refused(world.call("POST", SERVING, body))
        assert told.startswith(f"config.served_entities[0].external_model.openai_config.{field}: is shown")
    body = asked()
    body["config"]["served_entities"][0]["external_model"]["openai_config"] = {
        "openai_api_key_plaintext": "{{secrets/llm/openai}}"
    }
    assert "belongs into 'openai_api_key'" in refused(world.call("POST", SERVING, body))


def test_the_environment_of_the_server_is_not_for_callers(world: Any) -> None:
    told = refused(world.call("POST", SERVING, asked("mine", referring("env:SECRET"))))
    assert "env:SECRET" in told
    body = asked()
    body["config"]["served_entities"][0]["external_model"]["openai_config"]["openai_api_base"] = "env:SECRET"
    assert "env:SECRET" in refused(world.call("POST", SERVING, body))


def test_the_keys_of_the_servers_machine_are_not_for_callers(world: Any) -> None:
    body = asked()
    arn = "arn:aws:iam::123456789012:instance-profile/serving"
    body["config"]["served_entities"][0]["external_model"] = {
        "name": "amazon.nova-lite-v1:0", "provider": "amazon-bedrock", "task": "llm/v1/chat",
        "amazon_bedrock_config": {"aws_region": "us-east-1", "instance_profile_arn": arn},
    }  # fmt: skip
    told = refused(world.call("POST", SERVING, body))
    assert "instance_profile_arn: would use the keys of the server's own machine" in told
    assert world.store.endpoints.list() == ()


def actor_of(principal: Any) -> Any:
    from tesela.records import Actor

    return Actor(principal.id, principal.name)
