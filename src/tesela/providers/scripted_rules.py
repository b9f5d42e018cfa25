"""The script of a scripted model: what it answers to which request, read from the configuration.

A script is a list of rules, of which the first that matches decides, and a default.  Nothing is drawn by lot and no
clock is read: the same request, asked as often before, gets the same bytes.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tesela.errors import ConfigError
from tesela.providers.scripted_traits import traits

Seconds = Annotated[float, Meta(ge=0, le=3600)]
Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An error answer, in OpenAI's form.  `retry_after` is in seconds and becomes the header of that name."""

    status: Annotated[int, Meta(ge=400, le=599)] = 500
    message: str | None = None
    type: str | None = None
    code: str | None = None
    param: str | None = None
    retry_after: Annotated[int, Meta(ge=0)] | None = None


class Call(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool call.  Without a name it calls the first tool; without arguments they obey the tool's schema."""

    name: str | None = None
    arguments: dict[str, Any] | str | None = None
    id: str | None = None


class Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is answered, and how well it arrives.  Times are in seconds; `…_after` count the events of a stream."""

    reply: str | tuple[str, ...] | None = None
    json: Any = UNSET
    tool_calls: tuple[Call, ...] = ()
    reasoning: str | None = None
    refusal: str | None = None
    embedding: tuple[float, ...] | None = None
    error: Fault | int | None = None
    raw: str | None = None
    cut_after: Count | None = None
    stall_after: Count | None = None
    error_after: Count | None = None
    cut_characters: bool = False
    delay_s: Seconds = 0.0
    chunk_delay_s: Seconds = 0.0
    finish_reason: str | None = None
    usage: dict[str, Any] | bool = True


class When(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that is given must hold.  Texts are looked for in the last user message, the prompt or the input."""

    contains: str | None = None
    matches: str | None = None
    equals: str | None = None
    system_contains: str | None = None
    last_role: str | None = None
    tool_result: str | bool | None = None
    has_tools: bool | None = None
    stream: bool | None = None
    attempt_at_most: Positive | None = None
    attempt_above: Count | None = None
    every: Positive | None = None


class Rule(Reply, frozen=True, forbid_unknown_fields=True, kw_only=True):
    when: When = When()


class Script(msgspec.Struct, frozen=True):
    """All that a scripted model is.  `model` is the name in its answers."""

    model: str
    rules: tuple[Rule, ...]
    default: Reply
    dimensions: int


class _Config(msgspec.Struct, forbid_unknown_fields=True):
    rules: tuple[Rule, ...] = ()
    default: Reply | UnsetType = UNSET
    delay_s: Seconds | UnsetType = UNSET
    chunk_delay_s: Seconds | UnsetType = UNSET
    dimensions: Annotated[int, Meta(ge=1, le=65536)] = 384


class Facts(msgspec.Struct, frozen=True):
    """What rules and templates may ask of a request.  `attempt` counts from 1."""

    text: str
    attempt: int
    streaming: bool
    last_role: str = "user"
    tool_result: str = ""
    system: str = ""
    messages: int = 1
    tools: tuple[str, ...] = ()


def script_from(config: Mapping[str, Any] | None, model: str) -> Script:
    """The script of one model.  Raises ConfigError that says which rule is wrong.

    `default` replaces the reply that the model's name stands for.  Its pace (`delay_s`, `chunk_delay_s`) holds for
    every rule that has none of its own; nothing else is inherited.
    """
    by_name, name_rules = _named(model)
    try:
        read = msgspec.convert(dict(config or {}), _Config)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"the script of model {model!r} is wrong: {_place(str(exc))}") from exc
    default = by_name if isinstance(read.default, UnsetType) else read.default
    pace = {
        "delay_s": by_name.delay_s if isinstance(read.delay_s, UnsetType) else read.delay_s,
        "chunk_delay_s": by_name.chunk_delay_s if isinstance(read.chunk_delay_s, UnsetType) else read.chunk_delay_s,
    }
    rules = tuple(_paced(rule, pace) for rule in (*name_rules, *read.rules))
    default = _paced(default, pace)
    for index, rule in enumerate(read.rules):
        _check(rule, f"the script of model {model!r} is wrong: rules[{index}]")
    _check(default, f"the script of model {model!r} is wrong: default")
    return Script(model, rules, default, read.dimensions)


