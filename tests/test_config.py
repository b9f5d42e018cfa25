"""The configuration: what wins, what is refused, and how the refusal reads."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from tesela import serving
from tesela.config import Config, load, variables
from tesela.errors import ConfigError
from tesela.gateway.breaker import Terms
from tesela.serving import Retries
from tesela.settings import Settings, Timeouts
from tesela.worker import terms_of

ENDPOINT = """
endpoints:
  - name: gpt
    config:
      served_entities:
        - external_model:
            name: gpt-4.1
            provider: openai
            task: llm/v1/chat
            openai_config:
              openai_api_key: env:KEY
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "tesela.yaml"
    path.write_text(text, "utf-8")
    return path


def read(folder: Path, text: str, environ: dict[str, str] | None = None, **flags: object) -> Config:
    return load(write(folder, text), environ or {}, flags)


def refusal(folder: Path, text: str, environ: dict[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, text, environ, **flags)
    assert "\n" not in caught.value.message
    return caught.value.message


def test_an_option_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    text = "port: 1\nworkers: 2\nhost: a\ntimeouts: {connect: 3, idle: 4}\n"
    environ = {"TESELA_PORT": "5", "TESELA_WORKERS": "6", "TESELA_TIMEOUT_CONNECT": "7.5", "TESELA_HOT_ROUTES": "false"}
    settings = read(tmp_path, text, environ, port=8, host=None).settings
    assert (settings.port, settings.workers, settings.host, settings.hot_routes) == (8, 6, "a", False)
    assert (settings.timeouts.connect, settings.timeouts.idle) == (7.5, 4.0)
    assert settings.patience.connect_s == 7.5


def test_blocks_of_settings_have_variables_too(tmp_path: Path) -> None:
    text = "retries: {count: 1, pause: 0.25}\nbreaker: {failures: 9}\n"
    environ = {"TESELA_RETRIES_COUNT": "2", "TESELA_BREAKER_RATE": "0.9", "TESELA_BREAKER_OPEN": "3"}
    settings = read(tmp_path, text, environ).settings
    assert settings.patience.retries == Retries(count=2, pause_s=0.25, longest_s=8.0)
    assert terms_of(read(tmp_path, text, environ)) == Terms(failures=9, rate=0.9, window_s=30.0, open_s=3.0)
    assert Settings().patience == serving.Timeouts()
    assert terms_of(load(write(tmp_path, ""), {}, {})) == Terms(), "the defaults are those of the parts"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("retries: {count: 6}", "retries.count"),
        ("retries: {counts: 1}", "did you mean 'count'?"),
        ("breaker: {rate: 0}", "breaker.rate"),
        ("breaker: {failures: -1}", "breaker.failures"),
        ("retries: 3", "retries"),
    ],
)
def test_blocks_of_settings_are_checked(tmp_path: Path, text: str, says: str) -> None:
    assert says in refusal(tmp_path, text)


def test_defaults_with_no_file_offer_the_local_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = load(None, {}, {})
    assert config.settings == Settings(local_models=True, emulate="databricks")
    assert config.file is None
    assert config.home.is_absolute()
    assert config.settings.port == 8787
    assert not load(None, {"TESELA_LOCAL_MODELS": "0"}, {}).settings.local_models


def test_the_file_is_the_option_the_variable_or_the_one_in_this_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "port: 1")
    other, third = tmp_path / "b.yaml", tmp_path / "c.yaml"
    other.write_text("port: 2")
    third.write_text("port: 3")
    environ = {"TESELA_CONFIG": str(other)}
    assert load(None, {}, {}).settings.port == 1
    assert load(None, environ, {}).settings.port == 2
    assert load(third, environ, {}).settings.port == 3
    here = load(None, {}, {})
    assert here.file == tmp_path / "tesela.yaml"
    assert (here.settings.local_models, here.settings.emulate) == (False, None)


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    config = read(tmp_path, "# nothing\n")
    assert config.file is not None
    assert not config.settings.local_models


def test_home_and_paths(tmp_path: Path) -> None:
    assert read(tmp_path, "", {"TESELA_HOME": str(tmp_path / "x")}).home == tmp_path / "x"
    assert read(tmp_path, "", {"TESELA_HOME": "/a"}, home=tmp_path).home == tmp_path
    assert read(tmp_path, "").path("models/a.gguf") == tmp_path / "models" / "a.gguf"


def test_the_rest_shape_is_read_with_numbers_as_strings(tmp_path: Path) -> None:
    text = ENDPOINT + "      traffic_config: {routes: [{served_model_name: gpt-4-1, traffic_percentage: '100'}]}\n"
    config = read(tmp_path, text, {"KEY": "sk-1"})
    endpoint = config.settings.endpoints[0]
    assert endpoint.config.traffic_config is not None
    assert endpoint.config.traffic_config.routes[0].traffic_percentage == 100
    assert config.secrets == {"env:KEY": "sk-1"}
    assert "sk-1" not in repr(config)
    assert pickle.loads(pickle.dumps(config)).secrets == {"env:KEY": "sk-1"}


