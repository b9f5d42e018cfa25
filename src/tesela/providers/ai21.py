"""AI21 Labs: chat with its Jamba models, and completions over it.

https://docs.ai21.com/reference/jamba-1-6-api-ref.  The API is near to ours; its messages are texts, its answers leave
out some of our fields, and what OpenAI has beyond it is refused by name.
"""

from typing import Any

import msgspec

from tesela.errors import UpstreamProtocolError
from tesela.providers import asked
from tesela.providers.base import Call, Exchange, Provider
from tesela.providers.chunk_writer import OBJECT, counts
from tesela.providers.compatible import address, header
from tesela.providers.conversation import Message, Part, Piece, Text, Thought, read
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
from tesela.wire.assemble import OBJECT as WHOLE
from tesela.wire.document import TRUE, Document, decode_value, encode, raw, value
from tesela.wire.sse import Event
from tesela.wire.tasks import Task

BASE = "https://api.ai21.com/studio/v1"


def chat(call: Call) -> Exchange:
    """Raises InvalidRequest or Unsupported, naming the field, before anything is sent."""
    document, ignore = call.document, call.upstream.ignore
    body = passed(document, CHAT, ignore)
    body["messages"] = raw([_message(one) for one in read(value(document, "messages"), ignore, REFUSED)])
    tools, choice = asked.choose(document, asked.functions(document))
    if choice is not None and (choice.mode == "required" or choice.name is not None):
        raise unsupported("tool_choice", "AI21 leaves the choice to its models", ("auto", "none"))
    if tools and (choice is None or choice.mode != "none"):
        # There is no way to forbid a call but to offer nothing to call.
        body["tools"] = raw([_tool(tool) for tool in tools])
    form = asked.answer_form(document)
    if form is not None and form.schema is not None:
        raise unsupported("response_format", "AI21 knows no schemas, only JSON", ({"type": "json_object"},))
    if form is not None:
        body["response_format"] = raw({"type": "json_object"})
    return _exchange(call, body)


def completions(call: Call) -> Exchange:
    """The prompt is what the user says."""
    body = passed(call.document, COMPLETIONS, call.upstream.ignore)
    body["messages"] = raw([{"role": "user", "content": asked.prompt(call.document, "AI21")}])
    return _exchange(call, body)


def _exchange(call: Call, body: Document) -> Exchange:
    limit, stops = asked.limit(call.document), asked.stops(call.document)
    if limit is not None:
        body["max_tokens"] = raw(limit)
    if stops is not None:
        body["stop"] = raw(stops)
    body["model"] = raw(call.upstream.model)
    if call.streaming:
        body["stream"] = TRUE
    chunks = AI21Chunks(call) if call.streaming else None
    return Exchange("/chat/completions", encode(body), call.streaming, (), lambda told: _whole(told, call), chunks)


def _message(message: Message) -> Part:
    role = "system" if message.role == "developer" else message.role
    for piece in message.pieces:
        # Another provider's thoughts mean nothing to AI21; all else would be missed.
        if not isinstance(piece, Text | Thought):
            raise unsupported(_at(piece), "AI21's messages are texts")
    out: Part = {"role": role, "content": message.text(), **message.rest}
    if message.role == "tool":
        out["tool_call_id"] = message.answers
    if message.calls:
        out["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.text}}
            for call in message.calls
        ]
    return out


def _at(piece: Piece) -> str:
    return piece.at


def _tool(tool: asked.Function) -> Part:
    told: Part = {"name": tool.name, "parameters": tool.parameters or {"type": "object", "properties": {}}}
    if tool.description is not None:
        told["description"] = tool.description
    return {"type": "function", "function": told}


REFUSED = {
    "name": "AI21's messages carry no name of who speaks",
    "audio": "AI21 cannot be sent audio",
    "function_call": "this older form is not taken; send 'tool_calls'",
}


