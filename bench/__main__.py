"""`python -m bench`: run it, or `python -m bench table` to bring the README's table up to date."""

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import click
import msgspec
from rich.console import Console

from bench import machine, measure, sql_table, table
from bench.process import BenchError
from bench.run import ROOT, run
from bench.systems import ALWAYS, ON_REQUEST, SYSTEMS

RESULTS = ROOT / "bench" / "results"
README = ROOT / "README.md"
# The local engine is measured beside the systems, against the bare engines.
ENGINE = "engine"
NAMES = (*SYSTEMS, ENGINE)


def _names(_: click.Context, __: click.Parameter, value: str | None) -> list[str]:
    names = [name.strip() for name in (value or "").split(",") if name.strip()]
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise click.BadParameter(f"{', '.join(unknown)}; there are {', '.join(NAMES)}")
    return names


def _stop(number: int, _: FrameType | None) -> None:
    sys.exit(128 + number)


@click.group(invoke_without_command=True)
@click.option("--quick", is_flag=True, help="About a minute; good for a look, not for the README.")
@click.option(
    "--rounds",
    type=click.IntRange(1, 50),
    help="How many rounds instead of the preset number.",
)
@click.option(
    "--only",
    callback=_names,
    help=f"Only these systems, with commas: {', '.join(SYSTEMS)}.",
)
@click.option(
    "--with",
    "also",
    callback=_names,
    help=f"Also these, installed on demand: {', '.join(ON_REQUEST)}.",
)
@click.option(
    "--keep/--no-keep",
    default=None,
    help="Write bench/results/ (default: unless --quick or --only).",
)
@click.pass_context
def main(
    context: click.Context,
    quick: bool,
    rounds: int | None,
    only: list[str],
    also: list[str],
    keep: bool | None,
) -> None:
    """Measure Tesela beside nginx, in one run, and print one table.

    \b
    python -m bench                          nine systems, 15 rounds, about nine minutes
    python -m bench --quick                  about a minute
    python -m bench --with litellm,portkey   with those two beside
    python -m bench table                    README.md from the newest results
    """
    if context.invoked_subcommand is not None:
        return
    signal.signal(signal.SIGTERM, _stop)
    # A shell that starts the bench in the background has it ignore this one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    console = Console(stderr=True)
    settings = measure.QUICK if quick else measure.FULL
    if rounds:
        settings = msgspec.structs.replace(settings, rounds=rounds)
    names = dict.fromkeys([*(only or (*ALWAYS, ENGINE)), *also])
    keys = [name for name in names if name != ENGINE]
    try:
        results = run(
            keys, settings, lambda text: console.print(text, style="dim", highlight=False), with_engine=ENGINE in names
        )
    except BenchError as exc:
        raise click.ClickException(str(exc)) from exc
    except KeyboardInterrupt:
        raise click.ClickException("stopped; every process of the bench was ended") from None
    table.show(results, Console(width=140))
    if keep if keep is not None else not (quick or only):
        console.print(f"results: {_save(results).relative_to(ROOT)}")
    ours = (system for key, system in results["systems"].items() if key not in ON_REQUEST)
    if results["engine_broken"] or any(system["broken"] or system["faults"] for system in ours):
        sys.exit(1)


@main.command("table")
@click.option(
    "--check",
    is_flag=True,
    help="Change nothing; exit 1 when README.md is not made from the newest results.",
)
def table_command(check: bool) -> None:
    """Make the table in README.md from the newest file in bench/results/."""
    newest = max(RESULTS.glob("*.json"), default=None)
    sql = max((RESULTS / "sql").glob("*.json"), default=None)
    if newest is None or sql is None:
        raise click.ClickException("there are no results yet: python -m bench, python -m bench.sql")
    page = README.read_text()
    try:
        wanted = table.splice(page, table.markdown(msgspec.json.decode(newest.read_bytes()), newest.name))
        text = sql_table.markdown(msgspec.json.decode(sql.read_bytes()), sql.name)
        wanted = table.splice(wanted, text, sql_table.START, sql_table.END)
    except ValueError as exc:
        raise click.ClickException(f"README.md: {exc}") from exc
    if wanted == page:
        return
    if check:
        raise click.ClickException(f"README.md is not made from {newest.name} and {sql.name}: python -m bench table")
    README.write_text(wanted)


def _save(results: dict[str, Any]) -> Path:
    facts = results["machine"]
    stamp = str(results["date"])[:16].replace(":", "")
    path = RESULTS / f"{stamp}-{machine.short_name(facts['cpu'], facts['cores'])}.json"
    # A clone that has no results yet has no folder for them.
    RESULTS.mkdir(exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")
    return path


if __name__ == "__main__":
    main()
