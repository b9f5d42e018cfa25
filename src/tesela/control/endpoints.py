"""Endpoints as the REST API and MLflow's gateway client read them.

They come from the configuration file and from the local models, so every attempt to change one is refused with the
name of the file to edit.
"""

from starlette.requests import Request
from starlette.responses import Response

from tesela.control.answers import Handler, json
from tesela.control.facts import Facts, base_url, credential
from tesela.control.shapes import Frame, detail, gateway_endpoint, summary
from tesela.errors import NotFound, PermissionDenied, Unsupported
from tesela.serving import Endpoint
from tesela.snapshot import Principal


def list_all(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        principal = credential(request).principal
        frame = _frame(request, facts, principal)
        return json({"endpoints": [summary(one, frame) for one in _visible(facts, principal)]})

    return handler


def get_one(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        principal = credential(request).principal
        return json(detail(_find(request, facts, principal), _frame(request, facts, principal)))

    return handler


def gateway_list(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        return json({"endpoints": [gateway_endpoint(one) for one in _visible(facts, credential(request).principal)]})

    return handler


def gateway_get(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        return json(gateway_endpoint(_find(request, facts, credential(request).principal)))

    return handler


def refuse_new(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        _admin(credential(request).principal)
        where = facts.file or "a file tesela.yaml, which does not exist yet"
        raise Unsupported(
            f"endpoints are not made through the API here yet: add this one under 'endpoints' in {where}, in the very "
            "shape of this request, and start again"
        )

    return handler


def refuse_change(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        principal = credential(request).principal
        endpoint = _find(request, facts, principal)
        _admin(principal)
        if endpoint.source == "file":
            raise Unsupported(f"endpoint {endpoint.name!r} comes from {facts.file}: change it there and start again")
        raise Unsupported(
            f"endpoint {endpoint.name!r} is built in and cannot be changed; endpoints of your own stand in tesela.yaml"
        )

    return handler


def _admin(principal: Principal) -> None:
    if not principal.admin:
        raise PermissionDenied("only an admin may make or change endpoints")


def _visible(facts: Facts, principal: Principal) -> list[Endpoint]:
    snapshot = facts.snapshot()
    return [one for name, one in snapshot.endpoints.items() if snapshot.may_query(principal, name)]


def _find(request: Request, facts: Facts, principal: Principal) -> Endpoint:
    name = request.path_params["name"]
    snapshot = facts.snapshot()
    endpoint = snapshot.endpoints.get(name)
    if endpoint is None:
        raise NotFound(f"there is no endpoint {name!r}; GET /api/2.0/serving-endpoints lists what there is")
    if not snapshot.may_query(principal, name):
        raise PermissionDenied(f"{principal.name} may not see endpoint {name!r}; an admin can grant CAN_QUERY on it")
    return endpoint


def _frame(request: Request, facts: Facts, principal: Principal) -> Frame:
    return Frame(
        workspace_id=facts.workspace_id,
        created_ms=facts.created_ms,
        base=base_url(request, facts),
        permission="CAN_MANAGE" if principal.admin else "CAN_QUERY",
        engines=facts.engine_states(),
    )
