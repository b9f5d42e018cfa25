"""Cohere: chat, completions over chat, and embeddings by its second API.

https://docs.cohere.com/reference/chat and https://docs.cohere.com/reference/embed.  What the API has beyond ours
(`documents`, `safety_mode`, `thinking`, `truncate` …) goes on as it came.
"""

from typing import Any

from tesela.errors import InvalidRequest, UpstreamError, UpstreamUnauthorized
from tesela.providers import asked, cohere_answer, cohere_messages
from tesela.providers.base import Call, Exchange, Provider, openai_failure
from tesela.providers.compatible import address, header
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
from tesela.providers.reading import Reading, Resolved
from tesela.serving import Upstream
from tesela.wire.document import TRUE, Document, encode, raw, text, value
from tesela.wire.tasks import Task

BASE = "https://api.cohere.com"
INPUT_TYPE = "search_document"
"""What a text is embedded for when the caller does not say; Cohere wants to know."""


def chat(call: Call) -> Exchange:
    """Raises InvalidRequest or Unsupported, naming the field, before anything is sent."""
    document, ignore = call.document, call.upstream.ignore
    body = passed(document, CHAT, ignore)
    body["messages"] = raw(cohere_messages.render(value(document, "messages"), ignore))
    _tools(body, document)
    form = asked.answer_form(document)
    if form is not None:
        # https://docs.cohere.com/docs/structured-outputs
        body["response_format"] = raw(
            {"type": "json_object"} | ({} if form.schema is None else {"json_schema": form.schema})
        )
    effort = text(document, "reasoning_effort")
    if effort == "none":
        _put(body, "thinking", {"type": "disabled"}, "reasoning_effort")
    elif effort is not None:
        reason = "Cohere is told a budget of tokens instead: send 'thinking'"
        raise unsupported("reasoning_effort", reason, ("none",))
    return _exchange(call, body)


def completions(call: Call) -> Exchange:
    """The prompt is what the user says."""
    body = passed(call.document, COMPLETIONS, call.upstream.ignore)
    body["messages"] = raw([{"role": "user", "content": asked.prompt(call.document, "Cohere")}])
    return _exchange(call, body)


def _exchange(call: Call, body: Document) -> Exchange:
    document = call.document
    for theirs, ours in (("p", "top_p"), ("k", "top_k")):
        found = document.get(ours)
        if found is not None and value(document, ours) is not None:
            _put(body, theirs, value(document, ours), ours)
    limit, stops = asked.limit(document), asked.stops(document)
    if limit is not None:
        body["max_tokens"] = raw(limit)
    if stops is not None:
        _put(body, "stop_sequences", stops, "stop")
    body["model"] = raw(call.upstream.model)
    if call.streaming:
        body["stream"] = TRUE
    chunks = cohere_answer.CohereChunks(call) if call.streaming else None
    return Exchange("/v2/chat", encode(body), call.streaming, (), lambda told: cohere_answer.whole(told, call), chunks)


def _put(body: Document, theirs: str, given: Any, ours: str) -> None:
    if theirs in body:
        raise InvalidRequest(f"{theirs!r} and {ours!r} say the same: give one of them", param=ours)
    body[theirs] = raw(given)


def _tools(body: Document, document: Document) -> None:
    """https://docs.cohere.com/docs/tool-use-usage-patterns: a choice is all of them or none of them."""
    tools, choice = asked.choose(document, asked.functions(document))
    if choice is not None and choice.name is not None:
        tools = [tool for tool in tools if tool.name == choice.name]
        if not tools:
            raise InvalidRequest(f"'tool_choice' names {choice.name!r}, which is not in 'tools'", param="tool_choice")
    if tools:
        body["tools"] = raw([cohere_messages.tool(tool) for tool in tools])
        if any(tool["function"].get("strict") for tool in value(document, "tools")):
            body.setdefault("strict_tools", TRUE)
    if choice is not None and choice.mode != "auto":
        body["tool_choice"] = raw(choice.mode.upper())


