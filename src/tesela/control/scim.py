"""Users, groups and service principals over SCIM (RFC 7644), as the Databricks SDK's `w.users`, `w.groups`,
`w.service_principals` and the Terraform provider ask for them.

Everybody may read; changes are an admin's.
"""

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tesela.control import scim_patch, scim_query, scim_shape
from tesela.control.answers import Handler, document, json
from tesela.control.facts import Facts, actor, credential, require_admin
from tesela.control.scim_shape import FORMS, Form
from tesela.records import Actor, IdentityEntry, IdentityRevision
from tesela.wire.document import Document, value

PATH = "/api/2.0/preview/scim/v2"
P = ParamSpec("P")
T = TypeVar("T")


def routes(facts: Facts) -> list[Route]:
    found = []
    for form in FORMS:
        everything, one = f"{PATH}/{form.path}", f"{PATH}/{form.path}/{{id}}"
        found += [
            Route(everything, list_all(facts, form), methods=["GET"]),
            Route(everything, create(facts, form), methods=["POST"]),
            Route(one, get(facts, form), methods=["GET"]),
            Route(one, replace(facts, form), methods=["PUT"]),
            Route(one, patch(facts, form), methods=["PATCH"]),
            Route(one, delete(facts, form), methods=["DELETE"]),
        ]
    return found


def list_all(facts: Facts, form: Form) -> Handler:
    def work(query: scim_query.Query) -> Response:
        entries = facts.store().identities.entries(form.kind)
        return json(scim_query.page(query, (scim_shape.resource(form, one) for one in entries)))

    async def handler(request: Request) -> Response:
        credential(request)
        return await run_in_threadpool(work, scim_query.read(request.query_params, form))

    return handler


def get(facts: Facts, form: Form) -> Handler:
    def work(id: str, query: scim_query.Query) -> Response:
        found = facts.store().identities.entry(id, form.kind)
        return json(scim_query.shown(query, scim_shape.resource(form, found)))

    async def handler(request: Request) -> Response:
        credential(request)
        return await run_in_threadpool(work, request.path_params["id"], scim_query.read(request.query_params, form))

    return handler


def create(facts: Facts, form: Form) -> Handler:
    def work(by: Actor, asked: dict[str, Any]) -> Response:
        details = scim_shape.details(form, asked)
        if form.kind == "user" and (emails := scim_shape.emails(asked)):
            details["emails"] = emails
        identities = facts.store().identities
        made = identities.create(
            by,
            form.kind,
            scim_shape.text(asked, form.called) or "",
            scim_shape.text(asked, "displayName") or "",
            active=scim_shape.active(asked, True),
            external_id=scim_shape.text(asked, "externalId"),
            details=details,
            members=scim_shape.ids(asked, "members") if form.kind == "group" else (),
            groups=scim_shape.ids(asked, "groups"),
        )
        return json(scim_shape.resource(form, identities.entry(made.id)), 201)

    async def handler(request: Request) -> Response:
        by = _admin(request, f"create {form.path}")
        asked = _read(await document(request), form, form.called, "emails", "groups")
        return await _changed(facts, work, by, asked)

    return handler


def replace(facts: Facts, form: Form) -> Handler:
    def work(by: Actor, id: str, asked: dict[str, Any]) -> Response:
        def revision(entry: IdentityEntry) -> IdentityRevision:
            return scim_shape.revision(form, asked, entry)

        return json(scim_shape.resource(form, facts.store().identities.revise(by, id, revision, form.kind)))

    async def handler(request: Request) -> Response:
        by = _admin(request, f"change {form.path}")
        asked = _read(await document(request), form)
        return await _changed(facts, work, by, request.path_params["id"], asked)

    return handler


def patch(facts: Facts, form: Form) -> Handler:
    def work(by: Actor, id: str, todo: list[scim_patch.Operation]) -> Response:
        def revision(entry: IdentityEntry) -> IdentityRevision:
            return scim_shape.revision(form, scim_patch.apply(scim_shape.writable(form, entry), todo), entry)

        facts.store().identities.revise(by, id, revision, form.kind)
        return Response(status_code=204)

    async def handler(request: Request) -> Response:
        by = _admin(request, f"change {form.path}")
        asked = value(await document(request), "Operations")
        return await _changed(facts, work, by, request.path_params["id"], scim_patch.operations(asked, form))

    return handler


def delete(facts: Facts, form: Form) -> Handler:
    def work(by: Actor, id: str) -> Response:
        facts.store().identities.delete(by, id, form.kind)
        return Response(status_code=204)

    async def handler(request: Request) -> Response:
        by = _admin(request, f"delete {form.path}")
        return await _changed(facts, work, by, request.path_params["id"])

    return handler


async def _changed(facts: Facts, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    done = await run_in_threadpool(work, *args, **kwargs)
    facts.changed()
    return done


def _admin(request: Request, what: str) -> Actor:
    require_admin(credential(request).principal, what)
    return actor(request)


def _read(asked: Document, form: Form, *more: str) -> dict[str, Any]:
    """The fields of a resource that can be given.  Raises InvalidRequest for one that is no JSON."""
    fields = scim_patch.CHANGEABLE[form.kind] | set(more)
    return {field: value(asked, field) for field in fields}
