"""`GET …/models`: the endpoints that the caller may query, as OpenAI and as Google list models."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from tesela.errors import NotFound
from tesela.gateway.invoke import Gateway
from tesela.serving import Endpoint
from tesela.snapshot import Credential, Snapshot
from tesela.wire.document import encode
from tesela.wire.tasks import Task

ENDS = ("", "/{model:path}")
"""What may follow `/models`: nothing, or a model's name, which may have slashes in it."""


def list_models(gateway: Gateway, created_s: int) -> Callable[[Request], Awaitable[Response]]:
    """The handler of both paths.  `created_s` stands for the time of endpoints that know none."""

    async def handler(request: Request) -> Response:
        seen = _seen(gateway.snapshot, request.state.credential)
        name = request.path_params.get("model")
        if name is None:
            body = encode({"object": "list", "data": [_model(endpoint, created_s) for endpoint in seen.values()]})
        elif name in seen:
            body = encode(_model(seen[name], created_s))
        else:
            raise NotFound(f"endpoint {name!r} does not exist", param="model", reason="model_not_found")
        return Response(body, media_type="application/json")

    return handler


def list_for_google(gateway: Gateway) -> Callable[[Request], Awaitable[Response]]:
    """The handler of both paths in Google's form: https://ai.google.dev/api/models.  All come on one page."""

    async def handler(request: Request) -> Response:
        seen = _seen(gateway.snapshot, request.state.credential)
        name = request.path_params.get("model")
        if name is None:
            body = encode({"models": [_for_google(endpoint) for endpoint in seen.values()]})
        elif name in seen:
            body = encode(_for_google(seen[name]))
        else:
            raise NotFound(f"endpoint {name!r} does not exist", param="model", reason="model_not_found")
        return Response(body, media_type="application/json")

    return handler


def _for_google(endpoint: Endpoint) -> dict[str, object]:
    methods = METHODS_OF.get(endpoint.task, ())
    out: dict[str, object] = {"name": f"models/{endpoint.name}", "displayName": endpoint.name, "version": "1"}
    if endpoint.description:
        out["description"] = endpoint.description
    return {**out, "supportedGenerationMethods": methods}


METHODS_OF = {
    Task.CHAT: ("generateContent", "streamGenerateContent"),
    Task.EMBEDDINGS: ("embedContent", "batchEmbedContents"),
}


def _seen(snapshot: Snapshot, credential: Credential) -> dict[str, Endpoint]:
    principal, only = credential.principal, credential.endpoints
    return {
        name: found
        for name, found in snapshot.endpoints.items()
        if snapshot.may_query(principal, name) and (only is None or found.id in only)
    }


def _model(endpoint: Endpoint, created_s: int) -> dict[str, object]:
    """As https://platform.openai.com/docs/api-reference/models/object has it."""
    owner = endpoint.entities[0].provider
    created = endpoint.created_ms // 1000 or created_s
    return {"id": endpoint.name, "object": "model", "created": created, "owned_by": owner}
