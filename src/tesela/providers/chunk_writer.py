"""Writes the chunks of an answer, piece by piece, for providers whose answers have another form than ours.

A whole answer is written the same way and assembled, so that it cannot say anything else than a stream.
"""

import struct
from base64 import b64encode
from typing import Any

import msgspec

from tesela.errors import UpstreamProtocolError
from tesela.providers.base import Call
from tesela.wire.assemble import Assembler
from tesela.wire.document import encode
from tesela.wire.tasks import Task

Part = dict[str, Any]
EMPTY = b'""'
OBJECT = {Task.CHAT: "chat.completion.chunk", Task.COMPLETIONS: "text_completion"}


class ChunkWriter:
    """One choice of one answer, into `out`, which its user empties.  Completions have room for text only.

    Texts and arguments are given as JSON strings, as most of them came in that form.
    """

    __slots__ = ("_chat", "_head", "_task", "calls", "out", "said")

    def __init__(self, call: Call, *, id: str, model: str = "") -> None:
        self._task = call.task
        self._chat = call.task is Task.CHAT
        head = {"id": id, "object": OBJECT[call.task], "created": call.created, "model": model or call.upstream.model}
        self._head = encode(head)[:-1] + b',"choices":['
        self.out: list[bytes] = []
        self.calls = 0
        self.said = False
        if self._chat:
            self._delta(b'{"role":"assistant","content":null}')

    def _delta(self, delta: bytes, logprobs: bytes = b"null", index: int = 0) -> None:
        form = b'%s{"index":%d,"delta":%s,"logprobs":%s,"finish_reason":null}]}'
        self.out.append(form % (self._head, index, delta, logprobs))

    def text(self, text: bytes, logprobs: bytes = b"null") -> None:
        if text == EMPTY and self.said and logprobs == b"null":
            return
        self.said = True
        if self._chat:
            self._delta(b'{"content":%s}' % text, logprobs)
        elif text != EMPTY:
            form = b'%s{"index":0,"text":%s,"logprobs":null,"finish_reason":null}]}'
            self.out.append(form % (self._head, text))

    def thought(self, **item: Any) -> None:
        """`text` and perhaps `signature`: an item of a reasoning part, or a piece of one."""
        self.part({"type": "reasoning", "summary": [{"type": "summary_text", **item}]})

    def hidden(self, data: str) -> None:
        """A thought that only the provider can read."""
        self.part({"type": "reasoning", "summary": [{"type": "summary_encrypted_text", "data": data}]})

    def part(self, part: Part) -> None:
        if self._chat:
            self.said = True
            self._delta(b'{"content":[%s]}' % encode(part))

    def field(self, **fields: Any) -> None:
        """Fields of the message beside its content."""
        if self._chat:
            self._delta(encode(fields))

    def call(self, id: str, name: str, arguments: str = "", **rest: Any) -> int:
        """Begin a call; gives its index."""
        index, self.calls = self.calls, self.calls + 1
        if self._chat:
            function = {"name": name, "arguments": arguments}
            told = {"index": index, "id": id, "type": "function", "function": function, **rest}
            self._delta(b'{"tool_calls":[%s]}' % encode(told))
        return index

    def arguments(self, index: int, piece: bytes) -> None:
        if self._chat and piece != EMPTY:
            self._delta(b'{"tool_calls":[{"index":%d,"function":{"arguments":%s}}]}' % (index, piece))

    def end(self, finish: str) -> None:
        """The reason for the end.  An answer of nothing at all is an empty text."""
        if not self.said and not self.calls:
            self.text(EMPTY)
        last = b'"delta":{}' if self._chat else b'"text":""'
        form = b'%s{"index":0,%s,"logprobs":null,"finish_reason":%s}]}'
        self.out.append(form % (self._head, last, encode(finish)))

    def usage(self, counted: Part) -> None:
        self.out.append(self._head + b'],"usage":%s}' % encode(counted))

    def taken(self) -> list[bytes]:
        """What has been written since the last time."""
        out, self.out = self.out, []
        return out

    def whole(self) -> bytes:
        """All of it as the whole answer of the task."""
        assembler = Assembler(self._task)
        for chunk in self.taken():
            assembler.feed(chunk)
        return assembler.finish()


def counts(prompt: int, completion: int, *, cached: int | None = None, reasoning: int | None = None) -> Part:
    """A unified usage.  `prompt` holds the cached tokens too, `completion` those of the reasoning."""
    out: Part = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    if cached is not None:
        out["prompt_tokens_details"] = {"cached_tokens": cached}
        out["cache_read_input_tokens"] = cached
    if reasoning is not None:
        out["completion_tokens_details"] = {"reasoning_tokens": reasoning}
    return out


def embeddings(vectors: list[Any], model: str, prompt: int, *, packed: bool) -> bytes:
    """The whole answer of an embeddings call.  `packed` asks for OpenAI's base64: 32-bit numbers, lowest byte first."""
    if packed:
        vectors = [b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() for vector in map(_numbers, vectors)]
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    usage = {"prompt_tokens": prompt, "total_tokens": prompt}
    return encode({"object": "list", "data": data, "model": model, "usage": usage})


def _numbers(vector: Any) -> list[float]:
    if not isinstance(vector, msgspec.Raw):
        return list(vector)
    try:
        return msgspec.json.decode(vector, type=list[float])
    except (msgspec.DecodeError, RecursionError) as exc:
        raise UpstreamProtocolError("the provider sent an embedding that is no list of numbers") from exc
