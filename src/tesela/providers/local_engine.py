"""What the engine says, as typed values: the parts of its stream that anybody reads, and its errors as ours.

Everything else in it (timings, fingerprints, ids of its own) is left where it is.
"""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from tesela.errors import (
    UpstreamError,
    UpstreamFailed,
    UpstreamProtocolError,
    UpstreamRejected,
    UpstreamUnavailable,
)
from tesela.wire.document import encode

Raw = msgspec.Raw
NOTHING = Raw()
NULL = b"null"
USAGE = Raw(b'{"include_usage":true}')


class Details(msgspec.Struct):
    cached_tokens: int = 0


class EngineUsage(msgspec.Struct):
    """Counts of one choice: the engine never adds up."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: Details | None = None


class Told(msgspec.Struct):
    """An error.  `code` is the status that the engine gave or would have given."""

    code: int = 500
    message: str = ""
    type: str = ""
    n_prompt_tokens: int = 0
    n_ctx: int = 0


class _Refusal(msgspec.Struct):
    error: Told | None = None


class Top(msgspec.Struct):
    token: str
    logprob: float
    bytes: list[int] | None = None


class Entry(msgspec.Struct):
    """The log probability of one token, in OpenAI's fields and no other."""

    token: str
    logprob: float
    bytes: list[int] | None = None
    top_logprobs: list[Top] = []


class Entries(msgspec.Struct):
    content: list[Entry] | None = None


class Total:
    """Adds up the usage of the choices of one answer.  The tokens of one prompt count once, however many choices."""

    __slots__ = ("_cached", "_completion", "_prompts")

    def __init__(self) -> None:
        self._prompts: dict[int, int] = {}
        self._completion = 0
        self._cached = 0

    def add(self, usage: EngineUsage, prompt: int) -> None:
        """`prompt` is the position of the choice's prompt among the prompts of the call."""
        if prompt not in self._prompts and usage.prompt_tokens_details is not None:
            self._cached += usage.prompt_tokens_details.cached_tokens
        self._prompts[prompt] = usage.prompt_tokens
        self._completion += usage.completion_tokens

    def encoded(self, *, completion: int | None = None) -> bytes:
        """OpenAI's usage object.  `completion` overrides the count, for an answer that was asked to be empty."""
        prompt = sum(self._prompts.values())
        made = self._completion if completion is None else completion
        return encode(
            {
                "prompt_tokens": prompt,
                "completion_tokens": made,
                "total_tokens": prompt + made,
                "prompt_tokens_details": {"cached_tokens": self._cached},
            }
        )


Kind = TypeVar("Kind")


def reader(kind: type[Kind]) -> Callable[[bytes], Kind]:
    """A decoder of one of the engine's values.  Raises UpstreamProtocolError for anything else."""
    decode = msgspec.json.Decoder(kind).decode

    def read(data: bytes | Any) -> Kind:
        try:
            return decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise UpstreamProtocolError(f"the engine said something that cannot be read: {exc}") from exc

    return read


read_entries = reader(Entries)
_read_refusal = reader(_Refusal)


def failure(status: int, body: bytes, retry_after_s: int | None) -> UpstreamError:
    """The error for a status of 400 and above from the engine."""
    try:
        told = _read_refusal(body).error
    except UpstreamProtocolError:
        told = None
    return refused(told or Told(), status, retry_after_s)


def refused(told: Told, status: int | None = None, retry_after_s: int | None = None) -> UpstreamError:
    """The error that the engine told, with a status or inside a stream that had begun.

    Its 4xx are about the request.  Its 401 and 404 are not the caller's affair: they mean that the socket is held by
    an engine that is not the one we started.
    """
    status = told.code if status is None else status
    if told.type == OVERFLOW:
        text = (
            f"the request has {told.n_prompt_tokens} tokens and this model's context holds {told.n_ctx}: "
            "shorten it or ask a model with a larger context"
        )
        return UpstreamRejected(text, reason="context_length_exceeded", upstream_status=status)
    if status in (401, 403, 404, 503):
        text = "the local model is starting; try again in a moment"
        return UpstreamUnavailable(text, retry_after_s=retry_after_s or 1, upstream_status=status)
    if status >= 500 or status < 400:
        text = f"the local model failed: {told.message or 'it gave no reason'}"
        return UpstreamFailed(text, upstream_status=status)
    message = told.message.removeprefix(NOISE).removeprefix(SAMPLERS)
    field = _FIELD.match(message)
    text = f"the local model refused the request: {message or 'it gave no reason'}"
    if message == BAD_GRAMMAR:
        text = "the local model refused the request: 'grammar', or a 'pattern' in a schema, cannot be read"
    return UpstreamRejected(text, param=field[1] if field else None, upstream_status=status)


OVERFLOW = "exceed_context_size_error"
SAMPLERS = "Failed to initialize samplers: "
BAD_GRAMMAR = "failed to parse grammar"
_FIELD = re.compile(r"Field '(\w+)'")
NOISE = "Unable to generate parser for this template. Automatic parser generation failed: "
