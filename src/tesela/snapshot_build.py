"""Builds the snapshot: the configuration's endpoints, the built-in ones, and those of the store.

Pure: the engines' addresses and the store's contents are arguments.  What cannot work in the file raises ConfigError;
an endpoint that cannot work because of what is in the store takes no other down with it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import msgspec

from tesela.addresses import EngineAddress, attached
from tesela.catalogue import BorrowedName, borrowed_names
from tesela.config import Config
from tesela.endpoint_build import (
    Surroundings,
    build_endpoint,
    endpoint_id,
    foundation_model,
    local_entity,
    local_name,
)
from tesela.errors import ConfigError
from tesela.grants import grants
from tesela.places import Places
from tesela.records import Contents, StoredEndpoint
from tesela.serving import Endpoint, EndpointConfig, Route, ServedEntityInput, ServingEndpoint, TrafficConfig
from tesela.sizing import size_of
from tesela.snapshot import Level, Snapshot


class Built(msgspec.Struct, frozen=True):
    """A snapshot, with what the next one may take over from it: the configuration's own endpoints by name, and those
    of the store by id and version.  `lost` says why endpoints of the file cannot work.  `around` is what endpoints of
    the store are built from."""

    snapshot: Snapshot
    own: Mapping[str, Endpoint]
    lost: Mapping[str, str]
    stored: Mapping[tuple[str, int], Endpoint]
    around: Surroundings


def build(
    config: Config,
    engines: Mapping[str, EngineAddress],
    contents: Contents,
    before: "Built | None" = None,
    *,
    running: bool = False,
) -> Built:
    """Everything that a request may need to know.  Raises ConfigError.

    `engines` are the local models that run here, the one to prefer for borrowed names first; models that are only
    attached (`base_url`) are added from the configuration.  `before` was built from the same configuration, engines
    and secrets: an endpoint that has not changed since is the very object.  `running` is for a configuration that was
    found right before: what has become wrong since came from the store, and must stop nothing else.
    """
    engines = {**engines, **attached(config)}
    # In lower case: names of secrets are found in any.
    stored_secrets = {f"{{{{secrets/{name}}}}}".lower(): value for name, value in contents.secrets.items()}
    secrets = {**config.secrets, **stored_secrets}
    around = Surroundings(config.places, secrets, config.settings.patience, engines)
    workspace = contents.workspace.id
    own, lost = (before.own, before.lost) if before else _own(config, around, workspace, running)
    # Only references of the file may read the server's environment: what came through the API may not.
    kept = {name: value for name, value in secrets.items() if name.startswith("{{")}
    theirs = Surroundings(Places(), kept, around.timeouts, engines)
    stored, broken = _stored(contents, theirs, {*own, *lost}, before.stored if before else {})
    endpoints = {**own, **{endpoint.name: endpoint for endpoint in stored.values()}}
    ids = {one.name: one.id for one in contents.endpoints} | {name: endpoint_id(workspace, name) for name in lost}
    ids |= {name: one.id for name, one in endpoints.items()}
    everybodys = open_to_all(config, own.values())
    snapshot = Snapshot(
        version=contents.version,
        endpoints=endpoints,
        credentials=contents.credentials,
        grants=grants(_permissions(contents, everybodys), ids),
        principals=contents.principals,
        keys=contents.keys,
        client_secrets=contents.client_secrets,
        broken={**broken, **lost},
        open_to_all=everybodys,
    )
    return Built(snapshot, own, lost, stored, theirs)


def open_to_all(config: Config, endpoints: Iterable[Endpoint]) -> frozenset[str]:
    """The ids of the endpoints that everybody may query until somebody says otherwise: those that come with the server,
    as a workspace's own do, and not models that its operator listed."""
    listed = {entry.name for entry in config.settings.models}
    return frozenset(one.id for one in endpoints if one.source == "built-in" and one.name not in listed)


def _permissions(contents: Contents, everybodys: AbstractSet[str]) -> dict[str, dict[str, Level]]:
    found = dict(contents.permissions)
    for endpoint in everybodys if contents.everyone else ():
        found.setdefault(endpoint, {contents.everyone: "CAN_QUERY"})
    return found


def _own(
    config: Config, around: Surroundings, workspace: int, running: bool
) -> tuple[dict[str, Endpoint], dict[str, str]]:
    """The endpoints of the file, and those that are built in; and why others of the file cannot work."""
    endpoints: dict[str, Endpoint] = {}
    lost: dict[str, str] = {}
    for i, asked in enumerate(config.settings.endpoints):
        at = f"endpoints[{i}]"
        if asked.name in endpoints or asked.name in lost:
            raise ConfigError(f"{config.places(at + '.name')}: there are two endpoints named {asked.name!r}")
        try:
            endpoints[asked.name] = build_endpoint(
                asked, around, at, id=endpoint_id(workspace, asked.name), source="file", created_ms=config.file_ms
            )
        except ConfigError as exc:
            # A secret can be put, and deleted, only while the server runs.
            if not (running or _lacks_secret(asked, around.secrets)):
                raise
            lost[asked.name] = exc.message
    for endpoint in _built_in(config, around.engines, workspace):
        if endpoint.name not in lost:
            endpoints.setdefault(endpoint.name, endpoint)
    return endpoints, lost


