"""Tags, limits, the AI gateway, notifications and telemetry of an endpoint, and what can be read about it beside."""

import re
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from tesela.errors import StoreUnavailable

SERVING = "/api/2.0/serving-endpoints"
MINE = f"{SERVING}/mine"
CONFIG = {
    "served_entities": [
        {
            "name": name,
            "external_model": {
                "name": "m",
                "provider": "custom",
                "task": "llm/v1/chat",
                "custom_provider_config": {"custom_provider_url": "http://127.0.0.1:9/v1"},
            },
        }
        for name in ("one", "two")
    ],
    "traffic_config": {
        "routes": [
            {"served_model_name": "one", "traffic_percentage": 100},
            {"served_model_name": "two", "traffic_percentage": 0},
        ]
    },
}


@pytest.fixture
def mine(world: Any) -> Any:
    assert world.call("POST", SERVING, {"name": "mine", "config": CONFIG}).status == 200
    return world


def tag(key: str, value: str | None = None) -> dict[str, str]:
    return {"key": key} if value is None else {"key": key, "value": value}


# Tags.


def test_tags_are_added_replaced_and_taken_away(mine: Any) -> None:
    done = mine.call("PATCH", f"{MINE}/tags", {"add_tags": [tag("a", "1"), tag("b")]})
    assert (done.status, done.json()) == (200, {"tags": [tag("a", "1"), tag("b")]})
    done = mine.call("PATCH", f"{MINE}/tags", {"add_tags": [tag("b", "2"), tag("c")], "delete_tags": ["a", "nothing"]})
    assert done.json() == {"tags": [tag("b", "2"), tag("c")]}
    assert mine.call("GET", MINE).json()["tags"] == [tag("b", "2"), tag("c")]


@pytest.mark.parametrize(
    ("agent", "listed"),
    [
        ("unknown/0.0.0 databricks-sdk-py/0.38.0 python/3.11.7 os/linux auth/pat", True),
        ("databricks-sdk-py/0.39.9", True),
        ("databricks-sdk-py/0.40.0", False),
        ("unknown/0.0.0 databricks-sdk-py/0.162.0 python/3.11.7", False),
        ("databricks-sdk-py/1.2.0", False),
        ("curl/8", False),
    ],
)
def test_old_sdks_get_tags_as_a_bare_list(mine: Any, agent: str, listed: bool) -> None:
    told = mine.call("PATCH", f"{MINE}/tags", {"add_tags": [tag("a")]}, headers={"user-agent": agent}).json()
    assert told == ([tag("a")] if listed else {"tags": [tag("a")]})


def test_too_many_tags_change_nothing(mine: Any) -> None:
    mine.call("PATCH", f"{MINE}/tags", {"add_tags": [tag(f"k{i}") for i in range(50)]})
    told = mine.call("PATCH", f"{MINE}/tags", {"add_tags": [tag("more")], "delete_tags": ["nothing"]})
    assert (told.status, told.json()["param"]) == (400, "add_tags")
    assert len(mine.call("GET", MINE).json()["tags"]) == 50
    assert mine.call("PATCH", f"{MINE}/tags", {"add_tags": [tag("more")], "delete_tags": ["k0"]}).status == 200


# Limits and the AI gateway.


def test_rate_limits_are_kept_and_echoed(mine: Any) -> None:
    limits = [{"calls": 5, "key": "user", "renewal_period": "minute"}]
    assert mine.call("PUT", f"{MINE}/rate-limits", {"rate_limits": limits}).json()["rate_limits"] == [
        {"calls": 5, "renewal_period": "minute", "key": "user"}
    ]
    assert mine.store.endpoints.get("mine").settings["rate_limits"][0]["calls"] == 5
    assert mine.call("PUT", f"{MINE}/rate-limits", {}).json() == {"rate_limits": []}


FIVE: dict[str, Any] = {
    "fallback_config": {"enabled": True},
    "guardrails": {
        "input": {"invalid_keywords": ["x"], "pii": {"behavior": "BLOCK"}, "safety": True, "valid_topics": ["y"]},
        "output": {"pii": {"behavior": "MASK"}},
    },
    "inference_table_config": {"catalog_name": "c", "schema_name": "s", "table_name_prefix": "t", "enabled": True},
    "rate_limits": [
        {"renewal_period": "minute", "calls": 10, "key": "user"},
        {"renewal_period": "minute", "tokens": 1000, "key": "user_group", "principal": "grp"},
    ],
    "usage_tracking_config": {"enabled": True},
}


def test_the_ai_gateway_is_echoed_with_its_five_fields_and_falls_back(mine: Any) -> None:
    assert mine.snapshot.endpoints["mine"].fallback is False
    done = mine.call("PUT", f"{MINE}/ai-gateway", {**FIVE, "name": "mine", "more": 1})
    assert (done.status, done.json()) == (200, FIVE)
    assert mine.call("GET", MINE).json()["ai_gateway"] == FIVE
    assert mine.snapshot.endpoints["mine"].fallback is True
    assert mine.call("PUT", f"{MINE}/ai-gateway", {"usage_tracking_config": {"enabled": False}}).json() == {
        "usage_tracking_config": {"enabled": False}
    }
    assert mine.snapshot.endpoints["mine"].fallback is False


