"""Who may see, query and manage an endpoint, over the paths of the Databricks SDK's `w.permissions`; and who may have
access tokens.

Whoever may manage an endpoint may see and change its permissions; whoever may see it may ask which levels there are.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tesela.control.answers import Handler, document, json
from tesela.control.facts import Facts, actor, credential, require_admin
from tesela.errors import InvalidRequest, NotFound, PermissionDenied
from tesela.records import Actor, Holder, StoredEndpoint
from tesela.snapshot import LEVELS, Level, Principal
from tesela.wire.document import Document, value

ENDPOINT = "/api/2.0/permissions/serving-endpoints/{id}"
TOKENS = "/api/2.0/permissions/authorization/tokens"
ADMINS = "admins"
USERS = "users"
ENTRIES_MAX = 500
NAME_MAX = 256


class Entry(NamedTuple):
    """One line of an access control list as it is asked for."""

    kind: str
    name: str
    level: str


class Subject(NamedTuple):
    """An endpoint as far as permissions go."""

    id: str
    name: str
    stored: bool
    everybodys: bool


def routes(facts: Facts) -> list[Route]:
    return [
        Route(ENDPOINT, show(facts), methods=["GET"]),
        Route(ENDPOINT, change(facts, replace=True), methods=["PUT"]),
        Route(ENDPOINT, change(facts, replace=False), methods=["PATCH"]),
        Route(f"{ENDPOINT}/permissionLevels", levels(facts), methods=["GET"]),
        Route(TOKENS, show_tokens(facts), methods=["GET"]),
        Route(TOKENS, change_tokens(facts, replace=True), methods=["PUT"]),
        Route(TOKENS, change_tokens(facts, replace=False), methods=["PATCH"]),
        Route(f"{TOKENS}/permissionLevels", token_levels, methods=["GET"]),
    ]


def show(facts: Facts) -> Handler:
    def work(wanted: str, who: Principal) -> dict[str, Any]:
        subject = _find(facts, wanted)
        given = _given(facts, subject)
        _require(who, given, "CAN_MANAGE", subject)
        return _endpoint_list(facts, subject, given)

    async def handler(request: Request) -> Response:
        who = credential(request).principal
        return json(await run_in_threadpool(work, request.path_params["id"], who))

    return handler


def change(facts: Facts, *, replace: bool) -> Handler:
    def work(wanted: str, who: Principal, by: Actor, asked: list[Entry]) -> dict[str, Any]:
        subject, permissions = _find(facts, wanted), facts.store().permissions
        given = _given(facts, subject)
        _require(who, given, "CAN_MANAGE", subject)
        found = permissions.resolve((one.kind, one.name) for one in asked)
        levels: dict[str, Level] = {}
        for entry, holder in zip(asked, found, strict=True):
            level = _level(entry.level)
            levels[holder.id] = max(levels.get(holder.id, level), level, key=LEVELS.index)
        if replace:
            if subject.everybodys:
                # Some row must say that somebody has said something, and outlast all who can be deleted.
                levels[permissions.resolve([("group", ADMINS)])[0].id] = "CAN_MANAGE"
            given = permissions.set(by, subject.id, levels, stored=subject.stored)
        elif levels:
            # What was given so far, to everybody perhaps, stays; and is written down from here on.
            kept = {id: max(held, levels.get(id, held), key=LEVELS.index) for id, held in given.items()}
            given = permissions.merge(by, subject.id, {**levels, **kept}, stored=subject.stored)
        return _endpoint_list(facts, subject, given)

    async def handler(request: Request) -> Response:
        by, who = actor(request), credential(request).principal
        asked = _entries(await document(request), LEVELS)
        answer = await run_in_threadpool(work, request.path_params["id"], who, by, asked)
        facts.changed()
        return json(answer)

    return handler


def levels(facts: Facts) -> Handler:
    def work(wanted: str, who: Principal) -> None:
        subject = _find(facts, wanted)
        _require(who, _given(facts, subject), "CAN_VIEW", subject)

    async def handler(request: Request) -> Response:
        await run_in_threadpool(work, request.path_params["id"], credential(request).principal)
        return json(_described(LEVEL_TEXTS))

    return handler


def show_tokens(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        require_admin(credential(request).principal, "see who may have access tokens")
        return json(await run_in_threadpool(_token_list, facts))

    return handler


def change_tokens(facts: Facts, *, replace: bool) -> Handler:
    def work(by: Actor, asked: list[Entry]) -> dict[str, Any]:
        permissions = facts.store().permissions
        ids = [one.id for one in permissions.resolve((one.kind, one.name) for one in asked)]
        if replace:
            permissions.set_token_users(by, ids)
        elif ids:
            permissions.add_token_users(by, ids)
        return _token_list(facts)

    async def handler(request: Request) -> Response:
        require_admin(credential(request).principal, "say who may have access tokens")
        asked = _entries(await document(request), TOKEN_TEXTS)
        answer = await run_in_threadpool(work, actor(request), asked)
        facts.changed()
        return json(answer)

    return handler


async def token_levels(request: Request) -> Response:
    credential(request)
    return json(_described(TOKEN_TEXTS))


def _find(facts: Facts, wanted: str) -> Subject:
    """The endpoint with this id, or else with this name.  Waits for the store, which knows what was just made."""
    endpoints = facts.store().endpoints
    others = [one for one in facts.snapshot().endpoints.values() if one.source != "store"]
    found = (
        endpoints.by_id(wanted)
        or next((one for one in others if one.id == wanted), None)
        or next((one for one in others if one.name == wanted), None)
        or endpoints.get(wanted)
    )
    if found is not None:
        stored = isinstance(found, StoredEndpoint)
        return Subject(found.id, found.name, stored, found.id in facts.snapshot().open_to_all)
    raise NotFound(f"there is no endpoint with the id {wanted[:NAME_MAX]!r}; a GET of the endpoint has its id")


def _given(facts: Facts, subject: Subject) -> dict[str, Level]:
    """What the store holds; and where it holds nothing, that everybody may query what comes with the server."""
    permissions = facts.store().permissions
    given = permissions.of(subject.id)
    if given or not subject.everybodys:
        return given
    return {permissions.resolve([("group", USERS)])[0].id: "CAN_QUERY"}


def _require(who: Principal, given: Mapping[str, Level], wanted: Level, subject: Subject) -> None:
    """Raises PermissionDenied.  Looks at what the store holds now, which the snapshot may not have yet."""
    held = [given[id] for id in (who.id, *who.groups) if id in given]
    if not who.admin and not any(LEVELS.index(one) >= LEVELS.index(wanted) for one in held):
        raise PermissionDenied(f"{who.name} does not have {wanted} on endpoint {subject.name!r}")


def _entries(asked: Document, known: Iterable[str]) -> list[Entry]:
    """The access control list of a request.  Nothing is read from the store here."""
    found = value(asked, "access_control_list")
    if found is None:
        return []
    if not isinstance(found, list) or len(found) > ENTRIES_MAX:
        raise _wrong("access_control_list", f"must be a list of at most {ENTRIES_MAX} entries")
    entries = (_entry(one, f"access_control_list[{at}]", known) for at, one in enumerate(found))
    return [entry for entry in entries if entry is not None]


def _entry(asked: Any, at: str, known: Iterable[str]) -> Entry | None:
    """None for the group of admins, who manage everything anyway; Terraform writes them down all the same."""
    if not isinstance(asked, dict):
        raise _wrong(at, "must be an object")
    names = {field: asked[field] for field in KINDS if asked.get(field) is not None}
    if len(names) != 1:
        raise _wrong(at, f"must name exactly one of {', '.join(KINDS)}")
    [(field, name)] = names.items()
    if not isinstance(name, str) or not 0 < len(name) <= NAME_MAX or not name.isprintable():
        raise _wrong(f"{at}.{field}", f"must be a name of at most {NAME_MAX} characters")
    level = asked.get("permission_level")
    if field == "group_name" and name == ADMINS:
        if level != "CAN_MANAGE":
            raise _wrong(f"{at}.permission_level", "can only be CAN_MANAGE for the group admins")
        return None
    if level not in tuple(known):
        raise _wrong(f"{at}.permission_level", f"must be one of {', '.join(known)}")
    return Entry(KINDS[field], name, level)


def _level(text: str) -> Level:
    return next(one for one in LEVELS if one == text)


def _endpoint_list(facts: Facts, subject: Subject, given: Mapping[str, Level]) -> dict[str, Any]:
    """An endpoint's access control list as it is shown."""
    named = facts.store().permissions.describe(given)
    lines = [_line(named[id], level) for id, level in given.items() if id in named and named[id].name != ADMINS]
    return _shown(f"/serving-endpoints/{subject.id}", "serving-endpoint", lines, "/serving-endpoints/")


