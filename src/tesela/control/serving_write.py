"""Making, changing and deleting endpoints.

Everybody who may sign in may make one, as in a workspace, and manages it then.  A request is checked whole before
anything is written, and is written in one change; what was there before serves until the new one is ready.
"""

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tesela.control.answers import Handler, document, json
from tesela.control.facts import Facts, actor, credential
from tesela.control.serving_config import Json, changed, check, external, gives_entities, new
from tesela.control.serving_find import Kept, managed, own_endpoint, told
from tesela.errors import AlreadyExists, InvalidRequest
from tesela.records import Actor, StoredEndpoint
from tesela.snapshot import Principal
from tesela.wire.document import value


def create(facts: Facts, *, units: bool = False) -> Handler:
    """`units` is for the path of endpoints with provisioned throughput."""

    def work(by: Actor, principal: Principal, body: Json) -> StoredEndpoint:
        asked, settings = new(body, units=units)
        store = facts.store()
        own = own_endpoint(facts.snapshot(), asked.name)
        if own is not None:
            where = f"it comes from {facts.file}" if own.source == "file" else "it is built in"
            raise AlreadyExists(f"there is an endpoint {asked.name!r} already: {where}", param="name")
        if store.endpoints.get(asked.name) is not None:
            raise AlreadyExists(f"there is an endpoint {asked.name!r} already", param="name")
        checked = check(asked.name, asked.config, settings, around=facts.surroundings(), store=store, reader=principal)
        return store.endpoints.create(by, asked.name, checked.config, settings, ready=checked.ready)

    async def handler(request: Request) -> Response:
        principal = credential(request).principal
        made = await run_in_threadpool(work, actor(request), principal, await whole(request))
        facts.changed()
        return json(told(request, facts, Kept(made, "CAN_MANAGE")))

    return handler


def update_config(facts: Facts, *, units: bool = False) -> Handler:
    """`units` is for the path of endpoints with provisioned throughput, whose body has the configuration inside."""
    at = "config" if units else ""

    def work(by: Actor, principal: Principal, name: str, body: Json) -> StoredEndpoint:
        stored = managed(facts, principal, name)
        store = facts.store()
        now, given = stored.active, gives_entities(body)
        if now is not None and not given:
            now = store.endpoints.opened(now, stored.id)
        config = changed(body, now, at=at, units=units)
        checked = check(
            name,
            config,
            stored.settings,
            around=facts.surroundings(),
            store=store,
            reader=principal if given else None,
            at=at,
        )
        if stored.active is not None and external(stored.active) != external(checked.config):
            raise InvalidRequest(
                f"endpoint {name!r} was made {'with' if external(stored.active) else 'without'} external models and "
                "stays so: make another endpoint",
                param="served_entities",
            )
        return store.endpoints.update_config(by, name, checked.config, ready=checked.ready, was=stored)

    async def handler(request: Request) -> Response:
        principal, body = credential(request).principal, await whole(request)
        if units:
            body = _inner(body)
        done = await run_in_threadpool(work, actor(request), principal, request.path_params["name"], body)
        facts.changed()
        return json(told(request, facts, Kept(done, "CAN_MANAGE")))

    return handler


def delete(facts: Facts) -> Handler:
    def work(by: Actor, principal: Principal, name: str) -> None:
        stored = managed(facts, principal, name)
        facts.store().endpoints.delete(by, name, was=stored)

    async def handler(request: Request) -> Response:
        await run_in_threadpool(work, actor(request), credential(request).principal, request.path_params["name"])
        facts.changed()
        return json({})

    return handler


def _inner(body: Json) -> Json:
    config = body.get("config")
    if not isinstance(config, dict):
        raise InvalidRequest("config: must be an object with served_entities", param="config")
    return config


async def whole(request: Request) -> Json:
    """The body with all its values.  Raises InvalidRequest and TooLarge."""
    read = await document(request)
    return {name: value(read, name) for name in read}
