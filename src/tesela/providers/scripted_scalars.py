"""Strings and numbers that obey a schema, and whether a given value does."""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from fractions import Fraction
from math import ceil, floor
from typing import Any

from tesela.errors import InvalidRequest
from tesela.providers.scripted_merge import Impossible, Schema
from tesela.providers.scripted_pattern import matches, sample


def string(flat: Schema, hint: str, variant: int) -> str:
    """A text.  Without a format or pattern it is the name of the property, longer or shorter as the schema wants."""
    shortest, longest = flat.get("minLength", 0), flat.get("maxLength")
    if shortest > LONGEST:
        raise InvalidRequest(f"the scripted model makes no text of more than {LONGEST} letters")
    form = FORMATS.get(flat.get("format", ""))
    if flat.get("pattern") is not None:
        text = sample(flat["pattern"], variant=variant, shortest=shortest, longest=longest)
    elif form is not None:
        text = form(variant)
    else:
        text = f"{hint}{variant}" if variant else hint
        text += "x" * (shortest - len(text))
        if longest is not None and len(text) > longest:
            text = (f"{variant}{hint}" if variant else hint)[:longest]
    if len(text) < shortest or (longest is not None and len(text) > longest):
        raise Impossible("no text obeys the format and the lengths of a schema")
    return text


def number(flat: Schema, kind: str, variant: int) -> int | float:
    """A number, a small one where the schema leaves the choice."""
    step = Fraction(str(flat["multipleOf"])) if "multipleOf" in flat else None
    if kind == "integer":
        # The whole numbers among the multiples of p/q are the multiples of p.
        step = Fraction(step.numerator if step is not None else 1)
    low, high = _bound(flat, "minimum", "exclusiveMinimum", max), _bound(flat, "maximum", "exclusiveMaximum", min)
    found = _stepped(low, high, step, variant, flat) if step else _between(low, high, variant)
    value = found.numerator if found.denominator == 1 else float(found)
    if not fits({**flat, "type": [kind]}, value):
        raise Impossible("no number obeys the limits of a schema")
    return value


def _bound(flat: Schema, closed: str, opened: str, tighter: Callable[..., Fraction]) -> Fraction | None:
    given = [flat[key] for key in (closed, opened) if key in flat]
    if any(isinstance(one, bool) for one in given):
        raise InvalidRequest(f"{opened!r} must be a number, as in every draft of JSON Schema since the sixth")
    found = [Fraction(str(one)) for one in given]
    return tighter(found) if found else None


def _stepped(low: Fraction | None, high: Fraction | None, step: Fraction, variant: int, flat: Schema) -> Fraction:
    one = ceil(1 / step)
    if low is None:
        found = one + variant if high is None or (one + variant) * step < high else floor(high / step) - variant
        return (found - (found * step == flat.get("exclusiveMaximum"))) * step
    first = ceil(low / step)
    first += first * step == flat.get("exclusiveMinimum")
    start = one if first <= one and (high is None or (one + variant) * step < high) else first
    found = start + variant
    if high is not None and found * step > high:
        # The values of a narrow range come round again.
        found = first + variant % max(1, floor(high / step) - first + 1)
    return found * step


def _between(low: Fraction | None, high: Fraction | None, variant: int) -> Fraction:
    usual = Fraction(3, 2) + variant
    if (low is None or usual > low) and (high is None or usual < high):
        return usual
    if low is not None and high is not None:
        return low + (high - low) * (variant + 1) / (variant + 2)
    return low + 1 + variant if low is not None else (high or 0) - 1 - Fraction(variant)


def fits(flat: Schema, value: Any) -> bool:
    """Whether a value has the type and obeys the limits; what is inside an object or a list is not looked at."""
    kinds = flat.get("type")
    if kinds and not any(IS[kind](value) for kind in kinds if kind in IS):
        return False
    if isinstance(value, str):
        lengths = flat.get("minLength", 0) <= len(value) <= flat.get("maxLength", len(value))
        return lengths and matches(flat.get("pattern", ""), value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return all(key not in flat or holds(Fraction(str(value)), Fraction(str(flat[key]))) for key, holds in LIMITS)
    return True


def _whole(value: Any) -> bool:
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer())


IS: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": _whole,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
LIMITS: tuple[tuple[str, Callable[[Fraction, Fraction], bool]], ...] = (
    ("minimum", lambda value, limit: value >= limit),
    ("maximum", lambda value, limit: value <= limit),
    ("exclusiveMinimum", lambda value, limit: value > limit),
    ("exclusiveMaximum", lambda value, limit: value < limit),
    ("multipleOf", lambda value, limit: value % limit == 0),
)


def _day(variant: int) -> str:
    return (date(2024, 1, 1) + timedelta(days=variant)).isoformat()


LONGEST = 100_000
FORMATS: Mapping[str, Callable[[int], str]] = {
    "date-time": lambda variant: f"{_day(variant)}T12:00:00Z",
    "date": _day,
    "time": lambda variant: f"12:{variant // 60 % 60:02}:{variant % 60:02}Z",
    "duration": lambda variant: f"P{variant + 1}D",
    "email": lambda variant: f"person{variant}@example.com",
    "idn-email": lambda variant: f"person{variant}@example.com",
    "hostname": lambda variant: f"host{variant}.example.com",
    "idn-hostname": lambda variant: f"host{variant}.example.com",
    "ipv4": lambda variant: f"192.0.2.{variant % 255}",
    "ipv6": lambda variant: f"2001:db8::{variant + 1:x}",
    "uri": lambda variant: f"https://example.com/{variant}",
    "uri-reference": lambda variant: f"https://example.com/{variant}",
    "iri": lambda variant: f"https://example.com/{variant}",
    "iri-reference": lambda variant: f"https://example.com/{variant}",
    "uri-template": lambda variant: f"https://example.com/{variant}/{{id}}",
    "url": lambda variant: f"https://example.com/{variant}",
    "uuid": lambda variant: f"00000000-0000-4000-8000-{variant:012x}",
    "json-pointer": lambda variant: f"/{variant}",
    "relative-json-pointer": lambda variant: f"{variant}/a",
    "regex": lambda variant: f"a{{{variant + 1}}}",
    "byte": lambda variant: f"AAA{'ABCDEFGH'[variant % 8]}",
}
"""The formats of JSON Schema, and two of OpenAPI.  Any other format says nothing that a program could check."""
