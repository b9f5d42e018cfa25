"""Two JSON schemas as the one that asks for both, as far as making a value needs it."""

from collections.abc import Callable, Mapping
from fractions import Fraction
from math import lcm
from typing import Any

from tesela.errors import InvalidRequest
from tesela.wire.document import encode

Schema = dict[str, Any]


class Impossible(InvalidRequest):
    """No value obeys this schema.  Another branch of it may still have one."""


def merge(one: Schema, other: Schema) -> Schema:
    """Both at once.  `type` is a list in both, `items` in none.  Raises Impossible when they exclude each other."""
    found = {**one, **other}
    for key in one.keys() & other.keys():
        rule = RULES.get(key)
        if rule is not None:
            found[key] = rule(one[key], other[key])
    properties = {
        name: _both([schema.get("properties", {}).get(name, _others(schema)) for schema in (one, other)])
        for name in {**one.get("properties", {}), **other.get("properties", {})}
    }
    if properties:
        found["properties"] = properties
    places = max(len(schema.get("prefixItems", ())) for schema in (one, other))
    if places:
        found["prefixItems"] = [_both([_item(schema, place) for schema in (one, other)]) for place in range(places)]
    return found


def _others(schema: Schema) -> Any:
    """What a schema asks of a property that it does not name."""
    return schema.get("additionalProperties", True)


def _item(schema: Schema, place: int) -> Any:
    """What a schema asks of the item at a place."""
    prefix = schema.get("prefixItems", ())
    return prefix[place] if place < len(prefix) else schema.get("items", True)


def _both(schemas: list[Any]) -> Any:
    rest = [schema for schema in schemas if schema is not True]
    if False in rest:
        return False
    return {"allOf": rest} if len(rest) > 1 else (rest or [True])[0]


def _types(one: list[str], other: list[str]) -> list[str]:
    found = [kind for kind in one if kind in other or (kind == "integer" and "number" in other)]
    found += [kind for kind in other if kind == "integer" and "number" in one and kind not in found]
    if not found:
        raise Impossible(f"a schema wants both {one} and {other}")
    return found


def _values(one: list[Any], other: list[Any]) -> list[Any]:
    allowed = {encode(value) for value in other}
    return [value for value in one if encode(value) in allowed]


def _multiple(one: Any, other: Any) -> Any:
    first, second = Fraction(str(one)), Fraction(str(other))
    found = Fraction(
        lcm(first.numerator * second.denominator, second.numerator * first.denominator),
        first.denominator * second.denominator,
    )
    return found.numerator if found.denominator == 1 else float(found)


def _same(one: Any, other: Any) -> Any:
    if one != other:
        raise InvalidRequest("the scripted model cannot obey two patterns or formats at once")
    return one


def _join(one: list[Any], other: list[Any]) -> list[Any]:
    return [*one, *(name for name in other if name not in one)]


def _patterns(one: Schema, other: Schema) -> Schema:
    return {name: _both([one.get(name, True), other.get(name, True)]) for name in {**one, **other}}


RULES: Mapping[str, Callable[[Any, Any], Any]] = {
    "type": _types,
    "enum": _values,
    "choices": lambda one, other: [*one, *other],
    "required": _join,
    "multipleOf": _multiple,
    "pattern": _same,
    "format": _same,
    "items": lambda one, other: _both([one, other]),
    "patternProperties": _patterns,
    "additionalProperties": lambda one, other: _both([one, other]),
    "uniqueItems": lambda one, other: one or other,
    **dict.fromkeys(("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"), max),
    **dict.fromkeys(("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"), min),
}
"""What two values of one keyword become; of any other keyword the second stands, they change no value."""
