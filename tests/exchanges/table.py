"""The README's table of providers, tasks and features, made from the registry and the exchanges."""

from collections.abc import Iterable
from pathlib import Path

from tests.exchanges import files
from tests.exchanges.features import FEATURES
from tests.exchanges.files import Recorded

from tesela.providers.compatible_rows import COMPATIBLE

START = "<!-- providers:start -->"
END = "<!-- providers:end -->"
TASKS = ("llm/v1/chat", "llm/v1/completions", "llm/v1/embeddings")
COLUMNS = ("answer", "stream", *(name for name in FEATURES if name != "answer"))


def markdown(exchanges: Iterable[tuple[str, Recorded]]) -> str:
    """One row for each provider and task, one column for each feature."""
    rows: dict[tuple[str, str], list[Recorded]] = {}
    for name, one in exchanges:
        rows.setdefault((name.partition("/")[0], one.task), []).append(one)
    lines = ["| provider | task | " + " | ".join(COLUMNS) + " |", "| --- | --- |" + " :-: |" * len(COLUMNS)]
    for provider, task in sorted(rows, key=lambda row: (row[0], TASKS.index(row[1]))):
        cells = [_cell(column, rows[provider, task]) for column in COLUMNS]
        lines.append(f"| `{provider}` | {task.rpartition('/')[2]} | " + " | ".join(cells) + " |")
    named = ", ".join(f"`{name}`" for name in sorted(COMPATIBLE))
    note = (
        "✓ shown by an exchange composed after the provider's documentation, ● by one recorded from itself; "
        "400: the provider cannot be told, and a request that asks for it is refused by the name of the field; "
        "–: not offered, or not for this task.  "
        f"As `custom`: {named}."
    )
    return "\n".join([*lines, "", note]) + "\n"


def _cell(column: str, exchanges: list[Recorded]) -> str:
    if column == "stream":
        shown = [one for one in exchanges if one.stream is not None and one.failed is None]
    else:
        shown = [one for one in exchanges if column in one.features]
    done = [one for one in shown if one.refused is None]
    if not done:
        return "400" if shown else "–"
    return "●" if any(one.source == "recorded" for one in done) else "✓"


def current(readme: Path) -> bool:
    """Whether the README shows the table as it is now."""
    return f"{START}\n{_now()}{END}" in readme.read_text("utf-8")


def write(readme: Path) -> None:
    """Puts the table between its marks.  Raises ValueError where these are not."""
    before, start, rest = readme.read_text("utf-8").partition(START)
    _, end, after = rest.partition(END)
    if not start or not end:
        raise ValueError(f"{readme} has no {START} and {END}")
    readme.write_text(f"{before}{start}\n{_now()}{end}{after}", "utf-8")


def _now() -> str:
    return markdown((name, files.load(name)) for name in files.names())
