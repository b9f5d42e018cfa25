"""Google's schemas, an older dialect of OpenAPI 3.0, as JSON schemas: https://ai.google.dev/api/caching#Schema."""

from typing import Any

from tesela.errors import InvalidRequest
from tesela.wire.generate_names import camel

Schema = dict[str, Any]


def json_schema(given: Any, at: str) -> Schema:
    """The JSON schema that allows the same values.  Raises InvalidRequest with the path."""
    if not isinstance(given, dict):
        raise InvalidRequest(f"{at!r} must be a schema", param=at)
    found = camel(given)
    out: Schema = {}
    for word, inner in found.items():
        here = f"{at}.{word}"
        if word in ("properties", "defs") and isinstance(inner, dict):
            # Keys are names of the caller's own, not words of a schema.
            out[WORDS.get(word, word)] = {name: json_schema(one, f"{here}.{name}") for name, one in inner.items()}
        elif word == "items" or (word == "additionalProperties" and isinstance(inner, dict)):
            out[word] = json_schema(inner, here)
        elif word in ("anyOf", "prefixItems") and isinstance(inner, list):
            out[word] = [json_schema(one, f"{here}[{position}]") for position, one in enumerate(inner)]
        elif word in COUNTS:
            out[word] = _count(inner, here)
        elif word == "example":
            out["examples"] = [inner]
        elif word not in ELSEWHERE:
            out[WORDS.get(word, word)] = inner
    _ordered(out, found.get("propertyOrdering"))
    _typed(out, found)
    return out


def _ordered(out: Schema, order: Any) -> None:
    """Models write properties in the order in which a schema has them."""
    properties = out.get("properties")
    if isinstance(order, list) and isinstance(properties, dict):
        first = [name for name in order if name in properties]
        later = [name for name in properties if name not in first]
        out["properties"] = {name: properties[name] for name in [*first, *later]}


def _typed(out: Schema, found: Schema) -> None:
    kind = found.get("type")
    if isinstance(kind, str) and kind != "TYPE_UNSPECIFIED":
        out["type"] = kind.lower()
    elif isinstance(kind, list):
        out["type"] = [one.lower() if isinstance(one, str) else one for one in kind]
    if found.get("nullable") is True:
        if isinstance(out.get("type"), str):
            out["type"] = [out["type"], "null"]
        if isinstance(out.get("enum"), list):
            out["enum"] = [*out["enum"], None]
        if isinstance(out.get("anyOf"), list):
            out["anyOf"] = [*out["anyOf"], {"type": "null"}]


def strictly(schema: Any) -> bool:
    """Whether a schema keeps the rules of OpenAI's strict mode, which refuses any other: every object is closed, and
    all of its properties are required.  https://platform.openai.com/docs/guides/structured-outputs#supported-schemas"""
    if isinstance(schema, list):
        return all(map(strictly, schema))
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    known = properties if isinstance(properties, dict) else {}
    kinds = schema.get("type")
    if known or "object" in (kinds if isinstance(kinds, list) else [kinds]):
        required = schema.get("required")
        if schema.get("additionalProperties") is not False or not isinstance(required, list):
            return False
        if not all(name in required for name in known):
            return False
    # What stands under names of the caller's own, and what is a value or a word, is no schema.
    named = [one for word in ("properties", "$defs", "definitions") for one in _named(schema.get(word))]
    return all(map(strictly, [*named, *(schema.get(word) for word in INNER)]))


def _named(given: Any) -> list[Any]:
    return list(given.values()) if isinstance(given, dict) else []


INNER = ("items", "anyOf", "oneOf", "allOf", "prefixItems")


def _count(given: Any, at: str) -> int:
    """Whole numbers of 64 bits come as strings (https://protobuf.dev/programming-guides/json/)."""
    if isinstance(given, str) and given.isdigit():
        return int(given)
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    raise InvalidRequest(f"{at!r} must be a whole number", param=at)


COUNTS = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
ELSEWHERE = frozenset({"type", "nullable", "propertyOrdering"})
WORDS = {"defs": "$defs", "ref": "$ref"}


def one_schema(found: Schema, google: str, json: str, at: str) -> Schema | None:
    """A schema that may be given in Google's dialect or as a JSON schema; None when it is not given."""
    here = f"{at}.{json}"
    given = found.get(json)
    if given is None:
        return json_schema(found[google], f"{at}.{google}") if found.get(google) is not None else None
    if found.get(google) is not None:
        raise InvalidRequest(f"'{at}.{google}' and {here!r} say the same: give one of them", param=here)
    if not isinstance(given, dict):
        raise InvalidRequest(f"{here!r} must be a JSON schema", param=here)
    return given
