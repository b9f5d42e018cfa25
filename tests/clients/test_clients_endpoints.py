"""Endpoints made, changed, read and deleted by the Databricks SDK and by MLflow, with their own methods.

The external model behind them is this server's own `echo`, asked over HTTP with a key like any other provider's.
"""

import json
import re
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
import requests
from databricks.sdk import errors as sdk_errors
from databricks.sdk.service.serving import (
    AiGatewayConfig,
    AiGatewayRateLimit,
    AiGatewayRateLimitRenewalPeriod,
    AiGatewayUsageTrackingConfig,
    AutoCaptureConfigInput,
    BearerTokenAuth,
    ChatMessage,
    ChatMessageRole,
    CustomProviderConfig,
    EmailNotifications,
    EndpointCoreConfigInput,
    EndpointStateConfigUpdate,
    EndpointStateReady,
    EndpointTag,
    ExternalModel,
    ExternalModelProvider,
    FallbackConfig,
    PtEndpointCoreConfig,
    PtServedModel,
    RateLimit,
    RateLimitKey,
    RateLimitRenewalPeriod,
    Route,
    ServedEntityInput,
    ServedModelInput,
    ServingEndpointDetailedPermissionLevel,
    TelemetryConfig,
    TelemetryInferenceTableConfig,
    TrafficConfig,
)

HELLO = [ChatMessage(role=ChatMessageRole.USER, content="hi")]
LOCAL = "smollm2-135m-instruct"
SERVING = "/api/2.0/serving-endpoints"


@pytest.fixture
def name(workspace: Any) -> Iterator[str]:
    """A name of its own for each test; what was made under it is deleted."""
    made = f"made-{uuid4().hex[:12]}"
    yield made
    if made in {one.name for one in workspace.serving_endpoints.list()}:
        workspace.serving_endpoints.delete(made)


def echo(server: Any, served: str = "echo", **more: Any) -> ServedEntityInput:
    settings = CustomProviderConfig(
        custom_provider_url=server.host + "/serving-endpoints",
        bearer_token_auth=BearerTokenAuth(token_plaintext=server.access_token),
    )
    model = ExternalModel(
        name="echo", provider=ExternalModelProvider.CUSTOM, task="llm/v1/chat", custom_provider_config=settings
    )
    return ServedEntityInput(name=served, external_model=model, **more)


def config(name: str, *entities: ServedEntityInput, traffic: TrafficConfig | None = None) -> EndpointCoreConfigInput:
    return EndpointCoreConfigInput(name=name, served_entities=list(entities), traffic_config=traffic)


def split(**shares: int) -> TrafficConfig:
    return TrafficConfig(
        routes=[Route(served_model_name=one, traffic_percentage=share) for one, share in shares.items()]
    )


def answered(workspace: Any, name: str) -> str:
    """What the endpoint answers, once every worker has heard of it: within a second."""
    until = time.monotonic() + 1.0
    while True:
        try:
            found = workspace.serving_endpoints.query(name, messages=HELLO)
        except sdk_errors.NotFound:
            if time.monotonic() > until:
                raise
        else:
            return str(found.choices[0].message.content)


def test_an_endpoint_on_an_external_model(server: Any, workspace: Any, name: str) -> None:
    api = workspace.serving_endpoints
    made = api.create_and_wait(
        name, config=config(name, echo(server)), tags=[EndpointTag("team", "x")], description="ours"
    )
    assert made.state.config_update is EndpointStateConfigUpdate.NOT_UPDATING
    assert made.state.ready is EndpointStateReady.READY
    assert made.permission_level is ServingEndpointDetailedPermissionLevel.CAN_MANAGE
    assert (made.name, made.task, made.description) == (name, "llm/v1/chat", "ours")
    assert made.config.config_version == 1
    assert (
        made.config.served_entities[0].external_model.custom_provider_config.bearer_token_auth.token_plaintext is None
    )
    assert made.config.traffic_config.routes[0].traffic_percentage == 100
    assert answered(workspace, name)
    listed = {one.name: one for one in api.list()}[name]
    assert (listed.id, listed.config.served_entities[0].external_model.name) == (made.id, "echo")
    assert api.get(name).as_dict() == made.as_dict()
    api.delete(name)
    with pytest.raises(sdk_errors.NotFound):
        api.get(name)


