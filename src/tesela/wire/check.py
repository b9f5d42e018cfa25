"""Validation of requests that go to a model of ours: types, ranges and how fields depend on one another.

Whatever is wrong is refused with the name of the field, before anything is sent.  Requests that go to somebody else's
model are never judged here: their provider knows better what it takes.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tesela.errors import InvalidRequest, Unsupported
from tesela.wire.document import Document
from tesela.wire.forms import Chat, Completions, Embeddings, Message, ResponseFormat, Tool

MAX_STOPS = 4
MAX_TOOLS = 32
MAX_INPUTS = 2048
MAX_LEGACY_LOGPROBS = 5
ROLES = ("system", "developer", "user", "assistant", "tool")


class Rule(Struct, frozen=True):
    """What one field must be: the type to decode it as, and the end of the sentence that says so."""

    decoder: msgspec.json.Decoder[Any]
    must: str = ""


def rule(kind: Any, must: str = "") -> Rule:
    """A field of this type.  `must` is left out for structures, whose errors say themselves where they are."""
    return Rule(msgspec.json.Decoder(kind), must)


def read(document: Document, name: str, rules: Mapping[str, Rule]) -> Any:
    """The value of one field; None when it is absent or null.  Raises InvalidRequest that names it."""
    found = document.get(name)
    if found is None or bytes(found) == b"null":
        return None
    wanted = rules[name]
    try:
        return wanted.decoder.decode(found)
    except RecursionError as exc:
        raise InvalidRequest(f"{name!r} is nested too deeply", param=name) from exc
    except msgspec.ValidationError as exc:
        raise _wrong(name, wanted, str(exc)) from exc
    except msgspec.DecodeError as exc:
        raise InvalidRequest(f"{name!r} is not valid JSON: {exc}", param=name) from exc


def _wrong(name: str, wanted: Rule, told: str) -> InvalidRequest:
    if wanted.must:
        return InvalidRequest(f"{name!r} {wanted.must}", param=name)
    what, _, where = told.partition(" - at `$")
    path = name + where.removesuffix("`")
    unknown = re.search(r"unknown field `([^`]*)`", what)
    if unknown is not None:
        path = f"{path}.{unknown[1]}"
        return InvalidRequest(f"{path!r} is not a field that this model can be told", param=path)
    return InvalidRequest(f"{path!r} is wrong: {what[:1].lower()}{what[1:].replace('`', '')}", param=path)


def chat(document: Document) -> Chat:
    """Raises InvalidRequest or Unsupported, naming the field."""
    told = {name: read(document, name, CHAT) for name in CHAT}
    top_logprobs = told["top_logprobs"]
    if top_logprobs is not None and not told["logprobs"]:
        raise InvalidRequest("'top_logprobs' needs 'logprobs': true", param="top_logprobs")
    most = told["max_completion_tokens"]
    if most is not None and told["max_tokens"] not in (None, most):
        text = "'max_tokens' and 'max_completion_tokens' are the same limit: give one of them"
        raise InvalidRequest(text, param="max_tokens")
    tools, choice = _tools(told["tools"] or [], told["tool_choice"])
    return Chat(
        messages=_messages(told["messages"]),
        tools=tools,
        choice=choice,
        format=_format(told["response_format"]),
        stop=_stop(told["stop"]),
        n=told["n"] or 1,
        max_tokens=told["max_tokens"] if most is None else most,
        logprobs=bool(told["logprobs"]),
        top_logprobs=top_logprobs or 0,
    )


def _messages(messages: list[Message] | None) -> list[Message]:
    if not messages:
        raise InvalidRequest("'messages' must be a list of at least one message", param="messages")
    called: set[str] = set()
    for position, message in enumerate(messages):
        at = f"messages[{position}]"
        if message.role not in ROLES:
            text = f"'{at}.role' is {message.role!r}; it must be one of {', '.join(ROLES)}"
            raise InvalidRequest(text, param=f"{at}.role")
        _message(message, at, called)
        called.update(call.id for call in message.tool_calls or ())
    return messages


def _message(message: Message, at: str, called: set[str]) -> None:
    assistant = message.role == "assistant"
    if message.tool_calls and not assistant:
        raise InvalidRequest(f"'{at}.tool_calls' belongs to assistant messages", param=f"{at}.tool_calls")
    if message.content is None and not (assistant and (message.tool_calls or message.refusal)):
        text = f"'{at}.content' must be text; only an assistant message with tool calls may go without"
        raise InvalidRequest(text, param=f"{at}.content")
    if message.role != "tool":
        if message.tool_call_id is not None:
            raise InvalidRequest(f"'{at}.tool_call_id' belongs to tool messages", param=f"{at}.tool_call_id")
    elif message.tool_call_id is None:
        raise InvalidRequest(f"'{at}.tool_call_id' must say which call it answers", param=f"{at}.tool_call_id")
    elif message.tool_call_id not in called:
        text = f"'{at}.tool_call_id' is {message.tool_call_id!r}, and no earlier message has a tool call of that id"
        raise InvalidRequest(text, param=f"{at}.tool_call_id")


def _tools(tools: list[Tool], choice: Any) -> tuple[list[Tool], Literal["none", "auto", "required"]]:
    if len(tools) > MAX_TOOLS:
        raise InvalidRequest(f"'tools' has {len(tools)} functions; at most {MAX_TOOLS} are taken", param="tools")
    for position, tool in enumerate(tools):
        at = f"tools[{position}]"
        if tool.type != "function":
            raise Unsupported(f"'{at}.type' is {tool.type!r}; this model knows 'function' only", param=f"{at}.type")
        if tool.function is None:
            raise InvalidRequest(f"'{at}.function' is missing", param=f"{at}.function")
    names = [tool.function.name for tool in tools if tool.function]
    if len(set(names)) < len(names):
        raise InvalidRequest("'tools' has two functions of one name", param="tools")
    if choice in ("none", "auto", None):
        return (tools, "auto") if tools and choice != "none" else ([], "none")
    if not tools:
        raise InvalidRequest("'tool_choice' needs 'tools' to choose from", param="tool_choice")
    if choice == "required":
        return tools, "required"
    mode, wanted = _named(choice)
    missing = [name for name in wanted if name not in names]
    if missing:
        raise InvalidRequest(f"'tool_choice' names {missing[0]!r}, which is not in 'tools'", param="tool_choice")
    return [tool for tool in tools if tool.function and tool.function.name in wanted], mode


def _named(choice: Any) -> tuple[Literal["auto", "required"], list[str]]:
    """A choice in one of OpenAI's two object forms: one function, or a selection of them with a mode."""
    text = '\'tool_choice\' must be none, auto, required or {"type": "function", "function": {"name": ...}}'
    wrong = InvalidRequest(text, param="tool_choice")
    try:
        if choice["type"] == "function":
            return "required", [str(choice["function"]["name"])]
        if choice["type"] == "allowed_tools":
            allowed = choice["allowed_tools"]
            names = [str(tool["function"]["name"]) for tool in allowed["tools"]]
            if names and allowed["mode"] in ("auto", "required"):
                return allowed["mode"], names
    except (KeyError, TypeError) as exc:
        raise wrong from exc
    raise wrong


