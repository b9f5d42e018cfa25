"""Signing in to the web pages and out again.

A session is an access token of its own with a short life, in a cookie that no script can read (docs/concepts/web.md).
"""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tesela import __version__, page
from tesela.control import sql
from tesela.control.answers import Handler, document, json
from tesela.control.facts import Facts, actor_of, base_url
from tesela.errors import InvalidRequest, PermissionDenied, Unauthenticated
from tesela.snapshot import Credential, digest
from tesela.wire.document import text

PATH = "/api/2.0/tesela/session"
HEADER = page.HEADER.decode()
LIFETIME_S = 12 * 3600.0
COMMENT = "session of the web pages"
NO_STORE = {"cache-control": "no-store"}
USED = (
    "this sign-in address was used before, or is older than an hour: paste an access token, or start the server again "
    "for a new one"
)


def routes(facts: Facts) -> list[Route]:
    return [
        Route(PATH, show(facts), methods=["GET"]),
        Route(PATH, sign_in(facts), methods=["POST"]),
        Route(PATH, sign_out(facts), methods=["DELETE"]),
    ]


def show(_facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        found = getattr(request.state, "credential", None)
        whole = found if isinstance(found, Credential) and found.endpoints is None else None
        return json(_told(whole), headers=NO_STORE)

    return handler


def sign_in(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        _from_a_page(request)
        asked = await document(request)
        token, code = text(asked, "token"), text(asked, "code")
        now = facts.now()
        if code:
            principal_id = await run_in_threadpool(facts.take_code, code)
            principal = facts.snapshot().principals.get(principal_id or "")
            if principal is None:
                raise Unauthenticated(USED)
            owner = Credential(principal)
        elif token:
            # Latin-1 is what headers are in; what has no place there is no token.
            owner = facts.authenticate(b"Bearer " + token.encode("latin-1", "replace"))
            if owner.endpoints is not None:
                raise PermissionDenied("this access token was made for querying endpoints, and for nothing else")
        else:
            raise InvalidRequest("'token' must be an access token", param="token")
        lifetime_s = min(LIFETIME_S, owner.expires_at - now)
        by, id = actor_of(owner, request), owner.principal.id
        made, _ = await run_in_threadpool(lambda: facts.store().tokens.create(by, id, COMMENT, lifetime_s))
        facts.changed()
        session = Credential(owner.principal, now + lifetime_s)
        response = json(_told(session), headers=NO_STORE)
        _set_cookie(response, request, facts, made, int(lifetime_s))
        return response

    return handler


def sign_out(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        _from_a_page(request)
        # What the cookie holds, and nothing that came by a header: nobody loses their own token by signing out.
        session = facts.snapshot().credentials.get(digest(request.cookies.get(facts.cookie, "").encode("latin-1")))
        if session is not None:
            by, id = actor_of(session, request), session.token_id
            await run_in_threadpool(lambda: facts.store().tokens.revoke(by, id, session.principal.id))
            facts.changed()
        response = json({}, headers=NO_STORE)
        _set_cookie(response, request, facts, "", 0)
        return response

    return handler


def _from_a_page(request: Request) -> None:
    """Nobody is signed in, or out, by another site's form."""
    if HEADER not in request.headers:
        raise PermissionDenied(f"signing in takes the header {HEADER}, which the web pages send")


def _told(credential: Credential | None) -> dict[str, Any]:
    if credential is None:
        return {"user": None}
    principal = credential.principal
    return {
        "user": {"id": principal.id, "name": principal.name, "admin": principal.admin},
        "version": __version__,
        "sql": not sql.missing(),
    }


def _set_cookie(response: Response, request: Request, facts: Facts, token: str, max_age_s: int) -> None:
    secure = base_url(request, facts).startswith("https:")
    response.set_cookie(
        facts.cookie, token, max_age=max_age_s, path="/", secure=secure, httponly=True, samesite="strict"
    )
