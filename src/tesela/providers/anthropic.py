"""Anthropic: chat and completions over its Messages API.

https://platform.claude.com/docs/en/api/messages/create.  Every field of a request is translated, passed, ignored with
a reason, or refused by name; what the API has beyond ours is sent as it came, from the top level or `extra_params`.
"""

from typing import Any

from tesela.errors import InvalidRequest
from tesela.providers import anthropic_answer, anthropic_messages, anthropic_native, anthropic_tools
from tesela.providers.anthropic_chunks import ChatChunks, CompletionChunks
from tesela.providers.base import Call, Exchange, Provider
from tesela.providers.fields import Fields, passed, unsupported
from tesela.wire.document import TRUE, Document, encode, raw, text, value
from tesela.wire.tasks import Task

BASE = "https://api.anthropic.com"
PATH, HEADERS = anthropic_native.PATH, anthropic_native.HEADERS

MAX_TOKENS = 8192
"""What an answer may have when the caller sets no limit.  Anthropic wants one; every model that it still serves can
write as much, and what is not written costs nothing.  A budget for thinking comes on top: the limit holds both."""


def chat(call: Call) -> Exchange:
    """Raises InvalidRequest or Unsupported, naming the field, before anything is sent."""
    document, created = call.document, call.created
    body = passed(document, CHAT, call.upstream.ignore)
    system, turns = anthropic_messages.render(value(document, "messages"), call.upstream.ignore)
    if system is not None:
        _alone(body, "system", "a system message")
        body["system"] = raw(system)
    _limits(body, document)
    _tools(body, document)
    _configure(body, document)
    return _exchange(
        call,
        body,
        turns,
        lambda answer: anthropic_answer.chat(answer, created),
        ChatChunks(call) if call.streaming else None,
    )


