"""What a request in the unified form asks for beside its messages: limits, tools, the form of the answer, texts.

Values only; how a provider is told them is its translation's business.
"""

from typing import Any

import msgspec

from tesela.errors import InvalidRequest
from tesela.providers.fields import unsupported
from tesela.wire.document import Document, value

Form = dict[str, Any]


class Function(msgspec.Struct, frozen=True):
    """A tool that may be called.  `parameters` is a JSON schema, None for a function that takes nothing.

    `cached` says that the tools up to here will be sent again: a hint that changes no answer.
    """

    name: str
    description: str | None
    parameters: Form | None
    cached: bool = False


class Choice(msgspec.Struct, frozen=True):
    """`mode` is auto, none or required; `name` says which function must be called."""

    mode: str
    name: str | None = None


class AnswerForm(msgspec.Struct, frozen=True):
    """JSON of any form, or by a schema."""

    schema: Form | None = None
    name: str = "answer"
    description: str | None = None


def limit(document: Document) -> Any:
    """How many tokens the answer may have; None when the caller does not say."""
    most, old = value(document, "max_completion_tokens"), value(document, "max_tokens")
    if most is not None and old not in (None, most):
        text = "'max_tokens' and 'max_completion_tokens' are the same limit: give one of them"
        raise InvalidRequest(text, param="max_tokens")
    return old if most is None else most


def stops(document: Document) -> list[Any] | None:
    found = value(document, "stop")
    if found is None or isinstance(found, list):
        return found
    return [found]


def functions(document: Document) -> list[Function]:
    """Raises Unsupported for a tool that is no function."""
    given = value(document, "tools")
    if given is None:
        return []
    if not isinstance(given, list):
        raise InvalidRequest("'tools' must be a list", param="tools")
    return [_function(tool, f"tools[{position}]") for position, tool in enumerate(given)]


def _function(tool: Any, at: str) -> Function:
    kind = tool.get("type") if isinstance(tool, dict) else None
    if not isinstance(kind, str):
        raise InvalidRequest(f"'{at}.type' must be a string", param=f"{at}.type")
    if kind != "function":
        raise unsupported(f"{at}.type", f"this provider has no tools of type {kind!r}", ("function",))
    function = tool.get("function")
    if not isinstance(function, dict):
        raise InvalidRequest(f"'{at}.function' must be an object", param=f"{at}.function")
    name, parameters, description = (function.get(key) for key in ("name", "parameters", "description"))
    if not isinstance(name, str):
        raise InvalidRequest(f"'{at}.function.name' must be a string", param=f"{at}.function.name")
    if parameters is not None and not isinstance(parameters, dict):
        text = f"'{at}.function.parameters' must be a JSON schema"
        raise InvalidRequest(text, param=f"{at}.function.parameters")
    for form, known, place in ((tool, TOOL, at), (function, FUNCTION, f"{at}.function")):
        for key in form.keys() - known:
            if form[key] is not None:
                raise unsupported(f"{place}.{key}", "this provider's tools have no such field")
    cached = bool(tool.get("cache_control") or function.get("cache_control"))
    return Function(name, description, parameters or None, cached)


TOOL = frozenset({"type", "function", "cache_control"})
FUNCTION = frozenset({"name", "description", "parameters", "strict", "cache_control"})
"""`strict` asks for no more than a good model does anyway, and clients send it with every tool."""


def choose(document: Document, tools: list[Function]) -> tuple[list[Function], Choice | None]:
    """(the tools that may be called, the choice among them); None leaves the choice to the model."""
    choice = value(document, "tool_choice")
    kind = choice.get("type") if isinstance(choice, dict) else choice
    if not tools and kind in (None, "auto", "none"):
        return tools, None
    if not tools:
        raise InvalidRequest("'tool_choice' needs 'tools' to choose from", param="tool_choice")
    if kind is None:
        return tools, None
    if isinstance(choice, str) and choice in MODES:
        return tools, Choice(choice)
    if isinstance(choice, dict) and kind == "function":
        function = choice.get("function")
        name = function.get("name") if isinstance(function, dict) else choice.get("name")
        if isinstance(name, str):
            return tools, Choice("required", name)
    if isinstance(choice, dict) and kind == "allowed_tools":
        return _allowed(choice.get("allowed_tools", choice), tools)
    raise InvalidRequest(f"'tool_choice' must be {', '.join(MODES)} or name a function", param="tool_choice")


def _allowed(choice: Any, tools: list[Function]) -> tuple[list[Function], Choice | None]:
    listed = choice.get("tools") if isinstance(choice, dict) else None
    mode = choice.get("mode", "auto") if isinstance(choice, dict) else None
    if not isinstance(listed, list) or mode not in ("auto", "required"):
        raise InvalidRequest("'tool_choice.allowed_tools' needs a mode and a list of tools", param="tool_choice")
    inner = [tool.get("function", tool) if isinstance(tool, dict) else None for tool in listed]
    names = [function.get("name") if isinstance(function, dict) else None for function in inner]
    if any(name is None or name not in {tool.name for tool in tools} for name in names):
        raise InvalidRequest("'tool_choice' allows a tool that is not in 'tools'", param="tool_choice")
    return [tool for tool in tools if tool.name in names], Choice(mode)


MODES = ("auto", "none", "required")


def answer_form(document: Document) -> AnswerForm | None:
    """What `response_format` asks for; None for plain text."""
    given = value(document, "response_format")
    kind = given.get("type") if isinstance(given, dict) else None
    if given is None or kind == "text":
        return None
    if kind == "json_object":
        return AnswerForm()
    wanted = given.get("json_schema") if isinstance(given, dict) and kind == "json_schema" else None
    schema = wanted.get("schema") if isinstance(wanted, dict) else None
    if not isinstance(wanted, dict) or not isinstance(schema, dict):
        text = "'response_format' must be of type text, json_object or json_schema, the last with a json_schema.schema"
        raise InvalidRequest(text, param="response_format")
    name = wanted.get("name")
    return AnswerForm(schema, name if isinstance(name, str) and name else "answer", wanted.get("description"))


def prompt(document: Document, company: str) -> str:
    """The one prompt of a completions call."""
    found = value(document, "prompt")
    if isinstance(found, list) and len(found) == 1:
        found = found[0]
    if not isinstance(found, str):
        raise unsupported("prompt", f"{company} takes one prompt at a time, as text", ("a string",))
    return found


def packed(document: Document) -> bool:
    """Whether the numbers of embeddings are asked for in base64, as OpenAI's own client does when it is not told."""
    kind = value(document, "encoding_format")
    if kind not in (None, "float", "base64"):
        raise InvalidRequest("'encoding_format' must be float or base64", param="encoding_format")
    return bool(kind == "base64")


def texts(document: Document, company: str) -> list[str]:
    """The texts of an embeddings call.  Raises Unsupported for token ids, which mean nothing to another's model."""
    found = value(document, "input")
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list) or not listed:
        raise InvalidRequest("'input' must be a text or a list of texts", param="input")
    if not all(isinstance(text, str) for text in listed):
        raise unsupported("input", f"{company} takes texts, not token ids", ("a list of strings",))
    return listed
