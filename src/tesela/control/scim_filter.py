"""The filter language of SCIM (RFC 7644, section 3.4.2.2), as far as clients speak it: text in, a test out.

Attributes are checked against those that the resource has, so a filter that is spelled wrongly is an error and not an
empty list.  Names and operators may be written in any case.  Values are JSON; single quotes and bare words are taken
as text too, because clients write them.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import msgspec

from tesela.errors import InvalidRequest

LENGTH_MAX = 4096
DEPTH_MAX = 16

Resource: TypeAlias = Mapping[str, Any]
Test: TypeAlias = Callable[[Resource], bool]
Attributes: TypeAlias = Mapping[str, frozenset[str]]
"""The attributes of a resource with their parts.  A list of values that is compared as a whole is its `value`s."""

CASE_EXACT = frozenset({"id", "externalId", "value"})

_TOKEN = re.compile(
    r"""\s*(?:(?P<mark>[()\[\]])|(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<word>[^\s()\[\]"']+))""", re.DOTALL
)


class Token(NamedTuple):
    kind: str
    text: str
    at: int


class Path(NamedTuple):
    """An attribute and, where it is asked for, one of its parts, as the resource spells them."""

    attribute: str
    part: str = ""


def parse(text: str, attributes: Attributes) -> Test:
    """A filter as a function of a resource.  Raises InvalidRequest that says where it cannot be read."""
    if len(text) > LENGTH_MAX:
        raise InvalidRequest(f"'filter' has {len(text)} characters, and {LENGTH_MAX} are allowed", param="filter")
    reader = _Reader(list(_tokens(text)), attributes)
    found = reader.either(0)
    if (rest := reader.next()) is not None:
        raise _unreadable(f"{rest.text!r} at character {rest.at + 1} does not continue it")
    return found


def path(name: str, attributes: Attributes, field: str = "filter") -> Path:
    """An attribute as it was written, such as `userName`, `name.givenName` or with its URN before it.

    Raises InvalidRequest for one that the resource does not have.
    """
    written = name.rpartition(":")[2] if name.lower().startswith("urn:") else name
    attribute, _, part = written.partition(".")
    known = {one.lower(): one for one in attributes}.get(attribute.lower())
    if known is not None:
        parts = {one.lower(): one for one in attributes[known]}
        if not part or part.lower() in parts:
            return Path(known, parts[part.lower()] if part else "")
    raise InvalidRequest(f"{name[:80]!r} is no attribute here; there are {', '.join(sorted(attributes))}", param=field)


def values(resource: Resource, where: Path) -> list[Any]:
    """What the resource has there: nothing, one value, or the values of a list."""
    found = resource.get(where.attribute)
    if found is None:
        return []
    if isinstance(found, list):
        part = where.part or "value"
        inside = (one.get(part) if isinstance(one, Mapping) else one for one in found)
        return [one for one in inside if one is not None]
    if isinstance(found, Mapping):
        inner = found.get(where.part) if where.part else found
        return [] if inner is None else [inner]
    return [found]


class _Reader:
    """Recursive descent; `depth` counts brackets, so that no filter is deeper than the stack."""

    def __init__(self, tokens: list[Token], attributes: Attributes) -> None:
        self._tokens = tokens
        self._attributes = attributes
        self._at = 0

    def next(self) -> Token | None:
        if self._at == len(self._tokens):
            return None
        self._at += 1
        return self._tokens[self._at - 1]

    def either(self, depth: int) -> Test:
        tests = [self._both(depth)]
        while self._word("or"):
            tests.append(self._both(depth))
        return tests[0] if len(tests) == 1 else lambda resource: any(test(resource) for test in tests)

    def _both(self, depth: int) -> Test:
        tests = [self._one(depth)]
        while self._word("and"):
            tests.append(self._one(depth))
        return tests[0] if len(tests) == 1 else lambda resource: all(test(resource) for test in tests)

    def _one(self, depth: int) -> Test:
        if depth > DEPTH_MAX:
            raise _unreadable(f"it is nested more than {DEPTH_MAX} deep")
        if self._word("not"):
            test = self._one(depth + 1)
            return lambda resource: not test(resource)
        if self._mark("("):
            test = self.either(depth + 1)
            self._close(")")
            return test
        where = self._path()
        if self._mark("["):
            inside = _Reader(self._tokens, {part: frozenset() for part in self._attributes[where.attribute]})
            inside._at = self._at
            test = inside.either(depth + 1)
            self._at = inside._at
            self._close("]")
            return lambda resource: any(test(one) for one in _objects(resource.get(where.attribute)))
        return self._comparison(where)

    def _comparison(self, where: Path) -> Test:
        operator = self.next()
        if operator is None or operator.kind != "word":
            raise _unreadable(f"after {where.attribute!r} one of {', '.join(OPERATORS)} is missing")
        name = operator.text.lower()
        if name == "pr":
            return lambda resource: any(one != "" for one in values(resource, where))
        if name not in OPERATORS:
            raise _unreadable(f"{operator.text[:40]!r} is none of {', '.join(OPERATORS)}")
        wanted = self._value()
        exact = (where.part or where.attribute) in CASE_EXACT
        if name == "ne":
            return lambda resource: not _any_equal(values(resource, where), wanted, exact)
        if name == "eq":
            return lambda resource: _any_equal(values(resource, where), wanted, exact)
        if not isinstance(wanted, str):
            raise _unreadable(f"{name!r} compares text, and {wanted!r} is none")
        text, compare = _folded(wanted, exact), TEXTUAL[name]
        return lambda resource: any(
            compare(_folded(one, exact), text) for one in values(resource, where) if isinstance(one, str)
        )

    def _path(self) -> Path:
        token = self.next()
        if token is None or token.kind != "word":
            raise _unreadable("an attribute is missing" + (f" at character {token.at + 1}" if token else " at its end"))
        return path(token.text, self._attributes)

    def _value(self) -> Any:
        token = self.next()
        if token is None or token.kind == "mark":
            raise _unreadable("a value is missing" + (f" at character {token.at + 1}" if token else " at its end"))
        if token.kind == "word":
            return WORDS.get(token.text.lower(), token.text)
        return _string(token)

    def _word(self, word: str) -> bool:
        return self._is("word", word)

    def _mark(self, mark: str) -> bool:
        return self._is("mark", mark)

    def _is(self, kind: str, text: str) -> bool:
        if self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.kind == kind and token.text.lower() == text:
                self._at += 1
                return True
        return False

    def _close(self, mark: str) -> None:
        if not self._mark(mark):
            raise _unreadable(f"a {mark!r} is missing")


def _tokens(text: str) -> Iterator[Token]:
    at, end = 0, len(text.rstrip())
    while at < end:
        found = _TOKEN.match(text, at)
        if found is None:
            raise _unreadable(f"the text that begins at character {at + 1} does not end")
        kind = str(found.lastgroup)
        yield Token(kind, found[kind], found.start(kind))
        at = found.end()


def _string(token: Token) -> str:
    quoted = token.text
    if quoted.startswith("'"):
        quoted = '"' + quoted[1:-1].replace("\\'", "'").replace('"', '\\"') + '"'
    try:
        return msgspec.json.decode(quoted, type=str)
    except (msgspec.DecodeError, UnicodeEncodeError) as exc:
        raise _unreadable(f"the text at character {token.at + 1} is not a JSON string") from exc


def _any_equal(found: list[Any], wanted: Any, exact: bool) -> bool:
    if wanted is None:
        return not found
    return any(_folded(one, exact) == _folded(wanted, exact) for one in found)


def _folded(value: Any, exact: bool) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if exact or not isinstance(value, str) else value.casefold()


def _objects(value: Any) -> list[Resource]:
    found = value if isinstance(value, list) else [value]
    return [one for one in found if isinstance(one, Mapping)]


def _unreadable(why: str) -> InvalidRequest:
    return InvalidRequest(f"'filter' cannot be read: {why}; a filter is like userName eq \"a@b.c\"", param="filter")


TEXTUAL: dict[str, Callable[[str, str], bool]] = {
    "co": lambda one, wanted: wanted in one,
    "sw": lambda one, wanted: one.startswith(wanted),
    "ew": lambda one, wanted: one.endswith(wanted),
}
OPERATORS = ("eq", "ne", *TEXTUAL, "pr")
WORDS: dict[str, bool | None] = {"true": True, "false": False, "null": None}
