"""Chat with a local model: the request in the form that the engine obeys, and its stream in OpenAI's form.

The engine is always asked to stream, because only then does it notice that nobody listens any more.
"""

from typing import Any

import msgspec

from tesela.errors import InvalidRequest, Unsupported, UpstreamProtocolError
from tesela.providers import local_fields, local_messages, local_tools
from tesela.providers.base import Call, Chunks, Exchange
from tesela.providers.local_answer import Answer, CallAnswer, JsonAnswer
from tesela.providers.local_engine import (
    NOTHING,
    NULL,
    USAGE,
    EngineUsage,
    Raw,
    Told,
    Total,
    read_entries,
    reader,
    refused,
)
from tesela.providers.local_grammar import rooted
from tesela.serving import Capabilities
from tesela.wire import check
from tesela.wire.document import TRUE, Document, encode, raw
from tesela.wire.forms import Chat
from tesela.wire.sse import Event
from tesela.wire.tasks import PATH, Task


class _Delta(msgspec.Struct):
    content: Raw = NOTHING
    reasoning_content: Raw = NOTHING
    tool_calls: Raw = NOTHING


class _Choice(msgspec.Struct):
    delta: _Delta
    index: int = 0
    finish_reason: str | None = None
    logprobs: Raw = NOTHING


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: EngineUsage | None = None
    error: Told | None = None


_read = reader(_Chunk)


def translate(call: Call) -> Exchange:
    """Raises InvalidRequest or Unsupported, naming the field, before anything is sent."""
    document, capabilities = call.document, call.upstream.capabilities
    body = local_fields.passed(document, local_fields.CHAT)
    chat = check.chat(document)
    _fits(chat, capabilities)
    native = capabilities.tools and chat.choice == "auto"
    if not native and chat.choice == "auto" and chat.messages[-1].role == "tool":
        # A small model that may call again calls again, for ever.  With the result before it, it answers in words.
        chat.choice = "none"
    _possible(chat, body, capabilities)
    local_tools.check_schemas(chat, _functions(document))
    for name, number in capabilities.defaults:
        body.setdefault(name, raw(number))
    body |= {"model": raw(call.upstream.model), "stream": TRUE, "stream_options": USAGE}
    body["messages"] = raw(local_messages.render(chat, capabilities, native=native))
    if chat.n > 1:
        body["n"] = raw(chat.n)
    if chat.max_tokens is not None:
        body["max_tokens"] = raw(chat.max_tokens)
    if chat.logprobs:
        # Without a number the engine gives twenty, and with 0 none at all.
        body |= {"logprobs": TRUE, "top_logprobs": raw(max(1, chat.top_logprobs))}
    _form(body, chat, native=native)
    held = chat.choice != "none" and not native
    return Exchange(
        path=PATH[Task.CHAT],
        body=encode(body),
        streaming=True,
        chunks=_chunks(call, chat, held=held),
    )


def _fits(chat: Chat, capabilities: Capabilities) -> None:
    """Refuse what cannot fit before the engine sees it: it renders messages in quadratic time, only to refuse them."""
    count, context = len(chat.messages), capabilities.context
    if context and count > context:
        text = f"'messages' holds {count} messages and this model's context holds {context} tokens: send fewer"
        raise InvalidRequest(text, param="messages", reason="context_length_exceeded")


def _functions(document: Document) -> list[str]:
    """The names of the functions as the request lists them."""
    tools = check.read(document, "tools", check.CHAT) or []
    return [tool.function.name if tool.function is not None else "" for tool in tools]


def _form(body: Document, chat: Chat, *, native: bool) -> None:
    """What form the answer must have.  Where it is JSON to be read back, the stop strings are ours to look for."""
    if native:
        body["tools"] = raw(chat.tools)
    elif chat.choice != "none":
        body["response_format"] = _schema_format(local_tools.schema(chat))
        return
    wanted = local_tools.format_schema(chat.format)
    if wanted is not None:
        body["response_format"] = _schema_format(rooted(wanted))
    if chat.stop:
        body["stop"] = raw(chat.stop)


