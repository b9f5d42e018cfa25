"""Types of Spark SQL: read from DDL, written as DDL and as JSON schema.  Pure, and without pyarrow.

The grammar: https://spark.apache.org/docs/latest/sql-ref-datatypes.html.  What is kept is the shape of values;
NOT NULL and COMMENT are read and dropped, CHAR and VARCHAR are STRING.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from tesela.errors import StatementError

_TOKEN = re.compile(
    r"\s*(?:`((?:[^`]|``)*)`|('(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\")|([A-Za-z_]\w*|\d+\w*)|([<>(),:-]))"
)
_DEEPEST = 50

ALIASES = {
    "BOOL": "BOOLEAN", "BYTE": "TINYINT", "SHORT": "SMALLINT", "INTEGER": "INT", "LONG": "BIGINT", "REAL": "FLOAT",
    "DEC": "DECIMAL", "NUMERIC": "DECIMAL", "VARCHAR": "STRING", "CHAR": "STRING", "CHARACTER": "STRING",
    "TIMESTAMP_LTZ": "TIMESTAMP",
}  # fmt: skip
PLAIN = frozenset(
    {"BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "FLOAT", "DOUBLE", "STRING", "BINARY", "DATE", "TIMESTAMP",
     "TIMESTAMP_NTZ"}
)  # fmt: skip
INTEGERS = {"TINYINT": 8, "SMALLINT": 16, "INT": 32, "BIGINT": 64}


class Type(Struct, frozen=True):
    """`name` as in PLAIN, or DECIMAL, ARRAY, MAP, STRUCT.  `parts` are the element, or key and value, or the fields."""

    name: str
    parts: tuple["Type", ...] = ()
    names: tuple[str, ...] = ()
    precision: int = 10
    scale: int = 0


STRING = Type("STRING")


def read(ddl: str) -> Type:
    """The type that a DDL string names; a list of columns is a STRUCT, as in Spark.  Raises StatementError."""
    return _Reader(ddl).whole()


class _Reader:
    def __init__(self, ddl: str) -> None:
        self._ddl = ddl
        self._tokens: list[tuple[str, str]] = []
        at = 0
        end = len(ddl.rstrip())
        while at < end:
            found = _TOKEN.match(ddl, at)
            if found is None:
                raise self._wrong(f"{ddl[at : at + 10].strip()!r} is not understood")
            for kind, text in zip(("quoted", "string", "word", "sign"), found.groups(), strict=True):
                if text is not None:
                    self._tokens.append((kind, text.replace("``", "`") if kind == "quoted" else text))
            at = found.end()
        self._at = 0

    def whole(self) -> Type:
        if not self._tokens:
            raise self._wrong("it is empty")
        kind = self._tokens[0][0]
        follows = self._tokens[1] if len(self._tokens) > 1 else ("end", "")
        columns = kind == "quoted" or (kind == "word" and (follows[0] in ("word", "quoted") or follows[1] == ":"))
        out = self._fields("", 0) if columns else self._type(0)
        if self._at != len(self._tokens):
            raise self._wrong(f"{self._tokens[self._at][1]!r} is not expected there")
        return out

    def _wrong(self, why: str) -> StatementError:
        shown = self._ddl if len(self._ddl) <= 200 else self._ddl[:200] + "…"
        return StatementError(
            f"{shown!r} is not a type: {why}; a type is written as in STRING or STRUCT<label: STRING, score: DOUBLE>",
            error_class="PARSE_SYNTAX_ERROR", sql_state="42601",
        )  # fmt: skip

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _next(self, *kinds: str) -> str:
        if self._at == len(self._tokens):
            raise self._wrong("it ends too early")
        kind, text = self._tokens[self._at]
        if kind not in kinds:
            raise self._wrong(f"{text!r} is not expected there")
        self._at += 1
        return text

    def _sign(self, text: str) -> None:
        if self._next("sign") != text:
            raise self._wrong(f"{text!r} is missing")

    def _type(self, depth: int) -> Type:
        if depth > _DEEPEST:
            raise self._wrong(f"it is nested deeper than {_DEEPEST}")
        word = self._next("word").upper()
        name = ALIASES.get(word, word)
        if name == "ARRAY":
            self._sign("<")
            element = self._type(depth + 1)
            self._sign(">")
            return Type("ARRAY", (element,))
        if name == "MAP":
            self._sign("<")
            key = self._type(depth + 1)
            self._sign(",")
            value = self._type(depth + 1)
            self._sign(">")
            return Type("MAP", (key, value))
        if name == "STRUCT":
            self._sign("<")
            return self._fields(">", depth + 1)
        numbers = self._numbers() if self._peek() == "(" else []
        if name == "DECIMAL" and len(numbers) <= 2:
            precision, scale = ([*numbers, 0] if len(numbers) == 1 else numbers) or (10, 0)
            if not 1 <= precision <= 38 or scale > precision:
                raise self._wrong("a DECIMAL has 1 to 38 digits, and no more behind the point than in all")
            return Type("DECIMAL", precision=precision, scale=scale)
        if name not in PLAIN or (numbers and word not in ("VARCHAR", "CHAR", "CHARACTER")):
            raise self._wrong(f"{word} is not a type that an answer can have")
        return Type(name)

    def _numbers(self) -> list[int]:
        self._sign("(")
        out: list[int] = []
        while True:
            text = self._next("word")
            if not text.isdecimal() or len(text) > 9:
                raise self._wrong(f"{text!r} is not a number")
            out.append(int(text))
            sign = self._next("sign")
            if sign == ")":
                return out
            if sign != ",":
                raise self._wrong(f"{sign!r} is not expected there")

    def _fields(self, end: str, depth: int) -> Type:
        names: list[str] = []
        parts: list[Type] = []
        while self._peek() != end or (not end and self._at < len(self._tokens)):
            names.append(self._next("word", "quoted"))
            if self._peek() == ":":
                self._at += 1
            parts.append(self._type(depth))
            self._notes()
            if self._peek() == ",":
                self._at += 1
                if self._peek() == end:
                    raise self._wrong("a field is missing after the last comma")
            elif self._peek() != end:
                raise self._wrong(f"{self._peek()!r} is not expected there" if self._peek() else "it ends too early")
        if end:
            self._sign(end)
        if len({name.lower() for name in names}) != len(names):
            raise self._wrong("two fields of one STRUCT have the same name")
        return Type("STRUCT", tuple(parts), tuple(names))

    def _notes(self) -> None:
        if self._peek().upper() == "NOT":
            self._at += 1
            if self._next("word").upper() != "NULL":
                raise self._wrong("NOT is followed by NULL")
        if self._peek().upper() == "COMMENT":
            self._at += 1
            self._next("string")


def write(kind: Type) -> str:
    """DDL that `read` and Spark read as the same type."""
    match kind.name:
        case "DECIMAL":
            return f"DECIMAL({kind.precision}, {kind.scale})"
        case "ARRAY" | "MAP":
            return f"{kind.name}<{', '.join(map(write, kind.parts))}>"
        case "STRUCT":
            fields = zip(kind.names, kind.parts, strict=True)
            return f"STRUCT<{', '.join(f'{_name(name)}: {write(part)}' for name, part in fields)}>"
    return kind.name


def _name(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else f"`{name.replace('`', '``')}`"


# ------------------------------------------------------------ JSON schema

_FORMATS = {"DATE": "date", "TIMESTAMP": "date-time", "TIMESTAMP_NTZ": "date-time", "BINARY": "byte"}


def schema(kind: Type) -> dict[str, Any]:
    """The JSON schema of a type's values, in the strict form that constrained decoding wants."""
    match kind.name:
        case "STRUCT":
            fields = {name: schema(part) for name, part in zip(kind.names, kind.parts, strict=True)}
            return {
                "type": "object", "properties": fields, "required": list(kind.names), "additionalProperties": False,
            }  # fmt: skip
        case "ARRAY":
            return {"type": "array", "items": schema(kind.parts[0])}
        case "MAP":
            return {"type": "object", "additionalProperties": schema(kind.parts[1])}
        case "BOOLEAN":
            return {"type": "boolean"}
        case "FLOAT" | "DOUBLE" | "DECIMAL":
            return {"type": "number"}
    if kind.name in INTEGERS:
        return {"type": "integer"}
    return {"type": "string"} | ({"format": _FORMATS[kind.name]} if kind.name in _FORMATS else {})


