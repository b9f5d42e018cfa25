"""Values made for a schema, judged by a validator that is not ours."""

import re
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped, unused-ignore]

from tesela.errors import InvalidRequest
from tesela.providers.scripted_pattern import sample
from tesela.providers.scripted_scalars import FORMATS
from tesela.providers.scripted_schema import obey

names = st.sampled_from(["city", "age", "tags", "x", "næme"])
bounds = st.integers(-20, 20)


def ordered(low: str, high: str, numbers: st.SearchStrategy[int]) -> st.SearchStrategy[dict[str, Any]]:
    """Limits that leave something between them; either may be missing."""
    both = st.tuples(numbers, st.integers(1, 20)).map(lambda two: {low: two[0], high: two[0] + two[1]})
    return st.one_of(
        st.just({}), numbers.map(lambda one: {low: one}), numbers.map(lambda one: {high: abs(one) + 1}), both
    )


def joined(*parts: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(*parts).map(lambda found: {key: content for part in found for key, content in part.items()})


def kind(name: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.just({"type": name})


scalars = st.one_of(
    kind("null"),
    kind("boolean"),
    joined(kind("integer"), ordered("minimum", "maximum", bounds)),
    joined(kind("number"), ordered("minimum", "maximum", bounds)),
    joined(kind("number"), ordered("exclusiveMinimum", "exclusiveMaximum", bounds)),
    joined(kind("integer"), ordered("exclusiveMinimum", "maximum", bounds)),
    joined(kind("integer"), st.integers(1, 7).map(lambda step: {"multipleOf": step})),
    joined(kind("number"), st.sampled_from([0.5, 0.25, 3]).map(lambda step: {"multipleOf": step})),
    joined(kind("string"), ordered("minLength", "maxLength", st.integers(0, 9))),
    joined(kind("string"), st.sampled_from(sorted(FORMATS)).map(lambda name: {"format": name})),
    st.lists(st.one_of(st.none(), st.booleans(), bounds, st.text(max_size=3)), min_size=1).map(
        lambda values: {"enum": values}
    ),
    st.one_of(bounds, st.text(max_size=3), st.lists(bounds, max_size=2)).map(lambda value: {"const": value}),
    st.just({}),
    st.just(True),
    kind("string").map(lambda schema: {**schema, "type": ["string", "null"]}),
)


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(names, inner, max_size=3)
    objects = st.tuples(properties, st.lists(names, unique=True, max_size=2), st.booleans()).map(
        lambda three: {
            "type": "object",
            "properties": three[0],
            "required": [name for name in three[1] if name in three[0]] if three[2] else three[1],
            **({"additionalProperties": False} if three[2] else {}),
        }
    )
    arrays = joined(
        kind("array"), inner.map(lambda items: {"items": items}), ordered("minItems", "maxItems", st.integers(0, 3))
    )
    tuples = st.lists(inner, min_size=1, max_size=3).map(
        lambda items: {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    )
    either = st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches})
    both = st.tuples(objects, objects).map(
        lambda two: {"allOf": [{**one, "additionalProperties": True} for one in two]}
    )
    return st.one_of(objects, arrays, tuples, either, both)


schemas = st.recursive(scalars, nested, max_leaves=8)


@given(schemas)
@settings(max_examples=300)
def test_a_value_obeys_its_schema(schema: Any) -> None:
    try:
        value = obey(schema)
    except InvalidRequest:
        # Two parts of an `allOf` can exclude each other; nothing else here can.
        assert "allOf" in str(schema)
        return
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)
    assert obey(schema) == value


