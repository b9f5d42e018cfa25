"""The results of a run survive the file, the table shows them, and the README keeps the rest of itself."""

import sys
from pathlib import Path

import pytest

from tesela.verify.outcome import Outcome

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from conformance.rows import ROWS

from conformance import table
from tesela.verify.clients.installed import CHANGING, TABLE

RUN = [
    ("new", [Outcome("openai", "chat", "passed", real=True, version="3.0", duration_ms=7)]),
    ("old", [Outcome("mlflow", "predict", "failed", "why", True, "2.0"), Outcome("mlflow", "list", "skipped")]),
    ("none", []),
]
MARKDOWN = """\
| client | version | calls |
| --- | --- | --- |
| openai | 3.0 | ✓ chat |
| mlflow | 2.0 | ✗ predict, – list |
| none | not installed | ✗ |
"""


def test_the_table_shows_each_call() -> None:
    assert table.markdown(RUN) == MARKDOWN


def test_results_give_the_same_table_after_the_file(tmp_path: Path) -> None:
    table.save(tmp_path / "results.json", RUN)
    assert table.markdown(table.load(tmp_path / "results.json")) == MARKDOWN


def test_the_readme_keeps_what_is_around(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{table.START}\nold\n{table.END}\nafter\n", encoding="utf-8")
    assert not table.is_current(readme, MARKDOWN)
    assert table.write(readme, MARKDOWN)
    assert table.is_current(readme, MARKDOWN)
    assert readme.read_text(encoding="utf-8") == f"before\n{table.START}\n{MARKDOWN}{table.END}\nafter\n"


@pytest.mark.parametrize("text", ["nothing", table.START, f"{table.END} {table.START}"])
def test_a_readme_without_the_marks_is_left_alone(tmp_path: Path, text: str) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(text, encoding="utf-8")
    assert not table.write(readme, MARKDOWN)
    assert readme.read_text(encoding="utf-8") == text


def test_every_row_runs_clients_that_there_are() -> None:
    assert {client for row in ROWS for client in row.clients} == TABLE.keys() | CHANGING.keys()
    assert not TABLE.keys() & CHANGING.keys()
    assert len({row.name for row in ROWS}) == len(ROWS)
