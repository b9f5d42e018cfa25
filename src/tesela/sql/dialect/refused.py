"""Statements that Databricks has and that are not run here, by their first word, with what to do instead."""

from sqlglot import exp

from tesela.errors import StatementError
from tesela.sql.dialect.reading import Statement

_TABLES = "tables are made anew with CREATE OR REPLACE TABLE … AS SELECT"
_RIGHTS = "who may query which endpoint is said by the permissions of endpoints; tables have none"
_KEEPING = "the engine keeps no tables in memory"
REFUSED = {
    "SET": "settings of a session are fixed: SQL is Databricks', times are UTC",
    "RESET": "settings of a session are fixed",
    "ALTER": _TABLES,
    "COMMENT": "tables keep no comments",
    "COPY": "write INSERT INTO … SELECT … FROM read_files(…)",
    "LOAD": "write INSERT INTO … SELECT … FROM read_files(…)",
    "OPTIMIZE": _TABLES,
    "VACUUM": "files of older states stay",
    "RESTORE": "write CREATE OR REPLACE TABLE … AS SELECT … VERSION AS OF n",
    "ANALYZE": "the engine needs no statistics",
    "MSCK": _TABLES,
    "REPAIR": _TABLES,
    "FSCK": _TABLES,
    "GRANT": _RIGHTS,
    "REVOKE": _RIGHTS,
    "DENY": _RIGHTS,
    "CACHE": _KEEPING,
    "UNCACHE": _KEEPING,
    "CLEAR": _KEEPING,
    "REFRESH": _KEEPING,
    "DECLARE": "parameters of a statement take the place of variables",
    "BEGIN": "a statement stands alone: each is whole or not at all",
    "COMMIT": "a statement stands alone: each is whole or not at all",
    "ROLLBACK": "a statement stands alone: each is whole or not at all",
    "CALL": "there are no procedures",
    "EXECUTE": "send the statement itself",
    "LIST": "write SELECT path FROM read_files(…, format => 'binaryFile')",
    "PUT": "files come below a root by other means",
    "GET": "files are fetched by other means",
    "REMOVE": "files are removed by other means",
}


def refuse(statement: Statement) -> None:
    """Raises StatementError for such a word."""
    why = REFUSED.get(statement.first)
    if why is not None:
        place = statement.place(statement.tokens[0].start)
        raise StatementError(
            f"{statement.first} is not run here (line {place[0]}, column {place[1]}): {why}",
            error_class="UNSUPPORTED_FEATURE", sql_state="0A000", position=place,
        )  # fmt: skip


def emptied(tree: exp.Expr) -> exp.Expr:
    """TRUNCATE TABLE as the DELETE that it is, which the engine can run and which keeps older states."""
    named = tree.expressions if isinstance(tree, exp.TruncateTable) else []
    others = [name for name, value in tree.args.items() if value and name != "expressions"]
    if len(named) == 1 and isinstance(named[0], exp.Table) and not others:
        return exp.Delete(this=named[0])
    return tree
