"""A generateContent request as a chat request: https://ai.google.dev/api/generate-content.

Every field of the API is *translated*, *refused* by name, or *ignored* for the reason given here; fields may be written
in camel or in snake case.  A field at the top that nobody here has heard of goes on to the provider, which may know it.

Ignored: `labels` (marks on Google's bill), `safetySettings` that ask for no filter (there is none but the model's own),
what a function's answer looks like (chat does not tell models), `thinkingBudget` of 0 and -1 (they ask for nothing
that chat could say), and whether the arguments of a call may come in pieces (they come whole).
"""

from collections.abc import Mapping
from typing import Any

from tesela.errors import InvalidRequest, Unsupported
from tesela.wire.document import TRUE, Document, raw, value
from tesela.wire.generate_content import messages
from tesela.wire.generate_names import camel, elements, mapping, written
from tesela.wire.generate_schema import one_schema, strictly
from tesela.wire.generate_tools import tools

Form = dict[str, Any]


def to_chat(given: Document, streaming: bool) -> Document:
    """The chat request that asks for the same.  The document given stays as it is.

    Raises InvalidRequest or Unsupported, both with `param`.
    """
    document = {written(name): content for name, content in given.items()}
    for name, why in REFUSED.items():
        if value(document, name):
            raise Unsupported(f"{name!r} is not supported: {why}", param=name)
    for name in ("messages", "prompt"):
        if name in document:
            raise InvalidRequest(f"{name!r} belongs to OpenAI's API; generateContent has 'contents'", param=name)
    _filters(document)
    chat = {name: content for name, content in document.items() if name not in TAKEN}
    chat["messages"] = raw(messages(value(document, "contents"), value(document, "systemInstruction")))
    tools(document, chat)
    _config(mapping(value(document, "generationConfig"), "generationConfig"), chat)
    if streaming:
        # The end of a stream always tells the usage.
        chat["stream"], chat["stream_options"] = TRUE, raw({"include_usage": True})
    return chat


def shows_thoughts(document: Document) -> bool:
    """Whether the caller wants to see what the model thinks: Gemini shows it to those who ask."""
    for name in ("generationConfig", "generation_config"):
        config = value(document, name) if name in document else None
        thinking = camel(config).get("thinkingConfig") if isinstance(config, dict) else None
        if isinstance(thinking, dict) and camel(thinking).get("includeThoughts") is True:
            return True
    return False


def _filters(document: Document) -> None:
    """https://ai.google.dev/api/generate-content#HarmBlockThreshold"""
    for position, one in enumerate(elements(value(document, "safetySettings"), "safetySettings")):
        wanted = mapping(one, f"safetySettings[{position}]").get("threshold")
        if wanted not in NO_FILTER:
            at = f"safetySettings[{position}].threshold"
            raise Unsupported(
                f"'{at}' asks for a filter of Google's, which this endpoint's model does not have: it takes OFF",
                param=at,
            )


NO_FILTER = (None, "HARM_BLOCK_THRESHOLD_UNSPECIFIED", "BLOCK_NONE", "OFF")


def _config(config: Form, chat: Document) -> None:
    """https://ai.google.dev/api/generate-content#generationconfig"""
    for name, given in config.items():
        at = f"generationConfig.{name}"
        if given is None or name in READ_TOGETHER:
            continue
        if name in PLAIN:
            # Its own client writes whole numbers as 3.0 where the API takes any number.
            whole = int(given) if isinstance(given, float) and name in COUNTS and given.is_integer() else given
            chat[PLAIN[name]] = raw(whole)
        elif name == "responseModalities":
            if [one for one in elements(given, at) if one != "TEXT"]:
                raise Unsupported(f"{at!r} can be TEXT alone with this endpoint's model", param=at)
        elif given not in NEUTRAL.get(name, ()):
            raise Unsupported(f"{at!r} is not supported: chat has no counterpart for it", param=at)
    _answer_form(config, chat)
    _effort(mapping(config.get("thinkingConfig"), "generationConfig.thinkingConfig"), chat)


def _answer_form(config: Form, chat: Document) -> None:
    """https://ai.google.dev/gemini-api/docs/structured-output"""
    kind = config.get("responseMimeType") or "text/plain"
    if "_responseJsonSchema" in config and config.get("responseJsonSchema") is None:
        # The name that the field had at first.
        config = {**config, "responseJsonSchema": config["_responseJsonSchema"]}
    schema = one_schema(config, "responseSchema", "responseJsonSchema", "generationConfig")
    at = "generationConfig.responseMimeType"
    if kind == "text/plain":
        if schema is not None:
            raise InvalidRequest(f"{at!r} must be application/json with a schema", param=at)
        return
    if kind != "application/json":
        raise Unsupported(f"{at!r} must be text/plain or application/json, not {kind!r}", param=at)
    form: Form = {"type": "json_object"}
    if schema is not None:
        form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": strictly(schema)}}
    chat["response_format"] = raw(form)


def _effort(thinking: Form, chat: Document) -> None:
    """How much to think: https://ai.google.dev/gemini-api/docs/thinking."""
    at = "generationConfig.thinkingConfig"
    level, budget = thinking.get("thinkingLevel"), thinking.get("thinkingBudget")
    if level is not None and level != "THINKING_LEVEL_UNSPECIFIED":
        if not isinstance(level, str) or level.lower() not in ("minimal", "low", "medium", "high"):
            raise InvalidRequest(f"'{at}.thinkingLevel' is no level: {level!r}", param=f"{at}.thinkingLevel")
        chat["reasoning_effort"] = raw(level.lower())
    elif budget is not None:
        if not isinstance(budget, int) or isinstance(budget, bool):
            raise InvalidRequest(f"'{at}.thinkingBudget' must be a whole number", param=f"{at}.thinkingBudget")
        if budget > 0:
            chat["reasoning_effort"] = raw(next((word for most, word in LEVELS if budget <= most), "high"))


LEVELS = ((1024, "low"), (8192, "medium"))
"""Budgets as Google's own interface in OpenAI's form reads efforts: https://ai.google.dev/gemini-api/docs/openai."""


PLAIN = {
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "candidateCount": "n",
    "maxOutputTokens": "max_tokens",
    "stopSequences": "stop",
    "seed": "seed",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
    "responseLogprobs": "logprobs",
    "logprobs": "top_logprobs",
}
COUNTS = frozenset({"topK", "candidateCount", "maxOutputTokens", "seed", "logprobs"})
READ_TOGETHER = frozenset(
    {"responseMimeType", "responseSchema", "responseJsonSchema", "_responseJsonSchema", "thinkingConfig"}
)
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "mediaResolution": ("MEDIA_RESOLUTION_UNSPECIFIED",),
    "audioTimestamp": (False,),
    "enableEnhancedCivicAnswers": (False,),
    "enableAffectiveDialog": (False,),
}
"""Values that ask for nothing."""
REFUSED: Mapping[str, str] = {
    "cachedContent": "only Google's own models keep contents",
    "store": "answers are stored nowhere here",
    "serviceTier": "only Google's own models have tiers",
    "modelArmorConfig": "only Google's own models have it",
}
TAKEN = frozenset(
    {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "labels", "model"}
    | {"stream", "stream_options"}
    | set(REFUSED)
)
"""Fields that do not go on as they are."""
