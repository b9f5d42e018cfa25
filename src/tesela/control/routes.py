"""The control plane's paths, as a table.  This file holds paths and the handlers behind them, nothing else."""

from collections.abc import Sequence

from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from tesela.control import endpoints, identity, tokens
from tesela.control.answers import ERRORS
from tesela.control.facts import Facts

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


class Application:
    """The handlers as one ASGI application, with other people's routes beside them.

    Errors of the tree become answers here; anything else is left to whoever stands before, who knows the request's
    id.  A slash too many is a path that nobody has, not a redirect that some clients do not follow.
    """

    def __init__(self, facts: Facts, more: Sequence[BaseRoute] = ()) -> None:
        router = Router([*routes(facts), *more], redirect_slashes=False)
        self._app = ExceptionMiddleware(router, handlers=ERRORS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Without it Starlette answers an unknown path with plain text instead of raising.
        scope["app"] = self
        await self._app(scope, receive, send)