def _schema_format(schema: dict[str, Any]) -> Raw:
    return raw({"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}})


def _possible(chat: Chat, body: Document, capabilities: Capabilities) -> None:
    """What this model can do, and which fields exclude one another here."""
    most = capabilities.n_max
    if most and chat.n > most:
        raise InvalidRequest(f"'n' is {chat.n}; this model gives at most {most} answers at once", param="n")
    if chat.logprobs and not capabilities.logprobs:
        raise Unsupported("'logprobs': this model gives no log probabilities", param="logprobs")
    formed = chat.format is not None or chat.choice != "none"
    if formed and not capabilities.json_schema:
        field = "tools" if chat.choice != "none" else "response_format"
        raise Unsupported(f"{field!r}: this model cannot be held to a form", param=field)
    if formed and "grammar" in body:
        raise InvalidRequest("'grammar' cannot be used with 'tools' or 'response_format'", param="grammar")
    if chat.logprobs and chat.choice != "none":
        raise Unsupported("'logprobs' cannot be given for an answer that may call tools", param="logprobs")


def _chunks(call: Call, chat: Chat, *, held: bool) -> Chunks:
    if held:
        structured = chat.format is not None
        return ChatChunks(call, chat, [CallAnswer(call.id, i, chat.stop, structured) for i in range(chat.n)])
    if chat.format is not None:
        return ChatChunks(call, chat, [JsonAnswer() for _ in range(chat.n)])
    return ChatChunks(call, chat, [])


class ChatChunks:
    """One stream of the engine as OpenAI's chunks.  `answers` read what the model writes; without them it passes."""

    __slots__ = ("_answers", "_begun", "_ended", "_head", "_n", "_tops", "_total")
    ended = False

    def __init__(self, call: Call, chat: Chat, answers: "list[Answer]") -> None:
        identity = {"id": f"chatcmpl-{call.id}", "object": "chat.completion.chunk", "created": call.created}
        self._head = encode({**identity, "model": call.upstream.model})[:-1] + b',"choices":['
        self._n = chat.n
        self._tops = chat.top_logprobs
        self._answers = answers
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._total = Total()

    def feed(self, event: Event) -> list[bytes]:
        if event.data == NULL:
            return []
        chunk = _read(event.data)
        if chunk.error is not None:
            raise refused(chunk.error)
        if chunk.usage is not None:
            self._total.add(chunk.usage, 0)
        out: list[bytes] = []
        for choice in chunk.choices:
            self._choice(choice, out)
        return out

    def _choice(self, choice: _Choice, out: list[bytes]) -> None:
        index, delta = choice.index, choice.delta
        answer = self._answers[index] if index < len(self._answers) else None
        if answer is None or not answer.opens:
            self._begin(index, out)
        logprobs = self._logprobs(choice.logprobs) if choice.logprobs else NULL
        for name in ("reasoning_content", "tool_calls"):
            value = bytes(getattr(delta, name))
            if value and value != NULL:
                self._begin(index, out)
                out.append(self._chunk(index, b'{"%s":%s}' % (name.encode(), value), NULL))
        content = bytes(delta.content)
        if content and content != NULL:
            if answer is None:
                out.append(self._chunk(index, b'{"content":%s}' % content, logprobs))
            else:
                for piece in answer.feed(content):
                    self._begun.add(index)
                    out.append(self._chunk(index, piece, logprobs))
        if choice.finish_reason is not None:
            self._end(index, choice.finish_reason, answer, out)

    def _begin(self, index: int, out: list[bytes]) -> None:
        if index not in self._begun:
            self._begun.add(index)
            out.append(self._chunk(index, b'{"role":"assistant","content":""}', NULL))

    def _end(self, index: int, reason: str, answer: "Answer | None", out: list[bytes]) -> None:
        if answer is not None:
            pieces, reason = answer.finish(reason)
            out.extend(self._chunk(index, piece, NULL) for piece in pieces)
            self._begun.update([index] if pieces else ())
        self._begin(index, out)
        self._ended.add(index)
        out.append(self._chunk(index, b"{}", NULL, encode(reason)))

    def _chunk(self, index: int, delta: bytes, logprobs: bytes, reason: bytes = NULL) -> bytes:
        form = b'%s{"index":%d,"delta":%s,"logprobs":%s,"finish_reason":%s}]}'
        return form % (self._head, index, delta, logprobs, reason)

    def _logprobs(self, told: Raw) -> bytes:
        entries = read_entries(bytes(told)).content
        if entries is None:
            return NULL
        for entry in entries:
            del entry.top_logprobs[self._tops :]
        return b'{"content":%s,"refusal":null}' % encode(entries)

    def finish(self) -> list[bytes]:
        if len(self._ended) < self._n:
            raise UpstreamProtocolError("the local model's answer ended before it was complete")
        return [self._head + b'],"usage":%s}' % self._total.encoded()]