def completions(call: Call) -> Exchange:
    """The prompt is what the user says.  Raises InvalidRequest or Unsupported, naming the field."""
    document, created = call.document, call.created
    body = passed(document, COMPLETIONS, call.upstream.ignore)
    prompt = value(document, "prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise unsupported("prompt", "Anthropic takes one prompt at a time, as text", ("a string",))
    _limits(body, document)
    chunks = CompletionChunks(call) if call.streaming else None
    turns = [{"role": "user", "content": prompt}]
    return _exchange(call, body, turns, lambda answer: anthropic_answer.completion(answer, created), chunks)


def _exchange(call: Call, body: Document, turns: list[Any], answer: Any, chunks: ChatChunks | None) -> Exchange:
    body |= {"model": raw(call.upstream.model), "messages": raw(turns)}
    if call.streaming:
        body["stream"] = TRUE
    return Exchange(PATH, encode(body), call.streaming, HEADERS, answer, chunks)


def _alone(body: Document, name: str, other: str) -> None:
    if name in body:
        raise InvalidRequest(f"{name!r} and {other} say the same: give one of them", param=name)


def _limits(body: Document, document: Document) -> None:
    """How long the answer may be, where it stops, and whom it is for."""
    most, old = value(document, "max_completion_tokens"), value(document, "max_tokens")
    if most is not None and old not in (None, most):
        text = "'max_tokens' and 'max_completion_tokens' are the same limit: give one of them"
        raise InvalidRequest(text, param="max_tokens")
    limit = old if most is None else most
    if limit is None:
        thinking = value(body, "thinking")
        budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
        limit = MAX_TOKENS + (budget if isinstance(budget, int) else 0)
    body["max_tokens"] = raw(limit)
    stop = value(document, "stop")
    if stop is not None:
        _alone(body, "stop_sequences", "'stop'")
        body["stop_sequences"] = raw([stop] if isinstance(stop, str) else stop)
    _metadata(body, document)


def _metadata(body: Document, document: Document) -> None:
    """Anthropic's `metadata` is who asks and nothing else; OpenAI's is for answers that are stored."""
    user, other = text(document, "user"), text(document, "safety_identifier")
    if user is not None and other not in (None, user):
        raise InvalidRequest("'user' and 'safety_identifier' say the same: give one of them", param="user")
    given = value(document, "metadata") or {}
    if not isinstance(given, dict) or given.keys() - {"user_id"}:
        raise unsupported("metadata", "Anthropic stores nothing by it and takes a 'user_id' only")
    user = user if user is not None else other
    if user is not None and given.get("user_id") not in (None, user):
        raise InvalidRequest("'user' and 'metadata.user_id' say the same: give one of them", param="user")
    if given or user is not None:
        body["metadata"] = raw(given or {"user_id": user})


def _tools(body: Document, document: Document) -> None:
    given = value(document, "tools")
    sent = anthropic_tools.tools([] if given is None else given)
    choice, parallel = value(document, "tool_choice"), value(document, "parallel_tool_calls")
    sent, chosen = anthropic_tools.choose(sent, choice, parallel)
    if sent:
        body["tools"] = raw(sent)
    if chosen is not None:
        body["tool_choice"] = raw(chosen)


def _configure(body: Document, document: Document) -> None:
    """The form of the answer and how much to think about it, which share `output_config`.

    https://platform.claude.com/docs/en/build-with-claude/effort
    """
    wanted = value(document, "response_format")
    form = None if wanted is None else anthropic_tools.answer_format(wanted)
    effort = text(document, "reasoning_effort")
    if effort == "none":
        _alone(body, "thinking", "'reasoning_effort'")
        body["thinking"] = raw({"type": "disabled"})
        effort = None
    if form is not None or effort is not None:
        config = value(body, "output_config") or {}
        added = {name: found for name, found in (("format", form), ("effort", effort)) if found is not None}
        if not isinstance(config, dict) or config.keys() & added.keys():
            raise InvalidRequest(
                "'output_config' says what 'response_format' or 'reasoning_effort' says", param="output_config"
            )
        body["output_config"] = raw({**config, **added})
    tier = text(document, "service_tier")
    if tier is not None:
        if tier not in TIERS:
            raise unsupported("service_tier", "Anthropic has no such tier", tuple(TIERS))
        body["service_tier"] = raw(TIERS[tier])


TIERS = {"auto": "auto", "default": "standard_only", "standard_only": "standard_only"}
"""https://platform.claude.com/docs/en/api/service-tiers"""

_SHARED = frozenset(
    {"model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "stop"}
    | {"user", "safety_identifier", "metadata"}
)
_IGNORED = {
    "prompt_cache_key": "a hint for a cache that Anthropic keeps by content; nothing in an answer depends on it",
    "prompt_cache_retention": "a hint for a cache; Anthropic is told by `cache_control`",
    "prompt_cache_options": "a hint for a cache; Anthropic is told by `cache_control`",
}
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "store": (False,),
}
_REFUSED = {
    "n": "Anthropic gives one answer at a time",
    "presence_penalty": "Anthropic has no penalties",
    "frequency_penalty": "Anthropic has no penalties",
    "logit_bias": "Anthropic takes no bias for single tokens",
    "seed": "Anthropic's answers cannot be repeated by a seed",
    "store": "Anthropic stores no answers",
    "logprobs": "Anthropic gives no log probabilities",
}

CHAT = Fields(
    translated=_SHARED
    | {"messages", "tools", "tool_choice", "parallel_tool_calls", "response_format"}
    | {"reasoning_effort", "service_tier"},
    ignored=_IGNORED,
    neutral={
        **_NEUTRAL,
        "logprobs": (False,),
        "top_logprobs": (0,),
        "modalities": (["text"],),
        "verbosity": ("medium",),
    },
    refused={
        **_REFUSED,
        "top_logprobs": "Anthropic gives no log probabilities",
        "modalities": "Anthropic's models write text only",
        "verbosity": "Anthropic cannot be told how much to say",
        "audio": "Anthropic's models write text only",
        "moderation": "Anthropic is not told how to moderate",
        "prediction": "Anthropic cannot be given a predicted answer",
        "web_search_options": "Anthropic searches the web by a tool: send its web_search in 'tools'",
        "functions": "this older form is not taken; send 'tools'",
        "function_call": "this older form is not taken; send 'tool_choice'",
    },
)

COMPLETIONS = Fields(
    translated=_SHARED | {"prompt"},
    ignored=_IGNORED,
    neutral={
        **_NEUTRAL,
        "best_of": (1,),
        "echo": (False,),
        "suffix": ("",),
        "error_behavior": ("error",),
        "use_raw_prompt": (False,),
    },
    refused={
        **_REFUSED,
        "best_of": "Anthropic gives one answer at a time",
        "echo": "Anthropic does not give the prompt back",
        "suffix": "Anthropic cannot fill in before a suffix",
        "error_behavior": "a prompt that is too long is refused, never cut",
        "use_raw_prompt": "Anthropic takes a prompt as a message only",
        "tools": "completions have no tools; use chat",
        "response_format": "completions have no response format; use chat",
    },
)

ANTHROPIC = Provider("anthropic", {Task.CHAT: chat, Task.COMPLETIONS: completions}, native=anthropic_native.CALLS)