def _format(wanted: ResponseFormat | None) -> ResponseFormat | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type not in ("json_object", "json_schema"):
        text = f"'response_format.type' is {wanted.type!r}; it must be text, json_object or json_schema"
        raise InvalidRequest(text, param="response_format.type")
    if wanted.type == "json_schema" and wanted.json_schema is None:
        raise InvalidRequest("'response_format.json_schema' is missing", param="response_format.json_schema")
    return wanted


def _stop(stop: Any) -> list[str]:
    """One string or up to four.  An empty one would end every answer before it begins, so it can only be a mistake."""
    stops = [stop] if isinstance(stop, str) else stop or []
    if len(stops) > MAX_STOPS:
        raise InvalidRequest(f"'stop' has {len(stops)} strings; at most {MAX_STOPS} are taken", param="stop")
    if "" in stops:
        raise InvalidRequest("'stop' must not be an empty string", param="stop")
    return stops


def completions(document: Document) -> Completions:
    """Raises InvalidRequest, naming the field."""
    told = {name: read(document, name, COMPLETIONS) for name in COMPLETIONS}
    n = told["n"] or 1
    if told["best_of"] not in (None, n):
        raise Unsupported("'best_of' must equal 'n': this model does not rank its answers", param="best_of")
    return Completions(
        prompts=_prompts(told["prompt"]),
        stop=_stop(told["stop"]),
        n=n,
        max_tokens=told["max_tokens"],
        echo=bool(told["echo"]),
        logprobs=told["logprobs"],
    )


