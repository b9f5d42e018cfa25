"""JSON Schema as the schema objects that Gemini takes, a part of OpenAPI 3.0's.

https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/Schema.  What these objects have no word for is
not dropped: such a schema is sent as it is, in a field of its own that newer models read.
"""

from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]


class _Beyond(Exception):
    """The schema says more than Gemini's objects can."""


def converted(schema: Schema) -> Schema | None:
    """None when the schema cannot be told in Gemini's objects."""
    defined: dict[str, Any] = {}
    for place in ("$defs", "definitions"):
        found = schema.get(place)
        if isinstance(found, dict):
            defined |= {f"#/{place}/{name}": one for name, one in found.items()}
    try:
        return _schema(schema, defined, ())
    except (_Beyond, RecursionError):
        return None


def _schema(given: Any, defined: dict[str, Any], inside: tuple[str, ...]) -> Schema:
    if not isinstance(given, dict):
        raise _Beyond
    reference = given.get("$ref")
    if reference is not None:
        if not isinstance(reference, str) or reference in inside or reference not in defined:
            raise _Beyond
        beside = {word: found for word, found in given.items() if word not in ("$ref", "$defs", "definitions")}
        if beside.keys() - {"description", "title", "default"}:
            raise _Beyond
        return _schema(defined[reference], defined, (*inside, reference)) | beside
    out: Schema = {}
    for word, found in given.items():
        if word in KEPT:
            out[word] = found
        elif word == "format":
            # Elsewhere than in these, a format is an annotation that binds nobody (JSON Schema, section 7.2.1).
            if found in FORMATS:
                out["format"] = found
        elif word not in SAID_ELSEWHERE and (word, found) not in TRUE_ANYWAY:
            _nested(out, word, found, lambda one: _schema(one, defined, inside))
    _typed(out, given)
    return out


def _nested(out: Schema, word: str, found: Any, schema: Callable[[Any], Schema]) -> None:
    """A word whose value is schemas.  Any other is one that Gemini has not."""
    if word == "properties" and isinstance(found, dict):
        out["properties"] = {name: schema(one) for name, one in found.items()}
        # Without it Gemini writes them in alphabetical order, and an explanation after what it explains.
        out["propertyOrdering"] = list(found)
    elif word == "items":
        out["items"] = schema(found)
    elif word in ("anyOf", "oneOf") and isinstance(found, list) and "anyOf" not in out:
        _either(out, [_null(one) or schema(one) for one in found])
    elif word == "allOf" and isinstance(found, list) and len(found) == 1:
        out |= schema(found[0])
    else:
        raise _Beyond


def _null(schema: Any) -> Schema:
    return NULL if isinstance(schema, dict) and schema.get("type") == "null" else {}


def _either(out: Schema, found: list[Schema]) -> None:
    others = [one for one in found if one is not NULL]
    if len(others) < len(found):
        out["nullable"] = True
    if len(others) == 1:
        out |= others[0]
    else:
        out["anyOf"] = others


def _typed(out: Schema, given: Schema) -> None:
    """The type in capitals; null as a flag beside it; a constant as the only one of an enumeration."""
    kind = given.get("type")
    kinds = kind if isinstance(kind, list) else [] if kind is None else [kind]
    if not all(isinstance(one, str) for one in kinds):
        raise _Beyond
    if "null" in kinds and len(kinds) > 1:
        out["nullable"] = True
        kinds = [one for one in kinds if one != "null"]
    values = [given["const"]] if "const" in given else given.get("enum")
    if values is not None:
        if not isinstance(values, list) or not values:
            raise _Beyond
        if None in values and out.get("nullable"):
            values = [one for one in values if one is not None]
        if not all(isinstance(one, str) for one in values):
            raise _Beyond
        out["enum"] = values
        kinds = kinds or ["string"]
    if len(kinds) > 1 and not out.keys() - {"nullable", "description", "title", "default"}:
        out["anyOf"] = [{"type": TYPES[one]} for one in kinds if one in TYPES]
    elif len(kinds) == 1 and kinds[0] in TYPES:
        out["type"] = TYPES[kinds[0]]
    elif kinds or not out.keys() & {"anyOf", "type"}:
        raise _Beyond
    if (out.get("type") == "OBJECT" and not out.get("properties")) or (
        out.get("type") == "ARRAY" and "items" not in out
    ):
        raise _Beyond  # Gemini wants to know what is in them.


NULL: Schema = {"type": "NULL"}
TYPES = {name: name.upper() for name in ("string", "number", "integer", "boolean", "array", "object")}
FORMATS = ("date-time", "date", "time", "int32", "int64", "float", "double", "enum")
KEPT = frozenset(
    {"title", "description", "default", "pattern", "minLength", "maxLength", "minItems", "maxItems", "minimum"}
    | {"maximum", "minProperties", "maxProperties", "required", "nullable", "example", "propertyOrdering"}
)
SAID_ELSEWHERE = frozenset(
    {"type", "enum", "const", "$schema", "$id", "$comment", "$defs", "definitions", "examples", "deprecated"}
    | {"readOnly", "writeOnly", "strict"}
)
"""Words that are read elsewhere, and those that say nothing about what may be written."""
TRUE_ANYWAY = (("additionalProperties", False), ("uniqueItems", False))
"""Gemini writes the properties that it is told, and no others."""
