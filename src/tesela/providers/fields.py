"""What becomes of each field of a request when a provider has another form than ours.

A provider names its translated, ignored, neutral and refused fields; a field that nobody here has heard of goes on as
it came, for the provider may have learned it yesterday.  Nothing is dropped in silence.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from tesela.errors import Unsupported
from tesela.providers.reading import NEEDED
from tesela.wire.document import NULL, Document, value


class Fields(msgspec.Struct, frozen=True):
    """The accounting of one task at one provider.

    `translated` are read by the translation; `ignored` change nothing in an answer, and say why; `neutral` gives the
    values of a refused field that ask for nothing; `refused` says why a field cannot be expressed.
    """

    translated: frozenset[str]
    ignored: Mapping[str, str]
    neutral: Mapping[str, tuple[Any, ...]]
    refused: Mapping[str, str]


def passed(document: Document, fields: Fields, ignore: frozenset[str]) -> Document:
    """What goes on as it came.  The fields that the endpoint ignores are taken out of the document first.

    Null is how clients write "not given", so a null never counts.  Raises Unsupported, naming the field.
    """
    for name in ignore:
        document.pop(name, None)
    out: Document = {}
    for name, raw in document.items():
        if name in fields.translated or name in fields.ignored or raw == NULL:
            continue
        reason = fields.refused.get(name)
        if reason is None:
            out[name] = raw
            continue
        taken = fields.neutral.get(name, ())
        if not taken or value(document, name) not in taken:
            raise unsupported(name, reason, taken)
    return out


def unsupported(name: str, reason: str, taken: tuple[Any, ...] = ()) -> Unsupported:
    """The refusal of a field, with the ways out of it.  `taken` are values that could be sent instead."""
    allowed = " or ".join(msgspec.json.encode(one).decode() for one in taken)
    text = f"{name!r}: {reason}; " + (f"leave it out or send {allowed}" if taken else "leave it out")
    last = name.rpartition(".")[2]
    if last in INSIDE or (last == name and name.isidentifier() and name not in NEEDED):
        text += f", or let the endpoint's owner list {last!r} under `ignore`"
    return Unsupported(text, param=name)


INSIDE = frozenset({"name", "detail", "audio", "function_call"})
"""Fields inside messages that an endpoint may ignore by their own names."""


# ------------------------------------------------------------ what several providers cannot be told, in the same words


def hints(who: str) -> dict[str, str]:
    """Ignored: fields that change nothing in an answer of a provider that stores none."""
    told = f"{who} is not told who asks; nothing in an answer depends on it"
    cache = "a hint for a cache; nothing in an answer depends on it"
    return {
        "user": told,
        "safety_identifier": told,
        "metadata": f"belongs to answers that are stored, which {who} does not do",
        "prompt_cache_key": cache,
        "prompt_cache_retention": cache,
    }


def not_in_chat(who: str) -> dict[str, str]:
    """Refused by chat."""
    return {
        "verbosity": f"{who} cannot be told how much to say",
        "parallel_tool_calls": f"{who} cannot be kept from calling several tools",
        "prediction": f"{who} cannot be given a predicted answer",
        "web_search_options": f"{who} has no web search here",
        "functions": "this older form is not taken; send 'tools'",
        "function_call": "this older form is not taken; send 'tool_choice'",
    }


def not_in_completions(who: str) -> dict[str, str]:
    """Refused by completions that are asked for as a chat of one message."""
    return {
        "best_of": f"{who} gives one answer at a time",
        "echo": f"{who} does not give the prompt back",
        "suffix": f"{who} cannot fill in before a suffix",
        "error_behavior": "a prompt that is too long is refused, never cut",
        "use_raw_prompt": f"{who} takes a prompt as a message only",
        "tools": "completions have no tools; use chat",
        "response_format": "completions have no response format; use chat",
    }


CHAT_NEUTRAL: Mapping[str, tuple[Any, ...]] = {"verbosity": ("medium",), "parallel_tool_calls": (True,)}
COMPLETIONS_NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "best_of": (1,), "echo": (False,), "suffix": ("",), "error_behavior": ("error",)
}  # fmt: skip
