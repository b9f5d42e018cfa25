"""How far a long task is: a bar on a terminal, a line per stage otherwise."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from tesela.cli import screen

Report = Callable[[str, int, int], None]
"""Called with the stage, and how much of it is done out of how much, in bytes; 0 for a total that is not known."""


@contextmanager
def shown() -> Iterator[Report]:
    if not screen.is_terminal():
        yield _lines()
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bars:
        tasks: dict[str, TaskID] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage)
            bars.update(tasks[stage], completed=done, total=total or None)

        yield report


def _lines() -> Report:
    seen: set[str] = set()

    def report(stage: str, done: int, total: int) -> None:  # noqa: ARG001 - a log has no use for every step
        if stage not in seen:
            seen.add(stage)
            click.echo(stage)

    return report
