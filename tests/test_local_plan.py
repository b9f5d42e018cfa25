"""Which engines a configuration needs: models by path, by source and by command, and what is refused."""

from pathlib import Path

import pytest

from tesela import local
from tesela.config import Config, load
from tesela.errors import ConfigError
from tesela.wire.tasks import Task


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    """A file with a GGUF head, under a name that would not survive being taken for an address."""
    import gguf

    path = tmp_path / "odd name #1?.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny")
    writer.add_context_length(64)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def configured(folder: Path, models: str) -> Config:
    (folder / "tesela.yaml").write_text(f"models:\n{models}", "utf-8")
    return load(folder / "tesela.yaml", {"TESELA_HOME": str(folder / "home")}, {})


def planned(config: Config, folder: Path) -> local.Plan:
    return local.plan(config, folder, lambda *_: None)


def test_a_file_is_served_from_where_it_lies(tmp_path: Path, gguf_file: Path) -> None:
    config = configured(tmp_path, f"  - {{name: tiny, path: '{gguf_file.name}', slots: 2, memory_mib: 100}}\n")
    plan = planned(config, tmp_path)
    (spec,) = plan.specs
    assert (spec.model, spec.slots, spec.context, spec.memory_bytes) == (str(gguf_file), 2, 64, 100 * 2**20)
    address = plan.addresses["tiny"]
    assert address.tasks == {Task.CHAT, Task.COMPLETIONS}
    assert address.capabilities.n_max == 2
    assert not (tmp_path / "home" / "models").exists()


def test_a_file_that_is_no_model_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "letter.gguf").write_text("Dear Sir or Madam")
    with pytest.raises(ConfigError, match=r"letter\.gguf is not a whole GGUF file"):
        planned(configured(tmp_path, "  - {name: tiny, path: letter.gguf}\n"), tmp_path)


def test_another_path_under_an_old_name_is_another_model(tmp_path: Path, gguf_file: Path) -> None:
    entry = "  - {{name: tiny, path: '{}'}}\n"
    planned(configured(tmp_path, entry.format(gguf_file.name)), tmp_path)
    moved = gguf_file.rename(tmp_path / "new.gguf")
    (spec,) = planned(configured(tmp_path, entry.format("new.gguf")), tmp_path).specs
    assert spec.model == str(moved)


def test_a_command_keeps_its_port(tmp_path: Path) -> None:
    config = configured(tmp_path, "  - {name: far, command: [serve-it, --port, '{port}', --key, '{key}'], model: m}\n")
    plan = planned(config, tmp_path)
    (spec,) = plan.specs
    origin = plan.addresses["far"].origin
    assert origin is not None
    assert spec.argv[:3] == ("serve-it", "--port", str(origin.port))
    assert spec.base_url == f"http://127.0.0.1:{origin.port}"
    assert plan.addresses["far"].key == spec.key != ""


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ("path: m.gguf, task: llm/v1/embeddings", "task"),
        ("source: 'hf:a/b/c.gguf', api_key: k", "api_key"),
        ("command: [x], threads: 2", "threads"),
        ("base_url: 'http://127.0.0.1:1/v1', memory_mib: 9", "memory_mib"),
    ],
)
def test_a_key_without_an_effect_is_refused_by_name(tmp_path: Path, entry: str, key: str) -> None:
    with pytest.raises(ConfigError, match=rf"'{key}' has no effect"):
        configured(tmp_path, f"  - {{name: m, {entry}}}\n")
