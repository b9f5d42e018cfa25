"""From the body of a request to a configuration that can be stored: read, checked by rule, and built once for trial.

What cannot work is refused with the path of the field, in the words that a wrong configuration file gets.  Nothing is
written here; secrets are read to see that they are there and that the caller may read them.
"""

from typing import TYPE_CHECKING, Any

import msgspec

from tesela.control.serving_secrets import references
from tesela.control.serving_shape import Config, Entity, Gateway, New, Settings, kept, read
from tesela.endpoint_build import Surroundings, build_endpoint, default_name, local_name
from tesela.errors import ConfigError, InvalidRequest
from tesela.places import Places
from tesela.serving import Endpoint, Route, ServingEndpoint, TrafficConfig
from tesela.snapshot import Principal

if TYPE_CHECKING:
    from tesela.store.store import Store

Json = dict[str, Any]

RESERVED = "databricks-"
NOT_EXTERNAL = (
    "entity_name",
    "entity_version",
    "workload_size",
    "workload_type",
    "scale_to_zero_enabled",
    "min_provisioned_throughput",
    "max_provisioned_throughput",
    "min_provisioned_concurrency",
    "max_provisioned_concurrency",
    "provisioned_model_units",
    "burst_scaling_enabled",
    "instance_profile_arn",
)
"""What an external model does not take."""


class Asked(msgspec.Struct, frozen=True):
    """A configuration that can serve, in the form that is stored; `ready` says whether it can serve at once."""

    config: Json
    endpoint: Endpoint
    ready: bool

    def __repr__(self) -> str:
        # Keys that were given in plain are in the configuration.
        return f"Asked({self.endpoint.name!r})"


def new(body: Json, *, units: bool = False) -> tuple[New, Json]:
    """A request that makes an endpoint, and what of it is kept beside the configuration.

    `units` is for an endpoint of provisioned throughput, whose entities say how many units they get.
    """
    asked = read(New, body)
    if asked.name.startswith(RESERVED):
        raise InvalidRequest(
            f"name: names that begin with {RESERVED!r} are kept for the endpoints that come with the server",
            param="name",
        )
    if units:
        _units(asked.config, "config")
    check_gateway(asked.ai_gateway, "ai_gateway.")
    settings = kept(asked)
    return asked, {name: settings[name] for name in Settings.__struct_fields__ if name in settings}


def changed(body: Json, now: Json | None, *, at: str = "", units: bool = False) -> Config:
    """A request for another configuration, laid over the one of now.

    What is left out stays: the served entities, and the traffic as far as it names the same entities.
    """
    asked = read(Config, body, at)
    if units:
        _units(asked, at)
    if not gives_entities(body) and asked.traffic_config is None and asked.auto_capture_config is None:
        field = _under(at, "served_entities")
        raise InvalidRequest(f"{field}: give the served entities, the traffic, or both", param=field)
    before = read(Config, now or {})
    if not gives_entities(body):
        asked = msgspec.structs.replace(asked, served_entities=before.served_entities)
    if asked.traffic_config is None and _names(asked) == _names(before):
        asked = msgspec.structs.replace(asked, traffic_config=before.traffic_config)
    if asked.auto_capture_config is None:
        asked = msgspec.structs.replace(asked, auto_capture_config=before.auto_capture_config)
    return asked


def gives_entities(body: Json) -> bool:
    return body.get("served_entities") is not None or body.get("served_models") is not None