def test_a_new_configuration_takes_over(server: Any, workspace: Any, name: str) -> None:
    api = workspace.serving_endpoints
    api.create(name, config=config(name, echo(server, "one")))
    done = api.update_config_and_wait(
        name, served_entities=[echo(server, "one"), echo(server, "two")], traffic_config=split(one=30, two=70)
    )
    assert [one.name for one in done.config.served_entities] == ["one", "two"]
    assert (done.config.config_version, done.pending_config) == (2, None)
    shares = {one.served_entity_name: one.traffic_percentage for one in done.config.traffic_config.routes}
    assert shares == {"one": 30, "two": 70}
    moved = api.update_config_and_wait(name, traffic_config=split(one=100, two=0))
    assert moved.config.config_version == 3
    assert answered(workspace, name)


def test_a_local_model_by_name(workspace: Any, name: str) -> None:
    api = workspace.serving_endpoints
    made = api.create_and_wait(name, config=config(name, ServedEntityInput(entity_name=LOCAL)))
    assert made.state.ready is EndpointStateReady.READY
    assert made.config.served_entities[0].foundation_model.name == LOCAL
    assert answered(workspace, name)
    logs = api.logs(name, made.config.served_entities[0].name).logs
    assert logs
    assert logs in api.build_logs(name, made.config.served_entities[0].name).logs
    figures = api.export_metrics(name).contents.read().decode()
    assert figures.endswith("# EOF\n")
    assert "mem_usage_bytes{" in figures
    counted = re.search(r"^request_count_total\{.*\} ([0-9]+)$", figures, re.MULTILINE)
    assert counted is not None
    assert int(counted[1]) >= 1


def test_the_older_form_of_served_entities(workspace: Any, name: str) -> None:
    served = ServedModelInput(model_name=LOCAL, model_version="1", scale_to_zero_enabled=False, workload_size="Small")
    waiting = workspace.serving_endpoints.create(name, config=EndpointCoreConfigInput(name, served_models=[served]))
    assert waiting.response.state.config_update is EndpointStateConfigUpdate.IN_PROGRESS
    assert waiting.response.pending_config.start_time > 1_700_000_000_000
    pending = waiting.response.pending_config.served_entities[0]
    assert (pending.entity_name, pending.entity_version) == (LOCAL, "1")
    with pytest.raises(sdk_errors.ResourceConflict, match="under way"):
        workspace.serving_endpoints.update_config(name, served_entities=[ServedEntityInput(entity_name=LOCAL)])
    assert waiting.result().config.served_entities[0].name == f"{LOCAL}-1"


def test_provisioned_throughput(workspace: Any, name: str) -> None:
    api = workspace.serving_endpoints
    wanted = PtEndpointCoreConfig(served_entities=[PtServedModel(entity_name=LOCAL, provisioned_model_units=20)])
    made = api.create_provisioned_throughput_endpoint_and_wait(name, wanted)
    assert made.config.served_entities[0].provisioned_model_units == 20
    assert answered(workspace, name)
    wanted.served_entities[0].provisioned_model_units = 10
    done = api.update_provisioned_throughput_endpoint_config_and_wait(name, wanted)
    assert done.config.served_entities[0].provisioned_model_units == 10


def test_a_model_that_is_not_there_is_refused_with_those_that_are(workspace: Any, name: str) -> None:
    with pytest.raises(sdk_errors.InvalidParameterValue, match=LOCAL):
        workspace.serving_endpoints.create(name, config=config(name, ServedEntityInput(entity_name="nothing")))


