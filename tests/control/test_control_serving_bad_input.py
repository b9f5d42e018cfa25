"""What cannot work is refused with the name of the field, and nothing of it is kept."""

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SERVING = "/api/2.0/serving-endpoints"
KEY = "sk-given-in-plain-and-never-shown"
GPT: dict[str, Any] = {
    "name": "gpt-4.1",
    "provider": "openai",
    "task": "llm/v1/chat",
    "openai_config": {"openai_api_key_plaintext": KEY, "openai_api_base": "http://127.0.0.1:9/v1"},
}


def model(**more: Any) -> dict[str, Any]:
    return {"name": "one", "external_model": {**GPT, **more}}


def body(*entities: Any, **more: Any) -> dict[str, Any]:
    return {"name": "mine", "config": {"served_entities": list(entities or [model()])}, **more}


def routed(*routes: Any) -> dict[str, Any]:
    out = body(model(), {**model(), "name": "two"})
    out["config"]["traffic_config"] = {"routes": list(routes)}
    return out


def share(name: Any, percentage: Any) -> dict[str, Any]:
    return {"served_model_name": name, "traffic_percentage": percentage}


def custom(url: str) -> dict[str, Any]:
    settings = {"provider": "custom", "openai_config": None, "custom_provider_config": {"custom_provider_url": url}}
    return body(model(**settings))


AT = "config.served_entities[0]"
TRAFFIC = "config.traffic_config"
SQL = "x'; DROP TABLE endpoints; --"
DEEP: Any = "end"
for _ in range(100):
    DEEP = {"a": DEEP}

