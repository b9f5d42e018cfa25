"""`tesela models` against real folders, without any download."""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tesela.engine.models import CATALOGUE, CHAT, Manifest


@pytest.fixture
def shelf(tmp_path: Path) -> Path:
    """A home with one small model, whole."""
    folder = tmp_path / "home" / "models" / "mine"
    folder.mkdir(parents=True)
    data = b"GGUF and so on"
    (folder / "model.gguf").write_bytes(data)
    manifest = Manifest(
        name="mine",
        tasks=(CHAT,),
        kind="llama",
        source="file:mine.gguf",
        sha256="",
        licence="",
        description="",
        context=64,
        dimensions=0,
        model="model.gguf",
        tokenizer="",
        files={"model.gguf": (len(data), hashlib.sha256(data).hexdigest())},
        created=0.0,
    )
    (folder / "model.json").write_bytes(msgspec.json.encode(manifest))
    return folder


def test_list_shows_what_is_there_and_what_could_be(make_tesela: Any, shelf: Path) -> None:
    done = make_tesela()("models", "list")
    assert done.returncode == 0, done.stderr
    first, *rest = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert first == ["mine", CHAT, "0.0 MiB", "file:mine.gguf"]
    assert [line[0] for line in rest] == list(CATALOGUE)
    assert {line[2] for line in rest} == {"not pulled"}
    told = json.loads(make_tesela()("models", "list", "--json").stdout)
    assert [one["installed"] for one in told] == [True] + [False] * len(CATALOGUE)


def test_verify_finds_a_changed_byte(make_tesela: Any, shelf: Path) -> None:
    assert make_tesela()("models", "verify").stdout == b"mine: whole\n"
    (shelf / "model.gguf").write_bytes(b"GGUF and so in")
    done = make_tesela()("models", "verify", "mine")
    assert done.returncode == 1
    assert b"damaged: model.gguf" in done.stdout


def test_rm(make_tesela: Any, shelf: Path) -> None:
    assert make_tesela()("models", "rm", "mine").returncode == 0
    assert not shelf.exists()
    done = make_tesela()("models", "rm", "mine")
    assert done.returncode == 1
    assert b"'mine' is not there" in done.stderr


@pytest.mark.parametrize("command", [["pull", "nonsense"], ["verify", "nonsense"]])
def test_an_unknown_model(make_tesela: Any, command: list[str]) -> None:
    done = make_tesela()("models", *command)
    assert done.returncode == 1
    assert b"nonsense" in done.stderr
    assert done.stderr.count(b"\n") == 1
