"""Results as tables: for the terminal, and as the part of README.md between two markers.

Pure: the same results always give the same text, so `--check` can tell whether the README is up to date.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

START, END = "<!-- bench:start -->", "<!-- bench:end -->"
TIMES, NOTHING = "\u00d7", "\u2013"
# From this share of its core on, a gateway counts as saturated; below, the generator or a neighbour was the limit.
SATURATED = 0.95


class Line(NamedTuple):
    """One line of the table: a figure of all systems. `form` is a format, or `ms` for µs shown as ms."""

    heading: str
    question: str
    figure: str
    form: str
    ratio: bool = False


LINES = (
    Line("processor time per request, µs", "whole", "cpu_us", "{:.1f}", ratio=True),
    Line("requests/s on one core", "whole", "per_second", "{:,.0f}"),
    Line("processor time per request at a moderate rate, µs", "paced", "cpu_us", "{:.1f}", ratio=True),
    Line("latency at a moderate rate, p50, ms", "paced", "p50_us", "ms"),
    Line("latency at a moderate rate, p99, ms", "paced", "p99_us", "ms"),
    Line("added latency at concurrency 1, p50, ms", "alone", "added_p50_us", "ms"),
    Line("added latency at concurrency 1, p99, ms", "alone", "added_p99_us", "ms"),
    Line("processor time per stream chunk, µs", "loop", "cpu_us", "{:.1f}", ratio=True),
    Line("stream chunks/s on one core", "loop", "per_second", "{:,.0f}"),
    Line("processor time per chunk at a moderate rate, µs", "stream", "cpu_us", "{:.1f}"),
    Line("a chunk's way from upstream to client, p50, ms", "stream", "delay_p50_us", "ms"),
    Line("a chunk's way from upstream to client, p99, ms", "stream", "delay_p99_us", "ms"),
    Line("of 1,000 streams at once, complete and in order", "crowd", "complete", "{:,.0f}"),
    Line("start to first answer, s", "start", "start_s", "{:.2f}"),
    Line("memory at rest, all processes, MB", "start", "together_mb", "{:.0f}"),
    Line("memory at rest, largest process, MB", "start", "largest_mb", "{:.0f}"),
    Line("memory with 1,000 streams, largest process, MB", "crowd", "largest_mb", "{:.0f}"),
)


def cell(value: float | None, form: str) -> str:
    """One figure as text; `ms` turns microseconds into milliseconds, and what was not measured is a dash."""
    if value is None:
        return NOTHING
    return f"{value / 1000:.2f}" if form == "ms" else form.format(value)


def shown(results: Mapping[str, Any]) -> dict[str, Any]:
    """The systems that get a column, in the order of the run; the second nginx is left to the notes, and the
    translations to a table of their own."""
    apart = {"nginx-again", *results.get("translation", {})}
    return {key: system for key, system in results["systems"].items() if key not in apart}


def headings(results: Mapping[str, Any]) -> list[str]:
    """The heading of every column."""
    return ["", *(f"{system['label']} {system['version']}".strip() for system in shown(results).values())]


def rows(results: Mapping[str, Any]) -> list[list[str]]:
    """One row per figure."""
    return [[line.heading, *(_entry(results, key, line) for key in shown(results))] for line in LINES]


def _entry(results: Mapping[str, Any], key: str, line: Line) -> str:
    measured = results["systems"][key]["median"].get(line.question, {})
    text = cell(measured.get(line.figure), line.form)
    if line.figure == "per_second" and 0 < measured.get("busy", 1) < SATURATED:
        text = f"≥ {text}"
    ratio = results["against_nginx"].get(key, {}).get(f"{line.question}.{line.figure}", {}).get("median")
    return f"{text} ({ratio:.2f} {TIMES})" if line.ratio and ratio else text


def notes(results: Mapping[str, Any]) -> list[str]:
    """What must stand under the table for it to be read rightly."""
    facts, settings = results["machine"], results["settings"]
    where = (
        f"{facts['cpu']}, {facts['cores']} cores{' (virtual)' if facts['virtual'] else ''}, Linux {facts['kernel']}, "
        f"Python {facts['python']}; {results['date'][:10]}; load {facts['load_before'][0]} before, "
        f"{facts['load_after'][0]} after; medians of {settings['rounds']} rounds, systems in turn."
    )
    how = (
        "The gateway has one core to itself, the generator and the upstream share another. Processor time is the "
        f"gateway's alone, with {settings['connections']} connections in a closed loop (≥: it had less than 95 % of "
        f"its core); the moderate rate is {_paces(results)} requests/s, and 10,000 chunks/s; added latency is over a "
        "direct call."
    )
    said = [where, how] if results["systems"] else [where]
    said += _noise(results["against_nginx"].get("nginx-again", {}))
    for system in results["systems"].values():
        if system["broken"]:
            said.append(f"{system['label']} did not finish: {system['broken'].splitlines()[0][:200]}")
        if system["faults"]:
            kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(system["faults"].items()))
            said.append(f"{system['label']} had faults: {kinds}.")
    if results.get("engine_broken"):
        said.append(f"The local engine was not measured: {results['engine_broken'].splitlines()[0][:200]}")
    return said


def _noise(twin: Mapping[str, Mapping[str, float]]) -> list[str]:
    parts = [
        f"{ratio['median']:.2f} {TIMES} per {unit} (single rounds {ratio['low']:.2f} to {ratio['high']:.2f})"
        for unit, ratio in (("request", twin.get("whole.cpu_us")), ("chunk", twin.get("loop.cpu_us")))
        if ratio
    ]
    return [f"Noise: a second, equal nginx came out at {', '.join(parts)} of the first."] if parts else []


def _paces(results: Mapping[str, Any]) -> str:
    systems = list(shown(results).values())
    usual = systems[0]["pace"] if systems else 0
    others = [f"{system['label']}: {system['pace']:,.0f}" for system in systems if system["pace"] != usual]
    return "; ".join([f"{usual:,.0f}", *others])


def engine_rows(results: Mapping[str, Any]) -> list[list[str]]:
    """The local engine beside the bare engines; empty when it was not measured."""
    return [
        [name, f"{part['bare']:,.1f}", f"{part['tesela']:,.1f}", f"{part['ratio']:.2f}"]
        for name, part in results.get("engine", {}).items()
    ]


def translation_rows(results: Mapping[str, Any]) -> list[list[str]]:
    """What each translation costs, whole and beyond the pass-through; empty when none was measured."""
    out = []
    for key, more in results.get("translation", {}).items():
        line = [results["systems"][key]["label"].removeprefix("Tesela, ")]
        for question in ("whole", "loop"):
            line.append(cell(results["systems"][key]["median"].get(question, {}).get("cpu_us"), "{:.1f}"))
            line.append(cell(more.get(question), "{:+.1f}"))
        out.append(line)
    return out


TRANSLATION_HEADINGS = ["translated", "µs per request", "beyond pass-through", "µs per chunk", "beyond pass-through"]
ENGINE_HEADINGS = ["local engine", "bare", "through Tesela", "ratio"]


def markdown(results: Mapping[str, Any], source: str) -> str:
    """The tables and their notes, as they stand in README.md."""
    parts = [_markdown_table(headings(results), rows(results))] if results["systems"] else []
    if lines := translation_rows(results):
        parts.append(_markdown_table(TRANSLATION_HEADINGS, lines))
    if lines := engine_rows(results):
        parts.append(_markdown_table(ENGINE_HEADINGS, lines))
    parts.append("\n".join(f"- {note}" for note in notes(results)))
    parts.append(f"Made by `make bench`; every round is in [`bench/results/{source}`](bench/results/{source}).")
    return "\n\n".join(parts)


def _markdown_table(heads: list[str], lines: list[list[str]]) -> str:
    rule = ["---", *["--:"] * (len(heads) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, rule, *lines])


def splice(page: str, text: str, start: str = START, end: str = END) -> str:
    """`page` with `text` between the markers. Raises ValueError unless both markers are there once, in order."""
    if page.count(start) != 1 or page.count(end) != 1 or page.index(start) > page.index(end):
        raise ValueError(f"needs {start} and, below it, {end}, each once")
    before, _, rest = page.partition(start)
    return f"{before}{start}\n{text}\n{end}{rest.partition(end)[2]}"


def show(results: Mapping[str, Any], console: Console) -> None:
    """Print the tables and the notes to a terminal."""
    if results["systems"]:
        _show_table(console, headings(results), rows(results))
    if lines := translation_rows(results):
        _show_table(console, TRANSLATION_HEADINGS, lines)
    if lines := engine_rows(results):
        _show_table(console, ENGINE_HEADINGS, lines)
    for note in notes(results):
        console.print(f"· {note}", style="dim", highlight=False)


def _show_table(console: Console, heads: list[str], lines: list[list[str]]) -> None:
    grid = Table(header_style="bold")
    for index, head in enumerate(heads):
        grid.add_column(head, justify="right" if index else "left", overflow="fold")
    for line in lines:
        grid.add_row(*line)
    console.print(grid)
