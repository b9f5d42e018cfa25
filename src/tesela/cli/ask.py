"""What is asked of a person at a terminal before something happens, and what happens when there is none."""

import sys
from collections.abc import Callable, Iterable

import click

from tesela.errors import UpstreamRejected

yes_option = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


def sure(what: str, *, yes: bool) -> None:
    """Asks before something that cannot be undone.  Without a terminal nothing is asked, and nothing done."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{what} cannot be undone, and there is no terminal to ask at: pass --yes")
    click.confirm(f"{what}: are you sure?", abort=True, err=True)


def each(names: Iterable[str], act: Callable[[str], None]) -> None:
    """Does it for all of them, also after one was refused.  Raises the last refusal; those before it are shown."""
    refused: list[UpstreamRejected] = []
    for name in names:
        try:
            act(name)
        except UpstreamRejected as exc:
            refused.append(exc)
    for one in refused[:-1]:
        click.echo(f"tesela: {one.message}", err=True)
    if refused:
        raise refused[-1]