def _token_list(facts: Facts) -> dict[str, Any]:
    lines = [_line(one, "CAN_USE") for one in facts.store().permissions.token_users().values()]
    return _shown("authorization/tokens", "tokens", lines, None)


def _line(holder: Holder, level: str) -> dict[str, Any]:
    out: dict[str, Any] = {FIELDS[holder.kind]: holder.name}
    if holder.kind != "group":
        out["display_name"] = holder.display_name or holder.name
    return out | {"all_permissions": [{"permission_level": level, "inherited": False}]}


def _shown(object_id: str, object_type: str, lines: list[dict[str, Any]], root: str | None) -> dict[str, Any]:
    """People first, then service principals, then groups, each by name, and the admins at the end."""
    held: dict[str, Any] = {"permission_level": "CAN_MANAGE", "inherited": root is not None}
    if root is not None:
        held["inherited_from_object"] = [root]
    rank = list(KINDS)
    lines = sorted(lines, key=lambda line: (rank.index(next(iter(line))), line[next(iter(line))]))
    return {
        "object_id": object_id,
        "object_type": object_type,
        "access_control_list": [*lines, {"group_name": ADMINS, "all_permissions": [held]}],
    }


def _described(texts: Mapping[str, str]) -> dict[str, Any]:
    return {"permission_levels": [{"permission_level": one, "description": text} for one, text in texts.items()]}


def _wrong(field: str, what: str) -> InvalidRequest:
    return InvalidRequest(f"{field!r} {what}", param=field)


KINDS = {"user_name": "user", "service_principal_name": "service_principal", "group_name": "group"}
FIELDS = {kind: field for field, kind in KINDS.items()}

LEVEL_TEXTS: Mapping[str, str] = {
    "CAN_MANAGE": "Can view, query, change and delete the endpoint, and say who else may",
    "CAN_QUERY": "Can view the endpoint and query it",
    "CAN_VIEW": "Can view the endpoint",
}
TOKEN_TEXTS: Mapping[str, str] = {"CAN_USE": "Can make personal access tokens"}