WRONG: list[tuple[Any, str]] = [
    # Names.
    ({"config": body()["config"]}, "name"),
    ({**body(), "name": 7}, "name"),
    ({**body(), "name": None}, "name"),
    ({**body(), "name": ""}, "name"),
    ({**body(), "name": "a" * 64}, "name"),
    ({**body(), "name": "x" * 500_000}, "name"),
    ({**body(), "name": "a b"}, "name"),
    ({**body(), "name": "a/b"}, "name"),
    ({**body(), "name": "a\n"}, "name"),
    ({**body(), "name": "a\0"}, "name"),
    ({**body(), "name": "ünï"}, "name"),
    ({**body(), "name": SQL}, "name"),
    ({**body(), "name": "databricks-mine"}, "name"),
    # Served entities.
    ({"name": "mine"}, "config"),
    ({"name": "mine", "config": None}, "config"),
    ({"name": "mine", "config": []}, "config"),
    ({"name": "mine", "config": {}}, "config.served_entities"),
    ({"name": "mine", "config": {"served_entities": []}}, "config.served_entities"),
    ({"name": "mine", "config": {"served_entities": {}}}, "config.served_entities"),
    (body("text"), AT),
    (body({}), AT),
    (body(*[{**model(), "name": f"e{i}"} for i in range(16)]), "config.served_entities"),
    (body(model(), model()), "config.served_entities[1].name"),
    (body({**model(), "name": SQL}), f"{AT}.name"),
    (body({**model(), "name": 3}), f"{AT}.name"),
    (body({**model(), "entity_name": "tiny"}), f"{AT}.entity_name"),
    (body({**model(), "workload_size": "Small"}), f"{AT}.workload_size"),
    (body({**model(), "scale_to_zero_enabled": False}), f"{AT}.scale_to_zero_enabled"),
    (body({**model(), "provisioned_model_units": 50}), f"{AT}.provisioned_model_units"),
    (body({"entity_name": "nowhere"}), f"{AT}.entity_name"),
    (body({"entity_name": SQL}), f"{AT}.name"),
    (body({"entity_name": "big", "workload_size": "Giant"}), f"{AT}.workload_size"),
    (body({"entity_name": "big", "workload_type": "QUANTUM"}), f"{AT}.workload_type"),
    (body({"entity_name": "big", "min_provisioned_throughput": -1}), f"{AT}.min_provisioned_throughput"),
    (body({"entity_name": "big", "min_provisioned_throughput": 1.5}), f"{AT}.min_provisioned_throughput"),
    (
        body({"entity_name": "big", "min_provisioned_throughput": 9, "max_provisioned_throughput": 8}),
        f"{AT}.min_provisioned_throughput",
    ),
    (
        body({"entity_name": "big", "workload_size": "Small", "max_provisioned_concurrency": 8}),
        f"{AT}.workload_size",
    ),
    (body({"entity_name": "big", "scale_to_zero_enabled": "yes"}), f"{AT}.scale_to_zero_enabled"),
    (body({"entity_name": "big", "environment_vars": {"A": 1}}), f"{AT}.environment_vars"),
    # External models.
    (body(model(provider="nobody")), f"{AT}.external_model.provider"),
    (body(model(provider=None)), f"{AT}.external_model.provider"),
    (body(model(task="llm/v1/paint")), f"{AT}.external_model.task"),
    (body(model(name="")), AT),
    (body(model(openai_config=None)), f"{AT}.external_model"),
    (body(model(openai_config={})), f"{AT}.external_model.openai_config"),
    (
        body(model(openai_config={**GPT["openai_config"], "openai_api_key": "{{secrets/a/b}}"})),
        f"{AT}.external_model.openai_config",
    ),
    (body(model(openai_config={"openai_api_key": KEY})), f"{AT}.external_model.openai_config.openai_api_key"),
    (body(model(openai_config={"openai_api_key_plaintext": 7})), f"{AT}.external_model.openai_config"),
    (body(model(openai_config={**GPT["openai_config"], "colour": 1})), f"{AT}.external_model.openai_config.colour"),
    (body(model(anthropic_config={})), f"{AT}.external_model.anthropic_config"),
    (custom("ftp://example.com"), f"{AT}.external_model.custom_provider_config.custom_provider_url"),
    (custom("http+unix://%2Frun%2Fdocker.sock/v1"), AT),
    (body(model(task="llm/v1/embeddings"), {**model(), "name": "two"}), TRAFFIC),
    # Traffic.
    (body(model(), {**model(), "name": "two"}), TRAFFIC),
    (routed(share("one", 50), share("two", 49)), TRAFFIC),
    (routed(share("one", 150), share("two", -50)), f"{TRAFFIC}.routes[0]"),
    (routed(share("one", 100), share("one", 0)), f"{TRAFFIC}.routes[1]"),
    (routed(share("three", 100)), f"{TRAFFIC}.routes[0]"),
    (routed(share(SQL, 100)), f"{TRAFFIC}.routes[0]"),
    (routed(share("one", "many")), f"{TRAFFIC}.routes[0].traffic_percentage"),
    (routed(share("one", 99.5)), f"{TRAFFIC}.routes[0].traffic_percentage"),
    (routed(share("one", True)), f"{TRAFFIC}.routes[0].traffic_percentage"),
    (routed({"served_model_name": "one"}), f"{TRAFFIC}.routes[0].traffic_percentage"),
    # The rest.
    (body(tags=[{"value": "x"}]), "tags[0].key"),
    (body(tags=[{"key": ""}]), "tags[0].key"),
    (body(tags="x"), "tags"),
    (body(tags=[{"key": f"k{i}"} for i in range(51)]), "tags"),
    (body(description=7), "description"),
    (body(description="x" * 10_001), "description"),
    (body(route_optimized="yes"), "route_optimized"),
    (body(rate_limits=[{"calls": 1}]), "rate_limits[0].renewal_period"),
    (body(rate_limits=[{"calls": 1, "renewal_period": "hour"}]), "rate_limits[0].renewal_period"),
    (body(ai_gateway={"fallback_config": {"enabled": "yes"}}), "ai_gateway.fallback_config.enabled"),
    (body(ai_gateway={"rate_limits": [{"renewal_period": "minute"}]}), "ai_gateway.rate_limits[0]"),
    (
        body(ai_gateway={"rate_limits": [{"renewal_period": "minute", "calls": 1, "key": "user_group"}]}),
        "ai_gateway.rate_limits[0].principal",
    ),
    (body(ai_gateway={"guardrails": {"input": {"pii": {"behavior": "LOVE"}}}}), "ai_gateway.guardrails.input.pii"),
    (body(telemetry_config={"inference_table_config": {"sampling_fraction": 2}}), "telemetry_config"),
    (body(email_notifications={"on_update_success": "me"}), "email_notifications.on_update_success"),
    (body(model(openai_config={**GPT["openai_config"], "openai_organization": DEEP})), "the request body"),
]


