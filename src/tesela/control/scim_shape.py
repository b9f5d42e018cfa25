"""Identities as SCIM resources (RFC 7643), as the Databricks SDK and Terraform read and write them.

Reading takes what a resource can hold and ignores the rest; what has the wrong type is refused by its name.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from tesela.control.scim_filter import Attributes
from tesela.errors import InvalidRequest
from tesela.records import Identity, IdentityEntry, IdentityRevision
from tesela.snapshot import Kind
from tesela.store.identity_rules import USERS
from tesela.store.identity_rules import text as plain_text

LIST_MAX = 100
"""Entitlements, roles or e-mail addresses of one identity."""

CORE = "urn:ietf:params:scim:schemas:core:2.0:"
WORKSPACE_USER = "urn:ietf:params:scim:schemas:extension:workspace:2.0:User"
LIST_RESPONSE = "urn:ietf:params:scim:api:messages:2.0:ListResponse"

_ONE = frozenset[str]()
_VALUE = frozenset({"value", "display", "type", "primary", "$ref"})
_COMMON: Attributes = {
    "id": _ONE,
    "externalId": _ONE,
    "displayName": _ONE,
    "groups": _VALUE,
    "entitlements": _VALUE,
    "roles": _VALUE,
    "schemas": _ONE,
    "meta": frozenset({"resourceType"}),
}


class Form(NamedTuple):
    """How one kind of identity looks over SCIM.  `called` is the field that holds its name."""

    kind: Kind
    path: str
    called: str
    schemas: tuple[str, ...]
    resource_type: str
    attributes: Attributes


USER = Form(
    "user",
    "Users",
    "userName",
    (f"{CORE}User", WORKSPACE_USER),
    "User",
    {
        **_COMMON,
        "userName": _ONE,
        "active": _ONE,
        "name": frozenset({"givenName", "familyName"}),
        "emails": _VALUE,
    },
)
SERVICE_PRINCIPAL = Form(
    "service_principal",
    "ServicePrincipals",
    "applicationId",
    (f"{CORE}ServicePrincipal",),
    "ServicePrincipal",
    {**_COMMON, "applicationId": _ONE, "active": _ONE},
)
GROUP = Form("group", "Groups", "displayName", (f"{CORE}Group",), "WorkspaceGroup", {**_COMMON, "members": _VALUE})
FORMS = (USER, SERVICE_PRINCIPAL, GROUP)
PATHS: Mapping[Kind, str] = {form.kind: form.path for form in FORMS}


def resource(form: Form, entry: IdentityEntry) -> dict[str, Any]:
    """Lists that are empty are left out."""
    identity = entry.identity
    out: dict[str, Any] = {"schemas": list(form.schemas), "id": identity.id, form.called: identity.name}
    out["displayName"] = identity.display_name
    if identity.external_id is not None:
        out["externalId"] = identity.external_id
    if form.kind != "group":
        out["active"] = identity.active
    if form.kind == "user":
        out["name"] = identity.details.get("name") or {"givenName": identity.display_name}
        out["emails"] = identity.details.get("emails") or [{"type": "work", "value": identity.name, "primary": True}]
    lists = {
        "groups": [{**_reference(one), "type": "direct"} for one in entry.groups],
        "entitlements": _as_values(identity.details.get("entitlements", ())),
        "roles": _as_values(identity.details.get("roles", ())),
        "members": [_reference(one) for one in entry.members],
    }
    out |= {name: found for name, found in lists.items() if found}
    out["meta"] = {"resourceType": form.resource_type}
    return out


def writable(form: Form, entry: IdentityEntry) -> dict[str, Any]:
    """What of an identity can be changed, in the shape of its resource."""
    identity = entry.identity
    out: dict[str, Any] = {"displayName": identity.display_name, "externalId": identity.external_id}
    for name in ("entitlements", "roles"):
        out[name] = _as_values(identity.details.get(name, ()))
    if form.kind == "group":
        out["members"] = _as_values(one.id for one in entry.members)
    else:
        out["active"] = identity.active
    if form.kind == "user":
        out["name"] = dict(identity.details.get("name") or {})
    return out


def revision(form: Form, asked: Mapping[str, Any], entry: IdentityEntry) -> IdentityRevision:
    """What an identity shall be when the whole of it is replaced by this.

    What it is called and the addresses of a user stay as they are: the vendor ignores them here too.  Who does not say
    whether it is active leaves it so.  Raises InvalidRequest.
    """
    before = entry.identity
    members = None
    if form.kind == "group" and (before.name != USERS or asked.get("members") is not None):
        members = frozenset(ids(asked, "members"))
    kept = {"emails": before.details["emails"]} if "emails" in before.details else {}
    return IdentityRevision(
        text(asked, "displayName") or "",
        active(asked, before.active),
        text(asked, "externalId"),
        {**kept, **details(form, asked)},
        members,
    )


def details(form: Form, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What of a resource is kept as it is.  Raises InvalidRequest."""
    out: dict[str, Any] = {}
    for name in ("entitlements", "roles"):
        if found := _short(_values(asked, name), name):
            out[name] = found
    if form.kind == "user" and (called := _name(asked)):
        out["name"] = called
    return out


