"""Token counts, read from the unified form without parsing the rest of it."""

import re

import msgspec

KEY = b'"usage"'
# A usage object has objects one level down, the details.
_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_DETAILS = rb'\{[^{}"]*(?:%b[^{}"]*)*\}' % _STRING
_OBJECT = re.compile(rb'"usage"\s*:\s*(\{[^{}"]*(?:(?:%b|%b)[^{}"]*)*\})' % (_STRING, _DETAILS))

SMALL = 2048
"""Bytes up to which skipping through the whole answer in C costs less than a match."""


class Usage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Token counts of one invocation.  Embeddings have no completion tokens."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


class _Answer(msgspec.Struct):
    usage: Usage | None = None


class _Nullable(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None


class _NullableAnswer(msgspec.Struct):
    usage: _Nullable | None = None


class _Responses(msgspec.Struct):
    """Also Anthropic's counts, which leave the cached tokens out of the others and give no sum."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class _Metadata(msgspec.Struct):
    """https://ai.google.dev/api/generate-content#UsageMetadata"""

    promptTokenCount: int | None = None
    candidatesTokenCount: int | None = None
    thoughtsTokenCount: int | None = None
    toolUsePromptTokenCount: int | None = None


class _Gemini(msgspec.Struct):
    usageMetadata: _Metadata


_gemini = msgspec.json.Decoder(_Gemini, strict=False)
_responses = msgspec.json.Decoder(_Responses, strict=False)
_nullable = msgspec.json.Decoder(_NullableAnswer, strict=False)
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
        return _of_gemini(body) if b'"usageMetadata"' in body else None
    match = _OBJECT.match(body, at) if len(body) > SMALL else None
    try:
        found = _usage.decode(match[1]) if match is not None else _answer.decode(body).usage
    except msgspec.DecodeError:
        return _with_nulls(body)
    except (UnicodeDecodeError, RecursionError):
        return None
    if (found is None or not found.prompt_tokens) and b'"input_tokens"' in body:
        return _of_responses(body, at)
    return found


def _of_responses(body: bytes, at: int) -> Usage | None:
    """The Responses API has other names for the counts, and in a stream one level deeper."""
    match = _OBJECT.match(body, at)
    try:
        found = _responses.decode(match[1]) if match is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if found is None:
        return None
    read = found.input_tokens + (found.cache_creation_input_tokens or 0) + (found.cache_read_input_tokens or 0)
    return Usage(read, found.output_tokens, found.total_tokens or read + found.output_tokens)


def _of_gemini(body: bytes) -> Usage | None:
    """An answer in Gemini's own form, which leaves thoughts out of the answer's tokens."""
    try:
        found = _gemini.decode(body).usageMetadata
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    read = (found.promptTokenCount or 0) + (found.toolUsePromptTokenCount or 0)
    written = (found.candidatesTokenCount or 0) + (found.thoughtsTokenCount or 0)
    return Usage(read, written, read + written)


def _with_nulls(body: bytes) -> Usage | None:
    """The same where a server writes null for what it did not count."""
    try:
        found = _nullable.decode(body).usage
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if found is None:
        return None
    return Usage(found.prompt_tokens or 0, found.completion_tokens or 0, found.total_tokens or 0)


def span(chunk: bytes) -> tuple[int, int] | None:
    """Where the usage object of a chunk stands, as (start, end) of its bytes; None when there is none."""
    match = _OBJECT.search(chunk)
    return match.span(1) if match is not None else None
