"""The parameters of a SCIM list: which resources, in which order, which page of them, and how much of each."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from tesela.control.scim_filter import Path, Test, parse, path, values
from tesela.control.scim_shape import LIST_RESPONSE, Form
from tesela.errors import InvalidRequest

PAGE_MAX = 10_000
ALWAYS = frozenset({"id", "schemas"})
ORDERS = {"ascending": False, "descending": True}


class Query(NamedTuple):
    """`start` counts from 1.  `only` and `without` are attributes as they were asked for, None for all of them."""

    test: Test | None
    by: Path | None
    descending: bool
    start: int
    most: int
    only: frozenset[str] | None
    without: frozenset[str]


def read(parameters: Mapping[str, str], form: Form) -> Query:
    """Raises InvalidRequest for what cannot be; parameters that nobody knows are ignored."""
    wanted = parameters.get("filter")
    by = parameters.get("sortBy")
    order = parameters.get("sortOrder", "ascending")
    if order.lower() not in ORDERS:
        raise InvalidRequest("'sortOrder' must be ascending or descending", param="sortOrder")
    return Query(
        parse(wanted, form.attributes) if wanted else None,
        path(by, form.attributes, "sortBy") if by else None,
        ORDERS[order.lower()],
        # Less than the least is the least (RFC 7644, section 3.4.2.4).
        max(1, _whole(parameters, "startIndex", 1)),
        min(PAGE_MAX, max(0, _whole(parameters, "count", PAGE_MAX))),
        _names(parameters.get("attributes")),
        _names(parameters.get("excludedAttributes")) or frozenset(),
    )


def page(query: Query, resources: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The answer to a list."""
    found = [one for one in resources if query.test is None or query.test(one)]
    if query.by is not None:
        by = query.by
        found.sort(key=lambda one: _order(one, by), reverse=query.descending)
    chosen = found[query.start - 1 : query.start - 1 + query.most]
    return {
        "schemas": [LIST_RESPONSE],
        "totalResults": len(found),
        "startIndex": query.start,
        "itemsPerPage": len(chosen),
        "Resources": [shown(query, one) for one in chosen],
    }


def shown(query: Query, resource: dict[str, Any]) -> dict[str, Any]:
    """The resource with the attributes that were asked for."""
    out = resource
    if query.only is not None:
        out = {name: _parts(name, found, query.only) for name, found in out.items() if _asked(name, query.only)}
    return {name: found for name, found in out.items() if name in ALWAYS or name.lower() not in query.without}


def _asked(name: str, only: frozenset[str]) -> bool:
    lower = name.lower()
    return name in ALWAYS or lower in only or any(one.startswith(f"{lower}.") for one in only)


def _parts(name: str, found: Any, only: frozenset[str]) -> Any:
    """`members.value` is of each member its value, and `members` is all of it."""
    lower = name.lower()
    if lower in only or name in ALWAYS:
        return found
    if isinstance(found, list):
        return [_parts(name, one, only) for one in found]
    if not isinstance(found, Mapping):
        return found
    return {part: one for part, one in found.items() if f"{lower}.{part.lower()}" in only}


def _order(resource: Mapping[str, Any], by: Path) -> tuple[bool, str]:
    """Resources that have no such value come last."""
    found: Sequence[Any] = values(resource, by)
    return (not found, str(found[0]).casefold() if found else "")


def _whole(parameters: Mapping[str, str], field: str, otherwise: int) -> int:
    found = parameters.get(field)
    if not found:
        return otherwise
    digits = found.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise InvalidRequest(f"{field!r} must be a whole number", param=field)
    return int(found)


def _names(written: str | None) -> frozenset[str] | None:
    if not written:
        return None
    return frozenset(one.strip().rpartition(":")[2].lower() for one in written.split(","))
