"""What is known of an expression while the statement is planned: constants, and whether it changes from row to row."""

from typing import Any

import msgspec
from sqlglot import exp

from tesela.errors import StatementError
from tesela.sql import types

_CASTS = {"STRING": str, "INT": int, "BIGINT": int, "SMALLINT": int, "TINYINT": int, "DOUBLE": float, "FLOAT": float}

CHANGING: tuple[type[exp.Expr], ...] = (
    exp.Column, exp.Star, exp.Rand, exp.Randn, exp.Uuid, exp.Query, exp.Window, exp.AggFunc, exp.Placeholder,
    exp.Lambda,
)  # fmt: skip
"""What makes an expression differ from row to row, or from one evaluation to the next."""
CHANCE: tuple[type[exp.Expr], ...] = (exp.Rand, exp.Randn, exp.Uuid)
CHANCE_NAMES = frozenset(
    {"RAND", "RANDOM", "RANDN", "UUID", "SHUFFLE", "MONOTONICALLY_INCREASING_ID", "SPARK_PARTITION_ID", "RANDSTR",
     "UNIFORM", "INPUT_FILE_NAME"}
)  # fmt: skip


class NotConstant(ValueError):
    """The expression has a value only when rows are read."""


def constant(node: exp.Expr) -> Any:
    """The value of an expression that is known now, as JSON would have it; raises NotConstant."""
    match node:
        case exp.Paren() | exp.Alias():
            return constant(node.this)
        case exp.Literal() | exp.RawString():
            return _number(str(node.this)) if isinstance(node, exp.Literal) and not node.is_string else str(node.this)
        case exp.Boolean() | exp.Null():
            return node.this if isinstance(node, exp.Boolean) else None
        case exp.Neg() if not isinstance(value := constant(node.this), bool) and isinstance(value, int | float):
            return -value
    return _composed(node)


def _composed(node: exp.Expr) -> Any:
    match node:
        case exp.Concat() | exp.DPipe():
            parts = [constant(one) for one in (node.expressions or [node.this, node.expression])]
            if all(isinstance(one, str) for one in parts):
                return "".join(parts)
        case exp.Array():
            return [constant(one) for one in node.expressions]
        case exp.Struct():
            return {_field(one): constant(one.expression) for one in node.expressions}
        case exp.Map() | exp.VarMap():
            keys, values = constant(node.args["keys"]), constant(node.args["values"])
            if isinstance(keys, list) and isinstance(values, list) and len(keys) == len(values):
                return {str(key): value for key, value in zip(keys, values, strict=True)}
        case exp.Cast():
            return _cast(constant(node.this), node.to)
        case exp.Anonymous() if str(node.name).upper() == "SCHEMA_OF_JSON" and len(node.expressions) == 1:
            return _schema_of(constant(node.expressions[0]))
        case exp.JSONFormat():
            return msgspec.json.encode(constant(node.this)).decode()
    raise NotConstant


def _number(text: str) -> int | float:
    return int(text) if text.isdecimal() else float(text.rstrip("dDfFlLbBmM") or text)


def _field(one: exp.Expr) -> str:
    if isinstance(one, exp.PropertyEQ):
        return str(one.this.name)
    raise NotConstant


def _cast(value: Any, to: exp.DataType) -> Any:
    kind = to.sql("spark").upper()
    if kind == "BOOLEAN" and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if kind in _CASTS and isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            return _CASTS[kind](value)
        except ValueError as exc:
            raise NotConstant from exc
    if value is None or kind.startswith(("DATE", "TIMESTAMP", "DECIMAL")):
        return value
    raise NotConstant


def _schema_of(text: Any) -> str:
    try:
        return types.write(types.of_value(msgspec.json.decode(text)))
    except (msgspec.DecodeError, TypeError) as exc:
        raise StatementError(
            "schema_of_json is given something that is not JSON", error_class="PARSE_SYNTAX_ERROR"
        ) from exc


def changes(node: exp.Expr) -> bool:
    """Whether the value can differ from row to row."""
    return node.find(*CHANGING) is not None or chance(node)


def chance(node: exp.Expr) -> bool:
    """Whether evaluating it twice can give two values."""
    if node.find(*CHANCE) is not None:
        return True
    return any(str(one.name).upper() in CHANCE_NAMES for one in node.find_all(exp.Anonymous))
