"""Objects and names of Google's APIs: https://protobuf.dev/programming-guides/json/.  Fields are written in camel case,
and readers take the snake case of the definition too."""

import re
from typing import Any

from tesela.errors import InvalidRequest

_LATER = re.compile(r"(?<=[a-z0-9])_([a-z0-9])")


def camel(found: dict[str, Any]) -> dict[str, Any]:
    """An object of the API with its own keys in camel case; what is inside of them stays as it is."""
    return {written(key): inner for key, inner in found.items()}


def written(name: str) -> str:
    return _LATER.sub(lambda match: match[1].upper(), name) if "_" in name else name


def mapping(found: Any, at: str) -> dict[str, Any]:
    """An object that may be left out.  Raises InvalidRequest with the path."""
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise InvalidRequest(f"{at!r} must be an object", param=at)
    return camel(found)


def elements(found: Any, at: str) -> list[Any]:
    """A list that may be left out.  Raises InvalidRequest with the path."""
    if found is None:
        return []
    if not isinstance(found, list):
        raise InvalidRequest(f"{at!r} must be a list", param=at)
    return found
