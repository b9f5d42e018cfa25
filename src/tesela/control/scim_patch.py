"""PatchOp (RFC 7644, section 3.5.2) as a function: a resource and operations in, the changed resource out.

The operations are those that the Databricks SDK, Terraform and identity providers send: add, replace and remove, with a
path to an attribute or to some values of a list, or with an object of attributes and no path.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from tesela.control.scim_filter import Path, Test, parse, path
from tesela.control.scim_shape import Form
from tesela.errors import InvalidRequest

OPERATIONS_MAX = 200
PATH_MAX = 1024

LISTS = frozenset({"entitlements", "roles", "members"})
UNTOUCHED = frozenset({"userName", "emails", "applicationId"})
"""The vendor ignores changes of these, and clients send them along."""

Values: TypeAlias = dict[str, Any]


class Operation(NamedTuple):
    """`where` is None for an object of attributes; `test` says which values of a list are meant."""

    op: str
    where: Path | None
    test: Test | None
    value: Any


def operations(asked: Any, form: Form) -> list[Operation]:
    """Raises InvalidRequest for what is no operation, or one on an attribute that is not there or cannot be changed."""
    if not isinstance(asked, list) or not asked:
        raise InvalidRequest("'Operations' must be a list of at least one operation", param="Operations")
    if len(asked) > OPERATIONS_MAX:
        raise InvalidRequest(
            f"'Operations' has {len(asked)} operations, and {OPERATIONS_MAX} are allowed in one request",
            param="Operations",
        )
    return [_operation(one, form) for one in asked]


def apply(resource: Mapping[str, Any], todo: list[Operation]) -> dict[str, Any]:
    """The resource after the operations; the one that was given stays as it was.

    Values that it cannot hold are put there all the same: whoever reads it refuses them.  Raises InvalidRequest.
    """
    out = {name: _keyed(name, found) if name in LISTS else found for name, found in resource.items()}
    for one in todo:
        _DOES[one.op](out, one)
    return {name: list(found.values()) if name in LISTS else found for name, found in out.items()}


def _operation(asked: Any, form: Form) -> Operation:
    if not isinstance(asked, Mapping):
        raise InvalidRequest("each of 'Operations' must be an object with 'op'", param="Operations")
    op = asked.get("op")
    name = op.lower() if isinstance(op, str) else ""
    if name not in _DOES:
        raise InvalidRequest("'op' must be add, replace or remove", param="op")
    written = asked.get("path")
    value = asked.get("value")
    if written is None:
        if name == "remove":
            raise InvalidRequest("a remove needs a 'path' that says what", param="path")
        if not isinstance(value, Mapping):
            raise InvalidRequest(
                f"{name} with no 'path' needs a 'value' that is an object of attributes", param="value"
            )
        return Operation(name, None, None, value)
    if not isinstance(written, str) or len(written) > PATH_MAX:
        raise InvalidRequest(f"'path' must be a string of at most {PATH_MAX} characters", param="path")
    where, test = _where(written, form)
    if test is not None and name == "add":
        raise InvalidRequest("add puts values into a list: its 'path' cannot say which of them", param="path")
    return Operation(name, where, test, value)


def _where(written: str, form: Form) -> tuple[Path, Test | None]:
    """`members`, `name.givenName`, `members[value eq "12"]`."""
    head, bracket, rest = written.partition("[")
    where = path(head.strip(), form.attributes, "path")
    if where.attribute not in CHANGEABLE[form.kind] | UNTOUCHED:
        raise InvalidRequest(
            f"{where.attribute!r} cannot be changed here{HINTS.get(where.attribute, '')}", param="path"
        )
    if not bracket:
        if where.attribute in LISTS and where.part not in ("", "value"):
            raise InvalidRequest(f"{written[:80]!r}: of a value only 'value' can be changed", param="path")
        return where, None
    inside, closed, after = rest.rpartition("]")
    if not closed or after not in ("", ".value") or where.part or where.attribute not in LISTS | UNTOUCHED:
        raise InvalidRequest(f'{written[:80]!r} is no path; one is like members[value eq "12"]', param="path")
    try:
        return where, parse(inside, {part: frozenset() for part in form.attributes[where.attribute]})
    except InvalidRequest as exc:
        raise InvalidRequest(f"{written[:80]!r} is no path: {exc.message}", param="path") from exc


def _add(out: dict[str, Any], one: Operation) -> None:
    for where, value in _targets(out, one):
        if where.attribute in LISTS:
            out[where.attribute] = out[where.attribute] | _keyed(where.attribute, value)
        else:
            _set(out, where, value)


def _replace(out: dict[str, Any], one: Operation) -> None:
    for where, value in _targets(out, one):
        if where.attribute not in LISTS:
            _set(out, where, value)
        elif one.test is None:
            out[where.attribute] = _keyed(where.attribute, value)
        else:
            found = out[where.attribute]
            kept = {key: inside for key, inside in found.items() if not one.test(inside)}
            if len(kept) == len(found):
                raise InvalidRequest(f"nothing in {where.attribute!r} is what the path says", param="path")
            out[where.attribute] = kept | _keyed(where.attribute, value)


def _remove(out: dict[str, Any], one: Operation) -> None:
    """What is not there is gone already.  Values that are named are removed, and no others."""
    for where, value in _targets(out, one):
        found = out[where.attribute]
        if where.attribute not in LISTS:
            _set(out, where, None)
        elif one.test is not None:
            out[where.attribute] = {key: inside for key, inside in found.items() if not one.test(inside)}
        elif value is not None:
            gone = _keyed(where.attribute, value)
            out[where.attribute] = {key: inside for key, inside in found.items() if key not in gone}
        else:
            out[where.attribute] = {}


def _targets(out: Mapping[str, Any], one: Operation) -> list[tuple[Path, Any]]:
    """What an operation is on.  An object of attributes may hold more than can be changed."""
    if one.where is not None:
        return [] if one.where.attribute in UNTOUCHED else [(one.where, one.value)]
    named = [(Path(*name.split(".", 1)), value) for name, value in one.value.items()]
    return [(where, value) for where, value in named if where.attribute in out and where.part in ("", *NAME_PARTS)]


def _set(out: dict[str, Any], where: Path, value: Any) -> None:
    if where.part:
        value = {where.part: value}
    if where.attribute == "name":
        if not isinstance(value, Mapping | None):
            raise InvalidRequest("'name' must be an object with 'givenName' and 'familyName'", param="name")
        value = {} if value is None else {**out["name"], **value}
    elif value is None and where.attribute in NEEDED:
        raise InvalidRequest(f"{where.attribute!r} needs a 'value'{NEEDED[where.attribute]}", param="value")
    out[where.attribute] = value


def _keyed(field: str, value: Any) -> Values:
    """Values of a list by what they are, so that each is there once."""
    found = value if isinstance(value, list) else [] if value is None else [value]
    out: Values = {}
    for one in found:
        inside = one.get("value") if isinstance(one, Mapping) else one
        if not isinstance(inside, str):
            raise InvalidRequest(f"{field!r} must be a list of objects with a 'value' that is a string", param=field)
        out[inside] = {"value": inside}
    return out


CHANGEABLE: Mapping[str, frozenset[str]] = {
    "user": frozenset({"displayName", "externalId", "active", "name", "entitlements", "roles"}),
    "service_principal": frozenset({"displayName", "externalId", "active", "entitlements", "roles"}),
    "group": frozenset({"displayName", "externalId", "entitlements", "roles", "members"}),
}
# The Databricks SDK leaves out a value that is False.
NEEDED = {"displayName": "", "active": ', and the Databricks SDK leaves out False: write value="false"'}
NAME_PARTS = ("givenName", "familyName")
HINTS = {"groups": ": change the members of the group"}
_DOES = {"add": _add, "replace": _replace, "remove": _remove}
