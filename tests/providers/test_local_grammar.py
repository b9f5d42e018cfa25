"""Schemas in the engine's form: what is changed, what is refused, and which field the refusal names."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.errors import InvalidRequest, RequestError, Unsupported
from tesela.providers.local_fields import KNOBS
from tesela.providers.local_grammar import ANYTHING, engine_form, rooted
from tesela.wire import check
from tesela.wire.document import raw


def obj(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("schema", "form"),
    [
        ({}, ANYTHING),
        ({"description": "x"}, {"description": "x", **ANYTHING}),
        (obj(a=True, b={}), obj(a=ANYTHING, b=ANYTHING)),
        (obj(a=False, b={"const": 1}), obj(b={"const": 1})),
        ({"items": True}, {"items": ANYTHING}),
        ({"items": False}, {"maxItems": 0}),
        ({"prefixItems": [True], "items": False}, {"prefixItems": [ANYTHING], "maxItems": 1}),
        ({"additionalProperties": {}}, {"additionalProperties": ANYTHING}),
        ({"additionalProperties": False}, {"additionalProperties": False}),
        ({"anyOf": [True, {"type": "null"}]}, {"anyOf": [ANYTHING, {"type": "null"}]}),
        ({"allOf": [True, {"type": "null"}]}, {"allOf": [{}, {"type": "null"}]}),
        ({"const": True}, {"const": True}),
        ({"enum": [False, {}]}, {"enum": [False, {}]}),
        ({"$defs": {"x": True}, "$ref": "#/$defs/x"}, {"$defs": {"x": ANYTHING}, "$ref": "#/$defs/x"}),
    ],
)
def test_what_json_schema_means_is_said_as_the_engine_understands_it(schema: Any, form: Any) -> None:
    assert engine_form(schema, "f") == form


@pytest.mark.parametrize(
    ("schema", "field", "kind"),
    [
        (obj(a=5), "f.properties.a", InvalidRequest),
        (obj(a={"type": "strin"}), "f.properties.a.type", InvalidRequest),
        (obj(a={"type": []}), "f.properties.a.type", InvalidRequest),
        (obj(a={"enum": []}), "f.properties.a.enum", InvalidRequest),
        (obj(a={"minLength": "x"}), "f.properties.a.minLength", InvalidRequest),
        (obj(a={"minItems": -1}), "f.properties.a.minItems", InvalidRequest),
        (obj(a={"maximum": True}), "f.properties.a.maximum", InvalidRequest),
        (obj(a={"pattern": 5}), "f.properties.a.pattern", InvalidRequest),
        ({"properties": ["a"]}, "f.properties", InvalidRequest),
        ({"required": "a"}, "f.required", InvalidRequest),
        ({"anyOf": []}, "f.anyOf", InvalidRequest),
        ({"anyOf": [{}, {"items": "x"}]}, "f.anyOf[1].items", InvalidRequest),
        ({"items": [{}, 7]}, "f.items[1]", InvalidRequest),
        ({"anyOf": [False]}, "f.anyOf[0]", Unsupported),
        ({**obj(a=False), "required": ["a"]}, "f.properties.a", InvalidRequest),
        ({"$ref": 5}, "f.$ref", InvalidRequest),
        ({"$ref": "#/$defs/x"}, "f.$ref", InvalidRequest),
        ({"$ref": "http://x.y/z"}, "f.$ref", Unsupported),
        (obj(a={"$ref": "#/$defs/x"}) | {"$defs": {"x": {"$ref": "#/$defs/x"}}}, "f.properties.a.$ref", InvalidRequest),
    ],
)
def test_what_is_no_schema_is_refused_by_name(schema: Any, field: str, kind: type[RequestError]) -> None:
    with pytest.raises(kind) as caught:
        engine_form(schema, "f")
    assert caught.value.param == field
    assert repr(field) in caught.value.message


def test_a_reference_to_the_whole_schema_gets_a_name() -> None:
    assert rooted(obj(a={"$ref": "#/$defs/b"})) == obj(a={"$ref": "#/$defs/b"})
    made = rooted(obj(a={"$ref": "#"}, b={"$ref": "#/properties/a"}))
    assert made["$ref"] == "#/$defs/answer"
    assert made["$defs"]["answer"]["properties"] == {
        "a": {"$ref": "#/$defs/answer"},
        "b": {"$ref": "#/$defs/answer/properties/a"},
    }


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["object", "string", "#", "#/$defs/a", "x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "items", "anyOf", "allOf", "enum", "$ref", "$defs", "a", "minItems"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(VALUES.filter(lambda value: isinstance(value, dict)))
def test_anything_is_taken_or_refused_with_its_place(schema: Any) -> None:
    place = ""
    made: dict[str, Any] = ANYTHING
    try:
        made = engine_form(schema, "f")
    except RequestError as error:
        place = error.param or "nowhere"
    assert place == "" or place.startswith("f")
    assert made
    assert engine_form(made, "f") == made


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("min_p", 5), ("min_p", -0.1), ("typical_p", -3), ("top_n_sigma", -5), ("xtc_probability", 9),
        ("xtc_threshold", -1), ("dynatemp_range", -1), ("dynatemp_exponent", 1e300), ("repeat_penalty", 0),
        ("repeat_penalty", 1e300), ("mirostat", 3), ("mirostat_tau", -1), ("mirostat_eta", -1), ("dry_multiplier", -1),
        ("dry_base", -1), ("dry_allowed_length", -1), ("repeat_last_n", -2), ("dry_penalty_last_n", 10**6),
        ("samplers", ["zz"]), ("samplers", "top_k"), ("dry_sequence_breakers", []), ("dry_sequence_breakers", [""]),
        ("top_k", -1), ("t_max_predict_ms", -1), ("ignore_eos", "yes"), ("cache_prompt", 1), ("grammar", 5),
        ("min_p", "x"),
    ],
)  # fmt: skip
def test_a_knob_out_of_range_is_refused_by_name(name: str, wrong: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check.read({name: raw(wrong)}, name, KNOBS)
    assert caught.value.param == name
    assert repr(name) in caught.value.message
