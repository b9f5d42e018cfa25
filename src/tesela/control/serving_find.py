"""Finds the endpoint that a path names, and what the caller may do with it.

Endpoints of the configuration file and built-in ones are in the snapshot.  Those of the store are read from the store,
so that whoever has just made or changed one sees it at once, whichever worker answers.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.requests import Request

from tesela.control import serving_view, shapes
from tesela.control.facts import Facts, base_url
from tesela.control.serving_view import Stored
from tesela.control.shapes import Frame
from tesela.endpoint_build import Surroundings
from tesela.errors import NotFound, PermissionDenied, Unsupported
from tesela.records import StoredEndpoint
from tesela.serving import Endpoint
from tesela.snapshot import LEVELS, Level, Principal, Snapshot


class Own(msgspec.Struct, frozen=True):
    """An endpoint of the file or a built-in one, and the caller's level."""

    endpoint: Endpoint
    level: Level


class Kept(msgspec.Struct, frozen=True):
    """An endpoint of the store, and the caller's level."""

    endpoint: StoredEndpoint
    level: Level


Found = Own | Kept


def find(facts: Facts, principal: Principal, name: str) -> Found:
    """Waits for the store.  Raises NotFound, PermissionDenied."""
    snapshot = facts.snapshot()
    own = own_endpoint(snapshot, name)
    if own is not None:
        return Own(own, _allowed(principal, name, own_level(snapshot, principal, name)))
    stored = facts.store().endpoints.get(name)
    if stored is None:
        raise NotFound(f"there is no endpoint {_short(name)!r}; GET /api/2.0/serving-endpoints lists what there is")
    level = stored_level(principal, facts.store().permissions.of(stored.id))
    return Kept(stored, _allowed(principal, name, level))


def managed(facts: Facts, principal: Principal, name: str) -> StoredEndpoint:
    """The endpoint that the caller may change.  Raises NotFound, PermissionDenied, and Unsupported for one that is
    not kept in the store."""
    found = find(facts, principal, name)
    require_manage(found, principal, name)
    if isinstance(found, Own):
        raise not_here(facts, found.endpoint)
    return found.endpoint


def require_manage(found: Found, principal: Principal, name: str) -> None:
    if found.level != "CAN_MANAGE":
        raise PermissionDenied(
            f"{principal.name} may not change endpoint {name!r} or read its logs; whoever manages it can grant "
            "CAN_MANAGE on it"
        )


def not_here(facts: Facts, own: Endpoint) -> Unsupported:
    """Why an endpoint cannot be changed here, and where it can."""
    if own.source == "file":
        return Unsupported(f"endpoint {own.name!r} comes from {facts.file}: change it there, it is read again")
    return Unsupported(
        f"endpoint {own.name!r} is built in and cannot be changed; make one of your own under another name"
    )


def own_endpoint(snapshot: Snapshot, name: str) -> Endpoint | None:
    """The endpoint of this name that no store has."""
    built = snapshot.endpoints.get(name)
    return built if built is not None and built.source != "store" else None


def own_level(snapshot: Snapshot, principal: Principal, name: str) -> Level | None:
    if snapshot.may_manage(principal, name):
        return "CAN_MANAGE"
    if snapshot.may_query(principal, name):
        return "CAN_QUERY"
    return "CAN_VIEW" if snapshot.may_see(principal, name) else None


def stored_level(principal: Principal, levels: Mapping[str, Level]) -> Level | None:
    """The highest level that the principal or one of its groups was given."""
    if principal.admin:
        return "CAN_MANAGE"
    held = [level for who, level in levels.items() if who == principal.id or who in principal.groups]
    return max(held, key=LEVELS.index, default=None)


def with_surroundings(facts: Facts, stored: StoredEndpoint, around: Surroundings) -> Stored:
    """A stored endpoint with what the snapshot knows of it, as far as that is not older than the endpoint."""
    snapshot = facts.snapshot()
    built = snapshot.endpoints.get(stored.name)
    built = built if built is not None and built.id == stored.id else None
    broken = snapshot.broken.get(stored.name, "") if snapshot.version >= stored.version else ""
    return Stored(stored, around, built, broken)


def frame(request: Request, facts: Facts, level: Level) -> Frame:
    return Frame(
        workspace_id=facts.workspace_id,
        created_ms=facts.created_ms,
        base=base_url(request, facts),
        permission=level,
        engines=facts.engine_states(),
    )


def told(request: Request, facts: Facts, found: Found) -> dict[str, Any]:
    """One endpoint in full, as its caller may see it."""
    shown = frame(request, facts, found.level)
    if isinstance(found, Own):
        return shapes.detail(found.endpoint, shown)
    return serving_view.detail(with_surroundings(facts, found.endpoint, facts.surroundings()), shown)


def _allowed(principal: Principal, name: str, level: Level | None) -> Level:
    if level is None:
        raise PermissionDenied(f"{principal.name} may not see endpoint {name!r}; an admin can grant CAN_QUERY on it")
    return level


def _short(name: str) -> str:
    return name if len(name) <= 80 else name[:77] + "..."
