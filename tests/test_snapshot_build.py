"""From endpoints as they are asked for to endpoints as a request sees them."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import contents

from tesela.addresses import EngineAddress
from tesela.catalogue import borrowed_names
from tesela.config import Config, load
from tesela.endpoint_build import ENDPOINT_NAME, endpoint_id, shares
from tesela.errors import ConfigError
from tesela.places import Places
from tesela.records import StoredEndpoint
from tesela.serving import Capabilities, Endpoint, Route, TrafficConfig
from tesela.snapshot import Credential, Principal, Snapshot
from tesela.snapshot_build import build, engines_of_file
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
    return build(configured(folder, asked), ENGINES, contents()).snapshot.endpoints[asked["name"]]


def refusal(folder: Path, *endpoints: dict[str, Any], **settings: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        build(configured(folder, *endpoints, **settings), ENGINES, contents())
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
    asked["external_model"]["provider"] = "palm"
    path = "endpoints[0].config.served_entities[0].external_model.provider: provider 'palm' was retired"
    assert path in refusal(tmp_path, endpoint(asked))


def test_two_endpoints_of_one_name(tmp_path: Path) -> None:
    found = refusal(tmp_path, endpoint(external()), endpoint(external()))
    assert "endpoints[1].name: there are two endpoints named 'e'" in found


def test_a_file_gets_what_it_asks_for_and_no_more(tmp_path: Path) -> None:
    def names(**settings: Any) -> set[str]:
        config = configured(tmp_path, endpoint(external()), **settings)
        return set(build(config, ENGINES, contents()).snapshot.endpoints)

    assert names() == {"e"}
    assert names(local_models=True) == {"e", *ENGINES}
    assert names(emulate="databricks") == {"e", *(borrowed.name for borrowed in borrowed_names())}
    listed = [{"name": "all-minilm-l6-v2", "path": "x"}]
    assert names(models=listed) == {"e", "all-minilm-l6-v2"}


def test_an_endpoint_of_the_file_wins_over_a_built_in_one(tmp_path: Path) -> None:
    asked = endpoint(external(), name="databricks-dbrx-instruct")
    found = build(configured(tmp_path, asked, emulate="databricks"), ENGINES, contents()).snapshot.endpoints
    assert found["databricks-dbrx-instruct"].source == "file"
    assert found["databricks-mixtral-8x7b-instruct"].source == "built-in"


def test_a_borrowed_name_is_honest(tmp_path: Path) -> None:
    found = build(configured(tmp_path, emulate="databricks"), ENGINES, contents()).snapshot.endpoints
    dbrx, gte = found["databricks-dbrx-instruct"], found["databricks-gte-large-en"]
    assert dbrx.description == (
        "Answered by smollm2-135m-instruct, a 135M model that runs here; it is not DBRX Instruct."
    )
    assert "384 dimensions, not 1024" in gte.description
    assert (dbrx.task, gte.task) == (Task.CHAT, Task.EMBEDDINGS)
    assert {one.entities[0].admission for one in found.values()} == set(ENGINES)


def test_with_no_embedding_model_no_embedding_name_is_borrowed(tmp_path: Path) -> None:
    found = build(configured(tmp_path, emulate="databricks"), {CHAT.name: CHAT}, contents()).snapshot.endpoints
    assert "databricks-gte-large-en" not in found
    assert {one.task for one in found.values()} == {Task.CHAT}


def test_models_that_run_elsewhere_are_attached(tmp_path: Path) -> None:
    models = [
        {"name": "big", "base_url": "http://127.0.0.1:8000/v1", "api_key": "k", "model": "org/Big", "limit": 4},
        {"name": "vec", "base_url": "http://127.0.0.1:11434/v1/", "task": "llm/v1/embeddings", "dimensions": 768},
        {"name": "odd", "base_url": "http://h/v1", "capabilities": {"tools": False, "n_max": 1}, "context": 4096},
    ]
    found = build(configured(tmp_path, endpoint(local("big")), models=models), {}, contents()).snapshot.endpoints
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
    asked = endpoint(external(), local(), local("other"), {**local("other", workload_size="Medium"), "name": "m"})
    assert engines_of_file(configured(tmp_path, asked)) == {
        "smollm2-135m-instruct": ("smollm2-135m-instruct", None),
        "other": ("other", None),
        "other.s8": ("other", 8),
    }


def test_credentials_and_version_go_in_as_they_are(tmp_path: Path) -> None:
    credentials = {b"d": Credential(Principal("1", "a"))}
    found = build(configured(tmp_path), {}, contents(7, credentials=credentials)).snapshot
    assert found == Snapshot(7, {}, credentials)


def test_what_has_not_changed_is_the_very_object(tmp_path: Path) -> None:
    """An upstream holds its pool of connections, which a change elsewhere must not empty."""
    config = configured(tmp_path, endpoint(external()))
    stored = (made("a"), made("b"))
    before = build(config, ENGINES, contents(1, endpoints=stored))
    credentials = {b"d": Credential(Principal("1", "a"))}
    newer = (stored[0], made("b", version=2))
    after = build(config, ENGINES, contents(2, credentials=credentials, endpoints=newer), before).snapshot
    assert after.endpoints["e"] is before.snapshot.endpoints["e"]
    assert after.endpoints["a"] is before.snapshot.endpoints["a"]
    assert after.endpoints["b"] is not before.snapshot.endpoints["b"]
    assert (after.version, after.credentials) == (2, credentials)
    assert before.snapshot.credentials == {}


def made(name: str, *entities: dict[str, Any], version: int = 1, **parts: Any) -> StoredEndpoint:
    """An endpoint as the store has it."""
    active = parts.pop("active", {"served_entities": list(entities) or [external()]})
    return StoredEndpoint(
        id=name.rjust(32, "0"), name=name, creator_id="7", creator="ann@example.com", created_ms=5, updated_ms=6,
        config_version=1, active=active, pending=None, pending_ms=0, update_state="NOT_UPDATING",
        update_message=parts.pop("message", ""), settings=parts.pop("settings", {}), version=version,
    )  # fmt: skip


def from_store(folder: Path, *stored: StoredEndpoint, **parts: Any) -> Snapshot:
    return build(configured(folder), ENGINES, contents(1, endpoints=stored, **parts)).snapshot


def test_an_endpoint_of_the_store(tmp_path: Path) -> None:
    settings = {"description": "ours", "ai_gateway": {"fallback_config": {"enabled": True}, "rate_limits": []}}
    found = from_store(tmp_path, made("mine", external(), settings=settings)).endpoints["mine"]
    assert (found.source, found.creator, found.created_ms, found.description) == ("store", "ann@example.com", 5, "ours")
    assert found.fallback
    assert found.id == "mine".rjust(32, "0")


def test_a_secret_is_put_in_for_its_reference(tmp_path: Path) -> None:
    asked = external()
    asked["external_model"]["custom_provider_config"]["bearer_token_auth"] = {"token": "{{secrets/team/key}}"}
    found = from_store(tmp_path, made("mine", asked), secrets={"team/key": "sk-secret"})
    assert found.endpoints["mine"].entities[0].upstream.headers == (("authorization", "Bearer sk-secret"),)
    assert "sk-secret" not in repr(found.endpoints["mine"])
    without = from_store(tmp_path, made("mine", asked), made("other"))
    assert "there is no secret 'key' in scope 'team'" in without.broken["mine"]
    assert set(without.endpoints) == {"other"}


def keyed(reference: str, name: str = "e") -> dict[str, Any]:
    entity = external()
    entity["external_model"]["custom_provider_config"]["bearer_token_auth"] = {"token": reference}
    return endpoint(entity, name=name)


def test_a_secret_that_is_gone_takes_down_the_files_endpoint_that_needs_it_and_no_other(tmp_path: Path) -> None:
    config = configured(tmp_path, keyed("{{secrets/team/key}}", "mine"), endpoint(external(), name="other"))
    before = build(config, ENGINES, contents(1, secrets={"team/key": "sk-secret"}))
    assert set(before.snapshot.endpoints) == {"mine", "other"}
    # Nobody would see what else has changed, such as a token that was revoked, if this could not be built.
    after = build(config, ENGINES, contents(2, endpoints=(made("mine"),), permissions=GIVEN))
    assert set(after.snapshot.endpoints) == {"other"}
    assert "there is no secret 'key' in scope 'team'" in after.snapshot.broken["mine"]
    assert after.snapshot.may_query(Principal("7", "ann@example.com"), "mine")
    assert build(config, ENGINES, contents(3), after).snapshot.broken == after.snapshot.broken


GIVEN: dict[str, dict[str, Any]] = {endpoint_id(1_234_567_890_123_456, "mine"): {"7": "CAN_QUERY"}}


def test_a_secret_that_cannot_be_a_key_stops_the_start_and_nothing_that_runs(tmp_path: Path) -> None:
    config = configured(tmp_path, keyed("{{secrets/team/key}}"))
    bad = contents(1, secrets={"team/key": "two\nlines"})
    assert set(build(config, ENGINES, bad, running=True).snapshot.broken) == {"e"}
    with pytest.raises(ConfigError, match="endpoints"):
        build(config, ENGINES, bad)


def test_a_secret_is_found_in_any_case(tmp_path: Path) -> None:
    asked = external()
    asked["external_model"]["custom_provider_config"]["bearer_token_auth"] = {"token": "{{secrets/TEAM/key}}"}
    found = from_store(tmp_path, made("mine", asked), secrets={"Team/Key": "sk-secret"})
    assert found.endpoints["mine"].entities[0].upstream.headers == (("authorization", "Bearer sk-secret"),)


def test_what_came_through_the_api_cannot_read_the_environment(tmp_path: Path) -> None:
    entity = external()
    entity["external_model"]["custom_provider_config"]["bearer_token_auth"] = {"token": "env:SECRET"}
    path = tmp_path / "tesela.yaml"
    path.write_text(yaml.safe_dump({"endpoints": [endpoint(entity)]}))
    config = load(path, {"SECRET": "sk-server"}, {})
    found = build(config, ENGINES, contents(1, endpoints=(made("mine", entity),))).snapshot
    assert found.endpoints["e"].entities[0].upstream.headers == (("authorization", "Bearer sk-server"),)
    assert "mine" not in found.endpoints
    assert "sk-server" not in found.broken["mine"]


def test_the_file_wins_over_the_store_and_says_so(tmp_path: Path) -> None:
    config = configured(tmp_path, endpoint(external(), name="same"))
    found = build(config, ENGINES, contents(1, endpoints=(made("same"),))).snapshot
    assert found.endpoints["same"].source == "file"
    assert "the configuration file has an endpoint of this name" in found.broken["same"]


def test_an_endpoint_without_a_first_configuration_says_why(tmp_path: Path) -> None:
    found = from_store(tmp_path, made("new", active=None), made("bad", active=None, message="no such model"))
    assert not found.endpoints
    assert "is not ready yet" in found.broken["new"]
    assert found.broken["bad"] == "no such model"


def test_scripted_endpoints_of_the_store_count_apart(tmp_path: Path) -> None:
    scripted = {"external_model": {"name": "flaky-2", "provider": "scripted", "task": "llm/v1/chat"}, "name": "m"}
    found = from_store(tmp_path, made("a", scripted), made("b", scripted)).endpoints
    assert found["a"].entities[0].upstream.origin != found["b"].entities[0].upstream.origin


def test_a_size_of_its_own_means_an_engine_of_its_own(tmp_path: Path) -> None:
    asked = local(workload_size="Large")
    without = from_store(tmp_path, made("big", asked), made("plain", local()))
    assert set(without.endpoints) == {"plain"}
    large = msgspec.structs.replace(CHAT, name=f"{CHAT.name}.s16", socket="/run/large.sock")
    engines = {**ENGINES, large.name: large}
    found = build(configured(tmp_path), engines, contents(1, endpoints=(made("big", asked),))).snapshot
    assert found.endpoints["big"].entities[0].upstream.origin.unix == "/run/large.sock"


def test_grants_go_by_the_endpoints_id(tmp_path: Path) -> None:
    config = configured(tmp_path, endpoint(external()))
    mine = build(config, ENGINES, contents()).snapshot.endpoints["e"].id
    found = build(config, ENGINES, contents(1, permissions={mine: {"5": "CAN_QUERY"}, "gone": {"6": "CAN_VIEW"}}))
    assert found.snapshot.may_query(Principal("5", "a"), "e")
    assert not found.snapshot.may_manage(Principal("5", "a"), "e")
    assert not found.snapshot.may_see(Principal("6", "b"), "e")


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


def test_what_comes_with_the_server_is_everybodys_until_somebody_says_otherwise(tmp_path: Path) -> None:
    models = [{"name": "listed", "base_url": "http://127.0.0.1:1/v1"}]
    config = configured(tmp_path, endpoint(external()), local_models=True, emulate="databricks", models=models)
    anybody = Principal("5", "a", groups=frozenset({"users"}))
    found = build(config, ENGINES, contents(everyone="users")).snapshot
    borrowed = borrowed_names()[0].name
    may = {name for name in found.endpoints if found.may_query(anybody, name)}
    assert {CHAT.name, EMBED.name, borrowed} <= may
    assert not {"e", "listed"} & may
    assert not any(found.may_manage(anybody, name) for name in found.endpoints)
    kept = {found.endpoints[CHAT.name].id: {"9": "CAN_QUERY"}}
    after = build(config, ENGINES, contents(everyone="users", permissions=kept)).snapshot
    assert not after.may_query(anybody, CHAT.name)
    assert after.may_query(anybody, borrowed)
