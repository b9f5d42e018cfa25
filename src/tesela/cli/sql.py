"""`tesela sql`: statements on a server, their progress, and their rows in the form that is wanted."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tesela.cli import connection, sql_output, sql_progress
from tesela.client import remote
from tesela.client.extras import needed
from tesela.client.statements import Answer, Answers, Connection
from tesela.errors import StatementCanceled, StatementError, TeselaError

FORMATS = ("table", "csv", "json", "jsonl", "parquet")
KINDS = {".csv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".txt": "table"}

_MISSING = "the same statement with --resume asks only for what is missing"
GOING_ON: dict[Answers | None, str] = {
    "keep": _MISSING,
    "again": _MISSING,
    "off": "nothing of it is kept",
    None: "what was answered is kept of a statement that writes a table; run others with --resume to have it kept",
}
"""How to go on after Ctrl-C, by what was said of answers."""


@click.command("sql")
@click.argument("statement", required=False)
@click.option(
    "-f", "--file", "source", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="Read statements from FILE, separated by semicolons; - for standard input.",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: table on a terminal, csv otherwise.")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path),
    help="Write the rows of the last statement to a file, whole or not at all; its suffix says the format.",
)  # fmt: skip
@click.option("-p", "--param", "parameters", multiple=True, metavar="NAME=VALUE",
              help="A parameter, :name in the statement; NAME:TYPE=VALUE for another type than STRING.")  # fmt: skip
@click.option("--catalog", default="", help="Catalog of names that have none.")
@click.option("--schema", default="", help="Schema of names that have none.")
@click.option("--limit", type=click.IntRange(min=1), help="No more rows than this; no more calls than for them.")
@click.option(
    "--resume", "mode", flag_value="keep",
    help="Use answers that were kept, and keep new ones. Statements that write a table do so anyway.",
)  # fmt: skip
@click.option("--again", "mode", flag_value="again", help="Ask anew, whatever was kept, and keep the answers.")
@click.option("--no-keep", "mode", flag_value="off", help="Neither use kept answers nor keep new ones.")
@connection.options
def command(
    statement: str | None,
    source: Path | None,
    form: str | None,
    output: Path | None,
    parameters: tuple[str, ...],
    catalog: str,
    schema: str,
    limit: int | None,
    mode: Answers | None,
    host: str | None,
    token: str | None,
) -> int:
    """Run SQL with ai_query and its siblings on the server, and print the rows.

    Ctrl-C cancels the statement; with --resume the next run asks only for what is missing.

    \b
    Examples:
      tesela sql "SELECT ai_query('smollm2-135m-instruct', 'Say hello')"
      tesela sql -f batch.sql --resume
      tesela sql "SELECT * FROM answers" -o answers.parquet
      tesela sql "SELECT :n + 1" -p n:INT=41
    """
    for module in ("sqlglot", "pyarrow"):
        needed(module, "tesela sql")
    from tesela.sql.dialect.splitting import split

    text = _text(statement, source)
    pieces = split(text)
    if not pieces:
        raise click.UsageError("there is no statement in what was given")
    given = [_parameter(one) for one in parameters]
    form = form or (KINDS.get(output.suffix.lower(), "csv") if output else None)
    form = form or ("table" if sys.stdout.isatty() else "csv")
    if form == "parquet" and output is None:
        raise click.UsageError("parquet is written to a file: give --output FILE")
    # What goes to a file is a batch, and a batch that dies should not be paid for twice.
    mode = mode or ("keep" if output else None)
    server = remote.connect(host, token)
    with Connection(server, catalog=catalog, schema=schema, answers=mode) as session:
        for number, piece in enumerate(pieces, 1):
            last = number == len(pieces)
            try:
                answer = _run(session, piece.text, given, limit, mode)
            except StatementError as error:
                _show(error, piece.text, piece.line)
                return 1
            if last or answer.columns:
                sql_output.write(answer, form, output if last else None)
            answer.close()
    return 0


def _run(
    session: Connection, text: str, parameters: Sequence[dict[str, Any]], limit: int | None, mode: Answers | None
) -> Answer:
    answer = session.begin(text, row_limit=limit, typed=parameters)
    with sql_progress.shown() as report:
        try:
            return answer.wait(report)
        except KeyboardInterrupt:
            # A second one ends this at once; the server goes on canceling.
            answer.cancel()
            try:
                answer.wait(report)
            except StatementCanceled:
                click.echo(f"tesela: canceled; {GOING_ON[mode]}", err=True)
            except TeselaError as error:
                click.echo(f"tesela: {error.message}", err=True)
            raise


def _text(statement: str | None, source: Path | None) -> str:
    if (statement is None) == (source is None):
        if statement is None and not sys.stdin.isatty():
            return sys.stdin.read()
        raise click.UsageError('give a statement or a file: tesela sql "SELECT …", or tesela sql -f FILE')
    if statement is not None:
        return sys.stdin.read() if statement == "-" else statement
    assert source is not None  # noqa: S101 - one of the two is there
    if str(source) == "-":
        return sys.stdin.read()
    try:
        return source.read_text("utf-8")
    except UnicodeDecodeError as exc:
        raise click.UsageError(f"{source} is not UTF-8 text (byte {exc.start})") from exc


def _parameter(text: str) -> dict[str, Any]:
    name, found, value = text.partition("=")
    name, _, kind = name.partition(":")
    if not found or not name:
        raise click.UsageError(f"--param {text}: write NAME=VALUE or NAME:TYPE=VALUE")
    return {"name": name, "value": value, "type": kind or "STRING"}


def _show(error: StatementError, text: str, before: int) -> None:
    """The sentence, and the line of the statement with a mark below the place."""
    click.echo(f"tesela: {error.message}", err=True)
    lines = text.split("\n")
    if error.position is None or not 1 <= error.position[0] <= len(lines):
        return
    number, column = error.position
    shown = f"{before + number:>4} | "
    click.echo(f"{shown}{lines[number - 1]}", err=True)
    click.echo(" " * (len(shown) + max(0, column - 1)) + "^", err=True)