_OF_FORMAT = {"date": "DATE", "date-time": "TIMESTAMP", "byte": "BINARY"}
_OF_TYPE = {"boolean": "BOOLEAN", "number": "DOUBLE", "integer": "BIGINT"}


def of_schema(found: Mapping[str, Any]) -> Type:
    """The type of the values that a JSON schema describes; what has no narrower type is STRING."""
    kind = found.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "string")
    if kind == "object" and isinstance(found.get("properties"), Mapping):
        fields = found["properties"]
        return Type("STRUCT", tuple(of_schema(one) for one in fields.values()), tuple(fields))
    if kind == "object" and isinstance(found.get("additionalProperties"), Mapping):
        return Type("MAP", (STRING, of_schema(found["additionalProperties"])))
    if kind == "array":
        items = found.get("items")
        return Type("ARRAY", (of_schema(items) if isinstance(items, Mapping) else STRING,))
    if kind == "string":
        return Type(_OF_FORMAT.get(str(found.get("format")), "STRING"))
    return Type(_OF_TYPE.get(str(kind), "STRING"))


def of_value(value: Any) -> Type:
    """The type of a JSON value, as Spark's schema_of_json gives it."""
    match value:
        case bool():
            return Type("BOOLEAN")
        case int():
            return Type("BIGINT")
        case float():
            return Type("DOUBLE")
        case list():
            kinds = {of_value(one) for one in value if one is not None}
            return Type("ARRAY", (kinds.pop() if len(kinds) == 1 else STRING,))
        case dict():
            return Type("STRUCT", tuple(of_value(one) for one in value.values()), tuple(value))
    return STRING
