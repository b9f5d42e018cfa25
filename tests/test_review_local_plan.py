"""Models that were pulled are offered, models of the catalogue go by the name they are given, commands say where."""

from pathlib import Path

import msgspec
import pytest
from tests.fakes import contents

from tesela import local
from tesela.addresses import EngineAddress
from tesela.config import Config, load
from tesela.engine.models import CATALOGUE, Installed, Manifest
from tesela.engine.pull import pull
from tesela.engine.spec import EngineSpec
from tesela.errors import ConfigError, NotFound
from tesela.snapshot_build import build

CHAT_MODEL = "smollm2-135m-instruct"


def configured(folder: Path, text: str) -> Config:
    (folder / "tesela.yaml").write_text(text, "utf-8")
    return load(folder / "tesela.yaml", {"TESELA_HOME": str(folder / "home")}, {})


def put(folder: Path, name: str, source: str, kind: str = "llama") -> Installed:
    """A model in the home, as `pull` leaves it; its file is empty, and nothing here opens it."""
    directory = folder / "home" / "models" / name
    directory.mkdir(parents=True)
    (directory / "model.gguf").touch()
    manifest = Manifest(
        name=name,
        tasks=("llm/v1/chat", "llm/v1/completions"),
        kind="llama",
        source=source,
        sha256="",
        licence="",
        description="",
        context=64,
        dimensions=0,
        model="model.gguf",
        tokenizer="",
        files={"model.gguf": (0, "")},
        created=0.0,
    )
    (directory / "model.json").write_bytes(msgspec.json.encode(manifest))
    return Installed(directory=directory, manifest=manifest)


def put_catalogue(folder: Path) -> None:
    for entry in CATALOGUE.values():
        put(folder, entry.name, entry.source)


def planned(config: Config, folder: Path) -> local.Plan:
    return local.plan(config, folder, lambda *_: None)


def test_a_pulled_model_is_offered_with_the_local_models(tmp_path: Path) -> None:
    put_catalogue(tmp_path)
    put(tmp_path, "mine", "file:/somewhere/mine.gguf")
    plan = planned(configured(tmp_path, "local_models: true\n"), tmp_path)
    # Those of the catalogue first: borrowed names go to the first that serves the task.
    assert list(plan.addresses) == [*CATALOGUE, "mine"]


def test_a_pulled_model_runs_when_an_endpoint_names_it_and_not_otherwise(tmp_path: Path) -> None:
    put(tmp_path, "mine", "file:/somewhere/mine.gguf")
    put(tmp_path, "other", "file:/somewhere/other.gguf")
    text = "endpoints:\n  - {name: e, config: {served_entities: [{entity_name: mine}]}}\n"
    assert list(planned(configured(tmp_path, text), tmp_path).addresses) == ["mine"]


def test_a_pulled_model_that_is_declared_runs_once(tmp_path: Path) -> None:
    put_catalogue(tmp_path)
    put(tmp_path, "mine", "file:/somewhere/mine.gguf")
    text = "local_models: true\nmodels:\n  - {name: mine, source: 'file:/somewhere/mine.gguf', slots: 2}\n"
    plan = planned(configured(tmp_path, text), tmp_path)
    assert [spec.slots for spec in plan.specs if spec.name == "mine"] == [2]


def test_a_model_of_the_catalogue_under_a_name_of_ones_own(tmp_path: Path) -> None:
    put(tmp_path, "tiny", CATALOGUE[CHAT_MODEL].source)
    plan = planned(configured(tmp_path, f"models:\n  - {{name: tiny, source: {CHAT_MODEL}}}\n"), tmp_path)
    assert list(plan.addresses) == ["tiny"]
    assert plan.addresses["tiny"].capabilities.system == local.DEFAULTS[CHAT_MODEL][0]


def test_pull_gives_a_model_of_the_catalogue_the_name_it_is_told(tmp_path: Path) -> None:
    there = put(tmp_path, "tiny", CATALOGUE[CHAT_MODEL].source)
    assert pull(tmp_path / "home", CHAT_MODEL, name="tiny") == there


def test_a_command_that_is_not_told_where_to_listen_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"tesela\.yaml:2: models\[0\]\.command: .*\{port\} or \{socket\}"):
        configured(tmp_path, "models:\n  - {name: far, command: [serve-it, --port, '8000']}\n")


