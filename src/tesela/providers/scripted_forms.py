"""Choices as the bodies and chunks of OpenAI's form.

Ids come from the request's bytes and `created` never changes, so that an answer is the same to the last byte.
"""

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import msgspec

from tesela.providers.scripted_answer import Piece, Spoken
from tesela.providers.scripted_text import alternatives, logprob

Form = dict[str, Any]

CREATED = 1_700_000_000
"""Seconds since the epoch: a plausible time that no program takes for a missing one."""
FINGERPRINT = "fp_scripted"


class Frame(msgspec.Struct, frozen=True):
    """What is the same in an answer and in all chunks.  `usage` is None when the model tells none."""

    id: str
    model: str
    usage: Form | None
    logprobs: int | None = None

    def around(self, kind: str, choices: list[Form]) -> Form:
        return {
            "id": self.id,
            "object": kind,
            "created": CREATED,
            "model": self.model,
            "system_fingerprint": FINGERPRINT,
            "choices": choices,
        }


def chat_answer(frame: Frame, spoken: list[Spoken]) -> Form:
    choices = [
        {
            "index": index,
            "message": _message(one),
            "logprobs": _logprobs(one.pieces, frame.logprobs),
            "finish_reason": one.finish,
        }
        for index, one in enumerate(spoken)
    ]
    return _with_usage(frame.around("chat.completion", choices), frame)


def _message(one: Spoken) -> Form:
    message: Form = {"role": "assistant", "content": one.text("content") if one.texts else None}
    message["refusal"] = one.text("refusal") or None
    reasoning = one.text("reasoning_content")
    if reasoning:
        message["reasoning_content"] = reasoning
    if one.calls:
        message["tool_calls"] = [
            {
                "id": call_id,
                "type": "function",
                "function": {"name": one.text("name", index), "arguments": one.text("arguments", index)},
            }
            for index, call_id in enumerate(one.calls)
        ]
    return message


def chat_chunks(frame: Frame, spoken: list[Spoken], *, usage: bool) -> Iterator[Form]:
    """The chunks of a stream, those of several choices in turn.  `usage`: whether the caller asked for it."""

    def chunk(index: int, delta: Form, logprobs: Form | None = None, finish: str | None = None) -> Form:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        found = frame.around("chat.completion.chunk", [choice])
        return {**found, "usage": None} if usage else found

    def one_choice(index: int, one: Spoken) -> Iterator[Form]:
        yield chunk(index, {"role": "assistant", "content": "" if one.texts else None, "refusal": None})
        for piece in one.pieces:
            yield chunk(index, _delta(piece, one), _logprobs([piece], frame.logprobs))
        yield chunk(index, {}, finish=one.finish)

    yield from _in_turn([one_choice(index, one) for index, one in enumerate(spoken)])
    if usage and frame.usage is not None:
        yield {**frame.around("chat.completion.chunk", []), "usage": frame.usage}


def _delta(piece: Piece, one: Spoken) -> Form:
    if piece.kind == "name":
        function = {"name": piece.text, "arguments": ""}
        call = {"index": piece.call, "id": one.calls[piece.call], "type": "function", "function": function}
        return {"tool_calls": [call]}
    if piece.kind == "arguments":
        return {"tool_calls": [{"index": piece.call, "function": {"arguments": piece.text}}]}
    return {piece.kind: piece.text}


def _logprobs(pieces: list[Piece], top: int | None) -> Form | None:
    if top is None:
        return None
    found = {
        kind: [_token(piece.text, top) for piece in pieces if piece.kind == kind] for kind in ("content", "refusal")
    }
    return {kind: listed or None for kind, listed in found.items()} if any(found.values()) else None


def _token(token: str, top: int) -> Form:
    def one(text: str, value: float) -> Form:
        return {"token": text, "logprob": value, "bytes": list(text.encode())}

    return {**one(token, logprob(token)), "top_logprobs": [one(*other) for other in alternatives(token, top)]}


def completion_answer(frame: Frame, spoken: list[Spoken]) -> Form:
    choices = [
        {
            "index": index,
            "text": one.text("content"),
            "logprobs": _old_logprobs(one.tokens("content"), 0, frame.logprobs),
            "finish_reason": one.finish,
        }
        for index, one in enumerate(spoken)
    ]
    return _with_usage(frame.around("text_completion", choices), frame)


def completion_chunks(frame: Frame, spoken: list[Spoken], *, usage: bool) -> Iterator[Form]:
    def chunk(index: int, text: str, logprobs: Form | None = None, finish: str | None = None) -> Form:
        choice = {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}
        found = frame.around("text_completion", [choice])
        return {**found, "usage": None} if usage else found

    def one_choice(index: int, one: Spoken) -> Iterator[Form]:
        offset = 0
        for token in one.tokens("content"):
            yield chunk(index, token, _old_logprobs([token], offset, frame.logprobs))
            offset += len(token)
        yield chunk(index, "", finish=one.finish)

    yield from _in_turn([one_choice(index, one) for index, one in enumerate(spoken)])
    if usage and frame.usage is not None:
        yield {**frame.around("text_completion", []), "usage": frame.usage}


def _old_logprobs(tokens: list[str], offset: int, top: int | None) -> Form | None:
    """The form of completions.  The first token of all has no log probability when it is of an echoed prompt; we give
    every token one, which is simpler to test against."""
    if top is None or not tokens:
        return None
    offsets = [offset]
    for token in tokens[:-1]:
        offsets.append(offsets[-1] + len(token))
    return {
        "tokens": tokens,
        "token_logprobs": [logprob(token) for token in tokens],
        "top_logprobs": [dict(alternatives(token, max(top, 1))) for token in tokens],
        "text_offset": offsets,
    }


def _with_usage(answer: Form, frame: Frame) -> Form:
    return answer if frame.usage is None else {**answer, "usage": frame.usage}


def _in_turn(streams: list[Iterator[Form]]) -> Iterator[Form]:
    for turn in zip_longest(*streams):
        yield from (chunk for chunk in turn if chunk is not None)
