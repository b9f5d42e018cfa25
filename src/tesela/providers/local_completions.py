"""Completions with a local model: `echo`, `max_tokens: 0` and the older log probabilities, which the engine lacks.

Several prompts are one call; the choice with index p * n + i is the i-th answer to prompt p.
"""

import msgspec

from tesela.errors import InvalidRequest, Unsupported, UpstreamProtocolError
from tesela.providers import local_fields
from tesela.providers.base import Call, Exchange
from tesela.providers.local_engine import (
    NOTHING,
    NULL,
    USAGE,
    EngineUsage,
    Entry,
    Raw,
    Told,
    Total,
    read_entries,
    reader,
    refused,
)
from tesela.providers.local_grammar import engine_form, rooted
from tesela.providers.local_schema import bounded
from tesela.serving import Capabilities
from tesela.wire import check
from tesela.wire.document import TRUE, Document, encode, raw, value
from tesela.wire.forms import Completions
from tesela.wire.sse import Event
from tesela.wire.tasks import PATH, Task


class _Choice(msgspec.Struct):
    text: Raw = NOTHING
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
    body = local_fields.passed(document, local_fields.COMPLETIONS)
    asked = check.completions(document)
    _possible(asked, body, capabilities)
    for name, number in capabilities.defaults:
        body.setdefault(name, raw(number))
    prompt = asked.prompts if len(asked.prompts) > 1 else asked.prompts[0]
    body |= {"model": raw(call.upstream.model), "stream": TRUE, "stream_options": USAGE, "prompt": raw(prompt)}
    if asked.n > 1:
        body["n"] = raw(asked.n)
    if asked.echo and capabilities.echo:
        body |= {"echo": TRUE}
        if asked.max_tokens is not None:
            body["max_tokens"] = raw(asked.max_tokens)
        asked = msgspec.structs.replace(asked, echo=False, max_tokens=None)
    if asked.max_tokens is not None:
        # The engine makes one token even when asked for none; it is taken back in `CompletionChunks`.
        body["max_tokens"] = raw(max(1, asked.max_tokens))
    if asked.stop:
        body["stop"] = raw(asked.stop)
    if asked.logprobs is not None:
        body["logprobs"] = raw(max(1, asked.logprobs))
    return Exchange(
        path=PATH[Task.COMPLETIONS],
        body=encode(body),
        streaming=True,
        chunks=CompletionChunks(call, asked),
    )


def _possible(asked: Completions, body: Document, capabilities: Capabilities) -> None:
    most = capabilities.n_max
    if most and asked.n > most:
        raise InvalidRequest(f"'n' is {asked.n}; this model gives at most {most} answers at once", param="n")
    if asked.logprobs is not None and not capabilities.logprobs:
        raise Unsupported("'logprobs': this model gives no log probabilities", param="logprobs")
    if asked.echo and asked.logprobs is not None and not capabilities.echo:
        raise Unsupported("'echo' with 'logprobs': this model does not rate the prompt", param="echo")
    if asked.echo and not capabilities.echo and not isinstance(asked.prompts[0], str):
        raise Unsupported("'echo' needs the prompt as text, not as token ids", param="echo")
    if "json_schema" in body:
        schema = value(body, "json_schema")
        bounded(schema, "json_schema")
        body["json_schema"] = raw(rooted(engine_form(schema, "json_schema")))
    if "grammar" in body and "json_schema" in body:
        raise InvalidRequest("'grammar' and 'json_schema' cannot be used together", param="grammar")


class CompletionChunks:
    """One stream of the engine as OpenAI's completion chunks."""

    __slots__ = ("_asked", "_begun", "_ended", "_head", "_offsets", "_total")
    ended = False

    def __init__(self, call: Call, asked: Completions) -> None:
        identity = {"id": f"cmpl-{call.id}", "object": "text_completion", "created": call.created}
        self._head = encode({**identity, "model": call.upstream.model})[:-1] + b',"choices":['
        self._asked = asked
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._offsets: dict[int, int] = {}
        self._total = Total()

    def feed(self, event: Event) -> list[bytes]:
        if event.data == NULL:
            return []  # The engine opens the stream of several prompts with one.
        chunk = _read(event.data)
        if chunk.error is not None:
            raise refused(chunk.error)
        out: list[bytes] = []
        if chunk.usage is not None and not chunk.choices:
            self._total.add(chunk.usage, 0)
        for choice in chunk.choices:
            if chunk.usage is not None:
                self._total.add(chunk.usage, choice.index // self._asked.n)
            self._choice(choice, out)
        return out

    def _choice(self, choice: _Choice, out: list[bytes]) -> None:
        index = choice.index
        if not 0 <= index < len(self._asked.prompts) * self._asked.n:
            raise UpstreamProtocolError(f"the engine gave a choice {index} that nobody asked for")
        if self._asked.echo and index not in self._begun:
            self._begun.add(index)
            out.append(self._chunk(index, encode(self._asked.prompts[index // self._asked.n]), NULL))
        reason = NULL
        if choice.finish_reason is not None:
            self._ended.add(index)
            reason = encode(choice.finish_reason if self._asked.max_tokens != 0 else "length")
        text = bytes(choice.text) or b'""'
        if self._asked.max_tokens == 0:
            text = b'""'
        if text == b'""' and reason == NULL:
            return
        logprobs = NULL
        if self._asked.logprobs is not None and choice.logprobs and text != b'""':
            told = bytes(choice.logprobs)
            entries = read_entries(told).content if told != NULL else None
            # An engine that has the older form itself is passed on.
            logprobs = told if entries is None else self._logprobs(index, entries)
        out.append(self._chunk(index, text, logprobs, reason))

    def _chunk(self, index: int, text: bytes, logprobs: bytes, reason: bytes = NULL) -> bytes:
        form = b'%s{"text":%s,"index":%d,"logprobs":%s,"finish_reason":%s}]}'
        return form % (self._head, text, index, logprobs, reason)

    def _logprobs(self, index: int, entries: list[Entry]) -> bytes:
        """The older form: columns.  The token that was chosen is always among the top ones, beside those asked for."""
        offset = self._offsets.get(index, 0)
        offsets: list[int] = []
        for entry in entries:
            offsets.append(offset)
            offset += len(entry.token)
        self._offsets[index] = offset
        most = self._asked.logprobs or 0
        return encode(
            {
                "tokens": [entry.token for entry in entries],
                "token_logprobs": [entry.logprob for entry in entries],
                "top_logprobs": [
                    {top.token: top.logprob for top in entry.top_logprobs[:most]} | {entry.token: entry.logprob}
                    for entry in entries
                ],
                "text_offset": offsets,
            }
        )

    def finish(self) -> list[bytes]:
        if len(self._ended) < len(self._asked.prompts) * self._asked.n:
            raise UpstreamProtocolError("the local model's answer ended before it was complete")
        made = 0 if self._asked.max_tokens == 0 else None
        return [self._head + b'],"usage":%s}' % self._total.encoded(completion=made)]
