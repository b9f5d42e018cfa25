"""Who the caller is, which clients ask while they start."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tesela.control import scim_query, scim_shape
from tesela.control.answers import Handler, json
from tesela.control.facts import Facts, credential
from tesela.control.scim_shape import USER
from tesela.errors import NotFound, StoreUnavailable
from tesela.records import Identity, IdentityEntry
from tesela.snapshot import Principal


def routes(facts: Facts) -> list[Route]:
    return [Route("/api/2.0/preview/scim/v2/Me", me(facts), methods=["GET"])]


def me(facts: Facts) -> Handler:
    """The caller, also a service principal, in the shape of a user."""

    def work(principal: Principal) -> IdentityEntry:
        try:
            return facts.store().identities.entry(principal.id)
        except (NotFound, StoreUnavailable):
            # Whoever may still query must be able to start a client, and clients ask this while they start.
            return IdentityEntry(Identity(principal.id, principal.kind, principal.name, principal.display_name))

    async def handler(request: Request) -> Response:
        principal = credential(request).principal
        query = scim_query.read(request.query_params, USER)
        entry = await run_in_threadpool(work, principal)
        found = scim_query.shown(query, scim_shape.resource(USER, entry))
        return json(found, headers={"x-databricks-org-id": str(facts.workspace_id)})

    return handler
