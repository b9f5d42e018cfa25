"""Joins the unified chunks of one stream into the whole answer that the same call would have given.

Strings of a delta are concatenated, lists extended, tool calls merged by their index; what nobody here has heard of is
kept by the same rules.  It refuses to invent: a stream without a single choice has no answer.
"""

from typing import Any

import msgspec

from tesela.errors import UpstreamFailed, UpstreamProtocolError
from tesela.wire.document import encode
from tesela.wire.tasks import Task

_decode = msgspec.json.Decoder().decode

OBJECT: dict[Task, str] = {Task.CHAT: "chat.completion", Task.COMPLETIONS: "text_completion"}
"""The tasks that can stream in the unified form, and the `object` of their whole answers."""

FIRST = frozenset({"id", "type", "role", "object", "index"})
"""Keys whose value is told once; a server that repeats it does not mean it twice."""

PIECES = (None, "text", "output_text", "refusal", "reasoning", "thinking")
"""Types of content parts that come in pieces.  Two neighbours of another type are two."""

TOP = ("id", "object", "created", "model", "choices", "usage", "service_tier", "system_fingerprint")
MESSAGE = ("role", "content", "refusal", "reasoning_content", "tool_calls", "function_call")


class Assembler:
    """One stream of a chat or completions call.  `feed` takes one chunk's JSON, `finish` gives the answer's JSON."""

    __slots__ = ("_choices", "_task", "_top")

    def __init__(self, task: Task) -> None:
        if task not in OBJECT:
            raise ValueError(f"{task} has no chunks to assemble")
        self._task = task
        self._top: dict[str, Any] = {}
        self._choices: dict[int, _Choice] = {}

    def feed(self, chunk: bytes) -> None:
        """Raises UpstreamFailed for a chunk that is an error, UpstreamProtocolError for one that is no chunk."""
        try:
            told = _decode(chunk)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
            raise UpstreamProtocolError(f"the provider's stream has a chunk that is not JSON: {exc}") from exc
        if told is None:
            return  # llama.cpp opens the stream of a list of prompts with one.
        if not isinstance(told, dict):
            raise UpstreamProtocolError("the provider's stream has a chunk that is not an object")
        if told.get("error") and "choices" not in told:
            raise _failure(told["error"])
        choices = told.pop("choices", None)
        for key, value in told.items():
            if value is not None or key not in self._top:
                self._top[key] = value
        for position, choice in enumerate(choices or ()):
            if not isinstance(choice, dict):
                raise UpstreamProtocolError("the provider's stream has a choice that is not an object")
            index = choice.get("index")
            index = index if isinstance(index, int) else position
            state = self._choices.get(index)
            if state is None:
                state = self._choices[index] = _Choice()
            state.feed(choice)

    def finish(self) -> bytes:
        """The whole answer.  Raises UpstreamProtocolError when no choice ever came."""
        if not self._choices:
            raise UpstreamProtocolError("the provider's stream ended without a single choice")
        build = _Choice.message if self._task is Task.CHAT else _Choice.completion
        choices = [build(self._choices[index], index) for index in sorted(self._choices)]
        top = {**self._top, "object": OBJECT[self._task], "choices": choices}
        if top.get("usage") is None:
            top.pop("usage", None)
        return encode(_ordered(top, TOP))


