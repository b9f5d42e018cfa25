"""Tools for models that have none: the functions as text, and a JSON schema that leaves no choice but to call one.

The engine drops `tools` without a word, so the answer is held to the schema and read back as tool calls.  One answer
holds one call: a small model that may write a list of calls does not find its end.  The wording was chosen by trying
it on SmolLM2-135M.
"""

from typing import Any

from tesela.providers.local_grammar import SHAPING, engine_form
from tesela.providers.local_schema import bounded, closed, closed_object, enforced, moved
from tesela.wire.document import encode
from tesela.wire.forms import Chat, Message, ResponseFormat, Tool

INTRODUCTION = """Answer with JSON.
If the user wants something that one of these functions does, call it as {"name": ..., "arguments": {...}}:
"""
FORCED = """Answer with JSON. Call one of these functions as {"name": ..., "arguments": {...}}:
"""
OTHERWISE = """
Otherwise talk to the user as {"reply": "..."}."""
_FORMAT = "response_format.json_schema.schema"


def schema(chat: Chat) -> dict[str, Any]:
    """What the answer must be: a call of one of the tools, and for the choice `auto` also a reply."""
    variants: list[dict[str, Any]] = []
    for tool in chat.tools:
        if tool.function is not None:
            parameters = engine_form(_object(tool.function.parameters), f"tools[{tool.function.name}]")
            arguments = moved(closed(parameters), f"/anyOf/{len(variants)}/properties/arguments")
            variants.append(closed_object(name={"const": tool.function.name}, arguments=arguments))
    if chat.choice == "auto":
        at = f"/anyOf/{len(variants)}/properties/reply"
        variants.append(closed_object(reply=moved(format_schema(chat.format) or {"type": "string"}, at)))
    return {"anyOf": variants}


def _object(parameters: dict[str, Any] | None) -> dict[str, Any]:
    """Arguments are an object, also where their schema does not say so."""
    if not parameters:
        return closed_object()
    return parameters if SHAPING & parameters.keys() else {**parameters, "type": "object"}


def format_schema(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    """The schema that a response format asks for, as the engine takes it; None for text."""
    if wanted is None:
        return None
    return engine_form(wanted.json_schema.schema, _FORMAT) if wanted.json_schema is not None else {"type": "object"}


def check_schemas(chat: Chat, sent: list[str]) -> None:
    """Raises InvalidRequest for schemas that the engine cannot bear, Unsupported for those that it cannot follow.

    `sent` are the names of all functions of the request, in its order: what may be called now may be fewer.
    """
    functions = [tool.function for tool in chat.tools if tool.function is not None]
    bounded([function.parameters for function in functions], "tools")
    for function in functions:
        at = f"tools[{sent.index(function.name)}].function.parameters"
        if function.strict:
            enforced(function.parameters, at)
        engine_form(_object(function.parameters), at)
    wanted = chat.format.json_schema if chat.format is not None else None
    if wanted is not None:
        bounded(wanted.schema, "response_format")
        if wanted.strict:
            enforced(wanted.schema, _FORMAT)
        engine_form(wanted.schema, _FORMAT)


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
    """The tool calls of an assistant message as text.  Written like JSON, the model would only write them again."""
    calls = message.tool_calls or ()
    return "\n".join(f"{call.function.name}({call.function.arguments.strip() or '{}'})" for call in calls)


def result(name: str, content: str) -> str:
    """The result of a call as text, in the voice of the user: templates know no other that stands after a call."""
    return f"Result of {name}: {content}"
