"""JSON schemas for the engine's grammar: what it can be held to, how much it can bear, and moving one into another."""

from collections.abc import Mapping
from typing import Any

from tesela.errors import InvalidRequest, Unsupported
from tesela.wire.document import encode

MAX_DEPTH = 100
MAX_NAMES = 500
MAX_BYTES = 65536
"""Above these the engine is busy with the grammar and with nobody's answers: its time grows with the square of the
alternatives (an enum of 500 values takes 1.1 s, one of 20,000 takes 366 s, measured on two cores)."""

COMBINATORS = ("$ref", "allOf", "anyOf", "oneOf", "additionalProperties", "patternProperties", "unevaluatedProperties")

UNENFORCED = frozenset(
    {
        "not",
        "if",
        "then",
        "else",
        "contains",
        "dependentRequired",
        "dependentSchemas",
        "maxProperties",
        "minProperties",
        "multipleOf",
        "patternProperties",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
        "uniqueItems",
    }
)
"""JSON schema keywords that llama.cpp reads over (its `json_schema_to_grammar`)."""


def closed_object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def closed(parameters: dict[str, Any] | None) -> dict[str, Any]:
    """Parameters with no others than those listed, which every schema that says nothing about others allows."""
    if not parameters:
        return closed_object()
    if "properties" in parameters and not any(key in parameters for key in COMBINATORS):
        return {**parameters, "additionalProperties": False}
    return parameters


def moved(node: Any, to: str) -> Any:
    """The schema with its references within itself changed for its new place in a larger one."""
    if isinstance(node, list):
        return [moved(item, to) for item in node]
    if not isinstance(node, dict):
        return node
    out = {key: moved(value, to) for key, value in node.items()}
    target = node.get("$ref")
    if isinstance(target, str) and target.startswith("#"):
        out["$ref"] = f"#{to}{target[1:]}"
    return out


def enforced(node: Any, at: str) -> None:
    """Raises Unsupported for a keyword of a strict schema that the engine would read over.  `at` is its field."""
    if isinstance(node, list):
        for position, item in enumerate(node):
            enforced(item, f"{at}[{position}]")
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        if key in UNENFORCED:
            text = f"'{at}.{key}': this model's answers cannot be held to {key!r}; leave it out or send 'strict': false"
            raise Unsupported(text, param=at)
        if key in ("properties", "$defs", "definitions") and isinstance(value, Mapping):
            for name, inner in value.items():
                enforced(inner, f"{at}.{key}.{name}")
        elif key not in ("const", "enum", "default", "examples"):
            enforced(value, f"{at}.{key}")


def bounded(node: Any, field: str) -> None:
    """Raises InvalidRequest for a schema that would keep the engine from everybody else's answers."""
    names = _names(node, MAX_DEPTH, field)
    if names > MAX_NAMES:
        text = f"{field!r} holds a schema of {names} properties and 'enum' values; at most {MAX_NAMES} are taken"
        raise InvalidRequest(text, param=field)
    size = len(encode(node))
    if size > MAX_BYTES:
        raise InvalidRequest(f"{field!r} holds a schema of {size} bytes; at most {MAX_BYTES} are taken", param=field)


def _names(node: Any, depth: int, field: str) -> int:
    if not isinstance(node, dict | list):
        return 0
    if not depth:
        raise InvalidRequest(f"{field!r} holds a schema that is nested too deeply", param=field)
    if isinstance(node, list):
        return sum(_names(inner, depth - 1, field) for inner in node)
    listed, properties = node.get("enum"), node.get("properties")
    own = len(listed) if isinstance(listed, list) else 0
    own += len(properties) if isinstance(properties, dict) else 0
    return own + sum(_names(inner, depth - 1, field) for inner in node.values())