def _prompts(prompt: Any) -> list[str] | list[list[int]]:
    if isinstance(prompt, str) or (isinstance(prompt, list) and all(map(_is_token, prompt)) and prompt):
        prompt = [prompt]
    if not isinstance(prompt, list) or not prompt:
        text = "'prompt' must be a string, a list of strings, a list of token ids or a list of such lists"
        raise InvalidRequest(text, param="prompt")
    if not (all(isinstance(one, str) for one in prompt) or all(map(_is_tokens, prompt))):
        raise InvalidRequest("'prompt' must be all strings or all lists of token ids", param="prompt")
    if not all(prompt):
        raise InvalidRequest("'prompt' is empty: this model has nothing to go on from", param="prompt")
    return prompt


def _is_token(one: Any) -> bool:
    return isinstance(one, int) and not isinstance(one, bool) and one >= 0


def _is_tokens(one: Any) -> bool:
    return isinstance(one, list) and all(map(_is_token, one))


def embeddings(document: Document) -> Embeddings:
    """Raises InvalidRequest or Unsupported, naming the field."""
    told = {name: read(document, name, EMBEDDINGS) for name in EMBEDDINGS}
    inputs = [told["input"]] if isinstance(told["input"], str) else told["input"]
    if not inputs or not isinstance(inputs, list):
        raise InvalidRequest("'input' must be a string or a list of at least one string", param="input")
    if len(inputs) > MAX_INPUTS:
        raise InvalidRequest(f"'input' has {len(inputs)} texts; at most {MAX_INPUTS} are taken", param="input")
    if any(_is_token(one) or _is_tokens(one) for one in inputs):
        raise Unsupported("'input' must be text: this model does not take token ids", param="input")
    if not all(isinstance(one, str) for one in inputs):
        raise InvalidRequest("'input' must be a string or a list of strings", param="input")
    return Embeddings(inputs, told["encoding_format"] or "float", told["dimensions"], told["instruction"])


MAX_INTEGER = 2**31 - 1
"""What engines can hold where they count: more wraps round in some of them, and they tell of a number nobody sent."""
INTEGER = rule(int, "must be an integer")
NUMBER = rule(float, "must be a number")
FLAG = rule(bool, "must be true or false")
TEXT = rule(str, "must be a string")
COUNT = rule(Annotated[int, Meta(ge=1, le=MAX_INTEGER)], f"must be an integer from 1 to {MAX_INTEGER}")
PENALTY = rule(Annotated[float, Meta(ge=-2, le=2)], "must be a number from -2 to 2")
STOP = rule(str | list[str], "must be a string or a list of strings")

SAMPLING: dict[str, Rule] = {
    "temperature": rule(Annotated[float, Meta(ge=0, le=2)], "must be a number from 0 to 2"),
    "top_p": rule(Annotated[float, Meta(gt=0, le=1)], "must be a number above 0 and up to 1"),
    "presence_penalty": PENALTY,
    "frequency_penalty": PENALTY,
    "n": COUNT,
    "seed": INTEGER,
    "stop": STOP,
    "logit_bias": rule(
        dict[Annotated[str, Meta(pattern=r"^[0-9]+$")], Annotated[float, Meta(ge=-100, le=100)]],
        "must be an object of token ids with numbers from -100 to 100",
    ),
}

CHAT: dict[str, Rule] = {
    "messages": rule(list[Message]),
    **SAMPLING,
    "max_tokens": COUNT,
    "max_completion_tokens": COUNT,
    "logprobs": FLAG,
    "top_logprobs": rule(Annotated[int, Meta(ge=0, le=20)], "must be an integer from 0 to 20"),
    "response_format": rule(ResponseFormat),
    "tools": rule(list[Tool]),
    "tool_choice": rule(str | dict[str, Any], "must be a string or an object"),
    "parallel_tool_calls": FLAG,
}
"""All fields of a chat request that have a meaning here, and what each must be."""

COMPLETIONS: dict[str, Rule] = {
    "prompt": rule(Any),
    **SAMPLING,
    "max_tokens": rule(Annotated[int, Meta(ge=0, le=MAX_INTEGER)], f"must be an integer from 0 to {MAX_INTEGER}"),
    "best_of": COUNT,
    "echo": FLAG,
    "logprobs": rule(
        Annotated[int, Meta(ge=0, le=MAX_LEGACY_LOGPROBS)], f"must be an integer from 0 to {MAX_LEGACY_LOGPROBS}"
    ),
}

EMBEDDINGS: dict[str, Rule] = {
    "input": rule(Any),
    "encoding_format": rule(Literal["float", "base64"], "must be float or base64"),
    "dimensions": COUNT,
    "instruction": TEXT,
}
