"""The small functions: a prompt of ours, an answer held to a JSON schema, and how it becomes a value.

The schema is what lets a small model obey: a label can only be one of the labels.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tesela.sql.site import Site
from tesela.sql.speak.form import broken, content, encode
from tesela.sql.speak.queries import text

LANGUAGES = {
    "en": "English", "de": "German", "fr": "French", "it": "Italian", "pt": "Portuguese", "hi": "Hindi",
    "es": "Spanish", "th": "Thai",
}  # fmt: skip
Constants = dict[str, Any]
MAY_END = frozenset({"ai_summarize"})
"""A summary that runs on is cut at the length that was asked for; of a translation, a part would be wrong."""
_BEGUN = re.compile(r'\s*\{\s*"\w+"\s*:\s*"((?:[^"\\]|\\.)*)$', re.DOTALL)


class Held:
    """One function whose answer is held to a schema.

    `instruct` gives the system's message, `schema` what the answer obeys, `value` reads what the model filled in.
    `tokens` is how many the answer may have, given how many characters were asked about.
    """

    batch = 1

    def __init__(
        self,
        site: Site,
        instruct: Callable[[Constants, Sequence[Any]], str],
        schema: Callable[[Constants], dict[str, Any]],
        value: Callable[[Constants, dict[str, Any]], Any],
        tokens: Callable[[Constants, int], int],
    ) -> None:
        self._constants = site.constants
        self._body = site.body
        self._instruct = instruct
        self._value = value
        self._tokens = tokens
        self._may_end = site.function in MAY_END
        self._format = {
            "type": "json_schema",
            "json_schema": {"name": site.function, "schema": schema(site.constants), "strict": True},
        }

    def request(self, row: Sequence[Any]) -> bytes | None:
        if any(one is None for one in row):
            return None
        asked = text(row[0])
        return encode(
            {
                "messages": [
                    {"role": "system", "content": self._instruct(self._constants, row)},
                    {"role": "user", "content": asked},
                ],
                "response_format": self._format,
                "temperature": 0.0,
                "max_tokens": self._tokens(self._constants, len(asked)),
            }
            | self._body
        )

    def answer(self, body: bytes) -> Any:
        said = content(body)
        try:
            found = msgspec.json.decode(said.strip())
            if isinstance(found, dict):
                return self._value(self._constants, found)
        except msgspec.DecodeError as exc:
            cut = self._cut(said)
            if cut is not None:
                return cut
            raise broken(f"the model's answer was cut short or is not JSON: {exc}", said) from exc
        except (KeyError, TypeError, ValueError) as exc:
            raise broken("the model's answer is not of the form that was asked for", said) from exc
        raise broken("the model's answer is not of the form that was asked for", said)

    def _cut(self, said: str) -> str | None:
        """What there is of a text that may end anywhere, up to its last whole word; None for all others."""
        begun = _BEGUN.match(said) if self._may_end else None
        if begun is None or " " not in begun[1].strip():
            return None
        try:
            found: str = msgspec.json.decode(f'"{begun[1]}"', type=str)
        except msgspec.DecodeError:
            return None
        return found.strip().rpartition(" ")[0] + " …"

    def join(self, bodies: Sequence[bytes]) -> bytes:
        [body] = bodies
        return body

    def split(self, answer: bytes, bodies: Sequence[bytes]) -> list[bytes]:
        return [answer]


def fields(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def one_text(name: str) -> tuple[Callable[[Constants], dict[str, Any]], Callable[[Constants, dict[str, Any]], Any]]:
    """Schema and value of a function whose answer is a text."""

    def value(constants: Constants, found: dict[str, Any]) -> Any:
        if not isinstance(found[name], str):
            raise TypeError(name)
        return found[name].strip()

    return lambda constants: fields(**{name: {"type": "string"}}), value


def _as_long(constants: Constants, characters: int) -> int:
    """An answer about as long as what was asked about: a character is at most a token, mostly a quarter of one."""
    return min(characters + 256, 32_768)


def _short(constants: Constants, characters: int) -> int:
    return 64 + 8 * sum(len(str(one)) for one in constants.get("labels", ()))


# ------------------------------------------------------------ ai_classify, ai_analyze_sentiment


def _classify(constants: Constants, row: Sequence[Any]) -> str:
    described = constants.get("descriptions") or dict.fromkeys(constants["labels"], "")
    lines = [f"- {name}: {told}" if told else f"- {name}" for name, told in described.items()]
    which = "all labels that apply" if constants.get("multilabel") else "the one label that fits best"
    more = f"\n{constants['instructions']}" if constants.get("instructions") else ""
    return "\n".join(["Classify the user's text. The labels:", *lines, f"Answer with {which}.{more}"])


def _labels(constants: Constants) -> dict[str, Any]:
    label = {"type": "string", "enum": list(constants["labels"])}
    if constants.get("multilabel"):
        return fields(labels={"type": "array", "items": label})
    return fields(label=label)


def _label(constants: Constants, found: dict[str, Any]) -> Any:
    chosen = found["labels"] if constants.get("multilabel") else [found["label"]]
    if not isinstance(chosen, list) or not set(chosen) <= set(constants["labels"]):
        raise ValueError("label")
    if constants.get("version") == 2:
        return msgspec.json.encode({"response": list(dict.fromkeys(chosen)), "error_message": None}).decode()
    return chosen[0]


def _sentiment(constants: Constants, row: Sequence[Any]) -> str:
    return (
        "What is the sentiment of the user's text? positive: glad, pleased, praising. negative: angry, sad, "
        "complaining. mixed: some of both. neutral: facts without feeling."
    )


# ------------------------------------------------------------ ai_extract


def _extract(constants: Constants, row: Sequence[Any]) -> str:
    what = ", ".join(constants["labels"]) if "labels" in constants else "the fields"
    more = f"\n{constants['instructions']}" if constants.get("instructions") else ""
    told = "Copy the words of the text. Use null for what the text does not say."
    return f"Extract from the user's text: {what}. {told}{more}"


def _extracted_schema(constants: Constants) -> dict[str, Any]:
    if "schema" in constants:
        schema: dict[str, Any] = constants["schema"]
        return schema
    return fields(**{name: {"type": ["string", "null"]} for name in constants["labels"]})


def _extracted(constants: Constants, found: dict[str, Any]) -> Any:
    if "schema" in constants:
        return msgspec.json.encode({"response": found, "error_message": None}).decode()
    return {name: None if found.get(name) is None else str(found[name]) for name in constants["labels"]}


# ------------------------------------------------------------ the texts


def _summarize(constants: Constants, row: Sequence[Any]) -> str:
    words = constants["max_words"]
    return "Summarize the user's text" + (f" in at most {words} words." if words else ".")


def _summary_tokens(constants: Constants, characters: int) -> int:
    return 64 + 4 * constants["max_words"] if constants["max_words"] else 4096


def _translate(constants: Constants, row: Sequence[Any]) -> str:
    to = text(row[1])
    return f"Translate the user's text to {LANGUAGES.get(to.strip().lower(), to)}. Keep its meaning and tone."


def _grammar(constants: Constants, row: Sequence[Any]) -> str:
    return "Correct the grammar and spelling of the user's text. Change nothing else. A correct text stays as it is."


def _mask(constants: Constants, row: Sequence[Any]) -> str:
    what = ", ".join(constants["labels"])
    return (
        f"Copy the user's text, with every {what} in it replaced by [MASKED]. Change nothing else. "
        "Example: 'Ann Lee wrote from ann@lee.org.' becomes '[MASKED] wrote from [MASKED].'"
    )


class Generated:
    """ai_gen: the prompt itself, and the text that comes."""

    batch = 1

    def __init__(self, site: Site) -> None:
        self._body = site.body

    def request(self, row: Sequence[Any]) -> bytes | None:
        if row[0] is None:
            return None
        return encode({"messages": [{"role": "user", "content": text(row[0])}]} | self._body)

    def answer(self, body: bytes) -> Any:
        return content(body)

    def join(self, bodies: Sequence[bytes]) -> bytes:
        [body] = bodies
        return body

    def split(self, answer: bytes, bodies: Sequence[bytes]) -> list[bytes]:
        return [answer]


def held(site: Site) -> Held:
    instruct, (schema, value), tokens = _HELD[site.function]
    return Held(site, instruct, schema, value, tokens)


_HELD: dict[str, Any] = {
    "ai_classify": (_classify, (_labels, _label), _short),
    "ai_analyze_sentiment": (_sentiment, (_labels, _label), _short),
    "ai_extract": (_extract, (_extracted_schema, _extracted), _as_long),
    "ai_summarize": (_summarize, one_text("summary"), _summary_tokens),
    "ai_translate": (_translate, one_text("translation"), _as_long),
    "ai_fix_grammar": (_grammar, one_text("corrected"), _as_long),
    "ai_mask": (_mask, one_text("masked"), _as_long),
}
