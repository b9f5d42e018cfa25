"""The results of a conformance run as a file, as a table, and the table's place in the README."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from tesela.verify.outcome import Outcome

START = "<!-- conformance:start -->"
END = "<!-- conformance:end -->"
SIGNS = {"passed": "✓", "failed": "✗", "skipped": "–"}


def markdown(rows: Iterable[tuple[str, Sequence[Outcome]]]) -> str:
    """One line per row of the matrix: the client, its version, and each call with its sign."""
    lines = ["| client | version | calls |", "| --- | --- | --- |"]
    for name, outcomes in rows:
        client = outcomes[0].client if outcomes else name
        version = outcomes[0].version if outcomes else "not installed"
        calls = ", ".join(f"{SIGNS[one.state]} {one.call}" for one in outcomes) or "✗"
        lines.append(f"| {client} | {version} | {calls} |")
    return "\n".join(lines) + "\n"


def save(path: Path, rows: Iterable[tuple[str, Sequence[Outcome]]]) -> None:
    """Without the durations, so that two equal runs give equal files."""
    kept = {name: [asdict(one) | {"duration_ms": 0} for one in outcomes] for name, outcomes in rows}
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def load(path: Path) -> list[tuple[str, list[Outcome]]]:
    found = json.loads(path.read_text(encoding="utf-8"))
    return [(name, [Outcome(**one) for one in outcomes]) for name, outcomes in found.items()]


def is_current(readme: Path, table: str) -> bool:
    """Whether the README shows this table."""
    return f"{START}\n{table}{END}" in readme.read_text(encoding="utf-8")


def write(readme: Path, table: str) -> bool:
    """Puts the table between its marks.  Returns whether the marks were there."""
    text = readme.read_text(encoding="utf-8")
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        return False
    readme.write_text(f"{before}{start}\n{table}{end}{after}", encoding="utf-8")
    return True
