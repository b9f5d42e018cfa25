"""A statement's text as a tree: Databricks' dialect as sqlglot reads it, with places for messages.

The engine gets SQL that is written from the tree, never the text that came, so what was checked is what runs.
"""

from typing import Any, ClassVar

from sqlglot import exp
from sqlglot.dialects.databricks import Databricks
from sqlglot.errors import ParseError, TokenError
from sqlglot.parsers.databricks import DatabricksParser
from sqlglot.tokenizer_core import Token, TokenType

from tesela.errors import StatementError

LONGEST = 16 * 1024 * 1024
"""Characters of a statement, as a workspace limits it to 16 MiB."""
EXPLAINS = frozenset({"EXTENDED", "FORMATTED", "COST", "CODEGEN", "ANALYZE", "VERBOSE", "TREE"})


class _Parser(DatabricksParser):
    # The AI functions stay calls by name with named arguments; sqlglot's own classes for some of them are BigQuery's
    # and Snowflake's.
    FUNCTIONS: ClassVar = {
        name: build for name, build in DatabricksParser.FUNCTIONS.items() if not name.startswith("AI_")
    }

    def _warn_unsupported(self) -> None:
        self.raise_error("this is not SQL that can be run here")


class Reading(Databricks):
    """Databricks' dialect, in which a doubled quote is a quote: `'it''s'`."""

    class Tokenizer(Databricks.Tokenizer):
        STRING_ESCAPES: ClassVar = ["\\", "'", '"']

    Parser = _Parser


class Statement:
    """One statement: its text, its tree, and what it asks to be explained."""

    def __init__(self, text: str) -> None:
        if len(text) > LONGEST:
            raise StatementError(f"the statement has {len(text)} characters; at most {LONGEST} are read")
        self.text = text
        self.tokens = self._tokens(text)
        self.explain = ""
        if self.tokens[0].text.upper() == "EXPLAIN":
            self.explain = "EXPLAIN "
            self.tokens = self._explained(text)
        self.first = self.tokens[0].text.upper()

    def _tokens(self, text: str) -> list[Token]:
        try:
            found: list[Token] = Reading().tokenize(text)
        except TokenError as exc:
            raise syntax("a string, a name in backticks or a comment is not closed", None) from exc
        while found and found[-1].token_type is TokenType.SEMICOLON:
            found.pop()
        if not found:
            raise syntax("there is no statement", None)
        return found

    def _explained(self, text: str) -> list[Token]:
        """The tokens of what is to be explained.  They keep their places."""
        place = self.place(self.tokens[0].start)
        found = self._tokens(blanked(text, self.tokens[0]))
        if found[0].text.upper() == "ANALYZE":
            raise StatementError(
                f"EXPLAIN ANALYZE {where(place)} would run the statement: run it, or write EXPLAIN",
                error_class="UNSUPPORTED_FEATURE", sql_state="0A000", position=place,
            )  # fmt: skip
        if found[0].text.upper() in EXPLAINS:
            found = self._tokens(blanked(blanked(text, self.tokens[0]), found[0]))
        if found[0].text.upper() == "EXPLAIN":
            raise syntax("EXPLAIN is followed by the statement to explain", place)
        return found

    def rest(self) -> list[Token]:
        """The tokens after the first word, also of statements that sqlglot does not look into."""
        try:
            return list(Reading().tokenize(self.text[self.tokens[0].end + 1 :]))
        except TokenError as exc:
            raise syntax("a string or a name in backticks is not closed", None) from exc

    def tree(self) -> exp.Expr:
        """Parse.  Raises StatementError with the place of what is not understood."""
        for token in self.tokens:
            if token.token_type is TokenType.SEMICOLON:
                raise syntax(
                    "one statement at a time: there is another one after the semicolon", self.place(token.start)
                )
        try:
            found = Reading().parser().parse(self.tokens, self.text)
        except ParseError as exc:
            raise self._unparsed(exc) from exc
        except RecursionError as exc:
            raise syntax("the statement is nested too deeply", None) from exc
        tree = found[0] if len(found) == 1 else None
        if tree is None:
            raise syntax("there is no statement", None)
        return tree

    def _unparsed(self, exc: ParseError) -> StatementError:
        first: dict[str, Any] = exc.errors[0] if exc.errors else {}
        place = None
        if first.get("line") is not None:
            # sqlglot counts columns to the end of a token.
            place = (int(first["line"]), max(int(first["col"]) - len(first.get("highlight") or "") + 1, 1))
        said = str(first.get("description") or exc).split(" but got <Token")[0]
        near = f" near {first['highlight']!r}" if first.get("highlight") else ""
        return syntax(f"{said.rstrip('.')}{near}", place)

    def place(self, offset: int) -> tuple[int, int]:
        """Line and column, from 1, of an offset."""
        before = self.text[:offset]
        return before.count("\n") + 1, offset - (before.rfind("\n") + 1) + 1

    def at(self, node: exp.Expr) -> tuple[int, int] | None:
        """Where a part of the tree stands: itself, what is in it, or the nearest around it that is known."""
        inner = [one.meta["start"] for one in node.walk() if "start" in one.meta]
        if "start" in node.meta:
            return self.place(node.meta["start"])
        if inner:
            return self.place(min(inner))
        return self.at(node.parent) if node.parent is not None else None

    def wrong(self, node: exp.Expr | None, message: str, error_class: str, sql_state: str) -> StatementError:
        """An error about `node`.  The message ends with its place."""
        place = self.at(node) if node is not None else None
        head, colon, tail = message.partition(": ")
        told = f"{head} {where(place)}{colon}{tail}" if place is not None else message
        return StatementError(told, error_class=error_class, sql_state=sql_state, position=place)


def blanked(text: str, token: Token) -> str:
    """The text with spaces where the token was."""
    return text[: token.start] + " " * (token.end + 1 - token.start) + text[token.end + 1 :]


def where(place: tuple[int, int]) -> str:
    return f"(line {place[0]}, column {place[1]})"


def syntax(message: str, place: tuple[int, int] | None) -> StatementError:
    told = f"{message} {where(place)}" if place is not None else message
    return StatementError(
        f"the SQL does not parse: {told}", error_class="PARSE_SYNTAX_ERROR", sql_state="42601", position=place
    )
