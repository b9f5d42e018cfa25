"""Which providers there are, and how an external model's settings become the address that we call.

This is the only place that chooses by a provider's name.  Keys are resolved here and go into headers; no message
shows one.
"""

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from tesela.errors import ConfigError
from tesela.providers.base import Provider
from tesela.providers.compatible import (
    CUSTOM,
    CUSTOM_VERBATIM,
    OPENAI,
    OPENAI_BASE,
    address,
    base,
    header,
)
from tesela.providers.local import LOCAL
from tesela.providers.scripted import SCRIPTED, script_from
from tesela.serving import ExternalModel, Origin, Timeouts, Upstream
from tesela.wire.tasks import Task

Place = Callable[[str], str]
"""The beginning of a sentence about the setting at a path."""


class Reading(msgspec.Struct, frozen=True):
    """What a row gets to read: the provider's settings, and what it needs to make sense of them.

    `at` is the path of the settings, for messages; `secrets` gives the value of each reference; `endpoint` tells equal
    paths of two endpoints apart.
    """

    model: ExternalModel
    config: Mapping[str, Any]
    at: str
    place: Place
    secrets: Mapping[str, str]
    timeouts: Timeouts
    endpoint: str = ""

    def wrong(self, key: str, what: str) -> ConfigError:
        return ConfigError(f"{self.place(f'{self.at}.{key}' if key else self.at)}: {what}")

    def text(self, key: str) -> str | None:
        """An optional setting that must be a string."""
        value = self.config.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self.wrong(key, "must be a string")
        return self._resolved(key, value)

    def secret(self, key: str) -> str:
        """A setting that is given once: as a reference, or as it is in its `_plaintext` twin."""
        twin = f"{key}_plaintext"
        given = [name for name in (key, twin) if self.config.get(name) not in (None, "")]
        if len(given) != 1:
            raise self.wrong("", f"give exactly one of {key} and {twin}" + (", not both" if given else ""))
        value = self.text(given[0])
        if given[0] == key and value == self.config[key]:
            raise self.wrong(
                key,
                "must be a reference: `{{secrets/scope/key}}`, or in the file `env:NAME` for a variable; to write the "
                f"key itself use {twin}",
            )
        return value or ""

    def inner(self, key: str) -> "Reading":
        """The settings in a mapping of their own."""
        value = self.config.get(key)
        if not isinstance(value, dict):
            raise self.wrong(key, "must be a mapping")
        return msgspec.structs.replace(self, config=value, at=f"{self.at}.{key}")

    def only(self, *known: str) -> None:
        """Refuse settings that this provider does not have."""
        for key in self.config:
            if key not in known:
                close = get_close_matches(key, known, n=1)
                more = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
                raise self.wrong(key, f"there is no such setting; {more}")

    def _resolved(self, key: str, value: str) -> str:
        if stored := _STORED.match(value):
            reference = f"{{{{secrets/{stored[1]}/{stored[2]}}}}}"
            found = self.secrets.get(reference, self.secrets.get(reference.lower()))
            if found is None:
                raise self.wrong(
                    key,
                    f"there is no secret {stored[2]!r} in scope {stored[1]!r}; 'tesela secrets put' makes one",
                )
            return found
        if value.lstrip().startswith("{{"):
            raise self.wrong(key, "a reference to a secret is written {{secrets/scope/key}}")
        if not _VARIABLE.match(value):
            return value
        found = self.secrets.get(value)
        if not found:
            raise self.wrong(key, f"the variable {value.removeprefix('env:')} is not set")
        return found


_STORED = re.compile(r"^\s*\{\{\s*secrets/([^/{}\s]{1,128})/([^/{}\s]{1,128})\s*\}\}\s*\Z")
_VARIABLE = re.compile(r"^env:[A-Za-z_][A-Za-z0-9_]*$")


class Resolved(msgspec.Struct, frozen=True):
    """An external model with its settings understood: a name in `PROVIDERS`, the tasks, and where to send."""

    provider: str
    tasks: frozenset[Task]
    upstream: Upstream


class Row(msgspec.Struct, frozen=True):
    """One `external_model.provider`: the key of its settings, and how to read them."""

    field: str
    resolve: Callable[[Reading, Task], Resolved]
    needs_settings: bool = True


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
    for other in {other.field for other in ROWS.values()} | ELSEWHERE_FIELDS:
        if other != row.field and getattr(model, other, None) is not None:
            raise ConfigError(f"{place(f'{at}.{other}')}: does not belong to provider {model.provider!r}")
    reading = Reading(model, config or {}, f"{at}.{row.field}", place, secrets, timeouts, endpoint)
    return row.resolve(reading, TASKS[model.task])