def test_what_a_workspace_shows_is_read_and_what_is_idle_is_said(tmp_path: Path) -> None:
    text = """
endpoints:
  - name: gpt
    id: 0123
    creation_timestamp: 1
    budget_policy_id: b
    state: {ready: READY}
    config:
      config_version: 3
      auto_capture_config: {enabled: true}
      served_models: [{model_name: tiny, model_version: '1', workload_size: Small}]
"""
    config = read(tmp_path, text)
    assert config.notes == (
        "tesela.yaml:6: endpoints[0].budget_policy_id has no effect",
        "tesela.yaml:10: endpoints[0].config.auto_capture_config has no effect",
    )
    assert config.settings.endpoints[0].config.served_models[0].entity_name == "tiny"


def test_variables_that_nobody_reads_are_said(tmp_path: Path) -> None:
    notes = read(tmp_path, "", {"TESELA_PROT": "1", "TESELA_PORT": "1", "TESELA_TEST_MODELS": "x", "OTHER": "x"}).notes
    assert notes == ("the variable TESELA_PROT is not one that Tesela reads; did you mean TESELA_PORT?",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("prot: 1", "tesela.yaml:1: prot: there is no such setting; did you mean 'port'?"),
        ("\nport: x", "tesela.yaml:2: port: expected `int`, got `str`"),
        ("port: 70000", "tesela.yaml:1: port: expected `int` <= 65535"),
        ("workers: 0", "tesela.yaml:1: workers: expected `int` >= 1"),
        ("timeouts: {conect: 1}", "did you mean 'connect'?"),
        ("timeouts: {connect: 0}", "tesela.yaml:1: timeouts.connect: expected `float` > 0.0"),
        ("emulate: openai", "tesela.yaml:1: emulate: invalid enum value 'openai'"),
        ("endpoints: {}", "tesela.yaml:1: endpoints: expected `array`, got `object`"),
        ("endpoints:\n  - nam: x", "tesela.yaml:2: endpoints[0].nam: there is no such setting; did you mean 'name'?"),
        ("endpoints:\n  - name: x", "endpoints[0]: object missing required field `config`"),
        ("- a", "tesela.yaml:1: must be a mapping of settings"),
        ("a: [", "tesela.yaml:1: is not valid YAML"),
        ("port: 1\nport: 2", "tesela.yaml:2: 'port' is given twice"),
        ("home: !!python/object:os.system x", "the tag"),
        ("home: !x y", "tesela.yaml:1: the tag '!x' is not allowed"),
        ("? [a]\n: b", "tesela.yaml:1: a key must be a plain word"),
        ("a: &a [*a]", "nested deeper than"),
        ("models: [{name: x}]", "tesela.yaml:1: models[0]: model 'x' needs exactly one of source, path, command"),
        ("models: [{name: x, path: a, base_url: b}]", "and has path and base_url"),
        ("models: [{name: x, path: a}, {name: x, path: b}]", "models[1].name: there are two models named 'x'"),
        ("models: [{name: x, path: a, task: chat}]", "models[0].task: 'chat' is not a task"),
        ("models: [{name: 'a b', path: a}]", "tesela.yaml:1: models[0].name: expected `str` matching regex"),
        ("models: [{name: x, path: a, capabilities: {tool: true}}]", "did you mean 'tools'?"),
    ],
)
def test_a_wrong_file_says_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusal(tmp_path, text)


def test_a_wrong_place_deep_inside_has_its_own_line(tmp_path: Path) -> None:
    found = refusal(tmp_path, ENDPOINT.replace("provider: openai", "provider: [openai]"), {"KEY": "x"})
    expected = (
        "tesela.yaml:8: endpoints[0].config.served_entities[0].external_model.provider: expected `str`, got `array`"
    )
    assert found == expected


def test_options_and_variables_are_named_when_they_are_wrong(tmp_path: Path) -> None:
    assert refusal(tmp_path, "", {"TESELA_PORT": "x"}).startswith("the variable TESELA_PORT: expected `int`")
    assert refusal(tmp_path, "port: 1", workers=0).startswith("the option --workers: expected `int` >= 1")
    found = refusal(tmp_path, "", {"TESELA_TIMEOUT_IDLE": "soon"})
    assert found.startswith("the variable TESELA_TIMEOUT_IDLE: expected `float`")


def test_a_missing_variable_stops_the_start_and_says_which(tmp_path: Path) -> None:
    found = refusal(tmp_path, ENDPOINT)
    assert found.startswith("tesela.yaml:11: endpoints[0].config.served_entities[0].external_model.openai_config")
    assert "the variable KEY is not set" in found
    assert "the variable KEY is empty" in refusal(tmp_path, ENDPOINT, {"KEY": ""})
    model = "models: [{name: x, base_url: 'http://h/v1', api_key: 'env:KEY'}]"
    assert "models[0].api_key: the variable KEY is not set" in refusal(tmp_path, model)


