"""What `python -m bench.sql` found, as the table of the README."""

from collections.abc import Mapping
from typing import Any

START, END = "<!-- bench-sql:start -->", "<!-- bench-sql:end -->"


def markdown(results: Mapping[str, Any], source: str) -> str:
    found, facts = results["found"], results["machine"]
    lines = [
        "| SQL through the gateway | reached | of what is possible |",
        "| --- | --: | --: |",
        _rate("64 requests under way, each answered after 50 ms, rows/s", found["64"]),
        _rate("the same, lognormal around 50 ms, rows/s", found["64 skewed"]),
        _rate("256 requests under way, each answered after 50 ms, rows/s", found["256"]),
        _rate("embeddings of a table, beside requests of 64 texts to the engine, rows/s", found["embeddings"]),
        _rate("`ai_similarity` of pairs, beside the same, rows/s", found["similarity"]),
        f"| a statement without calls, median, ms | {found['overhead']['median s'] * 1000:.0f} | |",
        f"| 1,000,000 rows of 1 KB to a client, MB/s | {found['stream']['MB/s']:,} | |",
        (
            "| memory of the process of statements and of the engine meanwhile, at most, MB | "
            f"{found['stream']['MB runner']} + {found['stream']['MB engine']} | |"
        ),
        f"| 100,000 answers that were kept, s | {found['resume']['s again']:.2f} | |",
        "",
        (
            f"- {facts['cpu']}, {facts['cores']} cores, which the upstream, the gateway, SQL and its engine share; "
            f"{str(results['date'])[:10]}; load {results['load before']:.2f} before. What is possible is computed "
            "from the very times that the upstream takes, in the order in which it is asked."
        ),
        "",
        f"Made by `python -m bench.sql`; from [`bench/results/sql/{source}`](bench/results/sql/{source}).",
    ]
    return "\n".join(lines)


def _rate(name: str, one: Mapping[str, Any]) -> str:
    return f"| {name} | {one['rows/s']:,} | {one['share']:.0%} |"
