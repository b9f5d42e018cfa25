"""Tools, the choice among them and the form of the answer, as the Messages API is told them.

https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools and
https://platform.claude.com/docs/en/build-with-claude/structured-outputs
"""

from collections.abc import Mapping
from typing import Any

from tesela.errors import InvalidRequest
from tesela.providers.fields import unsupported

Form = dict[str, Any]


def tools(given: Any) -> list[Form]:
    """The tools to send.  One of a type that only Anthropic has (its own web search, say) goes on as it came."""
    if not isinstance(given, list):
        raise InvalidRequest("'tools' must be a list", param="tools")
    return [_tool(tool, f"tools[{position}]") for position, tool in enumerate(given)]


def _tool(tool: Any, at: str) -> Form:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if not isinstance(kind, str):
        raise InvalidRequest(f"'{at}.type' must be a string", param=f"{at}.type")
    if kind != "function":
        if isinstance(tool.get(kind), dict):
            raise unsupported(f"{at}.type", f"Anthropic has no tools of OpenAI's type {kind!r}", ("function",))
        return dict(tool)
    function = tool.get("function")
    if not isinstance(function, dict):
        raise InvalidRequest(f"'{at}.function' must be an object", param=f"{at}.function")
    name, parameters = function.get("name"), function.get("parameters")
    if not isinstance(name, str):
        raise InvalidRequest(f"'{at}.function.name' must be a string", param=f"{at}.function.name")
    if parameters is not None and not isinstance(parameters, dict):
        text = f"'{at}.function.parameters' must be a JSON schema"
        raise InvalidRequest(text, param=f"{at}.function.parameters")
    out: Form = {"name": name, "input_schema": parameters or EMPTY}
    # `cache_control` and whatever else Anthropic's tools have stands beside either of the two.
    for source in (tool, function):
        out |= {
            key: found for key, found in source.items() if key not in ("type", "function", *OURS) and found is not None
        }
    return out


OURS = ("name", "parameters")
EMPTY: Mapping[str, Any] = {"type": "object", "properties": {}}
"""The schema of a function that takes nothing, which OpenAI's form leaves out."""


def choose(sent: list[Form], choice: Any, parallel: Any) -> tuple[list[Form], Form | None]:
    """(the tools to send, `tool_choice`).  None leaves the choice to the model, as both APIs do by default."""
    if parallel not in (None, True, False):
        raise InvalidRequest("'parallel_tool_calls' must be true or false", param="parallel_tool_calls")
    sent, found = _chosen(sent, choice)
    if parallel is False and sent and (found is None or found["type"] != "none"):
        found = {**(found or {"type": "auto"}), "disable_parallel_tool_use": True}
    return sent, found


def _chosen(sent: list[Form], choice: Any) -> tuple[list[Form], Form | None]:
    kind = choice.get("type") if isinstance(choice, dict) else choice
    if kind == "allowed_tools" and isinstance(choice, dict):
        return _allowed(sent, choice.get("allowed_tools", choice))
    if not sent and kind in (None, "auto", "none"):
        return sent, None
    if not sent:
        raise InvalidRequest("'tool_choice' needs 'tools' to choose from", param="tool_choice")
    if kind is None:
        return sent, None
    if isinstance(choice, str) and choice in CHOICES:
        return sent, {"type": CHOICES[choice]}
    if isinstance(choice, dict) and kind == "function":
        function = choice.get("function")
        name = function.get("name") if isinstance(function, dict) else choice.get("name")
        if isinstance(name, str):
            return sent, {"type": "tool", "name": name}
    elif isinstance(choice, dict) and isinstance(kind, str) and kind in NATIVE:
        return sent, dict(choice)
    raise InvalidRequest(f"'tool_choice' must be {', '.join(CHOICES)} or name a function", param="tool_choice")


def _allowed(sent: list[Form], choice: Any) -> tuple[list[Form], Form | None]:
    """Only some of the tools may be called: the others are not sent."""
    listed = choice.get("tools") if isinstance(choice, dict) else None
    mode = choice.get("mode", "auto") if isinstance(choice, dict) else None
    if not isinstance(listed, list) or mode not in ("auto", "required"):
        raise InvalidRequest("'tool_choice.allowed_tools' needs a mode and a list of tools", param="tool_choice")
    functions = [tool.get("function", tool) if isinstance(tool, dict) else None for tool in listed]
    names = [function.get("name") if isinstance(function, dict) else None for function in functions]
    known = [tool.get("name") for tool in sent]
    if any(name is None or name not in known for name in names):
        raise InvalidRequest("'tool_choice' allows a tool that is not in 'tools'", param="tool_choice")
    return _chosen([tool for tool in sent if tool.get("name") in names], mode)


CHOICES: Mapping[str, str] = {"auto": "auto", "none": "none", "required": "any"}
NATIVE = frozenset({"auto", "any", "tool", "none"})


def answer_format(given: Any) -> Form | None:
    """`output_config.format`; None for plain text."""
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "text":
        return None
    if kind == "json_object":
        raise unsupported("response_format", "Anthropic cannot be asked for JSON without a schema: send a json_schema")
    wanted = given.get("json_schema") if kind == "json_schema" else None
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    if not isinstance(wanted, dict) or not isinstance(schema, dict):
        text = "'response_format' must be of type text or json_schema, the latter with a json_schema.schema"
        raise InvalidRequest(text, param="response_format")
    if wanted.get("description") and "description" not in schema:
        # The name of a schema says nothing to the model, its description does; Anthropic takes it in the schema.
        schema = {**schema, "description": wanted["description"]}
    return {"type": "json_schema", "schema": schema}
