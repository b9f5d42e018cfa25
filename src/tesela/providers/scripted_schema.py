"""A value that obeys a JSON schema, always the same one for the same schema.

Keywords that it cannot honour are refused by name, so that no value is given that only looks right; a rule with `json:`
or `arguments:` says the value in their place.  Draft 2020-12, and what is left of draft 7 in real schemas.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tesela.errors import InvalidRequest
from tesela.providers.scripted_merge import Impossible, Schema, merge
from tesela.providers.scripted_pattern import matches
from tesela.providers.scripted_scalars import fits, number, string
from tesela.wire.document import encode


def obey(schema: Any) -> Any:
    """The value.  Raises InvalidRequest when there is none, or none that this module can find."""
    return _Maker(schema).make(schema, "text", (), 0)


class _Maker:
    """Makes one value.  `refs` are the references on the way to where it is, `variant` asks for another value."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.made = 0

    def make(self, schema: Any, hint: str, refs: tuple[str, ...], variant: int) -> Any:
        self.made += 1
        if self.made > MOST:
            raise InvalidRequest(f"the schema asks for more than {MOST} values, which the scripted model does not make")
        flat, refs = self._flat(schema, refs)
        for name in REFUSED:
            if name in flat:
                raise InvalidRequest(f"the scripted model cannot obey {name!r} in a schema; give the value in a rule")
        choices = flat.pop("choices", None)
        if choices:
            return self._branch(flat, choices, hint, refs, variant)
        if "enum" in flat:
            return self._listed(flat, refs, variant)
        kinds = flat.get("type") or _kind(flat)
        return _first(partial(self._typed, {**flat, "type": [kind]}, kind, hint, refs, variant) for kind in kinds)

    def _flat(self, schema: Any, refs: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """The schema with its references and `allOf` merged in.  Branches wait in `choices`."""
        if schema is True:
            return {}, refs
        if not isinstance(schema, dict):
            raise Impossible("a schema allows no value" if schema is False else "a schema must be an object")
        found: Schema = {key: content for key, content in schema.items() if key not in APART}
        kind = found.get("type")
        if isinstance(kind, str):
            found["type"] = [kind]
        if isinstance(found.get("items"), list):
            # Draft 7's form of a tuple.
            found["prefixItems"], found["items"] = found["items"], found.pop("additionalItems", True)
        if "const" in found:
            found = merge(found, {"enum": [found.pop("const")]})
        branches = [schema[key] for key in ("anyOf", "oneOf") if schema.get(key)]
        if branches:
            found["choices"] = branches
        others = list(schema.get("allOf") or ())
        if "$ref" in schema:
            ref = str(schema["$ref"])
            if refs.count(ref) >= DEEPEST or len(refs) > FARTHEST:
                raise Impossible(f"the schema never ends: {ref!r} contains itself")
            refs = (*refs, ref)
            others.insert(0, self._resolve(ref))
        for other in others:
            flat, refs = self._flat(other, refs)
            found = merge(found, flat)
        return found, refs

    def _resolve(self, ref: str) -> Any:
        if not ref.startswith("#"):
            raise InvalidRequest(f"the scripted model cannot follow the reference {ref!r} out of the schema")
        found = self.root
        for step in ref[1:].split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            try:
                found = found[int(key)] if isinstance(found, list) else found[key]
            except (KeyError, IndexError, ValueError, TypeError) as exc:
                raise InvalidRequest(f"the schema has no {ref!r}") from exc
        return found

    def _branch(self, flat: Schema, choices: list[Any], hint: str, refs: tuple[str, ...], variant: int) -> Any:
        branches, rest = choices[0], choices[1:]
        if _again(refs):
            # Somewhere inside itself: whatever leads out comes first.
            branches = sorted(branches, key=lambda branch: b'"$ref"' in encode(branch))
        base = {**flat, "choices": rest} if rest else flat

        def attempt(branch: Any) -> Any:
            found, further = self._flat(branch, refs)
            return self._merged(merge(base, found), hint, further, variant)

        return _first(partial(attempt, branch) for branch in branches)

    def _merged(self, flat: Schema, hint: str, refs: tuple[str, ...], variant: int) -> Any:
        """`make` for a schema that is flat already, but for its choices."""
        choices = flat.pop("choices", [])
        if choices:
            return self._branch(flat, choices, hint, refs, variant)
        return self.make(flat, hint, refs, variant)

    def _listed(self, flat: Schema, refs: tuple[str, ...], variant: int) -> Any:
        found = [one for one in flat["enum"] if fits(flat, one) and self._inside(flat, one, refs)]
        if not found:
            raise Impossible("no value of an enum obeys the rest of its schema")
        return found[variant % len(found)]

    def _allows(self, schema: Any, value: Any, refs: tuple[str, ...]) -> bool:
        """Whether a value that a schema lists obeys another one that holds at the same place."""
        try:
            flat, refs = self._flat(schema, refs)
        except Impossible:
            return False
        branches = flat.get("choices", ())
        return (
            fits(flat, value)
            and ("enum" not in flat or encode(value) in map(encode, flat["enum"]))
            and all(any(self._allows(one, value, refs) for one in some) for some in branches)
            and self._inside(flat, value, refs)
        )

    def _inside(self, flat: Schema, value: Any, refs: tuple[str, ...]) -> bool:
        """Whether what is inside a list or an object obeys what the schema says of it."""
        if isinstance(value, list):
            if not flat.get("minItems", 0) <= len(value) <= flat.get("maxItems", len(value)):
                return False
            first, others = flat.get("prefixItems", []), flat.get("items", True)
            schemas = [*first, *[others] * max(0, len(value) - len(first))]
            return all(self._allows(schema, one, refs) for schema, one in zip(schemas, value, strict=False))
        if isinstance(value, dict):
            if not set(flat.get("required", ())) <= value.keys():
                return False
            return all(self._allows(_property(flat, name), one, refs) for name, one in value.items())
        return True

    def _typed(self, flat: Schema, kind: str, hint: str, refs: tuple[str, ...], variant: int) -> Any:
        if kind == "object":
            return self._object(flat, refs, variant)
        if kind == "array":
            return self._array(flat, hint, refs, variant)
        if kind == "string":
            return string(flat, hint, variant)
        if kind in ("integer", "number"):
            return number(flat, kind, variant)
        if kind == "boolean":
            return variant % 2 == 0
        if kind == "null":
            return None
        raise InvalidRequest(f"a schema has the type {kind!r}, which does not exist")

    def _object(self, flat: Schema, refs: tuple[str, ...], variant: int) -> dict[str, Any]:
        properties: dict[str, Any] = flat.get("properties") or {}
        required = list(flat.get("required") or ())
        least, most = flat.get("minProperties", 0), flat.get("maxProperties", MOST)
        found: dict[str, Any] = {}
        for name in required:
            found[name] = self.make(_property(flat, name), name, refs, variant)
        optional = [name for name in properties if name not in found]
        spare = (f"extra{count}" for count in range(1, min(least, MOST) + 1))
        for name in (*optional, *spare):
            wanted = len(found) < least or (name in properties and not _again(refs))
            if wanted and len(found) < most and name not in found:
                try:
                    found[name] = self.make(_property(flat, name), name, refs, variant)
                except Impossible:
                    continue
        if not least <= len(found) <= most:
            raise Impossible("an object cannot have as many properties as its schema wants")
        order = [*(name for name in properties if name in found), *(name for name in found if name not in properties)]
        return {name: found[name] for name in order}

    def _array(self, flat: Schema, hint: str, refs: tuple[str, ...], variant: int) -> list[Any]:
        prefix, rest = flat.get("prefixItems") or [], flat.get("items", True)
        least, most = flat.get("minItems", 0), flat.get("maxItems", MOST)
        wanted = least if _again(refs) else max(least, len(prefix), 1)
        found: list[Any] = []
        for index in range(min(wanted, most)):
            schema = prefix[index] if index < len(prefix) else rest
            try:
                found.append(self._item(schema, hint, refs, variant + index, found if flat.get("uniqueItems") else []))
            except Impossible:
                if len(found) < least:
                    raise
                break
        if len(found) < least:
            raise Impossible("a schema wants more items than it allows")
        return found

    def _item(self, schema: Any, hint: str, refs: tuple[str, ...], variant: int, taken: list[Any]) -> Any:
        """An item that is none of those already taken."""
        seen = {encode(one) for one in taken}
        for other in range(variant, variant + TRIES):
            found = self.make(schema, hint, refs, other)
            if encode(found) not in seen:
                return found
        raise Impossible("a schema wants more different items than there are")


def _first(attempts: Iterator[Callable[[], Any]]) -> Any:
    """The first that works out."""
    last = Impossible("a schema allows no value")
    for attempt in attempts:
        try:
            return attempt()
        except Impossible as exc:
            last = exc
    raise last


def _property(flat: Schema, name: str) -> Any:
    """The schema of one property: its own and those whose pattern its name matches, or that of all others."""
    patterns = [schema for pattern, schema in (flat.get("patternProperties") or {}).items() if matches(pattern, name)]
    named = (flat.get("properties") or {}).get(name)
    if named is None and not patterns:
        return flat.get("additionalProperties", True)
    return {"allOf": [*([] if named is None else [named]), *patterns]} if patterns else named


def _again(refs: tuple[str, ...]) -> bool:
    """Whether a value is inside one of its own kind: from here on, only what must be there is made."""
    return len(set(refs)) < len(refs)


def _kind(flat: Schema) -> list[str]:
    """The type of a schema that names none, from what else it says."""
    for kind, words in TELLING.items():
        if any(word in flat for word in words):
            return [kind]
    return ["string"]


MOST = 20_000
DEEPEST = 4
FARTHEST = 64
TRIES = 200

APART = frozenset({"$ref", "allOf", "anyOf", "oneOf"})
REFUSED = (
    "not", "if", "dependentSchemas", "dependentRequired", "dependencies", "propertyNames", "contains",
    "unevaluatedProperties", "unevaluatedItems", "$dynamicRef", "$recursiveRef",
)  # fmt: skip
TELLING = {
    "object": ("properties", "required", "additionalProperties", "patternProperties", "minProperties"),
    "array": ("items", "prefixItems", "minItems", "uniqueItems"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
