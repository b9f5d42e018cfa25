"""A Responses request as a chat request.

Every field of the API is accounted for: *translated*, *kept* for the response, *refused* by name, or *ignored* with
the reason given here.  A field that nobody here has heard of goes on to the provider, which may know it.

Ignored: `store` and `metadata` (nothing is stored; the response shows both), `max_tool_calls` (counts only hosted
tools), `include: reasoning.encrypted_content` and `reasoning.summary: auto` (a chat model has neither; its reasoning is
given in the open), `stream_options.include_obfuscation` (padding that changes no meaning).
"""

from collections.abc import Mapping
from typing import Any

from tesela.errors import InvalidRequest, Unsupported
from tesela.wire.document import TRUE, Document, flag, raw, text, value
from tesela.wire.responses_input import messages
from tesela.wire.responses_tools import choice, tools


def to_chat(document: Document) -> Document:
    """The chat request that asks for the same.  The document given stays as it is.

    Raises InvalidRequest or Unsupported, both with `param`.
    """
    for name, why in REFUSED.items():
        if value(document, name):
            raise Unsupported(f"{name!r} is not supported: {why}", param=name)
    for name, instead in MISTAKEN.items():
        if name in document:
            raise InvalidRequest(f"{name!r} belongs to chat completions; the Responses API has {instead!r}", param=name)
    if value(document, "input") is None:
        raise InvalidRequest("'input' is missing: give a string or a list of items", param="input")
    chat = {name: content for name, content in document.items() if name not in TAKEN}
    turns = messages(value(document, "input"))
    instructions = text(document, "instructions")
    if instructions:
        turns.insert(0, {"role": "system", "content": instructions})
    chat["messages"] = raw(turns)
    for name, chat_name in RENAMED.items():
        if value(document, name) is not None:
            chat[chat_name] = document[name]
    _tools(document, chat)
    _format(document, chat)
    _reasoning(document, chat)
    _logprobs(document, chat)
    _never_stored(document)
    if flag(document, "stream"):
        # The last event of a response always tells the usage.
        chat["stream_options"] = raw({"include_usage": True})
    return chat


def _tools(document: Document, chat: Document) -> None:
    given = tools(value(document, "tools"))
    wanted = choice(value(document, "tool_choice"))
    if wanted is not None and wanted.allowed is not None:
        # Few chat servers know `allowed_tools`; a shorter list of tools means the same to all of them.
        missing = [name for name in wanted.allowed if name not in {tool["function"]["name"] for tool in given}]
        if missing:
            raise InvalidRequest(f"tool_choice allows {missing[0]!r}, which is not in 'tools'", param="tool_choice")
        given = [tool for tool in given if tool["function"]["name"] in wanted.allowed]
    if given:
        chat["tools"] = raw(given)
    if wanted is not None and (given or wanted.value not in ("auto", "none")):
        chat["tool_choice"] = raw(wanted.value)
    if given and value(document, "parallel_tool_calls") is not None:
        chat["parallel_tool_calls"] = raw(flag(document, "parallel_tool_calls"))


def _format(document: Document, chat: Document) -> None:
    settings = _mapping(document, "text")
    verbosity = settings.get("verbosity")
    if verbosity is not None:
        chat["verbosity"] = raw(verbosity)
    wanted = settings.get("format")
    if wanted is None:
        return
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "json_object":
        chat["response_format"] = raw({"type": "json_object"})
    elif kind == "json_schema":
        if not isinstance(wanted.get("name"), str) or not isinstance(wanted.get("schema"), dict):
            raise InvalidRequest("'text.format' needs a 'name' and a 'schema'", param="text.format")
        inner = {key: wanted[key] for key in ("name", "description", "strict", "schema") if wanted.get(key) is not None}
        chat["response_format"] = raw({"type": "json_schema", "json_schema": inner})
    elif kind != "text":
        raise InvalidRequest(
            f"'text.format.type' must be text, json_object or json_schema, not {kind!r}", param="text.format"
        )


def _reasoning(document: Document, chat: Document) -> None:
    settings = _mapping(document, "reasoning")
    effort = settings.get("effort")
    if effort is not None:
        chat["reasoning_effort"] = raw(effort)
    for name in ("summary", "generate_summary"):
        if settings.get(name) not in (None, "auto"):
            raise Unsupported(
                f"'reasoning.{name}' is not supported: the reasoning of a chat model is given as it is, not summarised",
                param=f"reasoning.{name}",
            )


def _logprobs(document: Document, chat: Document) -> None:
    top = value(document, "top_logprobs")
    if top is not None and (not isinstance(top, int) or isinstance(top, bool)):
        raise InvalidRequest("'top_logprobs' must be a whole number", param="top_logprobs")
    if wants_logprobs(document):
        chat["logprobs"] = TRUE
    if top:
        chat["top_logprobs"] = raw(top)


def wants_logprobs(document: Document) -> bool:
    """Whether the answer is to carry log probabilities.  Raises Unsupported for other things to include."""
    include = value(document, "include")
    if include is None:
        include = []
    if not isinstance(include, list):
        raise InvalidRequest("'include' must be a list", param="include")
    for name in include:
        if name not in (LOGPROBS, "reasoning.encrypted_content"):
            raise Unsupported(f"'include' cannot have {name!r} here: there is nothing of the kind", param="include")
    return LOGPROBS in include or bool(value(document, "top_logprobs"))


def _never_stored(document: Document) -> None:
    if value(document, "store") is not None:
        flag(document, "store")
    truncation = value(document, "truncation")
    if truncation == "auto":
        raise Unsupported("'truncation' can only be \"disabled\": nothing is left out of a request", param="truncation")
    if truncation not in (None, "disabled"):
        raise InvalidRequest("'truncation' must be \"disabled\"", param="truncation")
    _mapping(document, "metadata")


def _mapping(document: Document, name: str) -> dict[str, Any]:
    found = value(document, name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidRequest(f"{name!r} must be an object", param=name)
    return found


LOGPROBS = "message.output_text.logprobs"

RENAMED: Mapping[str, str] = {"max_output_tokens": "max_tokens"}
"""`max_tokens` and not `max_completion_tokens`: every chat server has the former, older ones overlook the latter."""

_STATELESS = "nothing is stored between requests, so send the whole conversation in 'input'"
REFUSED: Mapping[str, str] = {
    "previous_response_id": _STATELESS,
    "conversation": _STATELESS,
    "context_management": _STATELESS,
    "prompt": "prompt templates live in OpenAI's account; send the text in 'instructions' and 'input'",
    "background": "a response is answered while the caller waits; use stream to see it grow",
    "background_options": "a response is answered while the caller waits; use stream to see it grow",
    "moderation": "there is no moderation model behind a chat model",
}
MISTAKEN: Mapping[str, str] = {
    "messages": "input",
    "response_format": "text.format",
    "n": "a single answer",
    "max_completion_tokens": "max_output_tokens",
}
TAKEN = frozenset(
    {"input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "text", "reasoning", "top_logprobs"}
    | {"include", "metadata", "store", "truncation", "max_tool_calls", "stream_options"}
    | set(RENAMED)
    | set(REFUSED)
)
"""Fields that do not go on as they are."""
