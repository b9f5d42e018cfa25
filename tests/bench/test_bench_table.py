"""The table in the README is made from the results and from nothing else."""

import copy
import io
from typing import Any

import pytest
from bench.table import END, START, cell, markdown, rows, show, splice, translation_rows
from rich.console import Console


def _system(label: str, cpu_us: float, busy: float = 1.0) -> dict[str, Any]:
    whole = {"cpu_us": cpu_us, "per_second": 1e6 / cpu_us, "busy": busy}
    return {
        "label": label,
        "version": "1",
        "pace": 4000,
        "broken": "",
        "faults": {},
        "median": {"whole": whole, "alone": {"added_p99_us": 250.0}},
    }


RESULTS: dict[str, Any] = {
    "date": "2026-01-02T03:04:05Z",
    "machine": {
        "cpu": "Some CPU",
        "cores": 2,
        "virtual": True,
        "kernel": "6.1",
        "python": "3.11.7",
        "load_before": [0.1, 0.2, 0.3],
        "load_after": [1.1, 0.2, 0.3],
    },
    "settings": {"rounds": 15, "connections": 32},
    "systems": {
        "nginx": _system("nginx", 12.5, busy=0.8),
        "nginx-again": _system("second", 13),
        "tesela": _system("Tesela", 20),
    },
    "against_nginx": {
        "nginx-again": {"whole.cpu_us": {"median": 1.01, "low": 0.9, "high": 1.1}},
        "tesela": {"whole.cpu_us": {"median": 1.6, "low": 1.5, "high": 1.8}},
    },
}


def test_figures_as_text() -> None:
    assert [cell(None, "ms"), cell(1234.0, "ms"), cell(80_000.0, "{:,.0f}")] == ["\u2013", "1.23", "80,000"]


def test_rows_show_ratios_and_say_when_the_generator_was_the_limit() -> None:
    lines = {line[0]: line[1:] for line in rows(RESULTS)}
    assert lines["processor time per request, µs"] == ["12.5", "20.0 (1.60 \u00d7)"]
    assert lines["requests/s on one core"] == ["≥ 80,000", "50,000"]
    assert lines["added latency at concurrency 1, p99, ms"] == ["0.25", "0.25"]
    assert lines["start to first answer, s"] == ["\u2013", "\u2013"]


def test_translations_have_a_table_of_their_own() -> None:
    assert translation_rows(RESULTS) == []
    results = copy.deepcopy(RESULTS)
    results["systems"]["cohere"] = _system("Tesela, cohere", 61.25)
    results["translation"] = {"cohere": {"whole": 33.04}}
    assert translation_rows(results) == [["cohere", "61.2", "+33.0", "\u2013", "\u2013"]]
    assert rows(results) == rows(RESULTS)
    assert "| cohere | 61.2 | +33.0 |" in markdown(results, "x.json")


def test_markdown_names_machine_noise_and_source() -> None:
    text = markdown(RESULTS, "x.json")
    assert "second" not in text.splitlines()[0]
    assert "Some CPU, 2 cores (virtual), Linux 6.1, Python 3.11.7; 2026-01-02; load 0.1 before, 1.1 after" in text
    assert "1.01 \u00d7 per request (single rounds 0.90 to 1.10)" in text
    assert "bench/results/x.json" in text
    width = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert width == {4}


def test_faults_are_not_hidden() -> None:
    results = copy.deepcopy(RESULTS)
    results["systems"]["tesela"]["faults"] = {"crowd: cut off": 3}
    results["systems"]["tesela"]["broken"] = "ended\nmore"
    text = markdown(results, "x.json")
    assert "Tesela had faults: crowd: cut off (3)." in text
    assert "Tesela did not finish: ended" in text


def test_the_engine_has_a_table_of_its_own() -> None:
    engine = {"chat, tokens/s": {"bare": 100.0, "tesela": 97.0, "ratio": 0.97}}
    assert "| chat, tokens/s | 100.0 | 97.0 | 0.97 |" in markdown({**RESULTS, "engine": engine}, "x.json")
    assert "local engine" not in markdown(RESULTS, "x.json")


def test_the_terminal_shows_the_same_rows() -> None:
    console = Console(width=140, record=True, file=io.StringIO())
    show(RESULTS, console)
    text = console.export_text()
    assert all(line[1] in text for line in rows(RESULTS))


def test_splice_replaces_only_what_is_between_the_markers_and_is_stable() -> None:
    page = f"# Title\n\n{START}\nold\n{END}\n\nrest\n"
    once = splice(page, "| new |")
    assert once == f"# Title\n\n{START}\n| new |\n{END}\n\nrest\n"
    assert splice(once, "| new |") == once


@pytest.mark.parametrize("page", ["none", START, f"{END} {START}", f"{START}{START}{END}"])
def test_splice_refuses_a_page_without_its_place(page: str) -> None:
    with pytest.raises(ValueError, match="needs"):
        splice(page, "text")
