"""`GET …/models`: the endpoints that the caller may query, as OpenAI lists models."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from tesela.errors import NotFound
from tesela.gateway.invoke import Gateway
from tesela.serving import Endpoint
from tesela.snapshot import Credential
from tesela.wire.document import encode

ENDS = ("", "/{model:path}")
"""What may follow `/models`: nothing, or a model's name, which may have slashes in it."""


def list_models(gateway: Gateway, created_s: int) -> Callable[[Request], Awaitable[Response]]:
    """The handler of both paths.  `created_s` stands for the time of endpoints that know none."""

    async def handler(request: Request) -> Response:
        credential: Credential = request.state.credential
        snapshot, principal, only = gateway.snapshot, credential.principal, credential.endpoints
        seen = {
            name: found
            for name, found in snapshot.endpoints.items()
            if snapshot.may_query(principal, name) and (only is None or found.id in only)
        }
        name = request.path_params.get("model")
        if name is None:
            body = encode({"object": "list", "data": [_model(endpoint, created_s) for endpoint in seen.values()]})
        elif name in seen:
            body = encode(_model(seen[name], created_s))
        else:
            raise NotFound(f"endpoint {name!r} does not exist", param="model", reason="model_not_found")
        return Response(body, media_type="application/json")

    return handler


def _model(endpoint: Endpoint, created_s: int) -> dict[str, object]:
    """As https://platform.openai.com/docs/api-reference/models/object has it."""
    owner = endpoint.entities[0].provider
    created = endpoint.created_ms // 1000 or created_s
    return {"id": endpoint.name, "object": "model", "created": created, "owned_by": owner}
