"""Token counts, read from the unified form without parsing the rest of it."""

import re

import msgspec

KEY = b'"usage"'
# A usage object has objects one level down (the details) and no strings with braces in them.
_OBJECT = re.compile(rb'"usage"\s*:\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')


SMALL = 2048
"""Bytes up to which skipping through the whole answer in C costs less than a match."""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Token counts of one invocation.  Embeddings have no completion tokens."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class _Answer(msgspec.Struct):
    usage: Usage | None = None


_usage = msgspec.json.Decoder(Usage, strict=False)
_answer = msgspec.json.Decoder(_Answer, strict=False)


def find(body: bytes) -> Usage | None:
    """The usage in a whole answer or in a chunk; None when it gives none.

    Inside a JSON string a quote is always escaped, so the bytes `"usage"` followed by a colon can only be a key.  It
    comes last or nearly so in every provider's answer, which makes the search from the end cheap; a nested key of
    that name, or a form that the pattern does not know, falls back to decoding the answer.
    """
    at = body.rfind(KEY)
    if at < 0:
        return None
    match = _OBJECT.match(body, at) if len(body) > SMALL else None
    try:
        if match is not None:
            return _usage.decode(match[1])
        return _answer.decode(body).usage
    except (msgspec.DecodeError, RecursionError):
        return None


def span(chunk: bytes) -> tuple[int, int] | None:
    """Where the usage object of a chunk stands, as (start, end) of its bytes; None when there is none."""
    match = _OBJECT.search(chunk)
    return match.span(1) if match is not None else None
