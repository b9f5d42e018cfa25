"""The control plane's paths, as a table.  This file holds paths and the handlers behind them, nothing else."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from tesela.control import endpoints, identity, tokens
from tesela.control.answers import on_http_exception, told
from tesela.control.facts import Facts, actor_of
from tesela.errors import StoreUnavailable, TeselaError
from tesela.snapshot import Credential

READING = frozenset({"GET", "HEAD", "OPTIONS"})

CONFIG = "/.well-known/databricks-config"
OIDC = "/oidc"
SERVING = "/api/2.0/serving-endpoints"
GATEWAY = "/api/2.0/endpoints"

PUBLIC: frozenset[str] = frozenset(
    {CONFIG, f"{OIDC}/.well-known/oauth-authorization-server", f"{OIDC}/v1/token", "/health"}
)
"""The paths that answer without a credential.  None of them tells anything about endpoints or principals."""


def routes(facts: Facts) -> list[Route]:
    """Every path of the control plane.  `credential` must be in the state of requests to all but the public ones."""
    list_all, get_one = endpoints.list_all(facts), endpoints.get_one(facts)
    new, change = endpoints.refuse_new(facts), endpoints.refuse_change(facts)
    gateway_list = endpoints.gateway_list(facts)
    one = f"{SERVING}/{{name}}"
    return [
        Route(CONFIG, identity.databricks_config(facts), methods=["GET"]),
        Route(f"{OIDC}/.well-known/oauth-authorization-server", identity.oauth_server(facts), methods=["GET"]),
        Route(f"{OIDC}/v1/token", identity.oauth_token, methods=["POST"]),
        Route("/health", identity.health(facts), methods=["GET"]),
        Route("/api/2.0/preview/scim/v2/Me", identity.me(facts), methods=["GET"]),
        # MLflow puts a slash at the end.
        Route(SERVING, list_all, methods=["GET"]),
        Route(f"{SERVING}/", list_all, methods=["GET"]),
        Route(SERVING, new, methods=["POST"]),
        Route(f"{SERVING}/", new, methods=["POST"]),
        Route(f"{SERVING}/pt", new, methods=["POST"]),
        Route(f"{SERVING}/pt/{{name}}/config", change, methods=["PUT"]),
        Route(one, get_one, methods=["GET"]),
        Route(one, change, methods=["DELETE", "PUT", "PATCH"]),
        Route(f"{one}/config", change, methods=["PUT"]),
        Route(f"{one}/ai-gateway", change, methods=["PUT"]),
        Route(f"{one}/rate-limits", change, methods=["PUT"]),
        Route(f"{one}/tags", change, methods=["PATCH"]),
        Route(f"{one}/notifications", change, methods=["PATCH"]),
        Route(f"{one}/telemetry-config", change, methods=["PATCH"]),
        # MLflow's own gateway.
        Route(GATEWAY, gateway_list, methods=["GET"]),
        Route(f"{GATEWAY}/", gateway_list, methods=["GET"]),
        Route(f"{GATEWAY}/{{name}}", endpoints.gateway_get(facts), methods=["GET"]),
        Route("/api/2.0/token/create", tokens.create(facts), methods=["POST"]),
        Route("/api/2.0/token/list", tokens.list_own(facts), methods=["GET"]),
        Route("/api/2.0/token/delete", tokens.delete(facts), methods=["POST"]),
    ]


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
