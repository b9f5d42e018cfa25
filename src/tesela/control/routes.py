"""The control plane's paths, as a table.  This file holds paths and the handlers behind them, nothing else."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router, compile_path
from starlette.types import Receive, Scope, Send

from tesela.control import (
    activity,
    audit,
    client_secrets,
    health,
    identity,
    oidc,
    pages,
    permissions,
    scim,
    secrets,
    serving_routes,
    session,
    sql,
    token_management,
    tokens,
)
from tesela.control.answers import on_http_exception, told
from tesela.control.facts import Facts, actor_of
from tesela.errors import StoreUnavailable, TeselaError
from tesela.snapshot import Credential

PARTS = (
    health,
    oidc,
    identity,
    scim,
    client_secrets,
    serving_routes,
    permissions,
    secrets,
    tokens,
    token_management,
    audit,
    sql,
    session,
    activity,
    pages,
)
READING = frozenset({"GET", "HEAD", "OPTIONS"})

PUBLIC: frozenset[str] = oidc.PUBLIC | sql.PUBLIC | pages.PUBLIC | {health.PATH, session.PATH}
"""The paths that answer without a credential.  None of them tells anything about endpoints or principals."""
_PUBLIC = tuple(compile_path(path)[0] for path in sorted(PUBLIC))


def is_public(path: str) -> bool:
    """Whether a path answers without a credential."""
    return any(pattern.match(path) for pattern in _PUBLIC)


def routes(facts: Facts) -> list[Route]:
    """Every path of the control plane.  `credential` must be in the state of requests to all but the public ones."""
    return [route for part in PARTS for route in part.routes(facts)]


OnError = Callable[[Request, Exception], Awaitable[Response]]


class Application:
    """The handlers as one ASGI application, with other people's routes beside them.

    Errors of the tree become answers here, and refused changes are recorded; anything else is left to whoever stands
    before, who knows the request's id.  A slash too many is a path that nobody has, not a redirect that some clients do
    not follow.
    """

    def __init__(self, facts: Facts, more: Sequence[BaseRoute] = ()) -> None:
        router = Router([*routes(facts), *more], redirect_slashes=False)
        handlers: Mapping[Any, OnError] = {TeselaError: refusals(facts), HTTPException: on_http_exception}
        self._app = ExceptionMiddleware(router, handlers=handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Without it Starlette answers an unknown path with plain text instead of raising.
        scope["app"] = self
        await self._app(scope, receive, send)


def refusals(facts: Facts) -> OnError:
    """Tells an error of the tree, and records it when it refused somebody a change."""

    async def on_tesela_error(request: Request, exc: Exception) -> Response:
        if not isinstance(exc, TeselaError):
            raise exc
        who = getattr(request.state, "credential", None)
        if request.method not in READING and isinstance(who, Credential) and not isinstance(exc, StoreUnavailable):
            action = f"{request.method} refused"
            by = actor_of(who, request)
            refused = facts.store().audit.refused
            await run_in_threadpool(refused, by, action, request.url.path, exc.status, exc.message)
        return told(exc)

    return on_tesela_error
