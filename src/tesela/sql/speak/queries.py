"""ai_query: one speaker for each task."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tesela.sql import types
from tesela.sql.site import Site
from tesela.sql.speak.base import Unaskable
from tesela.sql.speak.form import broken, completion, content, encode, of_vectors, output, raw_vectors, user, vectors
from tesela.sql.speak.values import Misfit, fit
from tesela.wire.tasks import FIELD, Task

INPUTS = 64
"""Rows that may share one embeddings request; providers' own limits begin at 96."""
OURS = ("model", "stream")


class Text:
    """A task whose answer is a text.  `ask` makes the task's field of the request, `read` finds the text."""

    batch = 1

    def __init__(self, site: Site, ask: Callable[[str, Any], Any], read: Callable[[bytes], str]) -> None:
        self._site = site
        self._ask = ask
        self._read = read
        self._kind = types.read(site.value)
        self._how = str(site.constants.get("read", "text"))

    def request(self, row: Sequence[Any]) -> bytes | None:
        asked = row[0]
        if asked is None:
            return None
        files = row[1] if len(row) > 1 else None
        if isinstance(asked, dict):
            return encode(struct(asked) | self._site.body)
        return encode({FIELD[self._site.task]: self._ask(text(asked), files)} | self._site.body)

    def answer(self, body: bytes) -> Any:
        said = self._read(body)
        if self._how == "text":
            return said
        bare = unfenced(said)
        try:
            found = msgspec.json.decode(bare)
        except msgspec.DecodeError as exc:
            if self._how == "json" and self._kind.name not in ("STRUCT", "ARRAY", "MAP"):
                found = bare
            else:
                raise broken(f"the model did not answer in JSON: {exc}", said) from exc
        if self._how == "checked":
            return bare
        try:
            return fit(found, self._kind)
        except Misfit as exc:
            raise broken(f"the model's answer does not fit {self._site.value}: {exc}", said) from exc

    def join(self, bodies: Sequence[bytes]) -> bytes:
        [body] = bodies
        return body

    def split(self, answer: bytes, bodies: Sequence[bytes]) -> list[bytes]:
        return [answer]


class Vectors:
    """Texts to embeddings, many in one request.  A text that several rows have is sent once."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.batch = 1 if site.constants.get("struct") else INPUTS

    def request(self, row: Sequence[Any]) -> bytes | None:
        asked = row[0]
        if asked is None:
            return None
        if isinstance(asked, dict):
            body = struct(asked)
            if self.batch > 1 and body.keys() != {"input"}:
                raise Unaskable(
                    "a struct for an embeddings endpoint with more than input: write named_struct in the call"
                )
            return encode(body | self._site.body)
        return encode({"input": text(asked)} | self._site.body)

    def answer(self, body: bytes) -> Any:
        return vectors(body, 1)[0]

    def join(self, bodies: Sequence[bytes]) -> bytes:
        return joined(bodies)

    def split(self, answer: bytes, bodies: Sequence[bytes]) -> list[bytes]:
        return parted(answer, bodies)


class Similarity(Vectors):
    """Two texts to the cosine between their embeddings."""

    def request(self, row: Sequence[Any]) -> bytes | None:
        if row[0] is None or row[1] is None:
            return None
        return encode({"input": [text(row[0]), text(row[1])]} | self._site.body)

    def answer(self, body: bytes) -> Any:
        left, right = vectors(body, 2)
        return cosine(left, right, body)


def cosine(left: list[float], right: list[float], body: bytes) -> float:
    if len(left) != len(right):
        raise broken("the two embeddings have different lengths", body)
    size = math.sqrt(sum(one * one for one in left) * sum(one * one for one in right))
    if size == 0:
        raise broken("an embedding is zero: there is no similarity to it", body)
    return max(-1.0, min(1.0, sum(a * b for a, b in zip(left, right, strict=True)) / size))


def inputs(body: bytes) -> list[Any]:
    found = msgspec.json.decode(body)["input"]
    return found if isinstance(found, list) else [found]


def joined(bodies: Sequence[bytes]) -> bytes:
    """One request for the inputs of all, each once."""
    first = msgspec.json.decode(bodies[0])
    distinct = list(dict.fromkeys(one for body in bodies for one in inputs(body)))
    return encode(first | {"input": distinct})


def parted(answer: bytes, bodies: Sequence[bytes]) -> list[bytes]:
    asked = [inputs(body) for body in bodies]
    places = {one: at for at, one in enumerate(dict.fromkeys(one for group in asked for one in group))}
    found = raw_vectors(answer)
    if len(found) != len(places):
        raise broken(f"{len(places)} texts were sent, and {len(found)} embeddings came back", answer)
    return [of_vectors([found[places[one]] for one in group]) for group in asked]


def text(value: Any) -> str:
    """What an argument says as text, as CAST(… AS STRING) would."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes | list | dict):
        raise Unaskable("the text must be a STRING: write CAST(… AS STRING), or to_json(…) for structs and arrays")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def struct(asked: dict[str, Any]) -> dict[str, Any]:
    """A struct is the body of the request itself, without what the endpoint decides."""
    for name in OURS:
        if name in asked:
            raise Unaskable(f"the request struct has {name!r}, which the endpoint decides: leave it out")
    return {name: one for name, one in asked.items() if one is not None}


def unfenced(said: str) -> str:
    """Without the Markdown fence that models put around JSON."""
    bare = said.strip()
    if bare.startswith("```") and bare.endswith("```") and "\n" in bare:
        bare = bare[bare.index("\n") + 1 : -3].strip()
    return bare


def _messages(asked: str, files: Any) -> Any:
    return [user(asked, files)]


def _plain(asked: str, files: Any) -> Any:
    return asked


def query_speaker(site: Site) -> Text | Vectors:
    if site.task is Task.EMBEDDINGS:
        return Vectors(site)
    ask, read = _TASKS[site.task]
    return Text(site, ask, read)


_TASKS: dict[Task, tuple[Callable[[str, Any], Any], Callable[[bytes], str]]] = {
    Task.CHAT: (_messages, content),
    Task.COMPLETIONS: (_plain, completion),
    Task.RESPONSES: (_plain, output),
}