def _read(body: bytes) -> Part:
    try:
        told = decode_value(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise UpstreamProtocolError(f"AI21's answer cannot be read: {exc}") from exc
    choices = told.get("choices") if isinstance(told, dict) else None
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise UpstreamProtocolError("AI21's answer has no choices: is the address that of its API?")
    return told if isinstance(told, dict) else {}


def _around(told: Part, call: Call, kind: str) -> Part:
    model = told.get("model") or call.upstream.model
    head = {"id": told.get("id") or call.id, "object": kind, "created": call.created, "model": model}
    return head | {name: found for name, found in told.items() if name not in head and name != "meta"}


def _text(choice: Part, key: str) -> Part:
    """A choice of a completions call."""
    inner = choice.get(key)
    text = inner.get("content") if isinstance(inner, dict) else None
    rest = {"logprobs": None, "finish_reason": choice.get("finish_reason")}
    return {"text": text if isinstance(text, str) else "", "index": choice.get("index", 0), **rest}


def _whole(body: bytes, call: Call) -> bytes:
    told = _read(body)
    if not told["choices"]:
        raise UpstreamProtocolError("AI21's answer has no choices: is the address that of its API?")
    if call.task is Task.COMPLETIONS:
        told["choices"] = [_text(choice, "message") for choice in told["choices"]]
    else:
        told["choices"] = [{"logprobs": None, **choice} for choice in told["choices"]]
    return encode(_around(told, call, WHOLE[call.task]))


class AI21Chunks:
    """One stream.  The usage comes with the last choice and leaves in a chunk of its own, as OpenAI's does."""

    __slots__ = ("_begun", "_call", "_ended", "_head", "_usage")
    ended = False

    def __init__(self, call: Call) -> None:
        self._call = call
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._head: Part = {}
        self._usage: Any = None

    def feed(self, event: Event) -> list[bytes]:
        told = _read(event.data)
        self._usage = told.pop("usage", None) or self._usage
        choices: list[Part] = told["choices"]
        for choice in choices:
            index = choice.get("index", 0)
            if not isinstance(index, int):
                raise UpstreamProtocolError("AI21 sent a choice whose index is no number")
            self._begun.add(index)
            if choice.get("finish_reason"):
                self._ended.add(index)
        self._head = _around({**told, "choices": []}, self._call, OBJECT[self._call.task])
        if self._call.task is Task.COMPLETIONS:
            choices = [_text(choice, "delta") for choice in choices]
        return [encode({**self._head, "choices": choices})] if choices else []

    def finish(self) -> list[bytes]:
        if not self._begun or self._begun != self._ended:
            raise UpstreamProtocolError("AI21 ended its stream in the middle of the answer")
        return [encode({**self._head, "usage": self._usage or counts(0, 0)})]


_SHARED = frozenset({"model", "stream", "stream_options", "max_tokens", "max_completion_tokens", "stop"})
_IGNORED = hints("AI21")
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "store": (False,),
    "service_tier": ("auto", "default"),
}
_REFUSED = {
    "presence_penalty": "Jamba has no penalties",
    "frequency_penalty": "Jamba has no penalties",
    "logit_bias": "AI21 takes no bias for single tokens",
    "seed": "AI21's answers cannot be repeated by a seed",
    "store": "AI21 stores no answers",
    "service_tier": "AI21 has no tiers",
    "logprobs": "AI21 gives no log probabilities",
}

CHAT = Fields(
    translated=_SHARED | {"messages", "tools", "tool_choice", "response_format"},
    ignored=_IGNORED,
    neutral={
        **_NEUTRAL,
        **CHAT_NEUTRAL,
        "logprobs": (False,),
        "top_logprobs": (0,),
        "modalities": (["text"],),
        "reasoning_effort": ("none",),
    },
    refused={
        **_REFUSED,
        **not_in_chat("AI21"),
        "top_logprobs": "AI21 gives no log probabilities",
        "modalities": "AI21's models write text only",
        "reasoning_effort": "Jamba cannot be told how much to think",
        "audio": "AI21's models write text only",
    },
)

COMPLETIONS = Fields(
    translated=_SHARED | {"prompt"},
    ignored=_IGNORED,
    neutral={**_NEUTRAL, **COMPLETIONS_NEUTRAL},
    refused={
        **_REFUSED,
        **not_in_completions("AI21"),
        "best_of": "AI21 gives the answers that it makes",
    },
)

AI21 = Provider("ai21labs", {Task.CHAT: chat, Task.COMPLETIONS: completions}, reasoning=False)


def resolve(reading: Reading, task: Task) -> Resolved:
    """`ai21labs_api_base` is ours: a workspace calls AI21's own address only."""
    reading.only("ai21labs_api_key", "ai21labs_api_key_plaintext", "ai21labs_api_base", "ignore")
    key = header("authorization", f"Bearer {reading.secret('ai21labs_api_key')}", reading.where("ai21labs_api_key"))
    origin, path, query = address(reading.text("ai21labs_api_base") or BASE, reading.where("ai21labs_api_base"))
    if query:
        raise reading.wrong("ai21labs_api_base", f"must be the base of the API, such as {BASE}")
    path = path.removesuffix("/chat/completions")
    upstream = Upstream(origin, reading.model.name, path, (key,), reading.timeouts, ignore=reading.ignore())
    return Resolved(AI21.name, frozenset({task}), upstream)
