"""Values as the strings in which JSON_ARRAY and CSV have them: as Spark casts them to text.

NULL stays None.  Binary is hexadecimal, because that is what Databricks' SQL connector reads
(databricks.sql.backend.sea.utils.conversion); arrays, maps and structs are JSON.
"""

import datetime
import decimal
import json
import math
import struct
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def strings(column: pa.Array) -> list[str | None]:
    """One string, or None, for each value of a column."""
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return list(column.to_pylist())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return list(pc.cast(column, pa.string()).to_pylist())
    single = pa.types.is_float32(kind)
    return [None if value is None else text(value, single=single) for value in column.to_pylist()]


def text(value: Any, *, single: bool = False) -> str:
    """A value that is not NULL."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float():
            return number(value, single=single)
        case bytes():
            return value.hex()
        case datetime.datetime():
            return moment(value)
        case datetime.date():
            return value.isoformat()
        case dict() | list():
            return json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))
    return str(value)


def moment(value: datetime.datetime) -> str:
    """In milliseconds, and microseconds where there are some; Z says that it is a point in time."""
    exact = "milliseconds" if value.microsecond % 1000 == 0 else "microseconds"
    if value.tzinfo is None:
        return value.isoformat(timespec=exact)
    utc = value.astimezone(datetime.UTC).replace(tzinfo=None)
    return utc.isoformat(timespec=exact) + "Z"


def number(value: float, *, single: bool = False) -> str:
    """As Java writes a double, or a float: 1.0, 1.0E10, NaN, Infinity (JLS, Double.toString)."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    digits = shortest(value) if single else repr(value)
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        exact = format(decimal.Decimal(digits), "f")
        return exact if "." in exact else exact + ".0"
    parts = decimal.Decimal(digits).as_tuple()
    mantissa = "".join(map(str, parts.digits)).rstrip("0") or "0"
    exponent = len(parts.digits) - 1 + int(parts.exponent)
    return f"{'-' if parts.sign else ''}{mantissa[0]}.{mantissa[1:] or '0'}E{exponent}"


def shortest(value: float) -> str:
    """The fewest digits that give the same float of 32 bits."""
    for precision in range(6, 10):
        digits = f"{value:.{precision}g}"
        if struct.unpack("f", struct.pack("f", float(digits)))[0] == value:
            return digits
    return repr(value)


def plain(value: Any) -> Any:
    """A nested value as JSON has it.  Maps come from Arrow as lists of pairs."""
    match value:
        case dict():
            return {name: plain(one) for name, one in value.items()}
        case list():
            if value and all(isinstance(one, tuple) for one in value):
                return {key if isinstance(key, str) else text(key): plain(one) for key, one in value}
            return [plain(one) for one in value]
        case float() if math.isnan(value) or math.isinf(value):
            return number(value)
        case None | str() | bool() | int() | float():
            return value
    return text(value)
