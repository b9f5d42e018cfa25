"""From one endpoint as it is asked for to the endpoint that a request sees: references resolved, rules checked.

Pure: addresses of engines and values of secrets are arguments.  What cannot work raises ConfigError with the place.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from tesela.addresses import EngineAddress
from tesela.errors import ConfigError
from tesela.places import Places, nearest
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
    Timeouts,
    TrafficConfig,
    Upstream,
)
from tesela.sizing import size_of
from tesela.wire.tasks import Task

ENTITIES_MAX = 15
"""Per endpoint: what a workspace really allows, though its documentation says ten."""

ENDPOINT_NAME = re.compile(r"^[A-Za-z0-9_-]{1,63}\Z")
ENTITY_NAME = re.compile(r"^[A-Za-z0-9_-]{1,128}\Z")


class Surroundings(msgspec.Struct, frozen=True):
    """What an endpoint is built from beside itself.

    `secrets` gives the value of each reference, `env:NAME` or `{{secrets/scope/key}}`, as it stands in a setting.
    `engines` are the local models that have an address; `planned` are those that could be started, by name, for a look
    at an endpoint that does not serve yet.
    """

    places: Places
    secrets: Mapping[str, str]
    timeouts: Timeouts
    engines: Mapping[str, EngineAddress]
    planned: Mapping[str, frozenset[Task]] = {}

    def __repr__(self) -> str:
        return f"Surroundings({len(self.secrets)} secrets, {len(self.engines)} engines)"

    def engine(self, entity: ServedEntityInput) -> EngineAddress | None:
        """The engine that a local served entity is answered by."""
        name = local_name(entity)
        found = self.engines.get(size_of(entity).engine(name))
        if found is None and name in self.planned:
            return EngineAddress(name, self.planned[name])
        return found


def endpoint_id(workspace_id: int, name: str) -> str:
    """32 hexadecimal digits, the same for a name at every start: the id of an endpoint that no store has."""
    return hashlib.sha256(f"{workspace_id}/{name}".encode()).hexdigest()[:32]


def build_endpoint(
    asked: ServingEndpoint,
    around: Surroundings,
    at: str = "",
    *,
    id: str,
    source: str,
    creator: str = "",
    created_ms: int = 0,
) -> Endpoint:
    """The endpoint with everything resolved.  `at` is its path in the configuration, empty for a request of its own.

    Raises ConfigError, in a sentence that begins with the path of what is wrong.
    """
    place = around.places
    if not ENDPOINT_NAME.match(asked.name):
        raise ConfigError(
            f"{place(_under(at, 'name'))}: {_short(asked.name)!r} cannot be an endpoint's name: 1 to 63 letters, "
            "digits, - and _"
        )
    if asked.config.served_entities and asked.config.served_models:
        raise ConfigError(f"{place(_under(at, 'config'))}: give served_entities or the older served_models, not both")
    key = "served_models" if asked.config.served_models else "served_entities"
    inputs = asked.config.served_models or asked.config.served_entities
    where = _under(at, f"config.{key}")
    if not inputs:
        raise ConfigError(f"{place(where)}: endpoint {asked.name!r} needs at least one served entity")
    if len(inputs) > ENTITIES_MAX:
        raise ConfigError(f"{place(where)}: {len(inputs)} served entities; an endpoint has {ENTITIES_MAX} at most")
    named = _named(place, inputs, where)
    split = shares(place, asked.config.traffic_config, [one.name or "" for one in named], at)
    entities = tuple(_entity(around, one, f"{where}[{i}]", split[one.name or ""], id) for i, one in enumerate(named))
    fallback = asked.ai_gateway.fallback_config if asked.ai_gateway is not None else None
    return Endpoint(
        name=asked.name,
        task=_one_task(around, entities, named, where),
        entities=entities,
        config=msgspec.structs.replace(
            asked,
            config=EndpointConfig(
                tuple(one.config for one in entities), traffic_config=_traffic(split), name=asked.config.name
            ),
        ),
        fallback=fallback is not None and fallback.enabled,
        source=source,
        creator=creator,
        created_ms=created_ms,
        description=asked.description or "",
        id=id,
    )


def _under(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."


def _named(place: Places, inputs: tuple[ServedEntityInput, ...], where: str) -> list[ServedEntityInput]:
    """Each with the name it goes by, its own or the usual one."""
    out: list[ServedEntityInput] = []
    for i, one in enumerate(inputs):
        at = f"{where}[{i}]"
        if one.external_model is not None and local_name(one):
            raise ConfigError(f"{place(at)}: give external_model or entity_name, not both")
        name = one.name or default_name(one)
        if not name:
            raise ConfigError(f"{place(at)}: a served entity needs external_model or entity_name")
        if not ENTITY_NAME.match(name):
            raise ConfigError(
                f"{place(f'{at}.name')}: {_short(name)!r} cannot be a served entity's name: letters, digits, - and _; "
                "give it a `name`"
            )
        if any(name == other.name for other in out):
            raise ConfigError(f"{place(f'{at}.name')}: there are two served entities named {_short(name)!r}")
        out.append(msgspec.structs.replace(one, name=name))
    return out


def default_name(entity: ServedEntityInput) -> str:
    """The name of a served entity that was given none."""
    if entity.external_model is not None:
        return re.sub(r"[.:/]", "-", entity.external_model.name)
    name = re.sub(r"[.:/]", "-", local_name(entity))
    return f"{name}-{entity.entity_version}" if entity.entity_version else name


def local_name(entity: ServedEntityInput) -> str:
    """The local model that a served entity names; empty for an external one."""
    return entity.entity_name or (entity.foundation_model.name if entity.foundation_model else "")


def shares(places: Places, traffic: TrafficConfig | None, names: list[str], at: str) -> dict[str, int]:
    """Percent per served entity."""
    where = _under(at, "config.traffic_config")
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
            raise ConfigError(f"{places(here)}: {_short(name)!r} is not a served entity here{nearest(name, names)}")
        if name in routed:
            raise ConfigError(f"{places(here)}: {_short(name)!r} has two routes")
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


def _entity(around: Surroundings, asked: ServedEntityInput, at: str, percentage: int, endpoint: str) -> ServedEntity:
    if asked.external_model is not None:
        found = resolve(
            asked.external_model,
            at=f"{at}.external_model",
            place=around.places,
            secrets=around.secrets,
            timeouts=around.timeouts,
            endpoint=endpoint,
        )
        shown = _without_keys(asked)
        return ServedEntity(asked.name or "", shown, found.provider, found.tasks, found.upstream, percentage)
    engine = around.engine(asked)
    if engine is None:
        known = sorted({*around.engines, *around.planned})
        there = f"local models here: {', '.join(known)}" if known else "there are no local models here"
        raise ConfigError(
            f"{around.places(f'{at}.entity_name')}: there is no local model {_short(local_name(asked))!r}; {there}"
        )
    shown = msgspec.structs.replace(asked, foundation_model=foundation_model(engine, local_name(asked)))
    return local_entity(shown, engine, percentage, around.timeouts)


def foundation_model(engine: EngineAddress, name: str) -> FoundationModel:
    """How the API shows a local model, by the name that was asked for."""
    return FoundationModel(name, engine.display_name or name, engine.description or None)


def local_entity(asked: ServedEntityInput, engine: EngineAddress, percentage: int, timeouts: Timeouts) -> ServedEntity:
    """A served entity that an engine answers."""
    upstream = Upstream(
        origin=engine.origin or Origin("http", "localhost", 80, engine.socket),
        model=engine.model or engine.name,
        base_path=engine.base_path,
        headers=(("authorization", f"Bearer {engine.key}"),) if engine.key else (),
        timeouts=timeouts,
        capabilities=engine.capabilities,
        limit=engine.limit,
    )
    return ServedEntity(
        asked.name or engine.name, asked, engine.provider, engine.tasks, upstream, percentage, admission=engine.name
    )


def _one_task(
    around: Surroundings, entities: tuple[ServedEntity, ...], inputs: list[ServedEntityInput], where: str
) -> Task:
    """The endpoint's task, which all its entities share.  External models say theirs; a local one goes along."""
    asked = {Task(one.external_model.task) for one in inputs if one.external_model is not None}
    if not asked:
        asked = {engine.task for engine in map(around.engine, inputs) if engine is not None}
    if len(asked) > 1:
        raise ConfigError(
            f"{around.places(where)}: all served entities of an endpoint must have one task, and these have "
            + " and ".join(sorted(asked))
        )
    task = asked.pop()
    for i, entity in enumerate(entities):
        if task not in entity.tasks:
            raise ConfigError(
                f"{around.places(f'{where}[{i}]')}: {entity.name!r} does not serve {task}, as the others here do"
            )
    return task
