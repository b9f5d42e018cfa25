"""What a request about a serving endpoint may hold: every field that is kept, with its type and its range.

Fields that are not here are ignored, as in a workspace; a provider's own settings are judged by the provider.
"""

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from tesela.errors import InvalidRequest
from tesela.serving import ServedEntityInput, TrafficConfig

Struct = msgspec.Struct
T = TypeVar("T")
Text = Annotated[str, Meta(max_length=1024)]
Word = Annotated[str, Meta(min_length=1, max_length=256)]
Words = Annotated[tuple[Text, ...], Meta(max_length=100)]
Count = Annotated[int, Meta(ge=0, le=2**53)]

TAGS_MAX = 50
LIMITS_MAX = 100
DEPTH_MAX = 64

WorkloadType = Literal[
    "CPU",
    "CPU_MEDIUM",
    "CPU_LARGE",
    "GPU_SMALL",
    "GPU_MEDIUM",
    "GPU_LARGE",
    "GPU_XLARGE",
    "GPU_XLARGE_8",
    "MULTIGPU_MEDIUM",
]
WorkloadSize = Literal["Small", "Medium", "Large"]


class Entity(ServedEntityInput, frozen=True, omit_defaults=True, kw_only=True):
    """A served entity with the fields that have no meaning here and are kept for whoever asks for them again."""

    workload_size: WorkloadSize | None = None
    workload_type: WorkloadType | None = None
    min_provisioned_throughput: Count | None = None
    max_provisioned_throughput: Count | None = None
    min_provisioned_concurrency: Count | None = None
    max_provisioned_concurrency: Count | None = None
    provisioned_model_units: Count | None = None
    burst_scaling_enabled: bool | None = None
    instance_profile_arn: Text | None = None


class AutoCapture(Struct, frozen=True, omit_defaults=True):
    catalog_name: Text | None = None
    schema_name: Text | None = None
    table_name_prefix: Text | None = None
    enabled: bool | None = None


class Config(Struct, frozen=True, omit_defaults=True):
    """`served_models` is the older name of `served_entities`."""

    served_entities: tuple[Entity, ...] | None = None
    served_models: tuple[Entity, ...] | None = None
    traffic_config: TrafficConfig | None = None
    auto_capture_config: AutoCapture | None = None


class Tag(Struct, frozen=True, omit_defaults=True):
    key: Word
    value: Text | None = None


class Fallback(Struct, frozen=True, omit_defaults=True):
    enabled: bool


class Pii(Struct, frozen=True, omit_defaults=True):
    behavior: Literal["NONE", "BLOCK", "MASK"] | None = None


class Guardrail(Struct, frozen=True, omit_defaults=True):
    invalid_keywords: Words | None = None
    pii: Pii | None = None
    safety: bool | None = None
    valid_topics: Words | None = None


class Guardrails(Struct, frozen=True, omit_defaults=True):
    input: Guardrail | None = None
    output: Guardrail | None = None


class GatewayLimit(Struct, frozen=True, omit_defaults=True):
    renewal_period: Literal["minute"]
    calls: Count | None = None
    tokens: Count | None = None
    key: Literal["user", "user_group", "service_principal", "endpoint"] | None = None
    principal: Word | None = None


class UsageTracking(Struct, frozen=True, omit_defaults=True):
    enabled: bool | None = None


class Gateway(Struct, frozen=True, omit_defaults=True):
    """The five parts of `ai_gateway`."""

    fallback_config: Fallback | None = None
    guardrails: Guardrails | None = None
    inference_table_config: AutoCapture | None = None
    rate_limits: Annotated[tuple[GatewayLimit, ...], Meta(max_length=LIMITS_MAX)] | None = None
    usage_tracking_config: UsageTracking | None = None


class RateLimit(Struct, frozen=True, omit_defaults=True):
    calls: Count
    renewal_period: Literal["minute"]
    key: Literal["user", "endpoint"] | None = None


RateLimits = Annotated[tuple[RateLimit, ...], Meta(max_length=LIMITS_MAX)]


class Notifications(Struct, frozen=True, omit_defaults=True):
    on_update_success: Words | None = None
    on_update_failure: Words | None = None


class TelemetryTable(Struct, frozen=True, omit_defaults=True):
    name: Text | None = None
    sampling_fraction: Annotated[float, Meta(ge=0, le=1)] | None = None


