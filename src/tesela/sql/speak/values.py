"""JSON as values of a type, as far as nothing is lost: what does not fit is an error, never a NULL."""

import base64
import binascii
import datetime
import math
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from tesela.sql.types import INTEGERS, Type, write


class Misfit(ValueError):
    """A value is not of the type; the message says where."""


def fit(value: Any, kind: Type, path: str = "the answer") -> Any:
    """The value as pyarrow takes it for a column of the type.  Raises Misfit."""
    if value is None:
        return None
    if kind.name in INTEGERS:
        return _integer(value, kind, path)
    return _FITS[kind.name](value, kind, path)


def misfit(value: Any, kind: Type, path: str) -> Misfit:
    shown = repr(value)
    return Misfit(f"{path} is {shown if len(shown) <= 60 else shown[:60] + '…'}, which is no {write(kind)}")


def _integer(value: Any, kind: Type, path: str) -> int:
    limit = 2 ** (INTEGERS[kind.name] - 1)
    if isinstance(value, str):
        try:
            value = int(value.strip())
        except ValueError:
            raise misfit(value, kind, path) from None
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or not -limit <= value < limit:
        raise misfit(value, kind, path)
    return int(value)


def _float(value: Any, kind: Type, path: str) -> float:
    if isinstance(value, str):
        try:
            value = float(value.strip())
        except ValueError:
            raise misfit(value, kind, path) from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise misfit(value, kind, path)
    try:
        return float(value)
    except OverflowError:
        raise misfit(value, kind, path) from None


def _decimal(value: Any, kind: Type, path: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise misfit(value, kind, path)
    try:
        number = Decimal(str(value).strip())
        rounded = number.quantize(Decimal(1).scaleb(-kind.scale))
    except InvalidOperation:
        raise misfit(value, kind, path) from None
    if not number.is_finite() or len(rounded.as_tuple().digits) > kind.precision:
        raise misfit(value, kind, path)
    return rounded


def _string(value: Any, kind: Type, path: str) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    raise misfit(value, kind, path)


def _boolean(value: Any, kind: Type, path: str) -> bool:
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    if not isinstance(value, bool):
        raise misfit(value, kind, path)
    return value


def _binary(value: Any, kind: Type, path: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise misfit(value, kind, path) from None


def _date(value: Any, kind: Type, path: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(value.strip())
    except (ValueError, AttributeError):
        raise misfit(value, kind, path) from None


def _time(value: Any, kind: Type, path: str) -> datetime.datetime:
    try:
        found = datetime.datetime.fromisoformat(value.strip())
    except (ValueError, AttributeError):
        raise misfit(value, kind, path) from None
    if kind.name == "TIMESTAMP":
        return found.replace(tzinfo=datetime.UTC) if found.tzinfo is None else found
    return found.replace(tzinfo=None)


def _array(value: Any, kind: Type, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise misfit(value, kind, path)
    return [fit(one, kind.parts[0], f"{path}[{at}]") for at, one in enumerate(value)]


def _map(value: Any, kind: Type, path: str) -> list[tuple[Any, Any]]:
    if not isinstance(value, dict):
        raise misfit(value, kind, path)
    key, part = kind.parts
    return [(fit(name, key, f"a key of {path}"), fit(one, part, f"{path}.{name}")) for name, one in value.items()]


def _struct(value: Any, kind: Type, path: str) -> dict[str, Any]:
    """Names are matched in any letter case, as Spark does; what is missing is NULL, as in from_json."""
    if not isinstance(value, dict):
        raise misfit(value, kind, path)
    lower = {name.lower(): one for name, one in value.items()}
    return {
        name: fit(value.get(name, lower.get(name.lower())), part, f"{path}.{name}")
        for name, part in zip(kind.names, kind.parts, strict=True)
    }


_FITS: dict[str, Callable[[Any, Type, str], Any]] = {
    "FLOAT": _float, "DOUBLE": _float, "DECIMAL": _decimal, "STRING": _string, "BOOLEAN": _boolean, "BINARY": _binary,
    "DATE": _date, "TIMESTAMP": _time, "TIMESTAMP_NTZ": _time, "ARRAY": _array, "MAP": _map, "STRUCT": _struct,
}  # fmt: skip
