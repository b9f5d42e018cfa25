"""The functions of a generateContent request, and which of them a model may call, as chat has them.

https://ai.google.dev/gemini-api/docs/function-calling
"""

from typing import Any

from tesela.errors import InvalidRequest, Unsupported
from tesela.wire.document import Document, raw, value
from tesela.wire.generate_names import elements, mapping
from tesela.wire.generate_schema import one_schema

Form = dict[str, Any]
CALLING = "toolConfig.functionCallingConfig"


def tools(document: Document, chat: Document) -> None:
    """Put the functions and the choice among them into the chat.  Raises InvalidRequest or Unsupported."""
    functions = _functions(value(document, "tools"))
    config = mapping(value(document, "toolConfig"), "toolConfig")
    for name in config.keys() - {"functionCallingConfig", "includeServerSideToolInvocations"}:
        if config[name]:
            raise Unsupported(f"'toolConfig.{name}' has no counterpart in chat", param=f"toolConfig.{name}")
    calling = mapping(config.get("functionCallingConfig"), CALLING)
    mode = calling.get("mode") or "AUTO"
    if not isinstance(mode, str) or mode.upper() not in MODES:
        raise InvalidRequest(f"'{CALLING}.mode' must be one of {', '.join(MODES)}, not {mode!r}", param=CALLING)
    allowed = elements(calling.get("allowedFunctionNames"), f"{CALLING}.allowedFunctionNames")
    if allowed:
        functions = _allowed(functions, allowed)
    if not functions:
        if mode.upper() == "ANY":
            raise InvalidRequest(f"'{CALLING}.mode' ANY needs functions to choose from", param=f"{CALLING}.mode")
        return
    chat["tools"] = raw(functions)
    choice: Any = MODES[mode.upper()]
    if choice == "required" and len(functions) == 1 and allowed:
        choice = {"type": "function", "function": {"name": functions[0]["function"]["name"]}}
    if choice != "auto":
        chat["tool_choice"] = raw(choice)


def _functions(given: Any) -> list[Form]:
    found: list[Form] = []
    for position, one in enumerate(elements(given, "tools")):
        at = f"tools[{position}]"
        tool = mapping(one, at)
        for name in tool.keys() - {"functionDeclarations"}:
            if tool[name] is not None:
                raise Unsupported(f"'{at}.{name}' is a tool that only Google's own models have", param=f"{at}.{name}")
        at = f"{at}.functionDeclarations"
        for number, declared in enumerate(elements(tool.get("functionDeclarations"), at)):
            found.append(_function(declared, f"{at}[{number}]"))
    return found


def _allowed(functions: list[Form], allowed: list[Any]) -> list[Form]:
    names = [function["function"]["name"] for function in functions]
    for name in allowed:
        if name not in names:
            at = f"{CALLING}.allowedFunctionNames"
            raise InvalidRequest(f"{at!r} names {name!r}, which is not among the functions", param=at)
    return [function for function in functions if function["function"]["name"] in allowed]


MODES = {"AUTO": "auto", "ANY": "required", "NONE": "none", "VALIDATED": "auto", "MODE_UNSPECIFIED": "auto"}
"""https://ai.google.dev/api/caching#FunctionCallingConfig"""


def _function(given: Any, at: str) -> Form:
    """https://ai.google.dev/api/caching#FunctionDeclaration"""
    declared = mapping(given, at)
    name = declared.get("name")
    if not isinstance(name, str) or not name:
        raise InvalidRequest(f"'{at}.name' must be a string that is not empty", param=f"{at}.name")
    for word in declared.keys() - DECLARED:
        if declared[word] is not None:
            raise Unsupported(f"'{at}.{word}' has no counterpart in chat", param=f"{at}.{word}")
    if declared.get("behavior") not in (None, "UNSPECIFIED", "BLOCKING"):
        raise Unsupported(f"'{at}.behavior' must be BLOCKING: the model waits for its calls", param=f"{at}.behavior")
    function: Form = {"name": name}
    if declared.get("description") is not None:
        function["description"] = declared["description"]
    schema = one_schema(declared, "parameters", "parametersJsonSchema", at)
    # A function that takes nothing has no parameters in Gemini's API; in chat not every server can do without.
    function["parameters"] = {"type": "object", "properties": {}} if schema is None else schema
    return {"type": "function", "function": function}


DECLARED = frozenset(
    {"name", "description", "parameters", "parametersJsonSchema", "behavior", "response", "responseJsonSchema"}
)
