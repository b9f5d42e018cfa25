"""The rows of a statement: a table for people, CSV, JSON and Parquet for programs.

Rows are written as they are fetched; a file is there when it is whole.
"""

import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from tesela.client.statements import Answer

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST = 500
"""Characters of a cell of a table on a terminal."""
SHOWN = 1000
"""Rows of a table on a terminal."""


def write(answer: Answer, form: str, output: Path | None) -> None:
    """Raises OSError when the file cannot be written; there is none then."""
    if not answer.columns and output is None:
        return
    if output is not None and not _special(output):
        # What a link leads to is written, and the link stays.
        output = output.resolve()
    if form == "parquet":
        assert output is not None  # noqa: S101 - the command has looked
        _parquet(answer, output)
        return
    with _opened(output) as out:
        WRITERS[form](answer, out)
    if output is not None:
        click.echo(f"tesela: {answer.row_count:,} rows in {output}", err=True)


@contextmanager
def _opened(output: Path | None) -> Iterator[IO[str]]:
    if output is None:
        yield sys.stdout
        return
    if _special(output):
        with output.open("w", encoding="utf-8", newline="") as out:
            yield out
        return
    part = output.with_name(output.name + ".part")
    try:
        with part.open("w", encoding="utf-8", newline="") as out:
            yield out
        part.replace(output)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def _special(output: Path) -> bool:
    """Whether it is a device or a pipe, such as /dev/stdout: written to as it is, and never put in the place of."""
    return output.exists() and not output.is_file()


def _table(answer: Answer, out: IO[str]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, _ in answer.columns:
        table.add_column(name, overflow="fold")
    left = SHOWN
    for batch in answer.batches():
        for row in _strings(batch.slice(0, left)):
            table.add_row(*(Text("NULL", style="dim") if cell is None else Text(_short(cell)) for cell in row))
        left -= min(left, batch.num_rows)
        if not left:
            break
    Console(file=out).print(table)
    more = answer.row_count - SHOWN
    if more > 0:
        click.echo(f"tesela: {more:,} more rows; --format csv shows all of them", err=True)


def _short(cell: str) -> str:
    return cell if len(cell) <= LONGEST else f"{cell[:LONGEST]}… ({len(cell):,} characters)"


def _csv(answer: Answer, out: IO[str]) -> None:
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow([name for name, _ in answer.columns])
    for batch in answer.batches():
        lines.writerows(_strings(batch))


def _json(answer: Answer, out: IO[str]) -> None:
    before = "["
    for row in _objects(answer):
        out.write(f"{before}\n  {row}")
        before = ","
    out.write("\n]\n" if before == "," else "[]\n")


def _jsonl(answer: Answer, out: IO[str]) -> None:
    for row in _objects(answer):
        out.write(row + "\n")


def _parquet(answer: Answer, output: Path) -> None:
    from pyarrow import parquet

    part = output if _special(output) else output.with_name(output.name + ".part")
    try:
        with parquet.ParquetWriter(part, answer.schema) as writer:
            for batch in answer.batches():
                writer.write_batch(batch)
        if part != output:
            part.replace(output)
    except BaseException:
        if part != output:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
        raise
    click.echo(f"tesela: {answer.row_count:,} rows in {output}", err=True)


def _strings(batch: "pa.RecordBatch") -> Iterator[tuple[str | None, ...]]:
    from tesela.sql.statements.strings import strings

    return zip(*map(strings, batch.columns), strict=True)


def _objects(answer: Answer) -> Iterator[str]:
    from tesela.sql.statements.strings import plain

    for row in answer:
        yield json.dumps({name: plain(value) for name, value in row.items()}, ensure_ascii=False)


WRITERS: dict[str, Callable[[Answer, IO[str]], Any]] = {"table": _table, "csv": _csv, "json": _json, "jsonl": _jsonl}
