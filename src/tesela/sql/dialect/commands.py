"""Statements that look at the warehouse folder or change the session: SHOW, USE, CREATE SCHEMA, DROP SCHEMA.

Read from their tokens, because what sqlglot makes of them differs from word to word.  With a remote engine they are its
own, and go to it as they are.
"""

import fnmatch
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from sqlglot import exp
from sqlglot.tokenizer_core import Token, TokenType

from tesela.errors import StatementError
from tesela.sql.dialect.reading import Statement
from tesela.sql.functions import FUNCTIONS
from tesela.sql.site import Local, Plan, PlanSettings

WORDS = frozenset({"SHOW", "USE"})
SCHEMA_WORDS = frozenset({"SCHEMA", "DATABASE"})
_NAME = re.compile(r"^[\w][\w -]{0,254}$")
SHOWS = "CATALOGS, SCHEMAS, TABLES, COLUMNS and FUNCTIONS"


def command(statement: Statement, settings: PlanSettings, catalog: str, schema: str) -> Plan | None:
    """The plan of such a statement; None for every other.  Raises StatementError with the place."""
    if statement.explain or statement.first not in _READERS:
        return None
    if statement.first not in WORDS and statement.tokens[1:2] and statement.tokens[1].text.upper() not in SCHEMA_WORDS:
        return None
    reader = _Reader(statement, settings, catalog, schema)
    if settings.remote:
        if statement.first not in WORDS:
            raise reader.wrong("schemas of a remote engine are made and dropped there: this is not run here")
        reader.single()
        return Plan(sql=statement.text, kind="query" if statement.first == "SHOW" else "other")
    return Plan(sql="", kind="other", local=_READERS[statement.first](reader))


def columns(statement: Statement, settings: PlanSettings, catalog: str, schema: str) -> exp.Describe | None:
    """SHOW COLUMNS as the DESCRIBE that it is; None for every other statement.  Raises StatementError."""
    reader = _Reader(statement, settings, catalog, schema)
    if settings.remote or statement.explain or statement.first != "SHOW" or not reader.take("COLUMNS"):
        return None
    if not (reader.take("IN") or reader.take("FROM")):
        raise reader.wrong("SHOW COLUMNS says of which table: SHOW COLUMNS IN name")
    parts = reader.names()
    if reader.take("IN") or reader.take("FROM"):
        if len(parts) > 1:
            raise reader.wrong("the schema is named twice")
        parts = [*reader.names(), parts[-1]]
    reader.end()
    if len(parts) > 3:
        raise reader.wrong("a table is named by catalog, schema and name")
    names = [exp.to_identifier(one, quoted=True) for one in reversed(parts)]
    return exp.Describe(this=exp.Table(**dict(zip(("this", "db", "catalog"), names, strict=False))))


class _Reader:
    """Reads the tokens of one statement from left to right."""

    def __init__(self, statement: Statement, settings: PlanSettings, catalog: str, schema: str) -> None:
        self.statement = statement
        self.warehouse = Path(settings.warehouse)
        self.catalog = catalog
        self.schema = schema
        # The first word is followed by one token where sqlglot does not look into such statements.
        self._offset = statement.tokens[0].end + 1
        self._left = statement.rest()
        while self._left and self._left[-1].token_type is TokenType.SEMICOLON:
            self._left.pop()

    def wrong(self, message: str) -> StatementError:
        place = self.statement.place(self._offset + self._left[0].start if self._left else 0)
        told = f"{message} (line {place[0]}, column {place[1]})"
        return StatementError(told, error_class="UNSUPPORTED_FEATURE", sql_state="0A000", position=place)

    def single(self) -> None:
        if any(token.token_type is TokenType.SEMICOLON for token in self._left):
            raise self.wrong("one statement at a time")

    def take(self, *words: str) -> bool:
        """Whether these words come next; they are read then."""
        found = [token.text.upper() for token in self._left[: len(words)]]
        if found != list(words):
            return False
        del self._left[: len(words)]
        return True

    def names(self) -> list[str]:
        """A name of one to three parts."""
        out = [self._name()]
        while self._left and self._left[0].token_type is TokenType.DOT:
            del self._left[0]
            out.append(self._name())
        return out

    def _name(self) -> str:
        if not self._left or self._left[0].token_type is TokenType.STRING or not _NAME.match(self._left[0].text):
            raise self.wrong("a name is missing here")
        return self._left.pop(0).text.lower()

    def pattern(self) -> Callable[[str], bool]:
        """What LIKE lets through: * and % stand for anything, | for or."""
        self.take("LIKE")
        if not self._left:
            return lambda _: True
        token: Token = self._left[0]
        if token.token_type is not TokenType.STRING:
            raise self.wrong(f"{token.text!r} is not understood here")
        del self._left[0]
        some = [one.replace("%", "*").lower() for one in token.text.split("|")]
        return lambda name: any(fnmatch.fnmatchcase(name, one) for one in some)

    def end(self) -> None:
        if self._left:
            raise self.wrong(f"{self._left[0].text!r} is not understood here")


