"""A Messages request as a chat request: https://platform.claude.com/docs/en/api/messages/create.

Every field of the API is *translated*, *refused* by name, or *ignored* for the reason given here.  A field that nobody
here has heard of goes on to the provider, which may know it; so does `top_k`, which some servers of chat take.

Ignored: `cache_control` (a hint for a cache; no answer depends on it), `thinking: adaptive` (the model decides, as a
model of chat does anyway) and `thinking: disabled` (asks for nothing).
"""

from collections.abc import Mapping
from typing import Any

from tesela.errors import InvalidRequest, Unsupported
from tesela.wire.document import TRUE, Document, flag, raw, text, value
from tesela.wire.messages_content import messages


def to_chat(document: Document) -> Document:
    """The chat request that asks for the same.  The document given stays as it is.

    Raises InvalidRequest or Unsupported, both with `param`.
    """
    for name, why in REFUSED.items():
        if value(document, name):
            raise Unsupported(f"{name!r} is not supported: {why}", param=name)
    for name, instead in MISTAKEN.items():
        if name in document:
            raise InvalidRequest(f"{name!r} belongs to chat completions; the Messages API has {instead!r}", param=name)
    if value(document, "max_tokens") is None:
        raise InvalidRequest("'max_tokens' is missing: the Messages API wants a limit", param="max_tokens")
    chat = {name: content for name, content in document.items() if name not in TAKEN}
    chat["messages"] = raw(messages(value(document, "messages"), value(document, "system")))
    stops = value(document, "stop_sequences")
    if stops:
        chat["stop"] = raw(stops)
    user = _mapping(document, "metadata").get("user_id")
    if user is not None:
        chat["user"] = raw(user)
    _tools(document, chat)
    _form(document, chat)
    _effort(document, chat)
    if text(document, "speed") not in (None, "standard"):
        raise Unsupported("'speed' is not supported: only Anthropic's own models have others", param="speed")
    tier = text(document, "service_tier")
    if tier is not None:
        chat["service_tier"] = raw({"standard_only": "default"}.get(tier, tier))
    if flag(document, "stream"):
        # The end of a message always tells the usage.
        chat["stream_options"] = raw({"include_usage": True})
        chat["stream"] = TRUE
    return chat


def _tools(document: Document, chat: Document) -> None:
    given = value(document, "tools")
    if given is not None and not isinstance(given, list):
        raise InvalidRequest("'tools' must be a list", param="tools")
    tools = [_tool(tool, f"tools[{position}]") for position, tool in enumerate(given or ())]
    if tools:
        chat["tools"] = raw(tools)
    choice = _mapping(document, "tool_choice")
    if not choice:
        return
    kind = choice.get("type")
    if not isinstance(kind, str) or kind not in CHOICES:
        raise InvalidRequest(f"'tool_choice.type' must be one of {', '.join(CHOICES)}", param="tool_choice.type")
    if not tools and kind in ("any", "tool"):
        raise InvalidRequest("'tool_choice' needs 'tools' to choose from", param="tool_choice")
    if not tools:
        return
    chat["tool_choice"] = raw(CHOICES[kind])
    if kind == "tool":
        chat["tool_choice"] = raw({"type": "function", "function": {"name": _string(choice, "name", "tool_choice")}})
    if choice.get("disable_parallel_tool_use") is True and kind != "none":
        chat["parallel_tool_calls"] = raw(False)


def _tool(tool: Any, at: str) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise InvalidRequest(f"{at!r} must be an object", param=at)
    kind = tool.get("type") or "custom"
    if kind != "custom":
        raise Unsupported(
            f"the tool type {kind!r} is Anthropic's own and not supported by this endpoint's model: only tools with an "
            "'input_schema' are, which the caller runs",
            param=f"{at}.type",
        )
    for name in tool.keys() - KNOWN:
        if tool[name]:
            raise Unsupported(f"'{at}.{name}' has no counterpart in chat", param=f"{at}.{name}")
    schema = tool.get("input_schema")
    if not isinstance(schema, dict):
        raise InvalidRequest(f"'{at}.input_schema' must be a JSON schema", param=f"{at}.input_schema")
    function: dict[str, Any] = {"name": _string(tool, "name", at), "parameters": schema}
    for name in ("description", "strict"):
        if tool.get(name) is not None:
            function[name] = tool[name]
    return {"type": "function", "function": function}


def _form(document: Document, chat: Document) -> None:
    """https://platform.claude.com/docs/en/build-with-claude/structured-outputs"""
    wanted = _mapping(document, "output_config").get("format") or _mapping(document, "output_format")
    if not wanted:
        return
    schema = wanted.get("schema") if isinstance(wanted, dict) and wanted.get("type") == "json_schema" else None
    if not isinstance(schema, dict):
        at = "output_config.format"
        raise InvalidRequest(f"'{at}' must be of type json_schema and have a 'schema'", param=at)
    inner = {"name": "answer", "schema": schema, "strict": True}
    chat["response_format"] = raw({"type": "json_schema", "json_schema": inner})


def _effort(document: Document, chat: Document) -> None:
    """How much to think: a level where the request gives one, else the level that is next to its budget."""
    effort = _mapping(document, "output_config").get("effort")
    thinking = _mapping(document, "thinking")
    kind = thinking.get("type")
    if thinking and kind not in ("enabled", "adaptive", "disabled"):
        raise InvalidRequest("'thinking.type' must be enabled, adaptive or disabled", param="thinking.type")
    if effort is None and kind == "enabled":
        budget = thinking.get("budget_tokens")
        if not isinstance(budget, int) or isinstance(budget, bool):
            raise InvalidRequest("'thinking.budget_tokens' must be a whole number", param="thinking.budget_tokens")
        effort = next((level for most, level in LEVELS if budget <= most), "high")
    if effort is not None:
        chat["reasoning_effort"] = raw(effort)


def _mapping(document: Document, name: str) -> dict[str, Any]:
    found = value(document, name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidRequest(f"{name!r} must be an object", param=name)
    return found


def _string(found: dict[str, Any], name: str, at: str) -> str:
    content = found.get(name)
    if not isinstance(content, str) or not content:
        raise InvalidRequest(f"'{at}.{name}' must be a string that is not empty", param=f"{at}.{name}")
    return content


CHOICES = {"auto": "auto", "any": "required", "tool": "required", "none": "none"}
LEVELS = ((4096, "low"), (16384, "medium"))
"""Tokens to think with, and the level of effort that chat has for as many."""
KNOWN = frozenset(
    {"type", "name", "description", "input_schema", "strict"}
    # How a tool comes to the model: a hint for a cache, and how its input is cut into pieces.
    | {"cache_control", "eager_input_streaming"}
)
REFUSED: Mapping[str, str] = dict.fromkeys(
    (
        "container",
        "mcp_servers",
        "context_management",
        "compaction",
        "thread",
        "fallbacks",
        "fallback_credit_token",
        "inference_geo",
        "user_profile_id",
        "workspace_id",
        "billing_policy",
        "diagnostics",
    ),
    "only Anthropic's own models have it",
)
MISTAKEN: Mapping[str, str] = {
    "stop": "stop_sequences",
    "max_completion_tokens": "max_tokens",
    "response_format": "output_config.format",
    "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    "n": "a single answer",
}
TAKEN = frozenset(
    {"messages", "system", "stop_sequences", "metadata", "tools", "tool_choice", "output_config", "output_format"}
    | {"thinking", "speed", "service_tier", "cache_control", "stream_options"}
    | set(REFUSED)
)
"""Fields that do not go on as they are."""
