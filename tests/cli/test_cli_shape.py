"""What holds for every command: help, exit codes, start-up, and the reference page."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from tesela import __version__
from tesela.cli import docs
from tesela.cli.commands import TABLE
from tesela.cli.commands import tesela as root

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md"


def commands(group: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, group
    if isinstance(group, click.Group):
        context = click.Context(group)
        for inner in group.list_commands(context):
            found = group.get_command(context, inner)
            assert found is not None
            yield from commands(found, f"{name} {inner}")


EVERY = dict(commands(root, "tesela"))


@pytest.mark.parametrize("name", EVERY)
def test_every_command_has_help_with_an_example(name: str) -> None:
    text = EVERY[name].get_help(click.Context(EVERY[name], info_name=name, **root.context_settings))
    assert "Examples:" in text
    assert f"  {name}" in text.partition("Examples:")[2]


@pytest.mark.parametrize("name", [name for name in EVERY if name != "tesela"])
def test_every_option_has_help(name: str) -> None:
    options = [one for one in EVERY[name].params if isinstance(one, click.Option)]
    assert [one.name for one in options if not one.help] == []


@pytest.mark.parametrize("name", TABLE)
def test_the_table_names_the_command_that_it_loads(name: str) -> None:
    assert EVERY[f"tesela {name}"].name == name


def test_the_reference_page_is_what_the_help_says() -> None:
    assert PAGE.read_text(encoding="utf-8") == docs.page(), "run: make docs"


def test_version(make_tesela: Any) -> None:
    done = make_tesela()("--version")
    assert (done.returncode, done.stdout.decode()) == (
        0,
        f"tesela, version {__version__}\n",
    )


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["query"], ["query", "x", "--nonsense"], ["serve", "--port", "x"]],
)
def test_misuse_is_exit_code_2(make_tesela: Any, arguments: list[str]) -> None:
    done = make_tesela()(*arguments)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


def test_a_wrong_configuration_is_one_sentence_and_exit_code_2(make_tesela: Any, tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("prot: 1\n", encoding="utf-8")
    done = make_tesela()("serve", "--config", "wrong.yaml")
    assert done.returncode == 2
    assert done.stderr.decode().startswith("tesela: wrong.yaml:1: prot")
    assert done.stderr.count(b"\n") == 1


def test_help_imports_nothing_heavy() -> None:
    code = "import sys; from tesela.cli import run; run(['--help']); print(*sys.modules, sep='\\n', file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stderr.split())
    assert "click" in loaded
    assert (
        loaded
        & {
            "requests",
            "rich",
            "msgspec",
            "yaml",
            "uvicorn",
            "starlette",
            "sqlite3",
            "asyncio",
        }
        == set()
    )


def test_the_package_is_the_command_too(make_tesela: Any) -> None:
    done = subprocess.run([sys.executable, "-m", "tesela", "--version"], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, make_tesela()("--version").stdout)
