"""What Sail says, as Apache Spark and Databricks say it: the error's class, its SQLSTATE, and a sentence for people.

Sail 0.7 names few of its errors.  A program that asks for the class or the state finds what it would find there.
"""

import re
from collections.abc import Callable

from msgspec import Struct

Sentence = Callable[[re.Match[str]], str]


class Words(Struct, frozen=True):
    pattern: re.Pattern[str]
    error_class: str
    sql_state: str
    say: Sentence


def _name(text: str) -> str:
    return ".".join(re.findall(r'Identifier\("([^"]*)"\)', text)) or text


def _same(found: re.Match[str]) -> str:
    return found[0]


_COLUMN = "UNRESOLVED_COLUMN.WITHOUT_SUGGESTION"

TABLE: tuple[Words, ...] = tuple(
    Words(re.compile(pattern), error_class, state, say)
    for pattern, error_class, state, say in (
        (r"No commit files found in _delta_log|when no existing Delta metadata is present",
         "TABLE_OR_VIEW_NOT_FOUND", "42P01", lambda _: "there is no Delta table at the path"),
        (r"Table or view not found: (\S+)", "TABLE_OR_VIEW_NOT_FOUND", "42P01",
         lambda found: f"the table or view {found[1]} does not exist"),
        (r"attribute (ObjectName\(\[.*?\]\)) is missing from the schema", _COLUMN, "42703",
         lambda found: f"the column {_name(found[1])} does not exist"),
        (r"Cannot resolve UPDATE target column `([^`]*)`", _COLUMN, "42703",
         lambda found: f"the column {found[1]} does not exist"),
        (r"ambiguous attribute: (ObjectName\(\[.*?\]\))", "AMBIGUOUS_REFERENCE", "42704",
         lambda found: f"the column {_name(found[1])} is in more than one table: say of which"),
        (r"unknown function: (\S+)", "UNRESOLVED_ROUTINE", "42883",
         lambda found: f"the function {found[1]} does not exist"),
        (r"Cannot cast string '.*' to value of \w+ type", "CAST_INVALID_INPUT", "22018", _same),
        (r"(?i)divide by zero", "DIVIDE_BY_ZERO", "22012",
         lambda _: "divide by zero: try_divide gives NULL instead"),
        (r"input schema for INSERT has (\d+) fields, but table schema has (\d+) fields",
         "INSERT_COLUMN_ARITY_MISMATCH", "21S01",
         lambda found: f"the rows to insert have {found[1]} columns, the table has {found[2]}"),
        (r"UNION queries have different number of columns.*", "NUM_COLUMNS_MISMATCH", "42826", _same),
        (r"Scalar subquery returned more than one row", "SCALAR_SUBQUERY_TOO_MANY_ROWS", "21000", _same),
        (r"Delta table already exists at path: (\S+)", "DELTA_TABLE_ALREADY_EXISTS", "42P07",
         lambda found: f"a Delta table already exists at {found[1].rstrip('/')}"),
        (r"found (.*) at \d+:\d+ expected .*|found end of input expected .*", "PARSE_SYNTAX_ERROR", "42601", _same),
    )
)  # fmt: skip


def words(text: str) -> tuple[str, str, str] | None:
    """Sentence, class and state; None for what is not in the table."""
    for one in TABLE:
        found = one.pattern.search(text)
        if found:
            return one.say(found), one.error_class, one.sql_state
    return None
