"""Function tools and the choice among them, in the flat form of the Responses API and in the nested one of chat.

Tools that a provider would have to host (web_search, file_search, mcp, …) are refused by name.
"""

from typing import Any

import msgspec

from tesela.errors import InvalidRequest, Unsupported


class Choice(msgspec.Struct, frozen=True):
    """`value` is chat's `tool_choice`; `allowed` the names that remain, None for all."""

    value: str | dict[str, Any]
    allowed: tuple[str, ...] | None = None


def flat(tool: Any, at: str) -> dict[str, Any]:
    """One function tool in the flat form; the nested form of chat is taken too, some clients send it.

    Raises Unsupported for a tool that is not a function, InvalidRequest for one that is not well formed.
    """
    if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
        raise InvalidRequest(f"{at!r} must be an object with a 'type'", param=at)
    if tool["type"] != "function":
        raise Unsupported(
            f"the tool type {tool['type']!r} is not supported: only 'function' tools are, which the caller runs",
            param=f"{at}.type",
        )
    found = tool["function"] if isinstance(tool.get("function"), dict) else tool
    name = found.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"'{at}.name' is missing", param=f"{at}.name")
    return {"type": "function", **{key: found[key] for key in _PARTS if found.get(key) is not None}}


def tools(given: Any) -> list[dict[str, Any]]:
    """The tools in chat's form."""
    return [
        {"type": "function", "function": {key: content for key, content in tool.items() if key != "type"}}
        for tool in flat_tools(given)
    ]


def flat_tools(given: Any) -> list[dict[str, Any]]:
    """The tools in the flat form."""
    if given is None:
        return []
    if not isinstance(given, list):
        raise InvalidRequest("'tools' must be a list", param="tools")
    return [flat(tool, f"tools[{index}]") for index, tool in enumerate(given)]


def choice(given: Any) -> Choice | None:
    """Which tool must or may be called; None when the request does not say."""
    if given is None:
        return None
    if given in ("none", "auto", "required"):
        return Choice(given)
    kind = given.get("type") if isinstance(given, dict) else None
    if kind == "function":
        return Choice({"type": "function", "function": {"name": _name(given)}})
    if kind == "allowed_tools":
        mode, allowed = given.get("mode"), given.get("tools")
        if mode not in ("auto", "required") or not isinstance(allowed, list):
            raise InvalidRequest("allowed_tools needs a 'mode' (auto or required) and 'tools'", param="tool_choice")
        for tool in allowed:
            if not isinstance(tool, dict) or tool.get("type") != "function":
                raise Unsupported("allowed_tools can only name function tools", param="tool_choice.tools")
        return Choice(mode, tuple(_name(tool) for tool in allowed))
    if isinstance(kind, str):
        raise Unsupported(f"a tool_choice of type {kind!r} is not supported: only functions are", param="tool_choice")
    raise InvalidRequest(
        "'tool_choice' must be none, auto, required or an object that names a tool", param="tool_choice"
    )


def _name(given: dict[str, Any]) -> str:
    inner = given.get("function")
    found = inner.get("name") if isinstance(inner, dict) else given.get("name")
    if not isinstance(found, str) or not found:
        raise InvalidRequest("'tool_choice' must give the name of the function", param="tool_choice")
    return found


_PARTS = ("name", "description", "parameters", "strict")
