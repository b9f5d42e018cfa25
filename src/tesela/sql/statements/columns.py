"""The columns of a result as the Statement Execution API describes them.

https://docs.databricks.com/api/workspace/statementexecution/executestatement (manifest.schema.columns)
"""

import re
from collections.abc import Sequence
from typing import Any

NAMES = {
    "tinyint": "BYTE", "smallint": "SHORT", "int": "INT", "bigint": "LONG", "float": "FLOAT", "double": "DOUBLE",
    "boolean": "BOOLEAN", "string": "STRING", "binary": "BINARY", "date": "DATE", "timestamp": "TIMESTAMP",
    "timestamp_ntz": "TIMESTAMP", "void": "NULL", "decimal": "DECIMAL", "array": "ARRAY", "map": "MAP",
    "struct": "STRUCT", "char": "CHAR", "varchar": "STRING", "interval": "INTERVAL",
}  # fmt: skip
_WORD = re.compile(r"[a-z_]+")
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")
_LETTERS = re.compile(r"`[^`]*`|[A-Za-z_][\w ]*:|[a-z_]+")


def columns(names: Sequence[str], types: Sequence[str]) -> list[dict[str, Any]]:
    """`types` are Spark's words, as in `array<float>` and `decimal(10,2)`."""
    return [column(name, at, kind) for at, (name, kind) in enumerate(zip(names, types, strict=True))]


def column(name: str, position: int, kind: str) -> dict[str, Any]:
    word = _WORD.match(kind)
    base = word[0] if word else kind
    out: dict[str, Any] = {
        "name": name,
        "position": position,
        "type_name": NAMES.get(base, "USER_DEFINED_TYPE"),
        "type_text": text(kind),
    }
    found = _DECIMAL.fullmatch(kind)
    if found:
        out |= {"type_precision": int(found[1]), "type_scale": int(found[2])}
    if base == "interval":
        out["type_interval_type"] = kind.removeprefix("interval").strip().upper()
    return out


def text(kind: str) -> str:
    """The whole type in capitals; the names of fields stay as they are."""
    return _LETTERS.sub(lambda found: found[0] if found[0][-1] in "`:" else found[0].upper(), kind)
