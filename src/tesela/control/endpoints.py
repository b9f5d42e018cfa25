"""Endpoints as MLflow's own gateway describes them, for its client: those that can be queried now."""

from starlette.requests import Request
from starlette.responses import Response

from tesela.control.answers import Handler, json
from tesela.control.facts import Facts, credential
from tesela.control.shapes import gateway_endpoint
from tesela.errors import NotFound, PermissionDenied


def gateway_list(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        principal, snapshot = credential(request).principal, facts.snapshot()
        mine = [one for name, one in snapshot.endpoints.items() if snapshot.may_see(principal, name)]
        return json({"endpoints": [gateway_endpoint(one) for one in mine]})

    return handler


def gateway_get(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        principal, snapshot, name = credential(request).principal, facts.snapshot(), request.path_params["name"]
        endpoint = snapshot.endpoints.get(name)
        if endpoint is None:
            raise NotFound(f"there is no endpoint {name[:80]!r}; GET /api/2.0/endpoints lists what there is")
        if not snapshot.may_see(principal, name):
            raise PermissionDenied(f"{principal.name} may not see endpoint {name!r}: ask for CAN_QUERY on it")
        return json(gateway_endpoint(endpoint))

    return handler