def test_what_an_endpoint_has_beside_its_configuration(server: Any, workspace: Any, name: str) -> None:
    api = workspace.serving_endpoints
    api.create(name, config=config(name, echo(server)), tags=[EndpointTag("a", "1"), EndpointTag("b")])
    tags = api.patch(name, add_tags=[EndpointTag("c", "3")], delete_tags=["a"]).tags
    assert [(one.key, one.value) for one in tags] == [("b", None), ("c", "3")]
    limits = [RateLimit(calls=5, renewal_period=RateLimitRenewalPeriod.MINUTE, key=RateLimitKey.USER)]
    assert api.put(name, rate_limits=limits).rate_limits == limits
    mails = EmailNotifications(on_update_success=["a@example.com"])
    assert api.update_notifications(name, email_notifications=mails).email_notifications == mails
    gateway = AiGatewayConfig(
        fallback_config=FallbackConfig(True),
        usage_tracking_config=AiGatewayUsageTrackingConfig(True),
        rate_limits=[AiGatewayRateLimit(AiGatewayRateLimitRenewalPeriod.MINUTE, calls=9)],
    )
    told = api.put_ai_gateway(
        name,
        fallback_config=gateway.fallback_config,
        usage_tracking_config=gateway.usage_tracking_config,
        rate_limits=gateway.rate_limits,
    )
    assert told.as_dict() == gateway.as_dict()
    telemetry = TelemetryConfig(inference_table_config=TelemetryInferenceTableConfig(sampling_fraction=0.5))
    assert api.patch_telemetry_config(name, telemetry_config=telemetry).telemetry_config == telemetry
    found = api.get(name)
    assert (found.ai_gateway, found.email_notifications, found.telemetry_config) == (gateway, mails, telemetry)
    assert found.tags == tags
    assert found.config.config_version == 1


def test_legacy_capture_and_route_optimisation(server: Any, workspace: Any, name: str) -> None:
    wanted = config(name, echo(server))
    wanted.auto_capture_config = AutoCaptureConfigInput(catalog_name="c", schema_name="s", enabled=True)
    made = workspace.serving_endpoints.create_and_wait(name, config=wanted, route_optimized=True)
    assert made.config.auto_capture_config.catalog_name == "c"
    query = made.data_plane_info.query_info
    assert query.endpoint_url == f"{server.host}/serving-endpoints/{name}/invocations"
    assert json.loads(query.authorization_details)[0]["object_path"] == f"/serving-endpoints/{made.id}"


def test_the_openapi_document_describes_the_query(server: Any, workspace: Any, name: str) -> None:
    workspace.serving_endpoints.create(name, config=config(name, echo(server, "one")))
    found = json.loads(workspace.serving_endpoints.get_open_api(name).contents.read())
    assert found["openapi"] == "3.1.0"
    answered(workspace, name)
    url = found["servers"][0]["url"] + next(iter(found["paths"]))
    told = requests.post(
        url,
        json={"messages": [{"role": "user", "content": "hi"}]},
        headers={"Authorization": f"Bearer {server.access_token}"},
        timeout=30,
    )
    assert told.status_code == 200


def test_names_that_are_taken_or_not_ours(server: Any, workspace: Any, name: str) -> None:
    api = workspace.serving_endpoints
    api.create(name, config=config(name, echo(server)))
    for taken in (name, "echo", LOCAL):
        with pytest.raises(sdk_errors.ResourceAlreadyExists):
            api.create(taken, config=config(taken, echo(server)))
    with pytest.raises(sdk_errors.InvalidParameterValue, match="databricks-"):
        api.create("databricks-mine", config=config("databricks-mine", echo(server)))
    with pytest.raises(sdk_errors.BadRequest, match="comes from"):
        api.delete("echo")
    with pytest.raises(sdk_errors.InvalidParameterValue, match="add up to 90"):
        api.update_config(
            name, served_entities=[echo(server, "one"), echo(server, "two")], traffic_config=split(one=20, two=70)
        )
    assert [one.name for one in api.get(name).config.served_entities] == ["echo"]


