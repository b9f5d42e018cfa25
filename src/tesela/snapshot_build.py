"""Builds the snapshot: endpoints as they were asked for, with every reference resolved and every rule checked.

Pure: the engines' addresses and the credentials are arguments.  What cannot work raises ConfigError with the place.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from tesela.addresses import EngineAddress, attached
from tesela.catalogue import BorrowedName, borrowed_names
from tesela.config import Config
from tesela.configfile import Places, nearest
from tesela.errors import ConfigError
from tesela.providers.registry import resolve
from tesela.serving import (
    Endpoint,
    EndpointConfig,
    FoundationModel,
    Origin,
    Route,
    ServedEntity,
    ServedEntityInput,
    ServingEndpoint,
    TrafficConfig,
    Upstream,
)
from tesela.snapshot import Credential, Snapshot
from tesela.wire.tasks import Task

ENTITIES_MAX = 15
"""Per endpoint: what a workspace really allows, though its documentation says ten."""

ENDPOINT_NAME = re.compile(r"^[A-Za-z0-9_-]{1,63}\Z")
ENTITY_NAME = re.compile(r"^[A-Za-z0-9_-]{1,128}\Z")


def build(
    config: Config, engines: Mapping[str, EngineAddress], credentials: Mapping[bytes, Credential], version: int
) -> Snapshot:
    """Everything that a request may need to know.  Raises ConfigError.

    `engines` are the local models that run here, the one to prefer for borrowed names first; models that are only
    attached (`base_url`) are added from the configuration.
    """
    engines = {**engines, **attached(config)}
    endpoints: dict[str, Endpoint] = {}
    for i, asked in enumerate(config.settings.endpoints):
        endpoint = _from_file(config, asked, f"endpoints[{i}]", engines)
        if endpoint.name in endpoints:
            raise ConfigError(f"{config.places(f'endpoints[{i}].name')}: there are two endpoints named {asked.name!r}")
        endpoints[endpoint.name] = endpoint
    for endpoint in _built_in(config, engines):
        endpoints.setdefault(endpoint.name, endpoint)
    return Snapshot(version, endpoints, dict(credentials))


def refresh(snapshot: Snapshot, credentials: Mapping[bytes, Credential], version: int) -> Snapshot:
    """The same endpoints, the very objects, with the credentials of now: what a change in the store comes to."""
    return msgspec.structs.replace(snapshot, credentials=dict(credentials), version=version)


def entity_names(config: Config) -> frozenset[str]:
    """The local models that endpoints of the file name, so that their engines can be started."""
    found: set[str] = set()
    for endpoint in config.settings.endpoints:
        for entity in (*endpoint.config.served_entities, *endpoint.config.served_models):
            if entity.external_model is None:
                found |= {name for name in (_local_name(entity),) if name}
    return frozenset(found)


def _from_file(config: Config, asked: ServingEndpoint, at: str, engines: Mapping[str, EngineAddress]) -> Endpoint:
    place = config.places
    if not ENDPOINT_NAME.match(asked.name):
        raise ConfigError(
            f"{place(at + '.name')}: {asked.name!r} cannot be an endpoint's name: 1 to 63 letters, digits, - and _"
        )
    if asked.config.served_entities and asked.config.served_models:
        raise ConfigError(f"{place(at + '.config')}: give served_entities or the older served_models, not both")
    key = "served_models" if asked.config.served_models else "served_entities"
    inputs = asked.config.served_models or asked.config.served_entities
    where = f"{at}.config.{key}"
    if not inputs:
        raise ConfigError(f"{place(where)}: endpoint {asked.name!r} needs at least one served entity")
    if len(inputs) > ENTITIES_MAX:
        raise ConfigError(f"{place(where)}: {len(inputs)} served entities; an endpoint has {ENTITIES_MAX} at most")
    named = _named(config, inputs, where)
    split = shares(config.places, asked.config.traffic_config, [one.name or "" for one in named], at)
    entities = tuple(
        _entity(config, one, f"{where}[{i}]", split[one.name or ""], engines) for i, one in enumerate(named)
    )
    task = _one_task(config, entities, named, where, engines)
    fallback = asked.ai_gateway.fallback_config if asked.ai_gateway is not None else None
    return Endpoint(
        name=asked.name,
        task=task,
        entities=entities,
        config=msgspec.structs.replace(
            asked,
            config=EndpointConfig(
                tuple(one.config for one in entities), traffic_config=_traffic(split), name=asked.config.name
            ),
        ),
        fallback=fallback is not None and fallback.enabled,
        source="file",
        created_ms=config.file_ms,
        description=asked.description or "",
    )


def _named(config: Config, inputs: tuple[ServedEntityInput, ...], where: str) -> list[ServedEntityInput]:
    """Each with the name it goes by, its own or the usual one."""
    out: list[ServedEntityInput] = []
    for i, one in enumerate(inputs):
        at = f"{where}[{i}]"
        if one.external_model is not None and _local_name(one):
            raise ConfigError(f"{config.places(at)}: give external_model or entity_name, not both")
        name = one.name or default_name(one)
        if not name:
            raise ConfigError(f"{config.places(at)}: a served entity needs external_model or entity_name")
        if not ENTITY_NAME.match(name):
            raise ConfigError(
                f"{config.places(f'{at}.name')}: {name!r} cannot be a served entity's name: letters, digits, - and _; "
                "give it a `name`"
            )
        if any(name == other.name for other in out):
            raise ConfigError(f"{config.places(f'{at}.name')}: there are two served entities named {name!r}")
        out.append(msgspec.structs.replace(one, name=name))
    return out


def default_name(entity: ServedEntityInput) -> str:
    """The name of a served entity that was given none."""
    if entity.external_model is not None:
        return re.sub(r"[.:/]", "-", entity.external_model.name)
    name = re.sub(r"[.:/]", "-", _local_name(entity))
    return f"{name}-{entity.entity_version}" if entity.entity_version else name


def _local_name(entity: ServedEntityInput) -> str:
    return entity.entity_name or (entity.foundation_model.name if entity.foundation_model else "")


def shares(places: Places, traffic: TrafficConfig | None, names: list[str], at: str) -> dict[str, int]:
    """Percent per served entity."""
    where = f"{at}.config.traffic_config"
    if traffic is None or not traffic.routes:
        if len(names) == 1:
            return {names[0]: 100}
        raise ConfigError(
            f"{places(where)}: {len(names)} served entities need traffic_config.routes that say what percentage "
            "each one gets"
        )
    split = dict.fromkeys(names, 0)
    routed: set[str] = set()
    for i, route in enumerate(traffic.routes):
        here = f"{where}.routes[{i}]"
        name = route.served_entity_name or route.served_model_name or ""
        if name not in split:
            raise ConfigError(f"{places(here)}: {name!r} is not a served entity here{nearest(name, names)}")
        if name in routed:
            raise ConfigError(f"{places(here)}: {name!r} has two routes")
        if not 0 <= route.traffic_percentage <= 100:
            raise ConfigError(f"{places(here)}: traffic_percentage must be from 0 to 100")
        routed.add(name)
        split[name] = route.traffic_percentage
    total = sum(split.values())
    if total != 100:
        raise ConfigError(f"{places(where)}: the percentages add up to {total} and must add up to 100")
    return split


def _traffic(split: dict[str, int]) -> TrafficConfig:
    return TrafficConfig(tuple(Route(share, name, name) for name, share in split.items()))


def _without_keys(entity: ServedEntityInput) -> ServedEntityInput:
    """Without the keys that were written out: they are in the upstream's headers now and must not be shown."""
    model = entity.external_model
    if model is None:
        return entity
    blocks = {name: _hide(value) for name, value in msgspec.structs.asdict(model).items() if isinstance(value, dict)}
    return msgspec.structs.replace(entity, external_model=msgspec.structs.replace(model, **blocks))


