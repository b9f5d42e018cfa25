"""Tools for models that have none: the functions as text, and a JSON schema that leaves no choice but to call one.

The engine drops `tools` without a word, so the answer is held to the schema and read back as tool calls.  One answer
holds one call: a small model that may write a list of calls does not find its end.  The wording was chosen by trying
it on SmolLM2-135M.
"""

from typing import Any

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


def schema(chat: Chat) -> dict[str, Any]:
    """What the answer must be: a call of one of the tools, and for the choice `auto` also a reply."""
    variants: list[dict[str, Any]] = []
    for tool in chat.tools:
        if tool.function is not None:
            arguments = moved(closed(tool.function.parameters), f"/anyOf/{len(variants)}/properties/arguments")
            variants.append(closed_object(name={"const": tool.function.name}, arguments=arguments))
    if chat.choice == "auto":
        at = f"/anyOf/{len(variants)}/properties/reply"
        variants.append(closed_object(reply=moved(format_schema(chat.format) or {"type": "string"}, at)))
    return {"anyOf": variants}


def format_schema(wanted: ResponseFormat | None) -> dict[str, Any] | None:
    """The schema that a response format asks for; None for text."""
    if wanted is None:
        return None
    return wanted.json_schema.schema if wanted.json_schema is not None else {"type": "object"}


def check_schemas(chat: Chat) -> None:
    """Raises InvalidRequest for schemas that the engine cannot bear, Unsupported for strict ones it cannot follow."""
    bounded([tool.function.parameters for tool in chat.tools if tool.function is not None], "tools")
    bounded(format_schema(chat.format), "response_format")
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
    """The tool calls of an assistant message as text.  Written like JSON, the model would only write them again."""
    calls = message.tool_calls or ()
    return "\n".join(f"{call.function.name}({call.function.arguments.strip() or '{}'})" for call in calls)


def result(name: str, content: str) -> str:
    """The result of a call as text, in the voice of the user: templates know no other that stands after a call."""
    return f"Result of {name}: {content}"