@pytest.mark.parametrize(
    ("tail", "asked", "field"),
    [
        ("/tags", {"add_tags": [{"value": "x"}]}, "add_tags[0].key"),
        ("/tags", {"delete_tags": [1]}, "delete_tags[0]"),
        ("/rate-limits", {"rate_limits": [{"calls": -1, "renewal_period": "minute"}]}, "rate_limits[0].calls"),
        ("/rate-limits", {"rate_limits": {}}, "rate_limits"),
        ("/ai-gateway", {"fallback_config": {}}, "fallback_config.enabled"),
        ("/ai-gateway", {"rate_limits": [{"renewal_period": "minute"}]}, "rate_limits[0]"),
        ("/notifications", {"email_notifications": {"on_update_failure": [1]}}, "email_notifications"),
        ("/telemetry-config", {"telemetry_config": {"enabled_telemetry_features": ["ALL"]}}, "telemetry_config"),
    ],
)
def test_what_is_wrong_is_named_and_not_kept(mine: Any, tail: str, asked: Any, field: str) -> None:
    before = mine.store.endpoints.get("mine")
    method = "PUT" if tail in ("/rate-limits", "/ai-gateway") else "PATCH"
    told = mine.call(method, MINE + tail, asked)
    assert (told.status, told.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert told.json()["message"].startswith(field)
    assert mine.store.endpoints.get("mine") == before


# Notifications and telemetry.


def test_notifications_answer_with_the_name(mine: Any) -> None:
    asked = {"email_notifications": {"on_update_success": ["a@example.com"]}}
    assert mine.call("PATCH", f"{MINE}/notifications", asked).json() == {"name": "mine", **asked}
    assert mine.call("GET", MINE).json()["email_notifications"] == asked["email_notifications"]
    assert mine.call("PATCH", f"{MINE}/notifications", {}).json() == {"name": "mine"}


def test_telemetry_answers_with_the_endpoint_and_is_removed_by_leaving_it_out(mine: Any) -> None:
    asked = {"inference_table_config": {"name": "a.b.c", "sampling_fraction": 0.5}}
    done = mine.call("PATCH", f"{MINE}/telemetry-config", {"telemetry_config": asked}).json()
    assert (done["name"], done["telemetry_config"]) == ("mine", asked)
    assert "telemetry_config" not in mine.call("PATCH", f"{MINE}/telemetry-config", {}).json()


# OpenAPI.


@pytest.mark.parametrize("name", ["mine", "gpt", "tiny", "mini", "databricks-gte-large-en"])
def test_the_openapi_document_is_valid_and_has_a_path_for_each_entity(mine: Any, name: str) -> None:
    told = mine.call("GET", f"{SERVING}/{name}/openapi", headers={"accept": "text/plain"})
    assert told.status == 200
    found = told.json()
    OpenAPIV31SpecValidator(found).validate()
    assert (found["openapi"], found["info"]["title"]) == ("3.1.0", name)
    assert found["servers"] == [{"url": f"http://tesela.test:8787/serving-endpoints/{name}"}]
    entities = mine.call("GET", f"{SERVING}/{name}").json()["config"]["served_entities"]
    assert list(found["paths"]) == [f"/served-models/{one['name']}/invocations" for one in entities]


def test_the_openapi_document_has_the_schemas_of_the_task(mine: Any) -> None:
    chat = mine.call("GET", f"{MINE}/openapi").json()["components"]["schemas"]
    assert "messages" in chat["ChatRequest"]["properties"]
    vectors = mine.call("GET", f"{SERVING}/mini/openapi").json()["components"]["schemas"]
    assert "input" in vectors["EmbeddingsRequest"]["properties"]


# Logs.


def local(world: Any) -> None:
    config = {"served_entities": [{"name": "own", "entity_name": "tiny"}]}
    world.call("POST", SERVING, {"name": "local", "config": config})
    kept = world.store.endpoints.get("local")
    world.store.endpoints.activate(kept.id, kept.pending_version)
    world._changed()


def test_logs_are_what_the_engine_printed(mine: Any) -> None:
    local(mine)
    at = f"{SERVING}/local/served-models/own"
    assert "printed nothing yet" in mine.call("GET", f"{at}/logs").json()["logs"]
    folder = mine.facts.logs
    folder.mkdir()
    (folder / "tiny.log").write_bytes(b"first\n" + b"x" * 70_000 + b"\nloaded \xff\nready\n")
    assert mine.call("GET", f"{at}/logs").json() == {"logs": "loaded �\nready\n"}
    built = mine.call("GET", f"{at}/build-logs").json()["logs"]
    assert built.endswith("\n\nloaded �\nready\n")
    assert "nothing is built here" in built
    # An endpoint that is built in over the same engine has the same logs, for whoever manages it.
    assert mine.call("GET", f"{SERVING}/tiny/served-models/tiny/logs").json()["logs"].endswith("ready\n")


def test_an_external_model_has_its_logs_elsewhere(mine: Any) -> None:
    assert "its provider has its logs" in mine.call("GET", f"{MINE}/served-models/one/logs").json()["logs"]
    assert "its provider has its logs" in mine.call("GET", f"{SERVING}/gpt/served-models/second/logs").json()["logs"]


@pytest.mark.parametrize("served", ["nothing", "..", "%2e%2e%2f%2e%2e%2fsecrets", "x" * 10_000])
def test_logs_of_what_is_not_served(mine: Any, served: str) -> None:
    told = mine.call("GET", f"{MINE}/served-models/{served}/logs")
    assert told.status == 404
    assert len(told.body) < 1000


# Metrics.


class Counts(msgspec.Struct):
    requests: int = 0
    failed: int = 0
    cancelled: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Process(msgspec.Struct):
    status: str
    message: str = ""
    pid: int | None = None
    rss_bytes: int = 0
    restarts: int = 0
    facts: dict[str, Any] = msgspec.field(default_factory=dict)


SAMPLE = re.compile(r'^([a-z_]+)\{([a-z_]+="(?:[^"\\\n]|\\.)*",?)+\} -?[0-9]+(\.[0-9]+)?$')


def figures(world: Any, name: str) -> dict[str, float]:
    """The samples of an endpoint's metrics by their whole head but the worker; the form is checked on the way."""
    told = world.call("GET", f"{SERVING}/{name}/metrics", headers={"accept": "text/plain"})
    assert told.status == 200
    assert told.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    lines = told.body.decode().split("\n")
    assert lines[-2:] == ["# EOF", ""]
    out: dict[str, float] = {}
    family = ""
    for line in lines[:-2]:
        if line.startswith("# TYPE "):
            family = line.split()[2]
        elif not line.startswith("# HELP "):
            assert SAMPLE.match(line), line
            assert line.startswith(family)
            head, _, value = line.rpartition(" ")
            out[re.sub(r',worker="\d+"', "", head)] = float(value)
    return out


def test_metrics_are_what_was_counted(mine: Any) -> None:
    counts = {
        ("mine", "one", "1"): Counts(3, 1, 0, 10, 20),
        ("mine", "one", "2"): Counts(2, 0, 1, 1, 2),
        ("other", "one", "1"): Counts(100),
    }
    mine.facts = msgspec.structs.replace(mine.facts, counts=lambda: counts)
    found = figures(mine, "mine")
    one = '{endpoint_name="mine",served_entity="one"}'
    assert found[f"request_count_total{one}"] == 5
    assert found[f"request_failed_count_total{one}"] == 1
    assert found[f"request_cancelled_count_total{one}"] == 1
    assert found[f"prompt_tokens_total{one}"] == 11
    assert found[f"completion_tokens_total{one}"] == 22
    assert found['request_count_total{endpoint_name="mine",served_entity="two"}'] == 0
    assert not [name for name in found if name.startswith(("mem", "cpu"))]


def test_metrics_show_open_breakers(mine: Any) -> None:
    mine.facts = msgspec.structs.replace(mine.facts, breakers={"mine": {"one": True, "two": False}}.__getitem__)
    found = figures(mine, "mine")
    assert found['upstream_breaker_open{endpoint_name="mine",served_entity="one"}'] == 1
    assert found['upstream_breaker_open{endpoint_name="mine",served_entity="two"}'] == 0


def test_metrics_of_an_engine_are_measured(mine: Any) -> None:
    import os

    local(mine)
    mine.engines["tiny"] = Process("ready", "", os.getpid(), 2**20, 2, {"slots": 4})
    found = figures(mine, "local")
    own = '{endpoint_name="local",served_entity="own"}'
    assert found[f"mem_usage_bytes{own}"] == 2**20
    assert 0 < found[f"mem_usage_percentage{own}"] < 100
    assert found[f"cpu_usage_seconds_total{own}"] > 0
    assert found[f"provisioned_concurrent_requests{own}"] == 4
    assert found[f"engine_restarts_total{own}"] == 2
    mine.engines["tiny"] = Process("restarting")
    assert f"cpu_usage_seconds_total{own}" not in figures(mine, "local")


# A store that does not answer.


def test_without_the_store_nothing_is_changed_and_what_is_served_is_still_shown(mine: Any) -> None:
    def gone() -> Any:
        raise StoreUnavailable("the store does not answer", retry_after_s=5)

    mine.facts = msgspec.structs.replace(mine.facts, store=gone)
    assert mine.call("GET", f"{SERVING}/gpt").status == 200
    assert mine.call("GET", f"{SERVING}/gpt/openapi").status == 200
    assert mine.call("GET", "/api/2.0/endpoints/").status == 200
    assert mine.call("GET", MINE).json()["name"] == "mine", "what is served is told as it is served"
    for method, path, body in (
        ("GET", f"{SERVING}/nowhere", None),
        ("POST", SERVING, {"name": "new", "config": CONFIG}),
        ("PUT", f"{MINE}/config", CONFIG),
        ("PATCH", f"{MINE}/tags", {}),
        ("DELETE", MINE, None),
    ):
        told = mine.call(method, path, body)
        assert (told.status, told.json()["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
        assert told.headers["retry-after"] == "5"