Kind = TypeVar("Kind", bound=Reply)


def _named(model: str) -> tuple[Reply, tuple[Rule, ...]]:
    """What a model's name says: the usual reply, and rules before all others."""
    found, failures = traits(model)
    rules = (Rule(when=When(attempt_at_most=failures), error=Fault(503)),) if failures else ()
    return msgspec.convert(found, Reply), rules


def _paced(reply: Kind, pace: dict[str, float]) -> Kind:
    missing = {name: seconds for name, seconds in pace.items() if not getattr(reply, name)}
    return msgspec.structs.replace(reply, **missing)


def _check(reply: Reply, place: str) -> None:
    """What the types cannot say."""
    given = [name for name in ANSWERS if getattr(reply, name) not in (None, UNSET)]
    if len(given) > 1:
        raise ConfigError(f"{place} gives both {given[0]!r} and {given[1]!r}; it can give one of them")
    ends = [name for name in ENDS if getattr(reply, name) is not None]
    if len(ends) > 1:
        raise ConfigError(f"{place} gives both {ends[0]!r} and {ends[1]!r}; an answer ends in one way")
    if isinstance(reply.error, int) and not 400 <= reply.error <= 599:
        raise ConfigError(f"{place}.error must be a status from 400 to 599, not {reply.error}")
    if reply.reply == ():
        raise ConfigError(f"{place}.reply is an empty list")
    if reply.embedding is not None and not any(reply.embedding):
        raise ConfigError(f"{place}.embedding must have a number that is not 0")
    if isinstance(reply, Rule) and reply.when.matches is not None:
        try:
            re.compile(reply.when.matches)
        except re.error as exc:
            raise ConfigError(f"{place}.when.matches is not a regular expression: {exc}") from exc


def _place(message: str) -> str:
    """msgspec's sentence with the place first: "rules[2].when: ..."."""
    what, _, path = message.partition(" - at `$")
    what = what.replace("`", "'")
    return f"{path.rstrip('`').lstrip('.')}: {what}" if path.rstrip("`") else what


def choose(script: Script, facts: Facts) -> Reply:
    """The reply to a request: of the first rule that matches, else the default."""
    return next((rule for rule in script.rules if _holds(rule, facts)), script.default)


def _holds(rule: Rule, facts: Facts) -> bool:
    when = rule.when
    if rule.tool_calls and facts.last_role == "tool" and when.last_role is None and when.tool_result is None:
        # The user's message is still the last one when the tool has answered; a rule that called again would
        # go on for ever.
        return False
    return all(wanted is None or TESTS[name](wanted, facts) for name, wanted in zip(FIELDS, _values(when), strict=True))


def _values(when: When) -> list[Any]:
    return [getattr(when, name) for name in FIELDS]


def _tool_result(wanted: str | bool, facts: Facts) -> bool:
    given = facts.last_role == "tool"
    return given is wanted if isinstance(wanted, bool) else given and wanted in facts.tool_result


FIELDS = When.__struct_fields__
TESTS: Mapping[str, Any] = {
    "contains": lambda wanted, facts: wanted in facts.text,
    "matches": lambda wanted, facts: re.search(wanted, facts.text) is not None,
    "equals": lambda wanted, facts: wanted == facts.text,
    "system_contains": lambda wanted, facts: wanted in facts.system,
    "last_role": lambda wanted, facts: wanted == facts.last_role,
    "tool_result": _tool_result,
    "has_tools": lambda wanted, facts: wanted is bool(facts.tools),
    "stream": lambda wanted, facts: wanted is facts.streaming,
    "attempt_at_most": lambda wanted, facts: facts.attempt <= wanted,
    "attempt_above": lambda wanted, facts: facts.attempt > wanted,
    "every": lambda wanted, facts: facts.attempt % wanted == 0,
}
ANSWERS = ("reply", "json", "refusal", "error", "raw", "embedding")
ENDS = ("cut_after", "stall_after", "error_after")