def _hide(settings: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _hide(value) if isinstance(value, dict) else value
        for key, value in settings.items()
        if not key.endswith("_plaintext")
    }


def _entity(
    config: Config, asked: ServedEntityInput, at: str, percentage: int, engines: Mapping[str, EngineAddress]
) -> ServedEntity:
    if asked.external_model is not None:
        found = resolve(
            asked.external_model,
            at=f"{at}.external_model",
            place=config.places,
            secrets=config.secrets,
            timeouts=config.settings.timeouts.upstream,
        )
        shown = _without_keys(asked)
        return ServedEntity(asked.name or "", shown, found.provider, found.tasks, found.upstream, percentage)
    name = _local_name(asked)
    engine = engines.get(name)
    if engine is None:
        there = f"local models here: {', '.join(sorted(engines))}" if engines else "there are no local models here"
        raise ConfigError(f"{config.places(f'{at}.entity_name')}: there is no local model {name!r}; {there}")
    return _local_entity(config, msgspec.structs.replace(asked, foundation_model=_model(engine)), engine, percentage)


def _model(engine: EngineAddress) -> FoundationModel:
    return FoundationModel(engine.name, engine.display_name or engine.name, engine.description or None)


def _local_entity(config: Config, asked: ServedEntityInput, engine: EngineAddress, percentage: int) -> ServedEntity:
    upstream = Upstream(
        origin=engine.origin or Origin("http", "localhost", 80, engine.socket),
        model=engine.model or engine.name,
        base_path=engine.base_path,
        headers=(("authorization", f"Bearer {engine.key}"),) if engine.key else (),
        timeouts=config.settings.timeouts.upstream,
        capabilities=engine.capabilities,
        limit=engine.limit,
    )
    return ServedEntity(
        asked.name or engine.name, asked, engine.provider, engine.tasks, upstream, percentage, admission=engine.name
    )