class _Choice:
    """What has come of one choice.  Text is kept in pieces: answers are long and pieces are many."""

    __slots__ = ("_content", "_delta", "_pieces", "_rest", "_text")

    def __init__(self) -> None:
        self._text: list[str] = []  # `text` of a completion
        self._pieces: list[str] | None = None  # `delta.content`, as long as it is text
        self._content: list[Any] | None = None  # `delta.content`, once it is a list of parts
        self._delta: dict[str, Any] = {}
        self._rest: dict[str, Any] = {}

    def feed(self, choice: dict[str, Any]) -> None:
        for key, value in choice.items():
            if key == "delta":
                if isinstance(value, dict):
                    self._feed_delta(value)
            elif key == "text":
                self._text.append(value or "")
            elif key == "logprobs":
                self._rest[key] = _extended(self._rest.get(key), value)
            elif key != "index" and (value is not None or key not in self._rest):
                self._rest[key] = value

    def _feed_delta(self, delta: dict[str, Any]) -> None:
        for key, value in delta.items():
            if key == "content":
                self._feed_content(value)
            elif key == "tool_calls":
                self._delta[key] = _calls(self._delta.get(key), value)
            else:
                self._delta[key] = joined(self._delta.get(key), value, key)

    def _feed_content(self, value: Any) -> None:
        if value is None:
            return
        if isinstance(value, str) and self._content is None:
            if self._pieces is None:
                self._pieces = []
            self._pieces.append(value)
            return
        parts = [{"type": "text", "text": value}] if isinstance(value, str) else list(value)
        if self._content is None:
            before = "".join(self._pieces or ())
            self._content = [{"type": "text", "text": before}] if before else []
        for part in parts:
            last = self._content[-1] if self._content else None
            if isinstance(last, dict) and isinstance(part, dict) and last.get("type") == part.get("type") in PIECES:
                self._content[-1] = joined(last, part, "")
            else:
                self._content.append(part)

    def message(self, index: int) -> dict[str, Any]:
        """The choice of a whole chat answer."""
        message = {"role": "assistant", **self._delta}
        text = None if self._pieces is None else "".join(self._pieces)
        message["content"] = text if self._content is None else self._content
        if message.get("tool_calls"):
            message["tool_calls"] = [
                {key: value for key, value in call.items() if key != "index"} if isinstance(call, dict) else call
                for call in message["tool_calls"]
            ]
        rest = {"logprobs": None, "finish_reason": None, **self._rest}
        return {"index": index, "message": _ordered(message, MESSAGE), **rest}

    def completion(self, index: int) -> dict[str, Any]:
        """The choice of a whole completions answer."""
        rest = {"logprobs": None, "finish_reason": None, **self._rest}
        return {"text": "".join(self._text), "index": index, **rest}


def joined(old: Any, new: Any, key: str) -> Any:
    """Two values that a stream gave for one key, as the one value that they mean together."""
    if new is None:
        return old
    if old is None or (isinstance(old, dict) and not old):
        return new
    if key in FIRST:
        return old or new
    if isinstance(old, str) and isinstance(new, str):
        return old if key == "name" and old == new else old + new
    if isinstance(old, list) and isinstance(new, list):
        return _thoughts(old, new) if key == "summary" else _merged(old, new)
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{name: joined(old.get(name), value, name) for name, value in new.items()}}
    return new


def _merged(old: list[Any], new: list[Any]) -> list[Any]:
    """Items that say their index are pieces of the item with that index; others follow one another."""
    out = list(old)
    at = {item["index"]: position for position, item in enumerate(out) if isinstance(item, dict) and "index" in item}
    for item in new:
        position = at.get(item["index"]) if isinstance(item, dict) and "index" in item else None
        if position is None:
            if isinstance(item, dict) and "index" in item:
                at[item["index"]] = len(out)
            out.append(item)
        else:
            out[position] = joined(out[position], item, "")
    return out


def _thoughts(old: list[Any], new: list[Any]) -> list[Any]:
    """Pieces of a reasoning part's texts.  A text is whole once it has its signature."""
    out = list(old)
    for item in new:
        last = out[-1] if out else None
        if isinstance(last, dict) and isinstance(item, dict) and _continues(last, item):
            out[-1] = joined(last, item, "")
        else:
            out.append(item)
    return out


def _continues(last: dict[str, Any], item: dict[str, Any]) -> bool:
    return last.get("type") == item.get("type") == "summary_text" and "signature" not in last


def _calls(old: list[Any] | None, new: Any) -> list[Any] | None:
    """Tool calls merge by index.  Where a server leaves it out, an id begins a call and what has none continues it."""
    if not isinstance(new, list):
        return old
    out = list(old or ())
    for call in new:
        if isinstance(call, dict) and "index" in call:
            out = _merged(out, [call])
        elif out and isinstance(call, dict) and isinstance(out[-1], dict) and not call.get("id"):
            out[-1] = joined(out[-1], call, "")
        else:
            out.append(call)
    return out


def _extended(old: Any, new: Any) -> Any:
    """Log probabilities: every list is a column that grows; a null column stays null until it has values."""
    if not isinstance(old, dict) or not isinstance(new, dict):
        return old if new is None else new
    out = dict(old)
    for key, value in new.items():
        before = out.get(key)
        if isinstance(before, list) and isinstance(value, list):
            before.extend(value)
        elif value is not None or key not in out:
            out[key] = value
    return out


def _ordered(fields: dict[str, Any], order: tuple[str, ...]) -> dict[str, Any]:
    head = {key: fields[key] for key in order if key in fields}
    return {**head, **{key: value for key, value in fields.items() if key not in head}}


def _failure(error: Any) -> UpstreamFailed:
    told = error.get("message") if isinstance(error, dict) else error
    return UpstreamFailed(str(told) if told else "the provider ended the stream with an error and no message")
