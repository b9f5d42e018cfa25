"""Schemas that must hold at once and speak of the same items: of tuples on one side and of all items on the other."""

from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from tesela.errors import InvalidRequest
from tesela.providers.scripted_schema import obey

TUPLE = {"type": "array", "prefixItems": [{"type": "boolean"}], "items": False, "minItems": 1}
NULLS = {"type": "array", "items": {"type": "null"}}
AT_LEAST_FIVE = {"items": {"minimum": 5}}
NUMBERS = {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "number"}], "minItems": 3}


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [{"properties": {"city": TUPLE}}, {"properties": {"city": NULLS}}]},
        {"allOf": [NUMBERS, AT_LEAST_FIVE]},
        {"allOf": [AT_LEAST_FIVE, NUMBERS]},
        {"allOf": [NUMBERS, {"prefixItems": [{"maximum": -3}]}]},
        {"allOf": [TUPLE, {"prefixItems": [True, {"type": "string"}]}]},
    ],
)
def test_both_hold(schema: Any) -> None:
    Draft202012Validator(schema).validate(obey(schema))


def test_both_hold_in_the_older_form_of_tuples() -> None:
    older = {"type": "array", "items": [{"type": "integer"}], "additionalItems": {"type": "string"}, "minItems": 2}
    schema = {"allOf": [older, {"minItems": 3}]}
    Draft7Validator(schema).validate(obey(schema))


def test_what_excludes_each_other_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        obey({"allOf": [TUPLE, NULLS]})
