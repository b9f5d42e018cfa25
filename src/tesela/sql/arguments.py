"""The arguments of one call of an AI function: by position and by name, and those that must be constants."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from sqlglot import exp

from tesela.errors import StatementError
from tesela.sql.dialect.constants import NotConstant, constant
from tesela.sql.dialect.reading import Statement
from tesela.sql.site import EndpointFacts, PlanSettings
from tesela.wire.tasks import Task

Find = Callable[[str], EndpointFacts | None]


class Signature(Struct, frozen=True):
    """The names of a function's parameters in their order, of which the first `required` must be given."""

    name: str
    parameters: tuple[str, ...]
    required: int
    docs: str

    def shown(self) -> str:
        optional = [f"{name} => …" for name in self.parameters[self.required :]]
        return f"{self.name}({', '.join([*self.parameters[: self.required], *optional])})"


class Call:
    """One call as it is written.  What is asked of it that it does not have is an error with its place."""

    def __init__(
        self, statement: Statement, node: exp.Expr, signature: Signature, find: Find, settings: PlanSettings
    ) -> None:
        self.statement = statement
        self.node = node
        self.signature = signature
        self.settings = settings
        self._find = find
        self._given = self._bound(list(node.expressions))

    def _bound(self, arguments: list[exp.Expr]) -> dict[str, exp.Expr]:
        known = {name.lower(): name for name in self.signature.parameters}
        out: dict[str, exp.Expr] = {}
        by_name = False
        for at, argument in enumerate(arguments):
            if isinstance(argument, exp.Kwarg):
                by_name = True
                name = known.get(str(argument.this.name).lower())
                if name is None:
                    raise self.wrong(f"{argument.this.name!r} is no argument of {self.signature.shown()}", argument)
                argument = argument.expression
            elif by_name:
                raise self.wrong(
                    f"an argument without a name follows one with a name in {self.signature.name}", argument
                )
            elif at >= len(known):
                raise self.wrong(
                    f"{self.signature.name} takes at most {len(known)} arguments, not {len(arguments)}: "
                    f"write {self.signature.shown()}",
                    sql_state="42605", error_class="WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
                )  # fmt: skip
            else:
                name = self.signature.parameters[at]
            if name in out:
                raise self.wrong(f"{name} is given twice to {self.signature.name}", argument)
            out[name] = argument
        for name in self.signature.parameters[: self.signature.required]:
            if name not in out:
                raise self.wrong(
                    f"{self.signature.name} needs {name}: write {self.signature.shown()}",
                    sql_state="42605", error_class="WRONG_NUM_ARGS.WITHOUT_SUGGESTION",
                )  # fmt: skip
        return out

    def wrong(
        self, message: str, node: exp.Expr | None = None, *, error_class: str = "AI_FUNCTION_INVALID_ARGUMENT",
        sql_state: str = "22023",
    ) -> StatementError:  # fmt: skip
        return self.statement.wrong(node if node is not None else self.node, message, error_class, sql_state)

    def has(self, name: str) -> bool:
        return name in self._given

    def expression(self, name: str) -> exp.Expr:
        return self._given[name]

    def constant(self, name: str, example: str) -> Any:
        """The value of an argument that must be known before any row is read."""
        node = self._given[name]
        try:
            return constant(node)
        except NotConstant:
            raise self.wrong(
                f"{name} of {self.signature.name} must be a constant, not {node.sql('spark')[:80]}: write {example}",
                node, error_class="DATATYPE_MISMATCH.NON_FOLDABLE_INPUT", sql_state="42K09",
            ) from None  # fmt: skip

    def text(self, name: str, example: str) -> str:
        value = self.constant(name, example)
        if not isinstance(value, str) or not value:
            raise self.wrong(
                f"{name} of {self.signature.name} must be a string that is not empty: write {example}",
                self._given[name],
            )
        return value

    def flag(self, name: str, default: bool) -> bool:
        if name not in self._given:
            return default
        value = self.constant(name, f"{name} => false")
        if not isinstance(value, bool):
            raise self.wrong(f"{name} of {self.signature.name} must be true or false", self._given[name])
        return value

    def strings(self, name: str, least: int, most: int) -> list[str]:
        """A constant ARRAY of strings, none empty and no two the same."""
        value = self.constant(name, "ARRAY('first', 'second')")
        if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
            raise self.wrong(
                f"{name} of {self.signature.name} must be an ARRAY of strings: write ARRAY('first', 'second')",
                self._given[name],
            )
        if not least <= len(value) <= most:
            raise self.wrong(
                f"{name} of {self.signature.name} must have {least} to {most} entries, not {len(value)}",
                self._given[name],
            )
        if len(set(value)) != len(value):
            raise self.wrong(f"{name} of {self.signature.name} names something twice", self._given[name])
        return value

    def options(self, known: frozenset[str]) -> dict[str, str]:
        """The constant MAP of a version 2 function's options."""
        if not self.has("options"):
            return {}
        value = self.constant("options", "MAP('version', '2.0')")
        if not isinstance(value, dict):
            raise self.wrong("options must be a MAP: write MAP('version', '2.0')", self._given["options"])
        if strange := sorted(value.keys() - known):
            raise self.wrong(
                f"{self.signature.name} has no option {strange[0]!r} here: it has {', '.join(sorted(known))}",
                self._given["options"], error_class="UNSUPPORTED_FEATURE", sql_state="0A000",
            )  # fmt: skip
        return {str(name): str(one).lower() if isinstance(one, bool) else str(one) for name, one in value.items()}

    def endpoint(self, name: str, node: exp.Expr | None = None) -> EndpointFacts:
        """What is known of an endpoint that must be there."""
        found = self._find(name)
        if found is None:
            raise self.wrong(
                f"endpoint {name!r} does not exist: see GET /api/2.0/serving-endpoints", node,
                error_class="AI_FUNCTION_HTTP_REQUEST_ERROR", sql_state="08000",
            )  # fmt: skip
        return found

    def default(self, task: Task) -> EndpointFacts:
        """The endpoint that the settings have for this function, for the task, or for all."""
        chosen = self.settings.endpoints
        name = chosen.get(self.signature.name) or chosen.get(str(task)) or chosen.get("default")
        if name is None:
            raise self.wrong(
                f"no endpoint is set for {self.signature.name}: name one in the server's settings, "
                f"sql: {{endpoints: {{{self.signature.name}: NAME}}}}",
                error_class="AI_FUNCTION_HTTP_REQUEST_ERROR", sql_state="08000",
            )  # fmt: skip
        found = self._find(name)
        if found is None or found.task != task:
            why = "does not exist" if found is None else f"is for {found.task}, not for {task}"
            raise self.wrong(
                f"the endpoint {name!r} that the server's settings name for {self.signature.name} {why}: "
                f"change sql: {{endpoints: {{{self.signature.name}: NAME}}}}",
                error_class="AI_FUNCTION_HTTP_REQUEST_ERROR", sql_state="08000",
            )  # fmt: skip
        return found
