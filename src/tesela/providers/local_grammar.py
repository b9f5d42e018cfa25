"""A JSON schema in the form that the engine takes, checked before it is sent.

llama.cpp knows no schemas that are true or false, takes the empty schema for an object (and for free text, once it has
a description), and names the place of a fault in the schema that it was given, which is not the caller's when tools
are made of it.  So what it would refuse is refused here, with the field; limits are the business of `local_schema`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from tesela.errors import InvalidRequest, Unsupported
from tesela.providers.local_schema import moved

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
ANYTHING: dict[str, Any] = {"type": [name for name in TYPES if name != "integer"]}
SHAPING = frozenset(
    {
        "type", "$ref", "const", "enum", "anyOf", "oneOf", "allOf", "properties", "additionalProperties", "items",
        "prefixItems", "minItems", "maxItems", "pattern", "format", "minLength", "maxLength",
    }
)  # fmt: skip
"""Keywords that say to the engine what a value looks like.  Without any of them it may be anything."""


class Demand(NamedTuple):
    """What the value of a keyword must be."""

    holds: Callable[[Any], bool]
    must: str


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _type(value: Any) -> bool:
    names = value if isinstance(value, list) and value else [value]
    return all(isinstance(name, str) and name in TYPES for name in names)


def _full_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value)


def _strings(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


DEMANDS: dict[str, Demand] = {
    "type": Demand(_type, f"must be one of {', '.join(TYPES)}, or a list of them"),
    "$ref": Demand(lambda value: isinstance(value, str), "must be a string"),
    "enum": Demand(_full_list, "must be a list of at least one value"),
    "required": Demand(_strings, "must be a list of strings"),
    "pattern": Demand(lambda value: isinstance(value, str), "must be a string"),
    "format": Demand(lambda value: isinstance(value, str), "must be a string"),
    **dict.fromkeys(("anyOf", "oneOf", "allOf"), Demand(_full_list, "must be a list of at least one schema")),
    "prefixItems": Demand(lambda value: isinstance(value, list), "must be a list of schemas"),
    **dict.fromkeys(
        ("properties", "$defs", "definitions"), Demand(lambda value: isinstance(value, dict), "must be an object")
    ),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems"), Demand(_count, "must be an integer of at least 0")
    ),
    **dict.fromkeys(
        ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), Demand(_number, "must be a number")
    ),
}


def engine_form(schema: dict[str, Any], at: str) -> dict[str, Any]:
    """The schema as the engine takes it.  `at` is its field.

    Raises InvalidRequest for what is no JSON schema and Unsupported for what the engine cannot follow; both name the
    place.  The schema must not be deeper than `local_schema.MAX_DEPTH`.
    """
    return _Walk(schema).visit(schema, at)


class _Walk:
    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root

    def visit(self, node: Any, at: str, *, part: bool = False) -> dict[str, Any]:
        """`part` is a schema that only adds to another one, so that what it does not say is said there."""
        if node is True:
            return {} if part else ANYTHING
        if node is False:
            raise Unsupported(f"'{at}' is false: no value obeys that schema; leave it out", param=at)
        if not isinstance(node, dict):
            raise InvalidRequest(f"'{at}' must be a JSON schema: an object, true or false", param=at)
        for key, value in node.items():
            demand = DEMANDS.get(key)
            if demand is not None and not demand.holds(value):
                raise InvalidRequest(f"'{at}.{key}' {demand.must}", param=f"{at}.{key}")
        self._follow(node, at)
        out = {key: self._inner(key, value, f"{at}.{key}") for key, value in node.items()}
        out = _without_impossible(out, node, at)
        return out if part or SHAPING & out.keys() else {**out, **ANYTHING}

    def _inner(self, key: str, value: Any, at: str) -> Any:
        match key:
            case "allOf":
                return [self.visit(one, f"{at}[{position}]", part=True) for position, one in enumerate(value)]
            case "properties":
                return {name: self.visit(one, f"{at}.{name}") for name, one in value.items() if one is not False}
            case "$defs" | "definitions":
                return {name: self.visit(one, f"{at}.{name}") for name, one in value.items()}
            case "anyOf" | "oneOf" | "prefixItems" | "items" if isinstance(value, list):
                return [self.visit(one, f"{at}[{position}]") for position, one in enumerate(value)]
            case "items" if value is not False:
                return self.visit(value, at)
            case "additionalProperties" if not isinstance(value, bool):
                return self.visit(value, at)
        return value

    def _follow(self, node: Mapping[str, Any], at: str) -> None:
        """Refuse a reference that leads nowhere, elsewhere, or only to itself."""
        seen: list[str] = []
        while isinstance(target := node.get("$ref"), str):
            place = f"{at}.$ref"
            if target in seen:
                raise InvalidRequest(f"'{place}' leads to {target!r}, which leads back to itself", param=place)
            seen.append(target)
            if not target.startswith("#"):
                raise Unsupported(f"'{place}' is {target!r}: only references within the schema are taken", param=place)
            found: Any = self._root
            for step in target.split("/")[1:]:
                found = found.get(step) if isinstance(found, dict) else _item(found, step)
            if found is None:
                raise InvalidRequest(f"'{place}' is {target!r}, which is not in the schema", param=place)
            if not isinstance(found, dict):
                return
            node = found


def rooted(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema as one that may refer to the whole of itself: the engine follows no reference that is just "#"."""
    if not _refers_to_root(schema):
        return schema
    return {"$ref": "#/$defs/answer", "$defs": {"answer": moved(schema, "/$defs/answer")}}


def _refers_to_root(node: Any) -> bool:
    if isinstance(node, list):
        return any(map(_refers_to_root, node))
    return isinstance(node, dict) and (node.get("$ref") == "#" or any(map(_refers_to_root, node.values())))


def _item(found: Any, step: str) -> Any:
    inside = isinstance(found, list) and step.isascii() and step.isdigit() and int(step) < len(found)
    return found[int(step)] if inside else None


def _without_impossible(out: dict[str, Any], node: Mapping[str, Any], at: str) -> dict[str, Any]:
    """A property whose schema is false must be absent, and items whose schema is false are none at all."""
    for name, one in node.get("properties", {}).items():
        if one is False and name in node.get("required", ()):
            text = f"'{at}.properties.{name}' is false, and yet {name!r} is required: no value obeys that schema"
            raise InvalidRequest(text, param=f"{at}.properties.{name}")
    if node.get("items") is False:
        out = {**out, "maxItems": len(node.get("prefixItems", ()))}
        del out["items"]
    return out