def test_text_that_only_looks_like_a_reference_is_text(tmp_path: Path) -> None:
    assert read(tmp_path, ENDPOINT + "    description: env:OTHER\n", {"KEY": "x"}).secrets == {"env:KEY": "x"}


def test_anchors_and_merges_are_plain_data(tmp_path: Path) -> None:
    text = "models:\n  - &m {name: a, path: x, slots: 3}\n  - {<<: *m, name: b}\n"
    first, second = read(tmp_path, text).settings.models
    assert (first.name, second.name, second.path, second.slots) == ("a", "b", "x", 3)
    assert "`<<` can only take in a mapping" in refusal(tmp_path, "models:\n  - &m a\n  - {<<: *m, name: b}\n")


def test_a_bomb_of_aliases_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "holds more than" in refusal(tmp_path, "\n".join(lines))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no such file"):
        load(tmp_path / "none.yaml", {}, {})
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path, {}, {})
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"port: 1\nhost: \xff\n")
    with pytest.raises(ConfigError, match=r"bad\.yaml:2: is not UTF-8"):
        load(path, {}, {})
    path.write_bytes(b"# " + b"x" * (5 * 1024 * 1024))
    with pytest.raises(ConfigError, match="larger than 4 MiB"):
        load(path, {}, {})
    path.write_bytes(b"[" * 100_000)
    with pytest.raises(ConfigError, match="not valid YAML"):
        load(path, {}, {})


def test_every_setting_and_variable_is_documented() -> None:
    page = (Path(__file__).parent.parent / "docs" / "reference" / "configuration.md").read_text("utf-8")
    names: list[str] = [*Settings.__struct_fields__, *variables()]
    names += [f"timeouts.{name}" for name in Timeouts.__struct_fields__]
    assert [name for name in names if f"`{name}`" not in page] == []


def test_nothing_shows_the_password_of_the_database(tmp_path: Path) -> None:
    config = load(None, {"TESELA_DATABASE_URL": "postgresql://ana:hunter2@db/tesela"}, {"home": tmp_path})
    assert config.settings.database_url.endswith("hunter2@db/tesela")
    assert "hunter2" not in repr(config) + repr(config.settings) + "".join(config.notes)


def test_scalars_of_every_kind(tmp_path: Path) -> None:
    def value(text: str) -> Any:
        model = f"{{name: m, provider: scripted, task: llm/v1/chat, scripted_config: {{x: {text}}}}}"
        config = read(
            tmp_path, f"endpoints: [{{name: e, config: {{served_entities: [{{external_model: {model}}}]}}}}]\n"
        )
        found = config.settings.endpoints[0].config.served_entities[0].external_model
        return found.scripted_config if found is not None else None

    for text, expected in (
        ("1", 1),
        ("1.5", 1.5),
        ("yes", True),
        ("~", None),
        ("2026-01-01", "2026-01-01"),
        ("'1'", "1"),
    ):
        assert value(text) == {"x": expected}


def test_what_a_gateway_would_do_and_does_not_yet_is_said_aloud(tmp_path: Path) -> None:
    """A copied endpoint must not look protected when it is not."""
    text = f"""{ENDPOINT}    rate_limits: [{{calls: 5, key: user, renewal_period: minute}}]
    ai_gateway:
      fallback_config: {{enabled: true}}
      guardrails: {{input: {{pii: {{behavior: BLOCK}}}}}}
      usage_tracking_config: {{enabled: true}}
"""
    config = read(tmp_path, text, {"KEY": "x"})
    assert [note.split(": ", 1)[1] for note in config.notes] == [
        "endpoints[0].rate_limits has no effect",
        "endpoints[0].ai_gateway.guardrails has no effect",
        "endpoints[0].ai_gateway.usage_tracking_config has no effect",
    ]
    gateway = config.settings.endpoints[0].ai_gateway
    assert gateway is not None
    assert gateway.fallback_config is not None
    assert gateway.fallback_config.enabled


def test_a_mistyped_fallback_is_no_endpoint_without_one(tmp_path: Path) -> None:
    text = f"{ENDPOINT}    ai_gateway: {{fallbacks_config: {{enabled: true}}}}\n"
    with pytest.raises(ConfigError, match=r"ai_gateway\.fallbacks_config: there is no such setting.*fallback_config"):
        read(tmp_path, text, {"KEY": "x"})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"TESELA_SQL_REMOTE": "localhost:15002"}, "sc://host:15002"),
        ({"TESELA_SQL_WAREHOUSE": "s3://bucket/tables"}, "sql.roots"),
        ({"TESELA_SQL_CONCURRENCY": "0"}, "TESELA_SQL_CONCURRENCY"),
    ],
)
def test_settings_of_sql_that_cannot_be(tmp_path: Path, given: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        load(None, {"TESELA_HOME": str(tmp_path), **given}, {})