def emails(asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Raises InvalidRequest."""
    found = asked.get("emails")
    addresses = _short(_values(asked, "emails"), "emails")
    kept = []
    for one in found if isinstance(found, list) and addresses else ():
        if isinstance(one, Mapping) and one.get("value"):
            kind = one.get("type")
            shown = plain_text(kind, "emails") if isinstance(kind, str) else "work"
            kept.append({"type": shown, "value": one["value"], "primary": one.get("primary") is True})
    return kept


def text(asked: Mapping[str, Any], field: str) -> str | None:
    """Raises InvalidRequest."""
    found = asked.get(field)
    if found is None or isinstance(found, str):
        return found
    raise InvalidRequest(f"{field!r} must be a string", param=field)


def active(asked: Mapping[str, Any], otherwise: bool) -> bool:
    """Some identity providers write the word as a string.  Raises InvalidRequest."""
    found = asked.get("active")
    if found is None:
        return otherwise
    word = found.lower() if isinstance(found, str) else found
    if word in (True, "true"):
        return True
    if word in (False, "false"):
        return False
    raise InvalidRequest("'active' must be true or false", param="active")


def ids(asked: Mapping[str, Any], field: str) -> list[str]:
    """The ids in a list of members or groups.  Raises InvalidRequest."""
    return _values(asked, field)


def _values(asked: Mapping[str, Any], field: str) -> list[str]:
    found = asked.get(field)
    if found is None:
        return []
    if not isinstance(found, list):
        raise _not_a_list(field)
    inside: list[Any] = [one.get("value") if isinstance(one, Mapping) else one for one in found]
    if not all(isinstance(one, str) and one for one in inside):
        raise _not_a_list(field)
    return list(dict.fromkeys(inside))


def _short(values: list[str], field: str) -> list[str]:
    if len(values) > LIST_MAX:
        raise InvalidRequest(f"{field!r} has {len(values)} entries, and {LIST_MAX} are allowed", param=field)
    return [plain_text(one, field) for one in values]


def _name(asked: Mapping[str, Any]) -> dict[str, str]:
    found = asked.get("name")
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise InvalidRequest("'name' must be an object with 'givenName' and 'familyName'", param="name")
    parts = {part: text(found, part) for part in ("givenName", "familyName")}
    return {part: plain_text(one, part) for part, one in parts.items() if one}


def _reference(identity: Identity) -> dict[str, Any]:
    return {
        "value": identity.id,
        "display": identity.display_name,
        "$ref": f"{PATHS[identity.kind]}/{identity.id}",
    }


def _as_values(found: Iterable[str]) -> list[dict[str, Any]]:
    return [{"value": one} for one in found]


def _not_a_list(field: str) -> InvalidRequest:
    return InvalidRequest(f"{field!r} must be a list of objects with a 'value' that is a string", param=field)
