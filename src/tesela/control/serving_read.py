"""Endpoints as the REST API lists and tells them: those of the file, the built-in ones, and those of the store."""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tesela.control import serving_view, shapes
from tesela.control.answers import Handler, json
from tesela.control.facts import Facts, credential
from tesela.control.serving_find import (
    Found,
    Own,
    find,
    frame,
    own_endpoint,
    own_level,
    stored_level,
    told,
    with_surroundings,
)
from tesela.errors import StoreUnavailable
from tesela.snapshot import Principal


def list_all(facts: Facts) -> Handler:
    """A list may be long, so all of it is made in a thread: no query waits for it."""

    def work(request: Request, principal: Principal) -> Response:
        store = facts.store()
        with store.database.read() as connection:
            kept, levels = store.endpoints.all(connection), store.permissions.all(connection)
        snapshot, around, shown = facts.snapshot(), facts.surroundings(), frame(request, facts, "CAN_VIEW")
        own = [
            shapes.summary(endpoint, shown)
            for name, endpoint in snapshot.endpoints.items()
            if endpoint.source != "store" and snapshot.may_see(principal, name)
        ]
        mine = [
            serving_view.summary(with_surroundings(facts, one, around), shown)
            for one in kept
            if stored_level(principal, levels.get(one.id, {})) and own_endpoint(snapshot, one.name) is None
        ]
        return json({"endpoints": own + mine})

    async def handler(request: Request) -> Response:
        return await run_in_threadpool(work, request, credential(request).principal)

    return handler


def _find(facts: Facts, principal: Principal, name: str) -> Found:
    """As the store has it now; and while the store does not answer, as it is served: clients look before they query."""
    try:
        return find(facts, principal, name)
    except StoreUnavailable:
        served = facts.snapshot().endpoints.get(name)
        level = own_level(facts.snapshot(), principal, name)
        if served is None or level is None:
            raise
        return Own(served, level)


def get_one(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        principal = credential(request).principal
        found = await run_in_threadpool(_find, facts, principal, request.path_params["name"])
        return json(told(request, facts, found))

    return handler
