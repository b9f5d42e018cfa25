"""How far a statement is: one line on a terminal's standard error, and a last one that stays."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

Report = Callable[[dict[str, Any]], None]
SOON_S = 0.5
"""What is done before that needs no line."""


@contextmanager
def shown() -> Iterator[Report | None]:
    """Gives what to call with a statement's progress; None where nobody watches."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    began = time.monotonic()
    latest: dict[str, Any] = {}
    live = Live(console=Console(stderr=True), refresh_per_second=8, transient=True)

    def report(progress: dict[str, Any]) -> None:
        latest.update(progress)
        took = time.monotonic() - began
        if took > SOON_S:
            if not live.is_started:
                live.start()
            live.update(Text(line(latest, took)))

    try:
        yield report
    finally:
        if live.is_started:
            live.stop()
        if latest.get("rows"):
            click.echo(line(latest, time.monotonic() - began, over=True), err=True)


def line(progress: dict[str, Any], took_s: float, *, over: bool = False) -> str:
    """`took_s` is in seconds.  Says what is there to say: no calls, no tokens."""
    rows, expected = int(progress.get("rows", 0)), progress.get("expected")
    asked = rows - int(progress.get("kept", 0))
    parts = [clock(took_s)]
    if not rows and not progress.get("under_way"):
        return f"{parts[0]}  running"
    parts.append(f"{rows:,} of {expected:,} rows" if expected else f"{rows:,} rows")
    speed = rows / took_s if took_s > 0 else 0.0
    parts.append(f"{speed:,.0f} rows/s")
    tokens = int(progress.get("prompt_tokens", 0)) + int(progress.get("completion_tokens", 0))
    for count, word in (
        (progress.get("under_way", 0) if not over else 0, "under way"),
        (tokens, "tokens"),
        (progress.get("kept", 0), "kept before"),
        (progress.get("repeats", 0), "retries"),
        (progress.get("failed", 0), "failed"),
    ):
        if count:
            parts.append(f"{count:,} {word}")
    if expected and not over and asked and speed:
        parts.append(f"{clock(max(0, expected - rows) / speed)} left")
    return "  ".join(parts)


def clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
