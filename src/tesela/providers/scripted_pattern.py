"""A text that matches a regular expression, for `pattern` in a JSON schema.

Knows what schemas use: literals, classes, groups, alternatives, repetitions, anchors.  Look-around and references
back are refused; a rule with `json:` says the answer in their place.
"""

import re
import warnings

from tesela.errors import InvalidRequest

Node = tuple["Choice", ...]
"""One alternative: what follows what."""


class Choice:
    """A thing that is repeated between `low` and `high` times: one of `letters`, or one of `inner`."""

    __slots__ = ("high", "inner", "letters", "low")

    def __init__(self, letters: str, inner: tuple[Node, ...] = ()) -> None:
        self.letters = letters
        self.inner = inner
        self.low = self.high = 1


def sample(pattern: str, *, variant: int, shortest: int, longest: int | None) -> str:
    """A text of that many letters; other variants give other texts as far as the pattern allows.

    Raises InvalidRequest when there is none, or the pattern is not one that is known here.
    """
    alternatives = _Reader(pattern).read()
    for extra in range(min(shortest, MOST) + 1):
        text = _Writer(variant, extra).write(alternatives)
        if len(text) >= shortest:
            break
    if len(text) < shortest or (longest is not None and len(text) > longest) or not matches(pattern, text):
        raise InvalidRequest(f"the scripted model finds no text for the pattern {pattern!r} and its lengths")
    return text


def matches(pattern: str, text: str) -> bool:
    """Whether a schema's pattern is somewhere in a text.  Raises InvalidRequest when it is no regular expression."""
    try:
        with warnings.catch_warnings():
            # Python warns of sets that may one day mean something else to it; schemas are not written for Python.
            warnings.simplefilter("ignore", FutureWarning)
            return re.search(pattern, text) is not None
    except (re.error, OverflowError, RecursionError) as exc:
        raise InvalidRequest(f"the pattern {pattern!r} is not a regular expression: {exc}") from exc


class _Writer:
    """Takes decisions from two numbers: `variant`, digit by digit, and `extra` repetitions, first come first served."""

    def __init__(self, variant: int, extra: int) -> None:
        self.variant = variant
        self.extra = extra

    def pick(self, count: int) -> int:
        self.variant, found = divmod(self.variant, count)
        return found

    def write(self, alternatives: tuple[Node, ...]) -> str:
        return "".join(map(self._repeated, alternatives[self.pick(len(alternatives))]))

    def _repeated(self, choice: Choice) -> str:
        more = min(self.extra, choice.high - choice.low)
        self.extra -= more
        return "".join(self._once(choice) for _ in range(choice.low + more))

    def _once(self, choice: Choice) -> str:
        return self.write(choice.inner) if choice.inner else choice.letters[self.pick(len(choice.letters))]


class _Reader:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.depth = 0

    def read(self) -> tuple[Node, ...]:
        found = self._alternatives()
        if self.at < len(self.pattern):
            raise self._unknown()
        return found

    def _unknown(self) -> InvalidRequest:
        return InvalidRequest(f"the scripted model cannot follow the pattern {self.pattern!r} at letter {self.at + 1}")

    def _next(self) -> str:
        if self.at >= len(self.pattern):
            raise self._unknown()
        self.at += 1
        return self.pattern[self.at - 1]

    def _peek(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def _alternatives(self) -> tuple[Node, ...]:
        self.depth += 1
        if self.depth > DEEPEST:
            raise self._unknown()
        found: list[Node] = []
        node: list[Choice] = []
        while self._peek() not in ("", ")"):
            letter = self._next()
            if letter == "|":
                found.append(tuple(node))
                node = []
            elif letter not in "^$":
                choice = self._one(letter)
                if choice is not None:
                    choice.low, choice.high = self._times()
                    node.append(choice)
        self.depth -= 1
        return (*found, tuple(node))

    def _one(self, letter: str) -> Choice | None:
        if letter == "(":
            return self._group()
        if letter == "[":
            return Choice(self._class())
        if letter == ".":
            return Choice(WORD)
        if letter == "\\":
            escaped = self._next()
            return None if escaped in "bBAZ" else Choice(self._escape(escaped))
        if letter in "*+?{":
            self.at -= 1
            raise self._unknown()
        return Choice(letter)

    def _group(self) -> Choice:
        if self._peek() == "?":
            head = re.compile(r"\?(?::|P?<[A-Za-z_]\w*>)").match(self.pattern, self.at)
            if head is None:
                raise self._unknown()
            self.at = head.end()
        inner = self._alternatives()
        if self._next() != ")":
            raise self._unknown()
        return Choice("", inner)

    def _escape(self, letter: str) -> str:
        if letter in CLASSES:
            return CLASSES[letter]
        if letter in "xu":
            size = 2 if letter == "x" else 4
            digits = self.pattern[self.at : self.at + size]
            if not re.fullmatch(r"[0-9a-fA-F]+", digits) or len(digits) < size:
                raise self._unknown()
            self.at += size
            return chr(int(digits, 16))
        if letter.isalnum() and letter not in ESCAPES:
            raise self._unknown()
        return ESCAPES.get(letter, letter)

    def _class(self) -> str:
        without = self._peek() == "^"
        self.at += without
        found: list[str] = []
        while (letter := self._next()) != "]" or not found:
            letters = self._escape(self._next()) if letter == "\\" else letter
            if self._peek() == "-" and self.pattern[self.at + 1 : self.at + 2] not in ("", "]") and len(letters) == 1:
                self.at += 1
                end = self._next()
                end = self._escape(self._next()) if end == "\\" else end
                letters = "".join(map(chr, range(ord(letters), min(ord(end[:1]), ord(letters) + 255) + 1)))
            found.append(letters)
        inside = "".join(found)
        if without:
            inside = "".join(letter for letter in WORD + OTHERS if letter not in inside)
        if not inside:
            raise self._unknown()
        return inside

    def _times(self) -> tuple[int, int]:
        letter = self._peek()
        if letter in TIMES and letter:
            self.at += 1
            low, high = TIMES[letter]
        else:
            braces = re.compile(r"\{(\d{1,6})(,?)(\d{0,6})\}").match(self.pattern, self.at)
            if braces is None:
                return 1, 1
            self.at = braces.end()
            low = int(braces[1])
            high = int(braces[3]) if braces[3] else MOST if braces[2] else low
        if self._peek() in ("?", "+") and self._peek():
            self.at += 1
        if low > MOST or high < low:
            raise self._unknown()
        return low, high


MOST = 2000
"""Repetitions that are written at most."""
DEEPEST = 50
DIGITS = "0123456789"
WORD = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" + DIGITS + "_"
OTHERS = " -.,:;!?/@#%&*()=+'\"<>[]{}|\\^$~`"
CLASSES = {"d": DIGITS, "w": WORD, "s": " ", "D": WORD[:52], "W": OTHERS, "S": WORD}
ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
TIMES = {"*": (0, MOST), "+": (1, MOST), "?": (0, 1)}