def _one_task(
    config: Config,
    entities: tuple[ServedEntity, ...],
    inputs: list[ServedEntityInput],
    where: str,
    engines: Mapping[str, EngineAddress],
) -> Task:
    """The endpoint's task, which all its entities share.  External models say theirs; a local one goes along."""
    asked = {Task(one.external_model.task) for one in inputs if one.external_model is not None}
    if not asked:
        asked = {engines[_local_name(one)].task for one in inputs}
    if len(asked) > 1:
        raise ConfigError(
            f"{config.places(where)}: all served entities of an endpoint must have one task, and these have "
            + " and ".join(sorted(asked))
        )
    task = asked.pop()
    for i, entity in enumerate(entities):
        if task not in entity.tasks:
            raise ConfigError(
                f"{config.places(f'{where}[{i}]')}: {entity.name!r} does not serve {task}, as the others here do"
            )
    return task


def _built_in(config: Config, engines: Mapping[str, EngineAddress]) -> Iterator[Endpoint]:
    """Local models under their own names, and under borrowed ones when that is asked for."""
    listed = {entry.name for entry in config.settings.models}
    for engine in engines.values():
        if config.settings.local_models or engine.name in listed:
            yield _local_endpoint(config, engine.name, engine, engine.description)
    if config.settings.emulate == "databricks":
        for borrowed in borrowed_names():
            able = next((one for one in engines.values() if borrowed.task in one.tasks), None)
            if able is not None:
                yield _local_endpoint(config, borrowed.name, able, honest(borrowed, able))


def honest(borrowed: BorrowedName, engine: EngineAddress) -> str:
    """What an endpoint under a borrowed name says about itself."""
    size = f", a {engine.size} model that runs here" if engine.size else ", a model that runs here"
    text = f"Answered by {engine.name}{size}; it is not {borrowed.of}."
    if borrowed.dimensions and engine.dimensions and borrowed.dimensions != engine.dimensions:
        text += f" Its vectors have {engine.dimensions} dimensions, not {borrowed.dimensions}."
    return text


def _local_endpoint(config: Config, name: str, engine: EngineAddress, description: str) -> Endpoint:
    served = re.sub(r"[.:/]", "-", engine.name)
    asked = ServedEntityInput(name=served, entity_name=engine.name, foundation_model=_model(engine))
    traffic = TrafficConfig((Route(100, served_model_name=served, served_entity_name=served),))
    return Endpoint(
        name=name,
        task=engine.task,
        entities=(_local_entity(config, asked, engine, 100),),
        config=ServingEndpoint(name, EndpointConfig((asked,), traffic_config=traffic), description),
        source="built-in",
        created_ms=config.file_ms,
        description=description,
    )
