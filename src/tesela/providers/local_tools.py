"""Tools for models that have none: the functions as text, and a JSON schema that leaves no choice but to call one.

The engine drops `tools` without a word, so the answer is held to the schema and read back as tool calls.  One answer
holds one call: a small model that may write a list of calls does not find its end.
"""

from collections.abc import Mapping
from typing import Any

from tesela.errors import Unsupported
from tesela.wire.document import encode
from tesela.wire.forms import Chat, Message, ResponseFormat, Tool

INTRODUCTION = """Answer with JSON.
If the user wants something that one of these functions does, call it as {"name": ..., "arguments": {...}}:
"""
FORCED = """Answer with JSON. Call one of these functions as {"name": ..., "arguments": {...}}:
"""
OTHERWISE = """
Otherwise talk to the user as {"reply": "..."}."""

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


def schema(chat: Chat) -> dict[str, Any]:
    """What the answer must be: a call of one of the tools, and for the choice `auto` also a reply."""
    variants: list[dict[str, Any]] = []
    for tool in chat.tools:
        if tool.function is not None:
            arguments = _moved(_closed(tool.function.parameters), f"/anyOf/{len(variants)}/properties/arguments")
            variants.append(_object(name={"const": tool.function.name}, arguments=arguments))
    if chat.choice == "auto":
        at = f"/anyOf/{len(variants)}/properties/reply"
        variants.append(_object(reply=_moved(format_schema(chat.format) or {"type": "string"}, at)))
    return {"anyOf": variants}


def format_schema(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    """The schema that a response format asks for; None for text."""
    if wanted is None:
        return None
    return wanted.json_schema.schema if wanted.json_schema is not None else {"type": "object"}


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _closed(parameters: dict[str, Any] | None) -> dict[str, Any]:
    """Parameters with no others than those listed, which every schema that says nothing about others allows."""
    if not parameters:
        return _object()
    if "properties" in parameters and not any(key in parameters for key in COMBINATORS):
        return {**parameters, "additionalProperties": False}
    return parameters


def _moved(node: Any, to: str) -> Any:
    """The schema with its references within itself changed for its new place in a larger one."""
    if isinstance(node, list):
        return [_moved(item, to) for item in node]
    if not isinstance(node, dict):
        return node
    moved = {key: _moved(value, to) for key, value in node.items()}
    target = node.get("$ref")
    if isinstance(target, str) and target.startswith("#"):
        moved["$ref"] = f"#{to}{target[1:]}"
    return moved


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


def check_strict(chat: Chat) -> None:
    """Raises Unsupported when something that is to be followed strictly cannot be."""
    if chat.format is not None and chat.format.json_schema is not None and chat.format.json_schema.strict:
        enforced(chat.format.json_schema.schema, "response_format.json_schema.schema")
    for position, tool in enumerate(chat.tools):
        if tool.function is not None and tool.function.strict:
            enforced(tool.function.parameters, f"tools[{position}].function.parameters")


def instructions(tools: list[Tool], *, forced: bool) -> str:
    """What stands in the system message about the functions."""
    functions = [tool.function for tool in tools if tool.function is not None]
    lines = [
        encode(
            {
                "name": function.name,
                **({"description": function.description} if function.description else {}),
                "parameters": function.parameters or {},
            }
        ).decode()
        for function in functions
    ]
    return (FORCED if forced else INTRODUCTION) + "\n".join(lines) + ("" if forced else OTHERWISE)


def called(message: Message) -> str:
    """An assistant message with its tool calls as text: the same JSON that the model is held to."""
    lines = [
        f'{{"name": {encode(call.function.name).decode()}, "arguments": {call.function.arguments.strip() or "{}"}}}'
        for call in message.tool_calls or ()
    ]
    return "\n".join(lines)


def result(name: str, content: str) -> str:
    """The result of a call as text, in the voice of the user: templates know no other that stands after a call."""
    return f"Result of {name}: {content}"
