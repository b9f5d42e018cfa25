"""From endpoints as they are asked for to endpoints as a request sees them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tesela.addresses import EngineAddress
from tesela.catalogue import borrowed_names
from tesela.config import Config, load
from tesela.configfile import Places
from tesela.errors import ConfigError
from tesela.serving import Capabilities, Endpoint, Route, TrafficConfig
from tesela.snapshot import Credential, Principal, Snapshot
from tesela.snapshot_build import ENDPOINT_NAME, build, entity_names, refresh, shares
from tesela.wire.tasks import Task

CHAT = EngineAddress(
    "smollm2-135m-instruct",
    frozenset({Task.CHAT, Task.COMPLETIONS}),
    socket="/run/chat.sock",
    key="k1",
    capabilities=Capabilities(tools=False, context=8192),
    limit=8,
    size="135M",
    description="A small model.",
)
EMBED = EngineAddress(
    "all-minilm-l6-v2", frozenset({Task.EMBEDDINGS}), socket="/run/embed.sock", key="k2", dimensions=384
)
ENGINES = {one.name: one for one in (CHAT, EMBED)}


def external(name: str = "gpt-4.1", task: str = "llm/v1/chat", **more: Any) -> dict[str, Any]:
    config = {"custom_provider_url": "http://127.0.0.1:1/v1", "bearer_token_auth": {"token_plaintext": "sk-plain"}}
    model = {"name": name, "provider": "custom", "task": task, "custom_provider_config": config}
    return {"external_model": model, **more}


def local(name: str = "smollm2-135m-instruct", **more: Any) -> dict[str, Any]:
    return {"entity_name": name, **more}


def endpoint(*entities: dict[str, Any], name: str = "e", split: dict[str, Any] | None = None) -> dict[str, Any]:
    config: dict[str, Any] = {"served_entities": list(entities)}
    if split is not None:
        routes = [{"served_model_name": key, "traffic_percentage": value} for key, value in split.items()]
        config["traffic_config"] = {"routes": routes}
    return {"name": name, "config": config}


def configured(folder: Path, *endpoints: dict[str, Any], **settings: Any) -> Config:
    path = folder / "tesela.yaml"
    path.write_text(yaml.safe_dump({"endpoints": list(endpoints), **settings}))
    return load(path, {}, {})


def one(folder: Path, asked: dict[str, Any]) -> Endpoint:
    return build(configured(folder, asked), ENGINES, {}, 1).endpoints[asked["name"]]


def refusal(folder: Path, *endpoints: dict[str, Any], **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        build(configured(folder, *endpoints, **settings), ENGINES, {}, 1)
    assert "sk-plain" not in caught.value.message
    return caught.value.message


def test_one_external_model_gets_everything(tmp_path: Path) -> None:
    found = one(tmp_path, endpoint(external()))
    (entity,) = found.entities
    assert (entity.name, entity.percentage, entity.provider, entity.admission) == ("gpt-4-1", 100, "custom", "")
    assert entity.upstream.model == "gpt-4.1"
    assert entity.upstream.headers == (("authorization", "Bearer sk-plain"),)
    assert (found.task, found.source, found.fallback) == (Task.CHAT, "file", False)
    assert found.created_ms > 1_000_000_000_000


def test_keys_are_left_in_the_headers_alone(tmp_path: Path) -> None:
    found = one(tmp_path, endpoint(external()))
    assert "sk-plain" not in repr(found)
    assert "sk-plain" in repr(found.entities[0].upstream.headers)


def test_a_local_model_under_an_endpoint_of_ones_own(tmp_path: Path) -> None:
    (entity,) = one(tmp_path, endpoint(local())).entities
    assert entity.tasks == {Task.CHAT, Task.COMPLETIONS}
    assert (entity.provider, entity.admission) == ("local", "smollm2-135m-instruct")
    upstream = entity.upstream
    assert (upstream.origin.unix, upstream.limit, upstream.base_path) == ("/run/chat.sock", 8, "/v1")
    assert upstream.headers == (("authorization", "Bearer k1"),)
    assert upstream.capabilities.context == 8192
    assert entity.config.foundation_model is not None
    assert entity.config.foundation_model.description == "A small model."
    assert one(tmp_path, endpoint(local("all-minilm-l6-v2"))).task is Task.EMBEDDINGS


def test_a_local_model_may_stand_beside_an_external_one(tmp_path: Path) -> None:
    asked = endpoint(
        external(task="llm/v1/completions"), {**local(), "name": "tiny"}, split={"gpt-4-1": 100, "tiny": 0}
    )
    found = one(tmp_path, asked)
    assert found.task is Task.COMPLETIONS
    assert [entity.percentage for entity in found.entities] == [100, 0]


def test_fallback_is_read_from_ai_gateway(tmp_path: Path) -> None:
    asked = endpoint(external())
    assert one(tmp_path, {**asked, "ai_gateway": {"fallback_config": {"enabled": True}}}).fallback
    assert not one(tmp_path, {**asked, "ai_gateway": {"fallback_config": {"enabled": False}}}).fallback
    assert not one(tmp_path, {**asked, "ai_gateway": {}}).fallback


@pytest.mark.parametrize("name", ["served_model_name", "served_entity_name"])
def test_routes_go_by_either_name_and_take_numbers_in_strings(tmp_path: Path, name: str) -> None:
    asked = endpoint(external(name="a"), external(name="b"), external(name="c"))
    asked["config"]["traffic_config"] = {
        "routes": [{name: "b", "traffic_percentage": "90"}, {name: "a", "traffic_percentage": 10}]
    }
    found = one(tmp_path, asked)
    assert [(entity.name, entity.percentage) for entity in found.entities] == [("a", 10), ("b", 90), ("c", 0)]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (endpoint(external(), name="a b"), "endpoints[0].name: 'a b' cannot be an endpoint's name: 1 to 63"),
        (endpoint(external(), name="x" * 64), "cannot be an endpoint's name"),
        (endpoint(), "endpoints[0].config.served_entities: endpoint 'e' needs at least one served entity"),
        (endpoint({}), "served_entities[0]: a served entity needs external_model or entity_name"),
        (endpoint({**external(), **local()}), "give external_model or entity_name, not both"),
        (endpoint(external(), external()), "served_entities[1].name: there are two served entities named 'gpt-4-1'"),
        (endpoint(external(name="a b")), "served_entities[0].name: 'a b' cannot be a served entity's name"),
        (endpoint(*(external(name=f"m{i}") for i in range(16))), "16 served entities; an endpoint has 15 at most"),
        (
            endpoint(external(), external(name="b")),
            "config.traffic_config: 2 served entities need traffic_config.routes",
        ),
        (
            endpoint(external(), split={"gpt": 100}),
            "routes[0]: 'gpt' is not a served entity here; did you mean 'gpt-4-1'",
        ),
        (endpoint(external(), split={"gpt-4-1": 90}), "add up to 90 and must add up to 100"),
        (endpoint(external(), split={"gpt-4-1": 101}), "routes[0]: traffic_percentage must be from 0 to 100"),
        (endpoint(local("smol")), "entity_name: there is no local model 'smol'; local models here: all-minilm"),
        (
            endpoint(external(), external(name="b", task="llm/v1/embeddings"), split={"gpt-4-1": 50, "b": 50}),
            "must have one task, and these have llm/v1/chat and llm/v1/embeddings",
        ),
        (
            endpoint(external(), local("all-minilm-l6-v2"), split={"gpt-4-1": 50, "all-minilm-l6-v2": 50}),
            "served_entities[1]: 'all-minilm-l6-v2' does not serve llm/v1/chat",
        ),
    ],
)
def test_what_cannot_be_an_endpoint(tmp_path: Path, asked: dict[str, Any], message: str) -> None:
    found = refusal(tmp_path, asked)
    assert message in found
    assert found.startswith("tesela.yaml:")


def test_an_external_model_is_refused_with_its_place(tmp_path: Path) -> None:
    asked = external()
    asked["external_model"]["provider"] = "anthropic"
    path = "endpoints[0].config.served_entities[0].external_model.provider: provider 'anthropic' exists in Databricks"
    assert path in refusal(tmp_path, endpoint(asked))


def test_two_endpoints_of_one_name(tmp_path: Path) -> None:
    found = refusal(tmp_path, endpoint(external()), endpoint(external()))
    assert "endpoints[1].name: there are two endpoints named 'e'" in found


def test_a_file_gets_what_it_asks_for_and_no_more(tmp_path: Path) -> None:
    def names(**settings: Any) -> set[str]:
        return set(build(configured(tmp_path, endpoint(external()), **settings), ENGINES, {}, 1).endpoints)

    assert names() == {"e"}
    assert names(local_models=True) == {"e", *ENGINES}
    assert names(emulate="databricks") == {"e", *(borrowed.name for borrowed in borrowed_names())}
    listed = [{"name": "all-minilm-l6-v2", "path": "x"}]
    assert names(models=listed) == {"e", "all-minilm-l6-v2"}


def test_an_endpoint_of_the_file_wins_over_a_built_in_one(tmp_path: Path) -> None:
    asked = endpoint(external(), name="databricks-dbrx-instruct")
    found = build(configured(tmp_path, asked, emulate="databricks"), ENGINES, {}, 1).endpoints
    assert found["databricks-dbrx-instruct"].source == "file"
    assert found["databricks-mixtral-8x7b-instruct"].source == "built-in"


def test_a_borrowed_name_is_honest(tmp_path: Path) -> None:
    found = build(configured(tmp_path, emulate="databricks"), ENGINES, {}, 1).endpoints
    dbrx, gte = found["databricks-dbrx-instruct"], found["databricks-gte-large-en"]
    assert dbrx.description == (
        "Answered by smollm2-135m-instruct, a 135M model that runs here; it is not DBRX Instruct."
    )
    assert "384 dimensions, not 1024" in gte.description
    assert (dbrx.task, gte.task) == (Task.CHAT, Task.EMBEDDINGS)
    assert {one.entities[0].admission for one in found.values()} == set(ENGINES)


def test_with_no_embedding_model_no_embedding_name_is_borrowed(tmp_path: Path) -> None:
    found = build(configured(tmp_path, emulate="databricks"), {CHAT.name: CHAT}, {}, 1).endpoints
    assert "databricks-gte-large-en" not in found
    assert {one.task for one in found.values()} == {Task.CHAT}


def test_models_that_run_elsewhere_are_attached(tmp_path: Path) -> None:
    models = [
        {"name": "big", "base_url": "http://127.0.0.1:8000/v1", "api_key": "k", "model": "org/Big", "limit": 4},
        {"name": "vec", "base_url": "http://127.0.0.1:11434/v1/", "task": "llm/v1/embeddings", "dimensions": 768},
        {"name": "odd", "base_url": "http://h/v1", "capabilities": {"tools": False, "n_max": 1}, "context": 4096},
    ]
    found = build(configured(tmp_path, endpoint(local("big")), models=models), {}, {}, 1).endpoints
    assert set(found) == {"e", "big", "vec", "odd"}
    upstream = found["e"].entities[0].upstream
    assert (upstream.origin.authority, upstream.base_path) == ("127.0.0.1:8000", "/v1")
    assert (upstream.model, upstream.limit) == ("org/Big", 4)
    assert upstream.headers == (("authorization", "Bearer k"),)
    assert found["e"].entities[0].provider == "custom"
    assert found["vec"].task is Task.EMBEDDINGS
    odd = found["odd"].entities[0]
    assert odd.provider == "local"
    assert (odd.upstream.capabilities.tools, odd.upstream.capabilities.n_max) == (False, 1)
    assert odd.upstream.capabilities.context == 4096
    message = refusal(tmp_path, models=[{"name": "x", "base_url": "http://h/v1?x=1"}])
    assert "models[0].base_url: must be the base of the API" in message


def test_the_local_models_that_endpoints_name(tmp_path: Path) -> None:
    asked = endpoint(external(), local(), local("other"))
    assert entity_names(configured(tmp_path, asked)) == {"smollm2-135m-instruct", "other"}


def test_credentials_and_version_go_in_as_they_are(tmp_path: Path) -> None:
    credentials = {b"d": Credential(Principal("1", "a"))}
    found = build(configured(tmp_path), {}, credentials, 7)
    assert found == Snapshot(7, {}, credentials)


def test_new_credentials_leave_the_endpoints_alone(tmp_path: Path) -> None:
    before = build(configured(tmp_path, endpoint(external())), {}, {}, 1)
    credentials = {b"d": Credential(Principal("1", "a"))}
    after = refresh(before, credentials, 2)
    assert after.endpoints["e"] is before.endpoints["e"]
    assert (after.version, after.credentials) == (2, credentials)
    assert before.credentials == {}


def test_borrowed_names_are_names_and_are_there_once() -> None:
    names = [borrowed.name for borrowed in borrowed_names()]
    assert len(names) == len(set(names)) > 40
    assert all(ENDPOINT_NAME.match(name) and name.startswith("databricks-") for name in names)
    for name in ("databricks-dbrx-instruct", "databricks-meta-llama-3-3-70b-instruct", "databricks-gte-large-en"):
        assert name in names


@given(st.lists(st.integers(-10, 110), min_size=1, max_size=6))
def test_shares_are_taken_when_they_add_up_to_a_hundred_and_only_then(percentages: list[int]) -> None:
    names = [f"e{i}" for i in range(len(percentages))]
    traffic = TrafficConfig(tuple(Route(share, name) for share, name in zip(percentages, names, strict=True)))
    fits = sum(percentages) == 100 and all(0 <= share <= 100 for share in percentages)
    try:
        found = shares(Places(), traffic, names, "endpoints[0]")
    except ConfigError:
        assert not fits
    else:
        assert fits
        assert list(found.values()) == percentages
