"""Everybody's access tokens, for admins, and tokens on behalf of service principals.

No answer holds a token, but the one that makes it.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tesela.control import tokens
from tesela.control.answers import Handler, document, json
from tesela.control.facts import Facts, actor, credential, require_admin
from tesela.errors import InvalidRequest, NotFound
from tesela.records import Actor, Identity, TokenInfo
from tesela.wire.document import text

if TYPE_CHECKING:
    from tesela.store.store import Store

PATH = "/api/2.0/token-management"


def routes(facts: Facts) -> list[Route]:
    one = f"{PATH}/tokens/{{token_id}}"
    return [
        Route(f"{PATH}/on-behalf-of/tokens", create(facts), methods=["POST"]),
        Route(f"{PATH}/tokens", list_all(facts), methods=["GET"]),
        Route(one, get(facts), methods=["GET"]),
        Route(one, update(facts), methods=["PATCH"]),
        Route(one, delete(facts), methods=["DELETE"]),
    ]


def create(facts: Facts) -> Handler:
    """A token of a service principal, which then acts as itself."""

    def work(by: Actor, application_id: str, comment: str, lifetime_s: float | None) -> Response:
        store = facts.store()
        owner = store.identities.find("service_principal", application_id)
        if owner is None:
            raise NotFound(
                f"there is no service principal with application id {application_id[:64]!r}", param="application_id"
            )
        access_token, made = store.tokens.create(by, owner.id, comment, lifetime_s)
        told = _told(made, _identities(store), facts.workspace_id)
        return json({"token_value": access_token, "token_info": told}, headers=tokens.NO_STORE)

    async def handler(request: Request) -> Response:
        by = _admin(request)
        asked = await document(request)
        application_id = text(asked, "application_id")
        if not application_id:
            raise InvalidRequest("'application_id' must say which service principal", param="application_id")
        done = await run_in_threadpool(work, by, application_id, *tokens.wanted(asked))
        facts.changed()
        return done

    return handler


def list_all(facts: Facts) -> Handler:
    def work(by_id: str, by_name: str) -> Response:
        store = facts.store()
        everybody = _identities(store)
        found = [
            one
            for one in store.tokens.list()
            if by_id in ("", one.created_by) and by_name.lower() in ("", _name(everybody, one.created_by))
        ]
        return json({"token_infos": [_told(one, everybody, facts.workspace_id) for one in found]})

    async def handler(request: Request) -> Response:
        _admin(request)
        by_id = request.query_params.get("created_by_id", "")
        if by_id and not (by_id.isascii() and by_id.isdigit()):
            raise InvalidRequest("'created_by_id' must be the number of a user", param="created_by_id")
        return await run_in_threadpool(work, by_id, request.query_params.get("created_by_username", ""))

    return handler


def get(facts: Facts) -> Handler:
    def work(token_id: str) -> Response:
        store = facts.store()
        return json({"token_info": _told(store.tokens.get(token_id), _identities(store), facts.workspace_id)})

    async def handler(request: Request) -> Response:
        _admin(request)
        return await run_in_threadpool(work, request.path_params["token_id"])

    return handler


def update(facts: Facts) -> Handler:
    def work(by: Actor, token_id: str, comment: str | None) -> Response:
        store = facts.store()
        if comment is not None:
            store.tokens.update(by, token_id, comment=comment)
        return json(_told(store.tokens.get(token_id), _identities(store), facts.workspace_id))

    async def handler(request: Request) -> Response:
        by = _admin(request)
        comment = tokens.new_comment(await document(request))
        return await run_in_threadpool(work, by, request.path_params["token_id"], comment)

    return handler


def delete(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        by, token_id = _admin(request), request.path_params["token_id"]
        if not await run_in_threadpool(lambda: facts.store().tokens.revoke(by, token_id)):
            raise tokens.unknown(token_id)
        facts.changed()
        return json({})

    return handler


def _admin(request: Request) -> Actor:
    require_admin(credential(request).principal, "manage other people's access tokens")
    return actor(request)


def _identities(store: "Store") -> dict[str, Identity]:
    return {one.id: one for one in store.identities.list()}


def _name(everybody: Mapping[str, Identity], id: str) -> str | None:
    return everybody[id].name if id in everybody else None


def _told(found: TokenInfo, everybody: Mapping[str, Identity], workspace_id: int) -> dict[str, Any]:
    """Ids are numbers here, unlike everywhere else."""
    out = tokens.info(found) | {"owner_id": int(found.principal_id), "workspace_id": workspace_id}
    if found.created_by.isdigit():
        out["created_by_id"] = int(found.created_by)
    if (name := _name(everybody, found.created_by)) is not None:
        out["created_by_username"] = name
    return out