REAL: list[tuple[Any, Any]] = [
    (
        {
            "type": "object",
            "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 18}},
            "required": ["name", "age"],
            "additionalProperties": False,
        },
        {"name": "name", "age": 18},
    ),
    (
        {
            "$ref": "#/$defs/node",
            "$defs": {
                "node": {
                    "type": "object",
                    "properties": {
                        "value": {"type": "integer"},
                        "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                    },
                    "required": ["value", "next"],
                }
            },
        },
        {"value": 1, "next": {"value": 1, "next": None}},
    ),
    ({"enum": ["red", "green"]}, "red"),
    ({"type": "integer", "enum": ["red", 3]}, 3),
    ({"oneOf": [{"type": "string", "const": "a"}, {"type": "integer"}]}, "a"),
    ({"type": "object", "required": ["a"], "anyOf": [{"properties": {"a": False}}, {"properties": {"a": {"const": 2}}}]}, {"a": 2}),  # noqa: E501
    ({"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True}, ["a", "b", "c"]),
    ({"type": "array", "items": {"type": "integer", "minimum": 5, "maximum": 7}, "minItems": 3, "uniqueItems": True}, [5, 6, 7]),  # noqa: E501
    ({"type": "array", "items": [{"type": "integer"}, {"type": "string"}]}, [1, "text1"]),
    ({"allOf": [{"type": "integer", "minimum": 3}, {"type": "number", "maximum": 4, "multipleOf": 2}]}, 4),
    ({"type": "number", "minimum": 0.1, "maximum": 0.1}, 0.1),
    ({"type": "number", "multipleOf": 0.1, "minimum": 0.25, "maximum": 0.35}, 0.3),
    ({"type": "integer", "multipleOf": 1.5, "minimum": 4}, 6),
    ({"type": "object", "minProperties": 2}, {"extra1": "extra1", "extra2": "extra2"}),
    ({"type": "object", "properties": {"a": {}, "b": {}}, "maxProperties": 1}, {"a": "a"}),
    ({"type": "object", "patternProperties": {"^n_": {"type": "integer"}}, "required": ["n_1"]}, {"n_1": 1}),
    ({"type": "object", "properties": {"self": {"$ref": "#"}}}, {"self": {"self": {}}}),
    ({"properties": {"a/b~c": {"type": "null"}, "x": {"$ref": "#/properties/a~1b~0c"}}}, {"a/b~c": None, "x": None}),
    ({"allOf": [{"additionalProperties": False, "properties": {"a": True}}, {"properties": {"b": {"type": "null"}}}]}, {"a": "a"}),  # noqa: E501
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value"), REAL)
def test_values_of_schemas_as_people_write_them(schema: Any, value: Any) -> None:
    assert obey(schema) == value
    if not isinstance(schema.get("items"), list) and schema.get("multipleOf") != 0.1:
        Draft202012Validator(schema).validate(value)


def test_every_branch_inside_itself_comes_to_an_end() -> None:
    tree = {
        "type": "object",
        "properties": {name: {"anyOf": [{"$ref": "#"}, {"type": "null"}]} for name in "abc"},
        "required": ["a", "b", "c"],
    }
    Draft202012Validator(tree).validate(obey(tree))


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}},
        {"$ref": "#"},
        {"$ref": "#/$defs/nothing"},
        {"$ref": "https://example.com/other.json"},
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"type": "integer", "exclusiveMinimum": 4, "exclusiveMaximum": 5},
        {"type": "string", "enum": [1]},
        {"allOf": [{"type": "string"}, {"type": "null"}]},
        {"type": "array", "items": False, "minItems": 1},
        {"type": "array", "uniqueItems": True, "minItems": 3, "items": {"type": "boolean"}},
        {"type": "array", "minItems": 1_000_000_000},
        {"type": "string", "minLength": 1_000_000_000},
        {"type": "string", "format": "date", "maxLength": 3},
        {"type": "object", "required": ["a"], "additionalProperties": False},
        {"type": "number", "minimum": 1, "exclusiveMinimum": True},
        {"type": "spreadsheet"},
        {"not": {"type": "string"}},
        {"if": {"type": "string"}, "then": {"minLength": 3}},
        {"type": "string", "pattern": "("},
        "string",
    ],
)
def test_what_cannot_be_obeyed_is_refused(schema: Any) -> None:
    with pytest.raises(InvalidRequest):
        obey(schema)


PATTERNS = [
    r"^#[0-9a-fA-F]{6}$",
    r"^[A-Z]{2}-\d{3,}(foo|bar)?$", r"^\S+@\S+\.\S+$", r"^(?:\+?1)?\d{10}$", r"[^a-z]x", r"^[\w.-]+$",
    r"^(?P<year>\d{4})-(0[1-9]|1[0-2])$", r"^a*?b+?$", r"\u00e9\x41", r"^\$\d+\.\d{2}$", r"^[]a]$", r"^a|b$", "",
    r"^.{3,5}$", r"\bword\b", r"^[+-]?\d+$", r"^[a\-z]{2}$", r"^(a(b(c)?)*){2}$",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns(pattern: str) -> None:
    found = [sample(pattern, variant=variant, shortest=0, longest=None) for variant in range(40)]
    assert all(re.search(pattern, text) for text in found)


@pytest.mark.parametrize(
    ("pattern", "shortest"), [(r"^\d+$", 30), (r"^[a-f]{2,40}-x*$", 41), (r"^(ab){1,}$", 11), (r"^.{0,3}.{0,9}$", 12)]
)
def test_patterns_stretch_to_a_length(pattern: str, shortest: int) -> None:
    text = sample(pattern, variant=0, shortest=shortest, longest=None)
    assert len(text) >= shortest
    assert re.search(pattern, text)


@pytest.mark.parametrize(
    "pattern", [r"(?=a)b", r"(a)\1", "[", "a{3000}", "(" * 60 + ")" * 60, "*", r"\p{L}", "[^\\w\\W]"]
)
def test_patterns_that_are_not_known_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidRequest):
        sample(pattern, variant=0, shortest=0, longest=None)


@given(st.text(alphabet="ab01.^$*+?{}[]()|\\-,dw", max_size=12))
def test_any_pattern_is_matched_or_refused(pattern: str) -> None:
    try:
        text = sample(pattern, variant=3, shortest=2, longest=20)
    except InvalidRequest:
        return
    assert re.search(pattern, text)


@given(st.integers(0, 500), st.sampled_from(sorted(FORMATS)))
def test_formats_hold_for_every_variant(variant: int, name: str) -> None:
    text = FORMATS[name](variant)
    assert Draft202012Validator.FORMAT_CHECKER.conforms(text, name)
    if name in ("date-time", "time"):
        assert datetime.fromisoformat(text if name == "date-time" else f"2024-01-01T{text}").tzinfo is not None


def test_a_listed_value_obeys_the_other_parts_to_the_innermost() -> None:
    inside = {"type": "object", "properties": {"city": {"type": "array", "items": {"type": "null"}}}}
    listed = {"type": "object", "properties": {"city": {"enum": [[0], [True], [None]]}}, "required": ["city"]}
    assert obey({"allOf": [inside, listed]}) == {"city": [None]}
    only = {"type": "object", "properties": {"city": {"const": [0]}}, "required": ["city"]}
    with pytest.raises(InvalidRequest):
        obey({"allOf": [inside, only]})