def check(
    name: str,
    config: Config,
    settings: Json,
    *,
    around: Surroundings,
    store: "Store",
    reader: Principal | None,
    at: str = "config",
) -> Asked:
    """The configuration as it is stored.  Raises InvalidRequest, and PermissionDenied for a secret.

    `reader` must be allowed to read the secrets that the configuration refers to; None asks nobody, for entities that
    were there before.  `at` is the path of the configuration in the request.
    """
    if config.served_entities and config.served_models:
        where = f"{at}: " if at else ""
        raise InvalidRequest(f"{where}give served_entities or the older served_models, not both", param=at or None)
    key = "served_models" if config.served_models else "served_entities"
    entities = config.served_models or config.served_entities or ()
    for i, entity in enumerate(entities):
        _rules(entity, _under(at, f"{key}[{i}]"))
    secrets = references(entities, _under(at, key), store, reader)
    asked = msgspec.convert(
        {**settings, "name": name, "config": {key: kept(entities), "traffic_config": kept(config.traffic_config)}},
        ServingEndpoint,
    )
    trial = Surroundings(Places(), secrets, around.timeouts, around.engines, around.planned)
    try:
        endpoint = build_endpoint(asked, trial, id="", source="store")
    except ConfigError as exc:
        message = exc.message if at else exc.message.removeprefix("config.")
        raise InvalidRequest(message, param=message.partition(": ")[0]) from exc
    for i, one in enumerate(endpoint.entities):
        if one.config.external_model is not None and one.upstream.origin.unix is not None:
            raise InvalidRequest(
                f"{_under(at, key)}[{i}]: a socket of this machine can be named in the configuration file only"
            )
    return Asked(_stored(config, entities, endpoint), endpoint, all(one.external_model for one in entities))


def external(config: Json | None) -> bool:
    """Whether a stored configuration has an external model."""
    return any(one.get("external_model") for one in (config or {}).get("served_entities", ()))


def _under(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _stored(config: Config, entities: tuple[Entity, ...], endpoint: Endpoint) -> Json:
    """With the names that were left out, and with traffic for every entity."""
    shares = [Route(one.percentage, one.name, one.name) for one in endpoint.entities]
    named = [{**kept(asked), "name": built.name} for asked, built in zip(entities, endpoint.entities, strict=True)]
    out: Json = {"served_entities": named, "traffic_config": kept(TrafficConfig(tuple(shares)))}
    if config.auto_capture_config is not None:
        out["auto_capture_config"] = kept(config.auto_capture_config)
    return out


def _names(config: Config) -> list[str]:
    return [one.name or default_name(one) for one in config.served_models or config.served_entities or ()]


def check_gateway(gateway: Gateway | None, at: str = "") -> None:
    """What the types of `ai_gateway` cannot say.  Raises InvalidRequest."""
    for i, limit in enumerate((gateway and gateway.rate_limits) or ()):
        here = f"{at}rate_limits[{i}]"
        if limit.calls is None and limit.tokens is None:
            raise InvalidRequest(f"{here}: needs calls or tokens", param=here)
        if limit.key in ("user_group", "service_principal") and limit.principal is None:
            raise InvalidRequest(f"{here}.principal: says whom the limit is for, and is missing", param=here)


def _units(config: Config, at: str) -> None:
    for i, one in enumerate(config.served_entities or ()):
        for field in ("entity_name", "provisioned_model_units"):
            if not getattr(one, field):
                path = _under(at, f"served_entities[{i}].{field}")
                raise InvalidRequest(f"{path}: is missing; provisioned throughput needs it", param=path)


def _rules(entity: Entity, at: str) -> None:
    """How the fields of a served entity depend on one another."""
    if entity.external_model is not None:
        found = next((name for name in NOT_EXTERNAL if getattr(entity, name) is not None), None)
        if found:
            raise InvalidRequest(f"{at}.{found}: does not go together with external_model", param=f"{at}.{found}")
    for kind in ("throughput", "concurrency"):
        least, most = getattr(entity, f"min_provisioned_{kind}"), getattr(entity, f"max_provisioned_{kind}")
        if least is not None and most is not None and least > most:
            field = f"{at}.min_provisioned_{kind}"
            raise InvalidRequest(f"{field}: is {least}, more than max_provisioned_{kind}, which is {most}", param=field)
    sized = entity.min_provisioned_concurrency, entity.max_provisioned_concurrency
    if entity.workload_size is not None and sized != (None, None):
        field = f"{at}.workload_size"
        raise InvalidRequest(f"{field}: give it or the provisioned concurrency, not both", param=field)
    if entity.external_model is None and not local_name(entity):
        raise InvalidRequest(f"{at}: a served entity needs external_model or entity_name", param=at)