@pytest.mark.parametrize(("asked", "begins"), WRONG, ids=range(len(WRONG)))
def test_what_cannot_work_is_refused_whole(world: Any, asked: Any, begins: str) -> None:
    before = world.snapshot.version
    answer = world.call("POST", SERVING, asked)
    told = answer.json()
    assert (answer.status, told["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), told
    assert told["message"].startswith(begins), told["message"]
    assert len(told["message"]) < 600
    assert KEY not in told["message"]
    assert world.store.endpoints.list() == ()
    world._changed()
    # The refusal is in the audit, which no snapshot needs to know of.
    assert world.snapshot.version == before


def test_the_right_body_is_right(world: Any) -> None:
    """Or else the table above would refuse for the wrong reasons."""
    assert world.call("POST", SERVING, body()).status == 200
    assert world.call("POST", SERVING, {**routed(share("one", 100)), "name": "other"}).status == 200
    assert world.call("POST", SERVING, {**custom("http://127.0.0.1:9/v1"), "name": "third"}).status == 200


def test_a_name_is_there_once_wherever_it_comes_from(world: Any) -> None:
    world.call("POST", SERVING, body())
    for name, says in (("mine", "already"), ("gpt", "comes from tesela.yaml"), ("tiny", "built in")):
        told = world.call("POST", SERVING, {**body(), "name": name}).json()
        assert told["error_code"] == "RESOURCE_ALREADY_EXISTS"
        assert says in told["message"]
    assert len(world.store.endpoints.list()) == 1


def test_both_forms_of_served_entities_are_one_too_many(world: Any) -> None:
    asked = body()
    asked["config"]["served_models"] = [{"model_name": "tiny", "model_version": "1"}]
    told = world.call("POST", SERVING, asked).json()
    assert told["message"].startswith("config: give served_entities or the older served_models")


def test_paths_in_an_update_are_those_of_its_body(world: Any) -> None:
    world.call("POST", SERVING, body())
    kept = world.store.endpoints.get("mine")
    for asked, begins in (
        ({"served_entities": [model(provider="nobody")]}, "served_entities[0].external_model.provider"),
        ({"served_entities": [{**model(), "workload_size": "Small"}]}, "served_entities[0].workload_size"),
        ({"traffic_config": {"routes": [share("one", 40)]}}, "traffic_config"),
        ({"traffic_config": {"routes": [share("nothing", 100)]}}, "traffic_config.routes[0]"),
        ({"served_entities": 3}, "served_entities"),
    ):
        told = world.call("PUT", f"{SERVING}/mine/config", asked).json()
        assert told["error_code"] == "INVALID_PARAMETER_VALUE"
        assert told["message"].startswith(begins), told
    assert world.store.endpoints.get("mine") == kept


@pytest.mark.parametrize("name", ["x" * 100_000, "a%00b", "a'b", "..", "%2e%2e", "a%20b"])
@pytest.mark.parametrize(("method", "tail"), [("GET", ""), ("DELETE", ""), ("PUT", "/config"), ("GET", "/openapi")])
def test_paths_with_any_name_find_nothing(world: Any, name: str, method: str, tail: str) -> None:
    answer = world.call(method, f"{SERVING}/{name}{tail}", {"served_entities": []} if method == "PUT" else None)
    assert answer.status == 404
    assert len(answer.body) < 1000


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b"{", b'{"name": "\xff"}', b"[" * 100_000, b'{"name": "\\ud800"}'])
@pytest.mark.parametrize(("method", "path"), [("POST", SERVING), ("POST", f"{SERVING}/pt")])
def test_bodies_that_are_no_json_object(world: Any, data: bytes, method: str, path: str) -> None:
    told = world.call(method, path, data)
    assert (told.status, told.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_a_body_of_megabytes_is_not_read(world: Any) -> None:
    told = world.call("POST", SERVING, {**body(), "description": "x" * 1_100_000})
    assert told.status == 413


# Whatever is put in the place of whatever field, the answer is a sentence, and an endpoint is whole or not there.

WHOLE: dict[str, Any] = {
    "name": "mine",
    "config": {
        "served_entities": [model(), {"name": "two", "entity_name": "big", "environment_vars": {"A": "b"}}],
        "traffic_config": {"routes": [share("one", 60), share("two", 40)]},
        "auto_capture_config": {"catalog_name": "c"},
    },
    "tags": [{"key": "a", "value": "b"}],
    "ai_gateway": {
        "fallback_config": {"enabled": True},
        "rate_limits": [{"calls": 1, "renewal_period": "minute"}],
        "guardrails": {"input": {"pii": {"behavior": "MASK"}, "invalid_keywords": ["x"]}},
    },
    "rate_limits": [{"calls": 1, "renewal_period": "minute"}],
    "email_notifications": {"on_update_success": ["a"]},
    "telemetry_config": {"inference_table_config": {"sampling_fraction": 0.5}},
    "route_optimized": True,
    "description": "d",
}


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, below in inner for place in places(below, (*at, key)))]


def put(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    if not at:
        return new
    out = copy.copy(value)
    out[at[0]] = put(value[at[0]], at[1:], new)
    return out


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.sampled_from(places(WHOLE)[1:]), new=JSON)
def test_any_value_in_any_field_is_taken_or_refused(world: Any, at: tuple[Any, ...], new: Any) -> None:
    answer = world.call("POST", SERVING, put(WHOLE, at, new))
    assert answer.status in (200, 400), (at, new)
    made = world.store.endpoints.list()
    if answer.status == 400:
        assert answer.json()["message"]
        assert made == ()
        return
    shown = answer.json()
    assert world.call("GET", f"{SERVING}/{shown['name']}").json()["id"] == shown["id"]
    assert world.call("GET", SERVING).status == 200
    # What was taken can be built: it lacks nothing but its engine.
    kept = made[0]
    world.store.endpoints.activate(kept.id, kept.pending_version)
    world._changed()
    assert KEY not in json.dumps(world.call("GET", f"{SERVING}/{shown['name']}").json())
    why = world.snapshot.broken.get(kept.name, "")
    assert why == "" or "there is no local model" in why
    assert world.call("DELETE", f"{SERVING}/{kept.name}").status == 200
