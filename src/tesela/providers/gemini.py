"""Gemini: what is sent for chat and completions, by `generateContent`.

https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference.  What the API has beyond ours goes on
as it came: at the top (`safetySettings`, `cachedContent`, `labels` …), inside `generationConfig`, and tools that Google
runs itself.
"""

from typing import Any

from tesela.errors import InvalidRequest
from tesela.providers import asked, gemini_contents
from tesela.providers.fields import (
    CHAT_NEUTRAL,
    COMPLETIONS_NEUTRAL,
    Fields,
    hints,
    not_in_chat,
    not_in_completions,
    passed,
    unsupported,
)
from tesela.providers.gemini_schema import converted
from tesela.wire.document import Document, encode, flag, raw, text, value

Form = dict[str, Any]


def chat(document: Document, model: str, ignore: frozenset[str]) -> bytes:
    """The body for a chat.  Raises InvalidRequest or Unsupported, naming the field."""
    body = passed(document, CHAT, ignore)
    signed = not any(earlier in model for earlier in UNSIGNED)
    system, contents = gemini_contents.render(value(document, "messages"), ignore, signed=signed)
    body["contents"] = raw(contents)
    if system is not None:
        _put(body, "systemInstruction", system, "messages")
    _tools(body, document)
    config = _config(document)
    _answer_form(config, document)
    _thinking(config, document, model)
    modalities = value(document, "modalities")
    if modalities is not None:
        if not isinstance(modalities, list) or not all(isinstance(one, str) for one in modalities):
            raise InvalidRequest("'modalities' must be a list of strings", param="modalities")
        config["responseModalities"] = [one.upper() for one in modalities]
    if flag(document, "logprobs"):
        config["responseLogprobs"] = True
        if value(document, "top_logprobs") is not None:
            config["logprobs"] = value(document, "top_logprobs")
    return _whole(body, config, document)


def completions(document: Document, ignore: frozenset[str]) -> bytes:
    """The body for a completion: the prompt is what the user says."""
    body = passed(document, COMPLETIONS, ignore)
    body["contents"] = raw([{"role": "user", "parts": [{"text": asked.prompt(document, "Gemini")}]}])
    return _whole(body, _config(document), document)


UNSIGNED = ("gemini-1", "gemini-2")
"""Models that take calls back without signatures."""


def _put(body: Document, theirs: str, given: Any, ours: str) -> None:
    if theirs in body:
        raise InvalidRequest(f"{theirs!r} and {ours!r} say the same: give one of them", param=theirs)
    body[theirs] = raw(given)


def _config(document: Document) -> Form:
    found = {theirs: value(document, ours) for ours, theirs in CONFIG.items()}
    found |= {"maxOutputTokens": asked.limit(document), "stopSequences": asked.stops(document)}
    return {name: given for name, given in found.items() if given is not None}


def _whole(body: Document, config: Form, document: Document) -> bytes:
    given = value(document, "generationConfig")
    if given is not None:
        if not isinstance(given, dict) or given.keys() & config.keys():
            text = "'generationConfig' must be an object that says nothing that other fields say"
            raise InvalidRequest(text, param="generationConfig")
        config |= given
    if config:
        body["generationConfig"] = raw(config)
    return encode(body)


def _answer_form(config: Form, document: Document) -> None:
    """https://cloud.google.com/vertex-ai/generative-ai/docs/multimodal/control-generated-output"""
    form = asked.answer_form(document)
    if form is None:
        return
    config["responseMimeType"] = "application/json"
    if form.schema is None:
        return
    schema = converted(form.schema)
    if schema is None:
        config["responseJsonSchema"] = form.schema
    else:
        config["responseSchema"] = schema | ({"description": form.description} if form.description else {})


def _thinking(config: Form, document: Document, model: str) -> None:
    """Efforts as Google's own interface in OpenAI's form reads them: https://ai.google.dev/gemini-api/docs/openai."""
    effort = text(document, "reasoning_effort")
    if effort is None:
        return
    budgets = "gemini-2" in model
    known: Form = BUDGETS if budgets else LEVELS
    if effort not in known:
        raise unsupported("reasoning_effort", f"this model cannot be told {effort!r}", tuple(known))
    config["thinkingConfig"] = {"thinkingBudget" if budgets else "thinkingLevel": known[effort]}


BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
LEVELS = {"minimal": "MINIMAL", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"}


def _tools(body: Document, document: Document) -> None:
    """https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/function-calling"""
    given = value(document, "tools")
    own: list[Form] = []
    if isinstance(given, list):
        own = [tool for tool in given if isinstance(tool, dict) and "type" not in tool]
        document["tools"] = raw([tool for tool in given if tool not in own])
    tools, choice = asked.choose(document, asked.functions(document))
    sent = [{"functionDeclarations": [_declared(tool) for tool in tools]}] if tools else []
    if sent or own:
        body["tools"] = raw(sent + own)
    if choice is not None and (choice.mode != "auto" or choice.name is not None):
        calling: Form = {"mode": MODES[choice.mode]}
        if choice.name is not None:
            calling["allowedFunctionNames"] = [choice.name]
        _put(body, "toolConfig", {"functionCallingConfig": calling}, "tool_choice")


MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def _declared(tool: asked.Function) -> Form:
    out: Form = {"name": tool.name}
    if tool.description is not None:
        out["description"] = tool.description
    parameters = tool.parameters
    if parameters is not None and (parameters.get("properties") or parameters.keys() - NOTHING):
        # An object without properties is refused: a function that takes nothing has no parameters.
        schema = converted(parameters)
        out |= {"parametersJsonSchema": parameters} if schema is None else {"parameters": schema}
    return out


NOTHING = frozenset({"type", "properties", "required", "additionalProperties", "description", "$schema", "title"})
"""Words of a schema that take no argument by themselves."""

CONFIG = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}
_SHARED = frozenset(
    {"model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "stop", "generationConfig", *CONFIG}
)
_IGNORED = hints("Gemini")
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logit_bias": ({},),
    "store": (False,),
    "service_tier": ("auto", "default"),
}
_REFUSED = {
    "n": "one answer at a time comes from Gemini here",
    "logit_bias": "Gemini takes no bias for single tokens",
    "store": "Gemini stores no answers",
    "service_tier": "Vertex AI has no tiers of this kind",
}

CHAT = Fields(
    translated=_SHARED
    | {"messages", "tools", "tool_choice", "response_format", "reasoning_effort", "modalities"}
    | {"logprobs", "top_logprobs"},
    ignored=_IGNORED,
    neutral={**_NEUTRAL, **CHAT_NEUTRAL},
    refused={
        **_REFUSED,
        **not_in_chat("Gemini"),
        "audio": "Gemini is told a voice in generationConfig.speechConfig",
        "web_search_options": "Gemini searches the web by a tool: send {\"googleSearch\": {}} in 'tools'",
    },
)

COMPLETIONS = Fields(
    translated=_SHARED | {"prompt"},
    ignored=_IGNORED,
    neutral={**_NEUTRAL, **COMPLETIONS_NEUTRAL},
    refused={
        **_REFUSED,
        **not_in_completions("Gemini"),
        "best_of": "one answer at a time comes from Gemini here",
        "logprobs": "completions over Gemini have no log probabilities; use chat",
    },
)
