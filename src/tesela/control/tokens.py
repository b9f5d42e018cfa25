"""Access tokens over the REST API: everyone manages their own, an admin may also delete other people's."""

import math

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tesela.control.answers import Handler, document, json
from tesela.control.facts import Facts, actor, credential
from tesela.errors import InvalidRequest, NotFound, Unsupported
from tesela.records import TokenInfo
from tesela.wire.document import Document, text, value

COMMENT_MAX = 1024
LIFETIME_MAX_S = 100 * 365 * 86_400


def create(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        principal = credential(request).principal
        asked = await document(request)
        for field in ("scopes", "autoscope_enabled"):
            if value(asked, field):
                raise Unsupported(
                    f"{field!r} is not possible here yet: a token may do all that its owner may", param=field
                )
        comment = text(asked, "comment") or ""
        if len(comment) > COMMENT_MAX:
            raise InvalidRequest(f"'comment' is longer than {COMMENT_MAX} characters", param="comment")
        lifetime_s = _lifetime_s(asked)
        create = facts.store().tokens.create
        access_token, info = await run_in_threadpool(create, actor(request), principal.id, comment, lifetime_s)
        facts.changed()
        return json({"token_value": access_token, "token_info": _info(info)}, headers={"cache-control": "no-store"})

    return handler


def list_own(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        infos = await run_in_threadpool(facts.store().tokens.list, credential(request).principal.id)
        return json({"token_infos": [_info(one) for one in infos]})

    return handler


def delete(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        principal = credential(request).principal
        token_id = text(await document(request), "token_id")
        if not token_id:
            raise InvalidRequest("'token_id' must say which access token", param="token_id")
        owner = None if principal.admin else principal.id
        if not await run_in_threadpool(facts.store().tokens.revoke, actor(request), token_id, owner):
            raise NotFound(f"there is no access token with id {token_id!r}", param="token_id")
        facts.changed()
        return json({})

    return handler


def _lifetime_s(asked: Document) -> float | None:
    """Seconds, None for ever.  Some clients write whole numbers as strings."""
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


def _info(info: TokenInfo) -> dict[str, object]:
    return {
        "token_id": info.id,
        "creation_time": int(info.created * 1000),
        "expiry_time": -1 if math.isinf(info.expires) else int(info.expires * 1000),
        "comment": info.comment,
    }