_STORED = re.compile(r"\{\{\s*secrets/([^/{}\s]+)/([^/{}\s]+)\s*\}\}")


def _lacks_secret(asked: ServingEndpoint, secrets: Mapping[str, str]) -> bool:
    """Whether it refers to a secret that the store does not have."""
    named = _STORED.findall(msgspec.json.encode(asked).decode())
    return any(f"{{{{secrets/{scope}/{key}}}}}".lower() not in secrets for scope, key in named)


def _stored(
    contents: Contents, around: Surroundings, own: AbstractSet[str], before: Mapping[tuple[str, int], Endpoint]
) -> tuple[dict[tuple[str, int], Endpoint], dict[str, str]]:
    """The endpoints of the store that can serve, and why the others cannot."""
    found: dict[tuple[str, int], Endpoint] = {}
    broken: dict[str, str] = {}
    for one in contents.endpoints:
        key = (one.id, one.version)
        if one.name in own:
            broken[one.name] = "the configuration file has an endpoint of this name, which is the one that serves"
        elif key in before:
            found[key] = before[key]
        elif one.active is None:
            broken[one.name] = one.update_message or "it is being made; its first configuration is not ready yet"
        else:
            try:
                found[key] = _from_store(one, one.active, around)
            except (ConfigError, msgspec.ValidationError) as exc:
                broken[one.name] = str(exc)
    return found, broken


def _from_store(one: StoredEndpoint, config: Mapping[str, object], around: Surroundings) -> Endpoint:
    asked = msgspec.convert({**one.settings, "name": one.name, "config": config}, ServingEndpoint, strict=False)
    return build_endpoint(asked, around, id=one.id, source="store", creator=one.creator, created_ms=one.created_ms)


class Named(NamedTuple):
    """An engine that endpoints name: the model, and its size where one was asked for."""

    model: str
    slots: int | None


def engines_named(config: EndpointConfig) -> dict[str, Named]:
    """The engines that an endpoint's local entities are answered by, by the engine's name."""
    found: dict[str, Named] = {}
    for entity in (*config.served_entities, *config.served_models):
        model = local_name(entity)
        if entity.external_model is None and model:
            size = size_of(entity)
            found[size.engine(model)] = Named(model, size.slots)
    return found


def engines_of_file(config: Config) -> dict[str, Named]:
    """The engines that endpoints of the file name, so that they can be started."""
    found: dict[str, Named] = {}
    for endpoint in config.settings.endpoints:
        found |= engines_named(endpoint.config)
    return found


def _built_in(config: Config, engines: Mapping[str, EngineAddress], workspace: int) -> Iterator[Endpoint]:
    """Local models under their own names, and under borrowed ones when that is asked for."""
    listed = {entry.name for entry in config.settings.models}
    offered = [engine for engine in engines.values() if not engine.private]
    for engine in offered:
        if config.settings.local_models or engine.name in listed:
            yield _local_endpoint(config, workspace, engine.name, engine, engine.description)
    if config.settings.emulate == "databricks":
        for borrowed in borrowed_names():
            able = next((one for one in offered if borrowed.task in one.tasks), None)
            if able is not None:
                yield _local_endpoint(config, workspace, borrowed.name, able, honest(borrowed, able))


def honest(borrowed: BorrowedName, engine: EngineAddress) -> str:
    """What an endpoint under a borrowed name says about itself."""
    size = f", a {engine.size} model that runs here" if engine.size else ", a model that runs here"
    text = f"Answered by {engine.name}{size}; it is not {borrowed.of}."
    if borrowed.dimensions and engine.dimensions and borrowed.dimensions != engine.dimensions:
        text += f" Its vectors have {engine.dimensions} dimensions, not {borrowed.dimensions}."
    return text


def _local_endpoint(config: Config, workspace: int, name: str, engine: EngineAddress, description: str) -> Endpoint:
    served = re.sub(r"[.:/]", "-", engine.name)
    asked = ServedEntityInput(
        name=served, entity_name=engine.name, foundation_model=foundation_model(engine, engine.name)
    )
    traffic = TrafficConfig((Route(100, served_model_name=served, served_entity_name=served),))
    return Endpoint(
        name=name,
        task=engine.task,
        entities=(local_entity(asked, engine, 100, config.settings.patience),),
        config=ServingEndpoint(name, EndpointConfig((asked,), traffic_config=traffic), description),
        source="built-in",
        created_ms=config.file_ms,
        description=description,
        id=endpoint_id(workspace, name),
    )