def test_making_one_is_quick(server: Any, workspace: Any) -> None:
    """The median of some, as a client sees it.  The aim is 50 ms on a machine that does nothing else."""
    names = [f"quick-{uuid4().hex[:12]}" for _ in range(11)]
    took = []
    for one in names:
        began = time.perf_counter()
        workspace.serving_endpoints.create(one, config=config(one, echo(server)))
        took.append(time.perf_counter() - began)
    for one in names:
        workspace.serving_endpoints.delete(one)
    assert sorted(took)[5] < 0.5


# MLflow.


def entity(server: Any, served: str) -> dict[str, Any]:
    return echo(server, served).as_dict()


def test_mlflow_makes_changes_and_deletes(server: Any, mlflow: Any, name: str) -> None:
    made = mlflow.create_endpoint(
        name=name,
        config={
            "served_entities": [entity(server, "one")],
            "tags": [{"key": "team", "value": "x"}],
            "rate_limits": [{"calls": 5, "key": "user", "renewal_period": "minute"}],
        },
    )
    assert (made["name"], made["tags"]) == (name, [{"key": "team", "value": "x"}])
    done = mlflow.update_endpoint(endpoint=name, config={"served_entities": [entity(server, "two")]})
    assert done["config"]["served_entities"][0]["name"] == "two"
    limits = [{"calls": 7, "key": "endpoint", "renewal_period": "minute"}]
    assert mlflow.update_endpoint(endpoint=name, config={"rate_limits": limits})["rate_limits"][0]["calls"] == 7
    assert mlflow.get_endpoint(name)["config"]["config_version"] == 2
    assert name in {one["name"] for one in mlflow.list_endpoints()}
    assert mlflow.delete_endpoint(name) == {}
    assert name not in {one["name"] for one in mlflow.list_endpoints()}


def test_mlflow_takes_a_whole_payload_and_changes_its_parts(server: Any, mlflow: Any, name: str) -> None:
    made = mlflow.create_endpoint(
        config={"name": name, "config": {"served_entities": [entity(server, "one")]}, "route_optimized": False}
    )
    assert made["state"] == {"ready": "READY", "config_update": "NOT_UPDATING"}
    tags = mlflow.update_endpoint_tags(endpoint=name, config={"add_tags": [{"key": "a"}]})
    assert tags == {"tags": [{"key": "a"}]}
    gateway = {"usage_tracking_config": {"enabled": True}}
    assert mlflow.update_endpoint_ai_gateway(endpoint=name, config=gateway) == gateway
    limits = mlflow.update_endpoint_rate_limits(
        endpoint=name, config={"rate_limits": [{"calls": 1, "renewal_period": "minute"}]}
    )
    assert limits == {"rate_limits": [{"calls": 1, "renewal_period": "minute"}]}
    done = mlflow.update_endpoint_config(endpoint=name, config={"served_entities": [entity(server, "new")]})
    assert done["config"]["config_version"] == 2


# Rules 9 and 10 of what keeps every client happy.


def bare(server: Any, method: str, path: str, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {server.access_token}"}
    return requests.request(method, server.host + path, json=body, headers=headers, timeout=30)


def test_rule_09_delete_answers_json_and_the_list_has_its_key(server: Any, name: str) -> None:
    body = {"name": name, "config": {"served_entities": [entity(server, "one")]}}
    assert bare(server, "POST", SERVING, body).status_code == 200
    gone = bare(server, "DELETE", f"{SERVING}/{name}")
    assert (gone.status_code, gone.json()) == (200, {})
    assert gone.headers["content-type"] == "application/json"
    assert "endpoints" in bare(server, "GET", SERVING).json()


def test_rule_10_answers_carry_the_name_and_the_state(server: Any, name: str) -> None:
    body = {"name": name, "config": {"name": name, "served_entities": [entity(server, "one")]}}
    for answer in (
        bare(server, "POST", SERVING + "/", body),
        bare(server, "PUT", f"{SERVING}/{name}/config", {"served_entities": [entity(server, "two")]}),
        bare(server, "GET", f"{SERVING}/{name}"),
    ):
        assert answer.status_code == 200, answer.text
        assert answer.json()["name"] == name
        assert answer.json()["state"]["config_update"] == "NOT_UPDATING"