def embeddings(call: Call) -> Exchange:
    """Texts only; one type of numbers for an answer."""
    document = call.document
    body = passed(document, EMBEDDINGS, call.upstream.ignore)
    body["texts"] = raw(asked.texts(document, "Cohere"))
    body["model"] = raw(call.upstream.model)
    body.setdefault("input_type", raw(INPUT_TYPE))
    dimensions, packed = value(document, "dimensions"), asked.packed(document)
    if dimensions is not None:
        _put(body, "output_dimension", dimensions, "dimensions")
    kinds = value(body, "embedding_types")
    if kinds is None:
        kinds = ["float"]
    elif not isinstance(kinds, list) or len(kinds) != 1 or not isinstance(kinds[0], str):
        raise unsupported("embedding_types", "an answer has room for one type", (["float"],))
    body["embedding_types"] = raw(kinds)

    def read(told: bytes) -> bytes:
        return cohere_answer.embedded(told, kinds[0], call.upstream.model, packed=packed and kinds[0] == "float")

    return Exchange("/v2/embed", encode(body), False, (), read)


def failure(status: int, body: bytes, retry_after_s: int | None) -> UpstreamError:
    """Their 498 is a key that is none: https://docs.cohere.com/reference/errors."""
    if status == 498:
        text = "the provider refused this endpoint's API key (status 498); the endpoint's owner must mend it"
        return UpstreamUnauthorized(text, upstream_status=status)
    return openai_failure(status, body, retry_after_s)


_SHARED = frozenset(
    {"model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "stop", "top_p", "top_k"}
)
_IGNORED = hints("Cohere")
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logit_bias": ({},),
    "store": (False,),
    "service_tier": ("auto", "default"),
}
_REFUSED = {
    "n": "Cohere gives one answer at a time",
    "logit_bias": "Cohere takes no bias for single tokens",
    "store": "Cohere stores no answers",
    "service_tier": "Cohere has no tiers; it takes a 'priority'",
}

CHAT = Fields(
    translated=_SHARED | {"messages", "tools", "tool_choice", "response_format", "reasoning_effort"},
    ignored=_IGNORED,
    neutral={
        **_NEUTRAL,
        **CHAT_NEUTRAL,
        "top_logprobs": (0,),
        "modalities": (["text"],),
    },
    refused={
        **_REFUSED,
        **not_in_chat("Cohere"),
        "top_logprobs": "Cohere gives the log probabilities of its answer, not of alternatives",
        "modalities": "Cohere's models write text only",
        "audio": "Cohere's models write text only",
    },
)

COMPLETIONS = Fields(
    translated=_SHARED | {"prompt"},
    ignored=_IGNORED,
    neutral={**_NEUTRAL, **COMPLETIONS_NEUTRAL},
    refused={
        **_REFUSED,
        **not_in_completions("Cohere"),
        "logprobs": "completions over Cohere's chat have no log probabilities; use chat",
    },
)

EMBEDDINGS = Fields(
    translated=frozenset({"model", "input", "dimensions", "encoding_format"}),
    ignored=_IGNORED,
    neutral={},
    refused={"instruction": "Cohere takes an 'input_type' instead, such as search_query"},
)

COHERE = Provider("cohere", {Task.CHAT: chat, Task.COMPLETIONS: completions, Task.EMBEDDINGS: embeddings}, failure)


def resolve(reading: Reading, task: Task) -> Resolved:
    reading.only("cohere_api_key", "cohere_api_key_plaintext", "cohere_api_base", "ignore")
    key = header("authorization", f"Bearer {reading.secret('cohere_api_key')}", reading.where("cohere_api_key"))
    origin, path, query = address(reading.text("cohere_api_base") or BASE, reading.where("cohere_api_base"))
    if query:
        raise reading.wrong("cohere_api_base", f"must be the base of the API, such as {BASE}")
    # Cohere's own clients take the base without a version; people copy all forms.
    path = path.removesuffix("/v1").removesuffix("/v2")
    upstream = Upstream(origin, reading.model.name, path, (key,), reading.timeouts, ignore=reading.ignore())
    return Resolved(COHERE.name, frozenset({task}), upstream)