def _show(reader: _Reader) -> Local:
    warehouse, catalog, schema = reader.warehouse, reader.catalog.lower(), reader.schema.lower()
    inside = reader.take
    if reader.take("CATALOGS"):
        found = sorted({catalog, *_folders(warehouse)})
        return _rows(reader, ("catalog",), [(one,) for one in found])
    if reader.take("SCHEMAS") or reader.take("DATABASES"):
        if inside("IN") or inside("FROM"):
            catalog = reader.names()[-1]
        own = {schema} if catalog == reader.catalog.lower() else set()
        found = sorted({"default", *own, *_folders(warehouse / catalog)})
        return _rows(reader, ("databaseName",), [(one,) for one in found])
    if reader.take("TABLES"):
        if inside("IN") or inside("FROM"):
            parts = reader.names()
            catalog, schema = parts[-2] if len(parts) > 1 else catalog, parts[-1]
        folder = warehouse / catalog / schema
        found = [one for one in sorted(_folders(folder)) if (folder / one / "_delta_log").is_dir()]
        return _rows(reader, ("database", "tableName", "isTemporary"), [(schema, one, "false") for one in found], 1)
    reader.take("USER") or reader.take("SYSTEM") or reader.take("ALL")
    if reader.take("FUNCTIONS"):
        return _rows(reader, ("function",), [(one,) for one in sorted(FUNCTIONS)])
    raise reader.wrong(f"SHOW is there for {SHOWS}: this is not run here")


def _rows(reader: _Reader, columns: Sequence[str], rows: list[tuple[str, ...]], named: int = 0) -> Local:
    passes = reader.pattern()
    reader.end()
    return Local("rows", {"columns": list(columns), "rows": [row for row in rows if passes(row[named])]})


def _use(reader: _Reader) -> Local:
    if reader.take("CATALOG"):
        catalog, schema = reader.names()[-1], "default"
    else:
        reader.take("SCHEMA") or reader.take("DATABASE")
        parts = reader.names()
        catalog, schema = (parts[-2] if len(parts) > 1 else reader.catalog), parts[-1]
    reader.end()
    return Local("use", {"catalog": catalog, "schema": schema})


def _create(reader: _Reader) -> Local:
    reader.take("SCHEMA") or reader.take("DATABASE")
    lenient = reader.take("IF", "NOT", "EXISTS")
    folder = _schema_folder(reader)
    if reader.take("COMMENT") and reader._left:
        del reader._left[0]
    reader.end()
    if folder.is_dir() and not lenient:
        raise reader.wrong(f"the schema {folder.name} exists: write IF NOT EXISTS")
    return Local("make_folder", {"folder": str(folder)})


def _drop(reader: _Reader) -> Local:
    reader.take("SCHEMA") or reader.take("DATABASE")
    lenient = reader.take("IF", "EXISTS")
    folder = _schema_folder(reader)
    cascade = reader.take("CASCADE")
    reader.take("RESTRICT")
    reader.end()
    if not folder.is_dir():
        if lenient:
            return Local("nothing")
        raise reader.wrong(f"the schema {folder.name} does not exist")
    if any(_folders(folder)) and not cascade:
        raise reader.wrong(f"the schema {folder.name} has tables: write CASCADE to drop them with it")
    return Local("drop_table", {"folder": str(folder)})


def _schema_folder(reader: _Reader) -> Path:
    parts = reader.names()
    if len(parts) > 2:
        raise reader.wrong("a schema is named by catalog and schema")
    return reader.warehouse.joinpath(parts[-2] if len(parts) > 1 else reader.catalog.lower(), parts[-1])


def _folders(folder: Path) -> list[str]:
    try:
        return [one.name for one in folder.iterdir() if one.is_dir() and _NAME.match(one.name)]
    except (FileNotFoundError, NotADirectoryError):
        return []


_READERS: dict[str, Callable[[_Reader], Local]] = {"SHOW": _show, "USE": _use, "CREATE": _create, "DROP": _drop}
