"""Whether the server is well, for whoever watches it: without a credential, at once, and from memory."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tesela.control.answers import Handler, json
from tesela.control.facts import Facts

PATH = "/health"
NO_STORE = {"cache-control": "no-store"}


def routes(facts: Facts) -> list[Route]:
    return [Route(PATH, health(facts), methods=["GET"])]


def health(facts: Facts) -> Handler:
    """200 as long as queries are answered: what is wrong beside that must not make a load balancer turn away."""

    async def handler(_request: Request) -> Response:
        wrong = facts.health()
        if wrong is None:
            return json({"status": "ok"}, headers=NO_STORE)
        return json({"status": "degraded", "message": wrong}, headers=NO_STORE)

    return handler
