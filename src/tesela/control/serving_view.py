"""Endpoints of the store in the shapes of the REST API.

Pure.  What was asked for is shown as it was asked for, without keys: neither those given in plain nor their sealed
form ever leave.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from tesela.control.shapes import DEPLOYMENT, Frame, capabilities
from tesela.endpoint_build import Surroundings, foundation_model, local_name
from tesela.records import StoredEndpoint
from tesela.serving import Endpoint, ServedEntityInput
from tesela.sizing import size_of
from tesela.store.sealed import without_keys
from tesela.wire.document import encode

Json = dict[str, Any]
THIN = ("name", "entity_name", "entity_version", "external_model", "foundation_model")
"""What the list tells of a served entity."""
SHOWN = ("ai_gateway", "rate_limits", "budget_policy_id", "email_notifications", "telemetry_config")


class Stored(msgspec.Struct, frozen=True):
    """An endpoint of the store, and what is known of it beside.

    `built` is what serves under its name now, None while nothing does; `broken` says why it does not.
    """

    endpoint: StoredEndpoint
    around: Surroundings
    built: Endpoint | None = None
    broken: str = ""


def detail(stored: Stored, frame: Frame) -> Json:
    """As `GET /api/2.0/serving-endpoints/{name}` answers."""
    one = stored.endpoint
    out = _common(stored, frame)
    out["config"] = {
        **_config(stored, one.active, frame, pending=False),
        "config_version": one.config_version,
    }
    if one.pending is not None:
        out["pending_config"] = {
            **_config(stored, one.pending, frame, pending=True),
            "config_version": one.config_version + 1,
            "start_time": one.pending_ms,
        }
    out["permission_level"] = frame.permission
    out["route_optimized"] = bool(one.settings.get("route_optimized"))
    out["endpoint_url"] = f"{frame.base}/serving-endpoints/{one.name}/invocations"
    if out["route_optimized"]:
        query = {"endpoint_url": out["endpoint_url"], "authorization_details": authorization_details(one.id)}
        out["data_plane_info"] = {"query_info": query}
    if stored.built is not None:
        out["capabilities"] = capabilities(stored.built)
    return out


def summary(stored: Stored, frame: Frame) -> Json:
    """As the items of `GET /api/2.0/serving-endpoints`."""
    one = stored.endpoint
    config = _config(stored, one.active if one.active is not None else one.pending, frame, pending=one.active is None)
    thin = [{key: entity[key] for key in THIN if key in entity} for entity in config["served_entities"]]
    traffic = {"traffic_config": config["traffic_config"]} if "traffic_config" in config else {}
    return {**_common(stored, frame), "config": {"served_entities": thin, **traffic}}


def authorization_details(endpoint_id: str) -> str:
    """What a client asks a token for that can query this one endpoint and nothing else."""
    wanted = {
        "type": "workspace_permission",
        "object_type": "serving-endpoints",
        "object_path": f"/serving-endpoints/{endpoint_id}",
        "actions": ["query_inference_endpoint"],
    }
    return encode([wanted]).decode()


def engine_of(entity: Mapping[str, Any]) -> str:
    """The engine that answers a local served entity; empty for an external one."""
    asked = msgspec.convert(entity, ServedEntityInput)
    return "" if asked.external_model is not None else size_of(asked).engine(local_name(asked))


def _common(stored: Stored, frame: Frame) -> Json:
    one = stored.endpoint
    entities = ((one.active if one.active is not None else one.pending) or {}).get("served_entities", [])
    out: Json = {
        "name": one.name,
        "id": one.id,
        "creator": one.creator,
        "creation_timestamp": one.created_ms,
        "last_updated_timestamp": one.updated_ms,
        "state": {"ready": "READY" if _ready(stored, frame) else "NOT_READY", "config_update": one.update_state},
        "task": _task(stored, entities),
        "tags": one.settings.get("tags", []),
        "endpoint_type": "EXTERNAL_MODEL"
        if any(entity.get("external_model") for entity in entities)
        else "FOUNDATION_MODEL_API",
        "description": one.settings.get("description", ""),
        "source": "store",
    }
    return out | {name: one.settings[name] for name in SHOWN if name in one.settings}


def _task(stored: Stored, entities: list[Json]) -> str:
    if stored.built is not None:
        return str(stored.built.task)
    for entity in entities:
        if entity.get("external_model"):
            return str(entity["external_model"]["task"])
    for entity in entities:
        engine = stored.around.engine(msgspec.convert(entity, ServedEntityInput))
        if engine is not None:
            return str(engine.task)
    return ""


def _config(stored: Stored, config: Json | None, frame: Frame, *, pending: bool) -> Json:
    if config is None:
        return {"served_entities": []}
    out = dict(without_keys(config))
    out["served_entities"] = [_entity(stored, entity, frame, pending) for entity in out["served_entities"]]
    return out


def _entity(stored: Stored, entity: Json, frame: Frame, pending: bool) -> Json:
    deployment, message = _deployment(stored, entity, frame, pending)
    out = {
        **entity,
        "type": "EXTERNAL_MODEL" if entity.get("external_model") else "FOUNDATION_MODEL",
        "state": {"deployment": deployment, "deployment_state_message": message},
        "creation_timestamp": stored.endpoint.pending_ms if pending else stored.endpoint.updated_ms,
        "creator": stored.endpoint.creator,
    }
    if not entity.get("external_model"):
        asked = msgspec.convert(entity, ServedEntityInput)
        engine = stored.around.engine(asked)
        if engine is not None:
            out["foundation_model"] = msgspec.to_builtins(foundation_model(engine, local_name(asked)))
    if frame.permission != "CAN_MANAGE":
        # What a model's process is told through its environment is its owner's business.
        out.pop("environment_vars", None)
    return out


def _deployment(stored: Stored, entity: Json, frame: Frame, pending: bool) -> tuple[str, str]:
    """How the model behind a served entity is, and why, or why the last update did not come about."""
    one = stored.endpoint
    if pending and one.update_state in FAILED:
        return FAILED[one.update_state], one.update_message
    if not pending and stored.broken:
        return "DEPLOYMENT_FAILED", stored.broken
    told = f"the last update did not come about: {one.update_message}" if one.update_state in FAILED else ""
    found = frame.engines.get(engine_of(entity))
    if found is not None:
        return DEPLOYMENT.get(found.status, "DEPLOYMENT_FAILED"), found.message or told
    return ("DEPLOYMENT_CREATING" if pending and not entity.get("external_model") else "DEPLOYMENT_READY"), told


def _ready(stored: Stored, frame: Frame) -> bool:
    """Whether a query can be answered: by all that have traffic, or by any when there is fallback."""
    active = stored.endpoint.active
    if active is None or stored.broken:
        return False
    well = {
        entity["name"]: _deployment(stored, entity, frame, pending=False)[0] == "DEPLOYMENT_READY"
        for entity in active["served_entities"]
    }
    if ((stored.endpoint.settings.get("ai_gateway") or {}).get("fallback_config") or {}).get("enabled"):
        return any(well.values())
    routes = active["traffic_config"]["routes"]
    return all(well[route["served_entity_name"]] for route in routes if route["traffic_percentage"] > 0)


FAILED = {"UPDATE_FAILED": "DEPLOYMENT_FAILED", "UPDATE_CANCELED": "DEPLOYMENT_ABORTED"}
"""The state of what was to come, by how the update ended."""
