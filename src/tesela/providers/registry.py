"""Which providers there are, and how an external model's settings become the address that we call.

This is the only place that chooses by a provider's name.  A provider's settings are read beside its translations.
"""

from collections.abc import Mapping
from difflib import get_close_matches

from tesela.errors import ConfigError
from tesela.providers import (
    ai21,
    anthropic_settings,
    bedrock,
    cohere,
    compatible_rows,
    compatible_settings,
    databricks,
    vertex,
)
from tesela.providers.ai21 import AI21
from tesela.providers.anthropic import ANTHROPIC
from tesela.providers.azure import AZURE, AZURE_EARLIER
from tesela.providers.base import Provider
from tesela.providers.bedrock import BEDROCK
from tesela.providers.cohere import COHERE
from tesela.providers.compatible import CUSTOM, CUSTOM_VERBATIM, OPENAI
from tesela.providers.compatible_rows import TELLING
from tesela.providers.databricks import DATABRICKS
from tesela.providers.local import LOCAL
from tesela.providers.reading import Place, Reading, Resolved, Row
from tesela.providers.scripted import SCRIPTED, script_from
from tesela.providers.vertex import VERTEX
from tesela.serving import ExternalModel, Origin, Timeouts, Upstream
from tesela.wire.tasks import Task

__all__ = ["PROVIDERS", "ROWS", "TASKS", "Reading", "Resolved", "Row", "resolve"]


def resolve(
    model: ExternalModel,
    *,
    at: str,
    place: Place,
    secrets: Mapping[str, str],
    timeouts: Timeouts,
    endpoint: str = "",
) -> Resolved:
    """Where an external model is to be called.  Raises ConfigError for settings that cannot work.

    `at` is the path of the external model in the configuration, `endpoint` the id of its endpoint.
    """
    row = ROWS.get(model.provider)
    if row is None:
        raise ConfigError(f"{place(at + '.provider')}: {_no_provider(model.provider)}")
    if not model.name:
        raise ConfigError(f"{place(at + '.name')}: must name the provider's model")
    if model.task not in TASKS:
        raise ConfigError(f"{place(at + '.task')}: {model.task!r} is not a task; it is one of {', '.join(TASKS)}")
    config = getattr(model, row.field)
    if config is None and row.needs_settings:
        raise ConfigError(f"{place(at)}: provider {model.provider!r} needs its settings in {row.field}")
    for other in {other.field for other in ROWS.values()} | SETTINGS_FIELDS:
        if other != row.field and getattr(model, other, None) is not None:
            raise ConfigError(f"{place(f'{at}.{other}')}: does not belong to provider {model.provider!r}")
    reading = Reading(model, config or {}, f"{at}.{row.field}", place, secrets, timeouts, endpoint).with_retries()
    resolved = row.resolve(reading, TASKS[model.task])
    can = PROVIDERS[resolved.provider].translations
    if TASKS[model.task] not in can:
        raise reading.no_task(TASKS[model.task], can)
    return resolved


def _no_provider(name: str) -> str:
    works = ", ".join(sorted(ROWS))
    if name in RETIRED:
        return f"provider {name!r} was retired by its company; these work: {works}"
    close = get_close_matches(name, list(ROWS), n=1)
    return f"there is no provider {name!r}" + (f"; did you mean {close[0]!r}?" if close else f"; these work: {works}")


def _scripted(reading: Reading, task: Task) -> Resolved:
    """Nothing is dialled.  The place stands for the host, so that each served entity counts its own attempts."""
    place = f"{reading.endpoint}/{reading.at}"
    try:
        script = script_from(reading.config, reading.model.name)
    except ConfigError as exc:
        raise reading.wrong("", exc.message) from exc
    origin = Origin("scripted", place)
    upstream = Upstream(origin, reading.model.name, timeouts=reading.timeouts, script=script)
    return Resolved(SCRIPTED.name, frozenset({task}), upstream)


TASKS: dict[str, Task] = {str(task): task for task in (Task.CHAT, Task.COMPLETIONS, Task.EMBEDDINGS)}
"""The tasks that an external model may have."""

ROWS: Mapping[str, Row] = {
    "ai21labs": Row("ai21labs_config", ai21.resolve),
    "amazon-bedrock": Row("amazon_bedrock_config", bedrock.resolve),
    "anthropic": Row("anthropic_config", anthropic_settings.resolve),
    "cohere": Row("cohere_config", cohere.resolve),
    "databricks-model-serving": Row("databricks_model_serving_config", databricks.resolve),
    "google-cloud-vertex-ai": Row("google_cloud_vertex_ai_config", vertex.resolve),
    "openai": Row("openai_config", compatible_settings.openai),
    "custom": Row("custom_provider_config", compatible_settings.custom),
    "scripted": Row("scripted_config", _scripted, needs_settings=False),
    **compatible_rows.ROWS,
}

RETIRED = frozenset({"palm"})
SETTINGS_FIELDS = frozenset(name for name in ExternalModel.__struct_fields__ if name.endswith("_config"))

PROVIDERS: Mapping[str, Provider] = {
    one.name: one
    for one in (
        OPENAI,
        AZURE,
        AZURE_EARLIER,
        CUSTOM,
        CUSTOM_VERBATIM,
        TELLING,
        ANTHROPIC,
        BEDROCK,
        AI21,
        COHERE,
        DATABRICKS,
        VERTEX,
        LOCAL,
        SCRIPTED,
    )
}
"""Every provider by the name that `ServedEntity.provider` holds."""