def _no_provider(name: str) -> str:
    works = ", ".join(sorted(ROWS))
    if name in RETIRED:
        return f"provider {name!r} was retired by its company; these work: {works}"
    if name in ELSEWHERE:
        return f"provider {name!r} exists in Databricks and is not built here yet; these work: {works}"
    close = get_close_matches(name, list(ROWS), n=1)
    return f"there is no provider {name!r}" + (f"; did you mean {close[0]!r}?" if close else f"; these work: {works}")


def _openai(reading: Reading, task: Task) -> Resolved:
    kind = reading.text("openai_api_type")
    if kind not in (None, "openai"):
        raise reading.wrong(
            "openai_api_type",
            f"{kind!r} is not built yet; an Azure deployment can be reached with provider 'custom', its full URL with "
            "`?api-version=`, and api_key_auth with the key name `api-key`",
        )
    reading.only(
        "openai_api_key", "openai_api_key_plaintext", "openai_api_base", "openai_api_type", "openai_organization"
    )
    url = reading.text("openai_api_base")
    key = reading.secret("openai_api_key")
    origin, path, query = address(url or OPENAI_BASE, reading.place(f"{reading.at}.openai_api_base"))
    found = base(path)
    if found is None or query:
        raise reading.wrong("openai_api_base", "must be the base of the API, such as https://api.openai.com/v1")
    headers = [header("authorization", f"Bearer {key}", reading.place(f"{reading.at}.openai_api_key"))]
    organization = reading.text("openai_organization")
    if organization:
        headers.append(header("openai-organization", organization, reading.place(f"{reading.at}.openai_organization")))
    # Servers that imitate OpenAI rarely have the Responses API; without it the gateway derives it from chat.
    native = {Task.RESPONSES} if task is Task.CHAT and url is None else set()
    upstream = Upstream(origin, reading.model.name, found, tuple(headers), reading.timeouts)
    return Resolved(OPENAI.name, frozenset({task} | native), upstream)


def _custom(reading: Reading, task: Task) -> Resolved:
    reading.only("custom_provider_url", "bearer_token_auth", "api_key_auth")
    url = reading.text("custom_provider_url")
    if not url:
        raise reading.wrong("custom_provider_url", "must give the URL of the API, such as http://127.0.0.1:8000/v1")
    origin, path, query = address(url, reading.place(f"{reading.at}.custom_provider_url"))
    found = base(path)
    headers = _custom_auth(reading)
    if found is None or query:
        whole = path + (f"?{query}" if query else "")
        upstream = Upstream(origin, reading.model.name, whole, headers, reading.timeouts)
        return Resolved(CUSTOM_VERBATIM.name, frozenset({task}), upstream)
    upstream = Upstream(origin, reading.model.name, found, headers, reading.timeouts)
    return Resolved(CUSTOM.name, frozenset({task}), upstream)


def _custom_auth(reading: Reading) -> tuple[tuple[str, str], ...]:
    """The header that holds the key.  None at all is right for a server of one's own that asks for none."""
    bearer, api_key = (reading.config.get(key) is not None for key in ("bearer_token_auth", "api_key_auth"))
    if bearer and api_key:
        raise reading.wrong("", "give only one of bearer_token_auth and api_key_auth")
    if bearer:
        auth = reading.inner("bearer_token_auth")
        auth.only("token", "token_plaintext")
        return (header("authorization", f"Bearer {auth.secret('token')}", auth.place(auth.at)),)
    if api_key:
        auth = reading.inner("api_key_auth")
        auth.only("key", "value", "value_plaintext")
        name = auth.text("key")
        if not name:
            raise auth.wrong("key", "must name the header that carries the key, such as `x-api-key`")
        return (header(name.lower(), auth.secret("value"), auth.place(auth.at)),)
    return ()


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
    "openai": Row("openai_config", _openai),
    "custom": Row("custom_provider_config", _custom),
    "scripted": Row("scripted_config", _scripted, needs_settings=False),
}

ELSEWHERE = frozenset(
    {"ai21labs", "amazon-bedrock", "anthropic", "cohere", "databricks-model-serving", "google-cloud-vertex-ai"}
)
RETIRED = frozenset({"palm"})
ELSEWHERE_FIELDS = frozenset(name for name in ExternalModel.__struct_fields__ if name.endswith("_config"))

PROVIDERS: Mapping[str, Provider] = {one.name: one for one in (OPENAI, CUSTOM, CUSTOM_VERBATIM, LOCAL, SCRIPTED)}
"""Every provider by the name that `ServedEntity.provider` holds."""
