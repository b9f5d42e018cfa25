"""Access tokens over the REST API: everyone manages their own, an admin may also delete other people's."""

import math
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tesela.control.answers import Handler, document, json
from tesela.control.facts import Facts, actor, credential
from tesela.errors import InvalidRequest, NotFound, PermissionDenied, Unsupported
from tesela.records import TokenInfo
from tesela.store.identity_rules import LIFETIME_MAX_S
from tesela.wire.document import Document, decode, text, value

PATH = "/api/2.0/token"
NO_STORE = {"cache-control": "no-store"}


def routes(facts: Facts) -> list[Route]:
    return [
        Route(f"{PATH}/create", create(facts), methods=["POST"]),
        Route(f"{PATH}/list", list_own(facts), methods=["GET"]),
        Route(f"{PATH}/delete", delete(facts), methods=["POST"]),
        Route(f"{PATH}/{{token_id}}", update(facts), methods=["PATCH"]),
    ]


def create(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        by, principal = actor(request), credential(request).principal
        comment, lifetime_s = wanted(await document(request))
        if not await run_in_threadpool(lambda: facts.store().permissions.may_have_tokens(principal)):
            raise PermissionDenied(f"{principal.name} may not make access tokens; an admin can grant CAN_USE on them")
        access_token, found = await run_in_threadpool(
            lambda: facts.store().tokens.create(by, principal.id, comment, lifetime_s)
        )
        facts.changed()
        return json({"token_value": access_token, "token_info": info(found)}, headers=NO_STORE)

    return handler


def list_own(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        principal = credential(request).principal
        infos = await run_in_threadpool(lambda: facts.store().tokens.list(principal.id))
        return json({"token_infos": [info(one) for one in infos]})

    return handler


def delete(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        by, principal = actor(request), credential(request).principal
        token_id = text(await document(request), "token_id")
        if not token_id:
            raise InvalidRequest("'token_id' must say which access token", param="token_id")
        owner = None if principal.admin else principal.id
        if not await run_in_threadpool(lambda: facts.store().tokens.revoke(by, token_id, owner)):
            raise unknown(token_id)
        facts.changed()
        return json({})

    return handler


def update(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        by, principal = actor(request), credential(request).principal
        token_id = request.path_params["token_id"]
        comment = new_comment(await document(request))
        if comment is not None:
            owner = principal.id
            await run_in_threadpool(
                lambda: facts.store().tokens.update(by, token_id, comment=comment, principal_id=owner)
            )
        return json({})

    return handler


def wanted(asked: Document) -> tuple[str, float | None]:
    """The comment and the lifetime in seconds, None for ever, of a token that is asked for.

    Raises InvalidRequest, and Unsupported for a token that may do less than its owner.
    """
    _refuse_scopes(asked)
    return text(asked, "comment") or "", _lifetime_s(asked)


def new_comment(asked: Document) -> str | None:
    """What a change of a token makes of its comment; None for a change of nothing.

    `update_mask` names the fields of `token` that are meant.  Raises InvalidRequest and Unsupported.
    """
    raw = asked.get("token")
    token = decode(bytes(raw)) if raw is not None else {}
    mask = text(asked, "update_mask")
    fields = [one.strip() for one in mask.split(",") if one.strip()] if mask else list(token)
    for field in fields:
        if field in ("scopes", "autoscope_enabled"):
            _refuse_scopes(token)
        elif field not in ("comment", "*"):
            raise InvalidRequest(f"{field[:80]!r} cannot be changed: only 'comment' can", param="update_mask")
    return (text(token, "comment") or "") if {"comment", "*"} & set(fields) else None


def info(found: TokenInfo) -> dict[str, Any]:
    """Times in milliseconds, -1 for never."""
    return {
        "token_id": found.id,
        "creation_time": int(found.created * 1000),
        "expiry_time": -1 if math.isinf(found.expires) else int(found.expires * 1000),
        "comment": found.comment,
    }


def unknown(token_id: str) -> NotFound:
    # Whoever gives the token itself does not get it back, nor does the audit.
    which = "this id: an id is what token/list shows" if token_id.startswith("dapi") else f"id {token_id[:64]!r}"
    return NotFound(f"there is no access token with {which}", param="token_id")


def _refuse_scopes(asked: Document) -> None:
    for field in ("scopes", "autoscope_enabled"):
        if value(asked, field):
            raise Unsupported(f"{field!r} is not possible here yet: a token may do all that its owner may", param=field)


def _lifetime_s(asked: Document) -> float | None:
    """Some clients write whole numbers as strings."""
    found = value(asked, "lifetime_seconds")
    if found is None:
        return None
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 20:
        found = int(found)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 < found <= LIFETIME_MAX_S:
        raise InvalidRequest(
            f"'lifetime_seconds' must be a whole number from 1 to {LIFETIME_MAX_S}; leave it out for a token that does "
            "not expire",
            param="lifetime_seconds",
        )
    return float(found)
