"""Endpoints in the shapes of the REST API: the full one, the one of a list, and MLflow's.

Pure.  No key is in what comes in here but as the reference that the configuration holds.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

from tesela.control.facts import EngineFacts
from tesela.providers.registry import PROVIDERS
from tesela.serving import Endpoint, ServedEntity
from tesela.wire.tasks import Task

DEPLOYMENT = {
    "starting": "DEPLOYMENT_CREATING",
    "ready": "DEPLOYMENT_READY",
    "restarting": "DEPLOYMENT_RECOVERING",
    "failed": "DEPLOYMENT_FAILED",
    "stopped": "DEPLOYMENT_ABORTED",
}
"""The state of an engine in the words of `ServedModelState.deployment`."""

Engines = Mapping[str, EngineFacts]


def endpoint_id(workspace_id: int, name: str) -> str:
    """32 hexadecimal digits, the same for a name at every start."""
    return hashlib.sha256(f"{workspace_id}/{name}".encode()).hexdigest()[:32]


class Frame(msgspec.Struct, frozen=True):
    """What the shapes need beside the endpoint.  `base` is the address by which the caller reached us."""

    workspace_id: int
    created_ms: int
    base: str
    permission: str
    engines: Engines


def detail(endpoint: Endpoint, frame: Frame) -> dict[str, Any]:
    """As `GET /api/2.0/serving-endpoints/{name}` answers."""
    out = _common(endpoint, frame)
    created = endpoint.created_ms or frame.created_ms
    out["config"] = {
        "served_entities": [_entity(one, endpoint.creator, created, frame.engines) for one in endpoint.entities],
        "traffic_config": _traffic(endpoint),
        "config_version": 1,
    }
    out["permission_level"] = frame.permission
    out["route_optimized"] = False
    out["endpoint_url"] = f"{frame.base}/serving-endpoints/{endpoint.name}/invocations"
    out["capabilities"] = capabilities(endpoint)
    return out


def summary(endpoint: Endpoint, frame: Frame) -> dict[str, Any]:
    """As the items of `GET /api/2.0/serving-endpoints`."""
    config = {"served_entities": [_spec(one) for one in endpoint.entities], "traffic_config": _traffic(endpoint)}
    return {**_common(endpoint, frame), "config": config}


def _traffic(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "routes": [
            {"served_model_name": one.name, "served_entity_name": one.name, "traffic_percentage": one.percentage}
            for one in endpoint.entities
        ]
    }


def gateway_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    """As MLflow's own gateway describes an endpoint; its client completes the address."""
    first = endpoint.entities[0]
    external = first.config.external_model
    return {
        "name": endpoint.name,
        "endpoint_type": str(endpoint.task),
        "model": {"name": first.upstream.model, "provider": external.provider if external else "tesela"},
        "endpoint_url": f"/endpoints/{endpoint.name}/invocations",
        "limit": None,
    }


def _common(endpoint: Endpoint, frame: Frame) -> dict[str, Any]:
    created = endpoint.created_ms or frame.created_ms
    out: dict[str, Any] = {
        "name": endpoint.name,
        "id": endpoint_id(frame.workspace_id, endpoint.name),
        "creation_timestamp": created,
        "last_updated_timestamp": created,
        "state": {
            "ready": "READY" if _ready(endpoint, frame.engines) else "NOT_READY",
            "config_update": "NOT_UPDATING",
        },
        "task": str(endpoint.task),
        "tags": [msgspec.to_builtins(tag) for tag in endpoint.config.tags],
        "endpoint_type": "EXTERNAL_MODEL" if _external(endpoint) else "FOUNDATION_MODEL_API",
        "description": endpoint.description,
        # Of our own: the file's and the built-in ones cannot be changed through the API.
        "source": endpoint.source,
    }
    if endpoint.creator:
        out["creator"] = endpoint.creator
    if endpoint.config.ai_gateway is not None:
        out["ai_gateway"] = endpoint.config.ai_gateway
    return out


def _external(endpoint: Endpoint) -> bool:
    return any(one.config.external_model is not None for one in endpoint.entities)


def _spec(entity: ServedEntity) -> dict[str, Any]:
    out: dict[str, Any] = {"name": entity.name}
    for name in ("entity_name", "entity_version", "external_model", "foundation_model"):
        value = getattr(entity.config, name)
        if value is not None:
            out[name] = msgspec.to_builtins(value)
    return out


def _entity(entity: ServedEntity, creator: str, created_ms: int, engines: Engines) -> dict[str, Any]:
    out: dict[str, Any] = msgspec.to_builtins(entity.config)
    # What a model's process is told through its environment is its owner's business.
    out.pop("environment_vars", None)
    deployment, message = _deployment(entity, engines)
    out["name"] = entity.name
    out["type"] = "EXTERNAL_MODEL" if entity.config.external_model is not None else "FOUNDATION_MODEL"
    out["state"] = {"deployment": deployment, "deployment_state_message": message}
    out["creation_timestamp"] = created_ms
    if creator:
        out["creator"] = creator
    return out


def _deployment(entity: ServedEntity, engines: Engines) -> tuple[str, str]:
    """A served entity without an engine of ours is ready: whether its provider is, only a call can tell."""
    found = engines.get(entity.admission) if entity.admission else None
    if found is None:
        return "DEPLOYMENT_READY", ""
    return DEPLOYMENT.get(found.status, "DEPLOYMENT_FAILED"), found.message


def _ready(endpoint: Endpoint, engines: Engines) -> bool:
    """Ready means that a query can be answered: by all that have traffic, or by any when there is fallback."""
    ready = [_deployment(one, engines)[0] == "DEPLOYMENT_READY" for one in endpoint.entities]
    if endpoint.fallback:
        return any(ready)
    return all(well for one, well in zip(endpoint.entities, ready, strict=True) if one.percentage > 0)


def capabilities(endpoint: Endpoint) -> dict[str, Any]:
    """What is known of the models behind: much of ours, little of a provider's."""
    if endpoint.task is Task.EMBEDDINGS:
        sizes = {one.upstream.capabilities.dimensions for one in endpoint.entities}
        return {"streaming": False} | ({"dimensions": sizes.pop()} if len(sizes) == 1 and 0 not in sizes else {})
    out: dict[str, Any] = {"streaming": True}
    if endpoint.task is Task.CHAT:
        out["reasoning"] = all(PROVIDERS[one.provider].reasoning for one in endpoint.entities)
    if _external(endpoint):
        return out
    known = [one.upstream.capabilities for one in endpoint.entities]
    # Tools are done by constrained decoding where the model has none of its own.
    out["function_calling"] = all(one.tools or one.json_schema for one in known)
    out["structured_output"] = all(one.json_schema for one in known)
    out["image_input"] = all(one.images for one in known)
    out["logprobs"] = all(one.logprobs for one in known)
    if all(one.context for one in known):
        out["context_tokens"] = min(one.context for one in known)
    return out
