"""Names that tell a scripted model how to behave, such as `echo`, `slow-250ms` or `flaky-2`; `+` joins several.

A name without a trait is any name: the model then answers politely.
"""

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from tesela.errors import ConfigError

Fields = dict[str, Any]


def traits(model: str) -> tuple[Fields, int]:
    """(the fields of a Reply, how many first calls fail) that a model's name stands for.

    Raises ConfigError for a number out of range, and for a name of several parts of which some are traits.
    """
    parts = model.split("+")
    found = [_trait(part) for part in parts]
    if not any(one is not None for one in found):
        return {}, 0
    fields: Fields = {}
    for part, one in zip(parts, found, strict=True):
        if one is None:
            close = get_close_matches(part, [form.replace("-N", "-2") for form in KNOWN], n=1)
            more = f"did you mean {close[0]!r}?" if close else f"known are {', '.join(KNOWN)}"
            raise ConfigError(f"the model {model!r} has traits in its name, and {part!r} is none; {more}")
        fields.update(one)
    return fields, fields.pop("failures", 0)


def _trait(part: str) -> Fields | None:
    for pattern, build in TRAITS.items():
        match = re.fullmatch(pattern, part)
        if match is not None:
            return build(match[1]) if match.re.groups else build("")
    return None


def _seconds(given: str | None, usual: float) -> float:
    if not given:
        return usual
    seconds = int(given[:-2]) / 1000 if given.endswith("ms") else float(given[:-1])
    if seconds > 3600:
        raise ConfigError(f"a model cannot wait for {given}: an hour is the most")
    return seconds


def _status(given: str) -> Fields:
    status = int(given)
    if not 400 <= status <= 599:
        raise ConfigError(f"a model cannot answer with the error {given}: a status from 400 to 599 is one")
    return {"error": {"status": status, "retry_after": 1 if status == 429 else None}}


def _long(given: str) -> Fields:
    count = int(given)
    if count > LONGEST:
        raise ConfigError(f"a model cannot answer with {count} tokens: {LONGEST} are the most")
    return {"reply": " ".join(f"w{number}" for number in range(1, count + 1))}


UNICODE = (
    "Line\u2028paragraph\u2029next\u0085, a family \U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466, a flag "
    "\U0001f1ea\U0001f1f8, an accent e\u0301, right to left \u05e9\u05dc\u05d5\u05dd \u202emirror\u202c, "
    '\u6f22\u5b57, a NUL \x00, a "quote", a \\, a tab\t, data: [DONE]\n\ndata: {}\r\nend \U0001f600'
)
"""What breaks careless readers: line separators that are no line breaks, emoji of several code points, both directions,
control characters, and text that looks like the framing around it."""

LONGEST = 1_000_000
NUMBER = r"(\d{1,9})"
TIME = r"(?:-(\d{1,9}(?:ms|s)))?"

TRAITS: Mapping[str, Callable[[str], Fields]] = {
    r"echo": lambda _: {"reply": "{last_user}"},
    rf"slow{TIME}": lambda given: {"delay_s": _seconds(given, 1.0)},
    rf"drip{TIME}": lambda given: {"chunk_delay_s": _seconds(given, 0.05)},
    rf"flaky(?:-{NUMBER})?": lambda given: {"failures": int(given or 1)},
    rf"error-{NUMBER}": _status,
    rf"cut-after-{NUMBER}": lambda given: {"cut_after": int(given)},
    rf"stall-after-{NUMBER}": lambda given: {"stall_after": int(given)},
    rf"error-after-{NUMBER}": lambda given: {"error_after": int(given)},
    r"bad-json": lambda _: {"raw": '{"id":"chatcmpl-0","object":"chat.completion","choices":[{"index":0,'},
    r"tool-call": lambda _: {"tool_calls": [{}]},
    r"unicode": lambda _: {"reply": UNICODE, "cut_characters": True},
    rf"long-{NUMBER}": _long,
    r"no-usage": lambda _: {"usage": False},
    r"reasoning": lambda _: {"reasoning": 'The user wrote "{last_user}". I will answer.'},
    r"refusal": lambda _: {"refusal": "I'm sorry, but I can't help with that."},
    r"empty": lambda _: {"reply": ""},
}
KNOWN = (
    "echo", "slow", "slow-Nms", "drip", "drip-Nms", "flaky-N", "error-N", "cut-after-N", "stall-after-N",
    "error-after-N", "bad-json", "tool-call", "unicode", "long-N", "no-usage", "reasoning", "refusal", "empty",
)  # fmt: skip
"""As people write them, for messages and for the guide."""
