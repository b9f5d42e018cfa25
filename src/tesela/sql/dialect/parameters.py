"""Parameters of a statement put where their markers stand: as parts of the tree, never as text."""

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation

from sqlglot import exp

from tesela.errors import StatementError
from tesela.sql import types
from tesela.sql.dialect.reading import Statement
from tesela.sql.site import Parameter

_INTERVAL = re.compile(r"INTERVAL\b", re.IGNORECASE)
DOCS = "https://docs.databricks.com/aws/en/sql/language-manual/sql-ref-parameter-marker"


def bind(statement: Statement, tree: exp.Expr, parameters: Sequence[Parameter]) -> exp.Expr:
    """The tree without markers.  `:name` takes the parameter of that name, `?` the next one without a name."""
    named = {one.name.lower(): one for one in parameters if one.name}
    unnamed = [one for one in parameters if not one.name]
    markers = [one for one in tree.find_all(exp.Placeholder) if not one.this]
    order = {id(one): at for at, one in enumerate(sorted(markers, key=lambda one: statement.at(one) or (0, 0)))}
    if len(markers) != len(unnamed):
        raise StatementError(
            f"the statement has {len(markers)} markers ? and {len(unnamed)} values for them",
            error_class="UNBOUND_SQL_PARAMETER", sql_state="42P02",
        )  # fmt: skip

    def put(node: exp.Expr) -> exp.Expr:
        if not isinstance(node, exp.Placeholder):
            return node
        found = named.get(str(node.this).lower()) if node.this else unnamed[order[id(node)]]
        if found is None:
            raise statement.wrong(
                node,
                f"the parameter :{node.this} has no value: give one under that name",
                "UNBOUND_SQL_PARAMETER",
                "42P02",
            )
        return value(found)

    for marker in list(tree.find_all(exp.Placeholder)):
        bound = put(marker)
        if marker is tree:
            return bound
        marker.replace(bound)
    return tree


def value(parameter: Parameter) -> exp.Expr:
    """A parameter as an expression of its type."""
    text, kind = parameter.value, parameter.type.strip().upper() or "STRING"
    if text is None or kind in ("VOID", "NULL"):
        return exp.Null() if kind in ("STRING", "VOID", "NULL") else exp.cast(exp.Null(), data_type(parameter))
    if kind == "STRING":
        return exp.Literal.string(text)
    kind = types.ALIASES.get(kind, kind)
    if kind in types.INTEGERS:
        return _integer(parameter, text, kind)
    if kind == "BOOLEAN":
        if text.strip().lower() not in ("true", "false"):
            raise wrong(parameter, "true or false")
        return exp.Boolean(this=text.strip().lower() == "true")
    if kind.startswith("DECIMAL") or kind in ("DOUBLE", "FLOAT"):
        try:
            Decimal(text)
        except InvalidOperation as exc:
            raise wrong(parameter, "a number") from exc
    return exp.cast(exp.Literal.string(text), data_type(parameter))


def _integer(parameter: Parameter, text: str, kind: str) -> exp.Expr:
    limit = 2 ** (types.INTEGERS[kind] - 1)
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,20}\s*", text) or not -limit <= int(text) < limit:
        raise wrong(parameter, f"a whole number that {kind} can hold")
    number = exp.Literal.number(abs(int(text)))
    signed = exp.Neg(this=number) if int(text) < 0 else number
    return signed if kind == "INT" else exp.cast(signed, data_type(parameter))


def data_type(parameter: Parameter) -> exp.DataType:
    """The type, read by us and written anew: a name of a type is text from outside as well."""
    if _INTERVAL.match(parameter.type):
        raise wrong(parameter, "of another type; an interval is written in the statement")
    return exp.DataType.build(types.write(types.read(parameter.type)), dialect="spark")


def wrong(parameter: Parameter, wanted: str) -> StatementError:
    called = f":{parameter.name}" if parameter.name else "without a name"
    return StatementError(
        f"the parameter {called} is {parameter.value!r}, but {parameter.type} must be {wanted}",
        error_class="INVALID_PARAMETER_MARKER_VALUE", sql_state="22023",
    )  # fmt: skip
