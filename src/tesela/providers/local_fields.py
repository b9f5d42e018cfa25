"""Every request field, and what becomes of it when the model is one of ours.

Translated fields are read and written anew, passed ones go to the engine as they came (checked first), ignored ones
change nothing in an answer, neutral ones are taken at the value that asks for nothing.  Every other field is refused
by name: llama.cpp would take it without a word and do nothing.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from tesela.errors import Unsupported
from tesela.wire import check
from tesela.wire.document import Document, value


class Fields(msgspec.Struct, frozen=True):
    """The accounting of one task.  `ignored` and `refused` give the reason, `neutral` the values that are taken."""

    translated: frozenset[str]
    passed: Mapping[str, check.Rule]
    ignored: Mapping[str, str]
    neutral: Mapping[str, tuple[Any, ...]]
    refused: Mapping[str, str]


def passed(document: Document, fields: Fields) -> Document:
    """What goes on as it came.  Raises Unsupported for a field that means nothing here, InvalidRequest for a wrong one.

    Null is how clients write "not given", so a null never counts.
    """
    out: Document = {}
    for name, raw in document.items():
        if name in fields.translated or name in fields.ignored or bytes(raw) == b"null":
            continue
        if name in fields.passed:
            check.read(document, name, fields.passed)
            out[name] = raw
            continue
        taken = fields.neutral.get(name, ())
        if taken and value(document, name) in taken:
            continue
        raise Unsupported(_refusal(name, fields, taken), param=name)
    return out


def _refusal(name: str, fields: Fields, taken: tuple[Any, ...]) -> str:
    reason = fields.refused.get(name)
    if taken:
        allowed = " or ".join(msgspec.json.encode(one).decode() for one in taken)
        return f"{name!r}: {reason or 'this model cannot do that'}; leave it out or send {allowed}"
    return f"{name!r}: {reason}" if reason else f"{name!r} is a field that this model does not know; leave it out"


ROUTING = frozenset({"model", "stream", "stream_options"})

MAX_WINDOW = 65536
WINDOW = check.rule(Annotated[int, Meta(ge=-1, le=MAX_WINDOW)], f"must be an integer from -1 to {MAX_WINDOW}")
"""How many tokens a sampler looks back.  The engine sets aside memory for as many as it is told."""

MOST = 1000
"""Far above what any sampler can use; the engine takes numbers beyond its own range for infinite without a word."""
SHARE = check.rule(Annotated[float, Meta(ge=0, le=1)], "must be a number from 0 to 1")
AMOUNT = check.rule(Annotated[float, Meta(ge=0, le=MOST)], f"must be a number from 0 to {MOST}")
Sampler = Literal["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"]
"""The names in the engine's own list (`GET /props`); one that it does not know it leaves out without a word."""

KNOBS: dict[str, check.Rule] = {
    **{
        name: check.SAMPLING[name]
        for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty", "seed", "logit_bias")
    },
    **dict.fromkeys(("min_p", "typical_p", "xtc_probability", "xtc_threshold"), SHARE),
    **dict.fromkeys(
        ("dynatemp_range", "dynatemp_exponent", "mirostat_tau", "mirostat_eta", "dry_multiplier", "dry_base"), AMOUNT
    ),
    "top_n_sigma": check.rule(Annotated[float, Meta(ge=-1, le=MOST)], f"must be a number from -1 to {MOST}"),
    "repeat_penalty": check.rule(Annotated[float, Meta(gt=0, le=MOST)], f"must be a number above 0 and up to {MOST}"),
    **dict.fromkeys(("repeat_last_n", "dry_penalty_last_n"), WINDOW),
    "dry_allowed_length": check.rule(
        Annotated[int, Meta(ge=0, le=MAX_WINDOW)], f"must be an integer up to {MAX_WINDOW}"
    ),
    "top_k": check.rule(Annotated[int, Meta(ge=0, le=2**31 - 1)], "must be an integer of at least 0"),
    "mirostat": check.rule(Literal[0, 1, 2], "must be 0, 1 or 2"),
    "t_max_predict_ms": check.rule(Annotated[int, Meta(ge=0, le=2**31 - 1)], "must be an integer of at least 0"),
    **dict.fromkeys(("ignore_eos", "cache_prompt"), check.FLAG),
    "samplers": check.rule(list[Sampler], f"must be a list of samplers: {', '.join(get_args(Sampler))}"),
    "dry_sequence_breakers": check.rule(
        Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1)],
        "must be a list of at least one string, none of them empty",
    ),
    "grammar": check.rule(Annotated[str, Meta(max_length=16384)], "must be a string of at most 16384 characters"),
}
"""What the engine's sampler takes.  The last names are llama.cpp's own, for callers who know it."""

BOOKKEEPING: dict[str, str] = {
    "user": "says who asks; nothing here depends on it",
    "safety_identifier": "says who asks; nothing here depends on it",
    "metadata": "belongs to stored answers; none are stored",
    "prompt_cache_key": "a hint for a cache that is shared by machines; the engine finds its prefixes itself",
    "prompt_cache_retention": "a hint for a cache that is shared by machines; the engine finds its prefixes itself",
    "client_request_id": "read by the usage record",
    "usage_context": "read by the usage record",
}

CHAT = Fields(
    translated=ROUTING | frozenset(check.CHAT) - frozenset(KNOBS),
    passed=KNOBS,
    ignored=BOOKKEEPING,
    neutral={
        "modalities": (["text"],),
        "store": (False,),
        "service_tier": ("auto", "default"),
        "reasoning_effort": ("none",),
        "thinking": ({"type": "disabled"},),
        "verbosity": ("medium",),
    },
    refused={
        "audio": "this model writes text only",
        "modalities": "this model writes text only",
        "prediction": "this model cannot be given a predicted answer",
        "web_search_options": "this model cannot search the web",
        "store": "answers are not stored",
        "service_tier": "there is one tier",
        "reasoning_effort": "this model does not reason before it answers",
        "thinking": "this model does not reason before it answers",
        "verbosity": "this model cannot be told how much to say",
        "functions": "this older form is not taken; send 'tools'",
        "function_call": "this older form is not taken; send 'tool_choice'",
    },
)

COMPLETIONS = Fields(
    translated=ROUTING | frozenset(check.COMPLETIONS) - frozenset(KNOBS),
    passed={**KNOBS, "json_schema": check.rule(dict[str, Any], "must be a JSON schema")},
    ignored=BOOKKEEPING,
    neutral={"suffix": ("",), "error_behavior": ("error",), "use_raw_prompt": (True,)},
    refused={
        "suffix": "this model can only go on from the prompt, not fill in before a suffix",
        "error_behavior": "a prompt that is too long is refused, never cut",
        "use_raw_prompt": "the prompt is given to the model as it is; for a template use chat",
        "response_format": "completions have no response format; send 'json_schema', or use chat",
    },
)

EMBEDDINGS = Fields(
    translated=ROUTING | frozenset(check.EMBEDDINGS),
    passed={},
    ignored=BOOKKEEPING,
    neutral={},
    refused={},
)