class TelemetryTables(Struct, frozen=True, omit_defaults=True):
    logs_table: Text | None = None
    metrics_table: Text | None = None
    traces_table: Text | None = None
    annotations_table: Text | None = None


Feature = Literal[
    "TELEMETRY_FEATURE_INFERENCE_TABLE",
    "TELEMETRY_FEATURE_LOGS",
    "TELEMETRY_FEATURE_METRICS",
    "TELEMETRY_FEATURE_TRACES",
]


class Telemetry(Struct, frozen=True, omit_defaults=True):
    inference_table_config: TelemetryTable | None = None
    table_names: TelemetryTables | None = None
    telemetry_profile_id: Text | None = None
    enabled_telemetry_features: Annotated[tuple[Feature, ...], Meta(max_length=8)] | None = None


Tags = Annotated[tuple[Tag, ...], Meta(max_length=TAGS_MAX)]


class Settings(Struct, frozen=True, omit_defaults=True):
    """What an endpoint has beside its configuration, under the names by which the store keeps it."""

    description: Annotated[str, Meta(max_length=10_000)] | None = None
    tags: Tags | None = None
    ai_gateway: Gateway | None = None
    rate_limits: RateLimits | None = None
    route_optimized: bool | None = None
    budget_policy_id: Text | None = None
    email_notifications: Notifications | None = None
    telemetry_config: Telemetry | None = None


class TagChange(Struct, frozen=True, omit_defaults=True):
    add_tags: Tags | None = None
    delete_tags: Annotated[tuple[Word, ...], Meta(max_length=TAGS_MAX)] | None = None


class New(Settings, frozen=True, kw_only=True):
    """The body of a request that makes an endpoint."""

    name: str
    config: Config


def kept(value: Any) -> Any:
    """A value of these types as plain JSON, as it is stored and shown: without what was left out or null."""
    return msgspec.to_builtins(value)


def read(kind: type[T], body: dict[str, Any], at: str = "") -> T:
    """The body as this type; `at` is its path in the request.  Raises InvalidRequest that names the field."""
    if _deep(body):
        raise InvalidRequest(f"the request body is nested deeper than {DEPTH_MAX} levels")
    try:
        return msgspec.convert(_plain(body), kind)
    except msgspec.ValidationError as exc:
        raise _wrong(str(exc), at) from exc


def _wrong(told: str, at: str) -> InvalidRequest:
    what, _, where = told.partition(" - at `$")
    path = (at + where.removesuffix("`")).removeprefix(".")
    missing = re.match(r"Object missing required field `([^`]*)`", what)
    if missing:
        path = f"{path}.{missing[1]}" if path else missing[1]
        return InvalidRequest(f"{path}: is missing", param=path)
    text = f"{what[:1].lower()}{what[1:]}".replace("`", "")
    return InvalidRequest(f"{path}: {text}" if path else f"the request body is wrong: {text}", param=path or None)


def _plain(value: Any) -> Any:
    """With numbers that came as strings as numbers, and older names as those of today."""
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    out = {
        key: _number(inner) if key in NUMBERS else inner if key in OTHERS else _plain(inner)
        for key, inner in value.items()
    }
    if isinstance(out.get("served_models"), list):
        out["served_models"] = [_renamed(one) for one in out["served_models"]]
    return out


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 16 else value


def _renamed(entity: Any) -> Any:
    if not isinstance(entity, dict):
        return entity
    return {OLD_NAMES.get(key, key): value for key, value in entity.items()}


def _deep(body: dict[str, Any]) -> bool:
    """Whether it is nested deeper than what reads it cares to follow."""
    inner: list[Any] = [body]
    for _ in range(DEPTH_MAX):
        inner = [below for one in inner for below in (one.values() if isinstance(one, dict) else one)]
        inner = [one for one in inner if isinstance(one, dict | list)]
        if not inner:
            return False
    return True


NUMBERS = frozenset({
    "traffic_percentage", "min_provisioned_throughput", "max_provisioned_throughput", "min_provisioned_concurrency",
    "max_provisioned_concurrency", "provisioned_model_units", "calls", "tokens",
})  # fmt: skip
"""Whole numbers that some clients write as strings."""
OTHERS = frozenset({"external_model", "environment_vars"})
"""What has names of its own inside."""
OLD_NAMES = {"model_name": "entity_name", "model_version": "entity_version"}