@pytest.mark.parametrize(
    "entry",
    [
        "name: q, path: missing.gguf",
        "name: Q, source: 'file:/x.gguf'",
        "name: q, source: nosuch",
        "name: q, source: 'a:b'",
    ],
)
def test_a_model_that_cannot_be_had_is_told_with_its_place(tmp_path: Path, entry: str) -> None:
    with pytest.raises(ConfigError, match=r"^tesela\.yaml:2: models\[0\]: "):
        planned(configured(tmp_path, f"models:\n  - {{{entry}}}\n"), tmp_path)


def one(folder: Path, text: str, model: str, **size: int) -> tuple[EngineSpec, EngineAddress]:
    return local.plan_one(configured(folder, text), model, f"{model}.s2", folder, lambda *_: None, **size)


def test_a_size_in_the_file_gets_an_engine_that_is_not_offered_by_itself(tmp_path: Path) -> None:
    put_catalogue(tmp_path)
    entity = f"{{name: m, entity_name: {CHAT_MODEL}, workload_size: Medium}}"
    text = f"local_models: true\nendpoints:\n- {{name: e, config: {{served_entities: [{entity}]}}}}\n"
    config = configured(tmp_path, text)
    planned = local.plan(config, tmp_path, lambda *_: None)
    assert [spec.slots for spec in planned.specs if spec.name == f"{CHAT_MODEL}.s8"] == [8]
    endpoints = build(config, planned.addresses, contents()).snapshot.endpoints
    assert f"{CHAT_MODEL}.s8" not in endpoints
    assert endpoints["e"].entities[0].admission == f"{CHAT_MODEL}.s8"


def test_one_engine_of_a_size_of_its_own(tmp_path: Path) -> None:
    put_catalogue(tmp_path)
    spec, address = one(tmp_path, "workers: 2\n", CHAT_MODEL, slots=2, threads=1)
    assert (spec.name, spec.slots, spec.threads) == (f"{CHAT_MODEL}.s2", 2, 1)
    assert spec.model.endswith(f"{CHAT_MODEL}/model.gguf")
    assert (address.name, address.model, address.key, address.socket) == (spec.name, CHAT_MODEL, spec.key, spec.socket)
    assert (address.slots, address.limit, address.capabilities.n_max) == (2, local.QUEUE, 2)
    assert address.display_name == CHAT_MODEL
    assert address.capabilities.system == local.DEFAULTS[CHAT_MODEL][0]


def test_one_engine_keeps_what_the_file_says_of_its_model(tmp_path: Path) -> None:
    source = "file:/somewhere/mine.gguf"
    put(tmp_path, "mine", source)
    text = f"models:\n  - {{name: mine, source: '{source}', slots: 3, context: 32, limit: 9, description: D}}\n"
    spec, address = one(tmp_path, text, "mine")
    assert (spec.slots, spec.context, address.limit, address.description) == (3, 32, 9, "D")
    spec, address = one(tmp_path, text, "mine", slots=2)
    assert (spec.slots, spec.context, address.limit) == (2, 32, 2 * local.QUEUE)


def test_one_engine_of_what_is_not_ours_to_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="served by another program"):
        one(tmp_path, "models:\n  - {name: far, base_url: 'http://127.0.0.1:9/v1'}\n", "far")
    with pytest.raises(NotFound, match="no model 'nosuch'"):
        one(tmp_path, "", "nosuch")


def test_memory_has_a_ceiling_where_we_know_what_a_model_needs(tmp_path: Path) -> None:
    """A model from elsewhere may be of any size: a bound of ours would end it again and again."""
    put_catalogue(tmp_path)
    put(tmp_path, "mine", "file:/somewhere/mine.gguf")
    assert one(tmp_path, "", "mine")[0].memory_bytes == 0
    usual, large = (one(tmp_path, "", CHAT_MODEL, slots=slots)[0].memory_bytes for slots in (2, 6400))
    assert 0 < usual < large
    text = "models:\n  - {name: mine, source: 'file:/somewhere/mine.gguf', memory_mib: 7}\n"
    assert one(tmp_path, text, "mine")[0].memory_bytes == 7 * 2**20
