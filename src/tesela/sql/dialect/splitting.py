"""A file of statements, cut at its semicolons: not those in texts, names and comments.  Pure."""

from typing import NamedTuple

from sqlglot.dialects.databricks import Databricks
from sqlglot.errors import TokenError
from sqlglot.tokenizer_core import TokenType

from tesela.errors import StatementError


class Piece(NamedTuple):
    """One statement, and the number of lines before it."""

    text: str
    line: int


def split(text: str) -> list[Piece]:
    """Raises StatementError for a text or comment without an end."""
    try:
        tokens = Databricks().tokenize(text)
    except TokenError as exc:
        raise StatementError(
            "the SQL does not parse: a string, a name in backticks or a comment is not closed",
            error_class="PARSE_SYNTAX_ERROR",
            sql_state="42601",
        ) from exc
    out: list[Piece] = []
    begin: int | None = None
    end = 0
    for token in tokens:
        if token.token_type is TokenType.SEMICOLON:
            _add(out, text, begin, end)
            begin = None
            continue
        if begin is None:
            begin = token.start
        end = token.end + 1
    _add(out, text, begin, end)
    return out


def _add(out: list[Piece], text: str, begin: int | None, end: int) -> None:
    if begin is not None:
        # From the beginning of its line, so that columns are those of the file.
        start = text.rfind("\n", 0, begin) + 1
        lead = text[start:begin]
        out.append(Piece((lead if not lead.strip() else " " * len(lead)) + text[begin:end], text.count("\n", 0, begin)))
