"""The configuration: `tesela.yaml`, `TESELA_*` and options, read once into a frozen value.

An option wins over the environment, the environment over the file, the file over the defaults.  A setting that nobody
here knows stops the start.  Nothing is opened here but the file itself.
"""

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from tesela import serving
from tesela.errors import ConfigError
from tesela.places import Places, nearest
from tesela.settings import Breaker, Retries, Settings, Sql, Timeouts
from tesela.wire.tasks import Task

Struct = msgspec.Struct
FILE = "tesela.yaml"
PREFIX = "TESELA_"


class Config(Struct, frozen=True):
    """All that the parts need to know.

    `secrets` gives the value of each `env:NAME` that the file refers to; they are never shown.  `file` is None when
    there is none, `file_ms` the time of its last change in milliseconds.  `notes` are sentences about settings that
    were read and have no effect, for whoever starts the server.
    """

    settings: Settings
    home: Path
    places: Places
    file: Path | None = None
    file_ms: int = 0
    secrets: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()

    def path(self, text: str) -> Path:
        """A path from the file: relative ones start at the file's folder."""
        here = self.file.parent if self.file else Path()
        return (here / Path(text).expanduser()).absolute()

    def __repr__(self) -> str:
        return f"Config(file={str(self.file)!r}, home={str(self.home)!r})"


def load(path: Path | None, environ: Mapping[str, str], flags: Mapping[str, object]) -> Config:
    """Read everything once.  `flags` is keyed like the settings; None there means "not given".

    With no path the variable TESELA_CONFIG is asked, then `tesela.yaml` in the current folder.  Raises ConfigError
    whose one sentence says where and what.
    """
    # Only who reads the configuration needs these; workers are given what was read.
    import platformdirs

    from tesela.configfile import read

    file = _file(path, environ)
    values, lines = read(file) if file is not None else ({}, {})
    origins: dict[str, str] = {}
    for key, value, origin in _overrides(environ, flags):
        values[key] = value
        origins[key] = origin
    for block, key, value, origin in _blocks(environ):
        settings = values.setdefault(block, {})
        if isinstance(settings, dict):
            settings[key] = value
            origins[f"{block}.{key}"] = origin
    _old_names(values)
    places = Places(file.name if file else "", lines, origins)
    notes = tuple(_unknown(values, inspect.type_info(Settings), "", places)) + tuple(_strangers(environ))
    if file is None:
        values.setdefault("local_models", True)
        values.setdefault("emulate", "databricks")
    settings = _convert(values, places)
    _check_models(settings, places)
    _check_sql(settings.sql, places)
    home = Path(settings.home).expanduser() if settings.home else Path(platformdirs.user_data_dir("tesela"))
    return Config(
        settings=settings,
        home=home.absolute(),
        places=places,
        file=file.absolute() if file else None,
        file_ms=file.stat().st_mtime_ns // 1_000_000 if file else 0,
        secrets=_secrets(values, environ, places),
        notes=notes,
    )


def _file(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    if path is not None:
        return path
    named = environ.get("TESELA_CONFIG")
    if named:
        return Path(named).expanduser()
    here = Path(FILE)
    return here if here.is_file() else None


SCALARS = (
    "home",
    "database_url",
    "host",
    "port",
    "workers",
    "hot_routes",
    "max_body_bytes",
    "trust_forwarded",
    "local_models",
    "emulate",
)
"""The settings that an option or a variable can give."""
BLOCKS: dict[str, tuple[type[Struct], str]] = {
    "timeouts": (Timeouts, "TIMEOUT"),
    "retries": (Retries, "RETRIES"),
    "breaker": (Breaker, "BREAKER"),
    "sql": (Sql, "SQL"),
}
"""Settings that belong together, by the word that their variables begin with."""
FILE_ONLY = frozenset({("sql", "roots"), ("sql", "endpoints")})
"""Lists and mappings, which only the file can give."""


def variables() -> list[str]:
    """Every variable that is read, for the documentation and its test."""
    names = [PREFIX + "CONFIG", PREFIX + "MASTER_KEY", *(PREFIX + name.upper() for name in SCALARS)]
    return names + [variable for _, _, variable in _of_blocks()]


def _overrides(environ: Mapping[str, str], flags: Mapping[str, object]) -> Iterator[tuple[str, object, str]]:
    for name in SCALARS:
        variable = PREFIX + name.upper()
        if environ.get(variable):
            yield name, environ[variable], f"the variable {variable}"
    for name, value in flags.items():
        if value is not None:
            yield name, str(value) if isinstance(value, Path) else value, f"the option --{name.replace('_', '-')}"


def _of_blocks() -> Iterator[tuple[str, str, str]]:
    """Block, setting and variable of each setting that stands in a block."""
    for block, (kind, word) in BLOCKS.items():
        for name in kind.__struct_fields__:
            if (block, name) in FILE_ONLY:
                continue
            yield block, name, f"{PREFIX}{word}_{name.upper()}"


def _blocks(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str, str]]:
    for block, name, variable in _of_blocks():
        if environ.get(variable):
            yield block, name, environ[variable], f"the variable {variable}"


def _strangers(environ: Mapping[str, str]) -> Iterator[str]:
    """Variables that nobody reads and that are nearly one that somebody does."""
    known = [name.removeprefix(PREFIX) for name in variables()]
    for name in sorted(environ):
        word = name.removeprefix(PREFIX)
        if name != word and word not in known and (close := get_close_matches(word, known, n=1, cutoff=0.75)):
            yield f"the variable {name} is not one that Tesela reads; did you mean {PREFIX}{close[0]}?"


def _convert(values: dict[str, Any], places: Places) -> Settings:
    try:
        return msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as exc:
        text, _, where = str(exc).partition(" - at `")
        path = where.rstrip("`").removeprefix("$").removeprefix(".")
        raise ConfigError(f"{places(path)}: {text[:1].lower()}{text[1:]}") from exc


# What a workspace shows or takes in an endpoint and has no meaning here, or none yet.  It is read, so that an endpoint
# can be copied, and said aloud, so that nobody counts on it.
SHOWN = frozenset({
    "id", "creator", "creator_display_name", "creator_kind", "creation_timestamp", "last_updated_timestamp", "state",
    "permission_level", "endpoint_url", "endpoint_type", "data_plane_info", "pending_config", "config_version",
    "start_time", "capabilities", "type", "usage_policy_id",
})  # fmt: skip
IDLE = frozenset({
    "auto_capture_config", "budget_policy_id", "email_notifications", "telemetry_config", "instance_profile_arn",
    "rate_limits", "guardrails", "inference_table_config", "usage_tracking_config",
    "burst_scaling_enabled",
})  # fmt: skip


def _unknown(value: Any, kind: inspect.Type, path: str, places: Places) -> Iterator[str]:
    """Refuse keys that no struct knows, and name those that are read in vain."""
    if isinstance(kind, inspect.UnionType):
        kinds = [one for one in kind.types if isinstance(one, inspect.StructType | inspect.VarTupleType)]
        if len(kinds) != 1:
            return
        kind = kinds[0]
    if isinstance(kind, inspect.VarTupleType) and isinstance(value, list):
        for i, item in enumerate(value):
            yield from _unknown(item, kind.item_type, f"{path}[{i}]", places)
    if not isinstance(kind, inspect.StructType) or not isinstance(value, dict):
        return
    fields = {field.encode_name: field.type for field in kind.fields}
    endpoint = kind.cls.__module__ == serving.__name__
    for key, inner in value.items():
        at = f"{path}.{key}" if path else key
        if key in fields:
            yield from _unknown(inner, fields[key], at, places)
        elif endpoint and key in IDLE:
            yield f"{places(at)} has no effect"
        elif not (endpoint and key in SHOWN):
            raise ConfigError(f"{places(at)}: there is no such setting{nearest(key, list(fields))}")


def _old_names(values: dict[str, Any]) -> None:
    """`served_models` is the older form of `served_entities`; its entries name their model by `model_name`."""
    endpoints = values.get("endpoints")
    for endpoint in endpoints if isinstance(endpoints, list) else ():
        config = endpoint.get("config") if isinstance(endpoint, dict) else None
        served = config.get("served_models") if isinstance(config, dict) else None
        for entity in served if isinstance(served, list) else ():
            for new, old in (("entity_name", "model_name"), ("entity_version", "model_version")):
                if isinstance(entity, dict) and old in entity and new not in entity:
                    entity[new] = entity.pop(old)


def _check_models(settings: Settings, places: Places) -> None:
    seen: set[str] = set()
    for i, model in enumerate(settings.models):
        at = f"models[{i}]"
        if model.name in seen:
            raise ConfigError(f"{places(at + '.name')}: there are two models named {model.name!r}")
        seen.add(model.name)
        ways = [way for way in ("source", "path", "command", "base_url") if getattr(model, way)]
        if len(ways) != 1:
            raise ConfigError(
                f"{places(at)}: model {model.name!r} needs exactly one of source, path, command and base_url"
                + (f", and has {' and '.join(ways)}" if ways else "")
            )
        if model.task is not None and model.task not in MODEL_TASKS:
            raise ConfigError(
                f"{places(at + '.task')}: {model.task!r} is not a task; a model has one of {', '.join(MODEL_TASKS)}"
            )
        for key in NO_EFFECT[ways[0]]:
            if getattr(model, key) is not None:
                raise ConfigError(f"{places(f'{at}.{key}')}: {key!r} has no effect on a model with {ways[0]!r}")
        if model.command is not None and not any("{port}" in word or "{socket}" in word for word in model.command):
            raise ConfigError(f"{places(at + '.command')}: must be told where to listen, by {{port}} or {{socket}}")


def _check_sql(sql: Sql, places: Places) -> None:
    if sql.remote and not sql.remote.startswith("sc://"):
        raise ConfigError(f"{places('sql.remote')}: a Spark Connect server is named as in sc://host:15002")
    if "://" in sql.warehouse:
        raise ConfigError(f"{places('sql.warehouse')}: tables are kept in a folder; a URL can be one of sql.roots")


NO_EFFECT: dict[str, tuple[str, ...]] = {
    "source": ("task", "dimensions", "model", "api_key"),
    "path": ("task", "dimensions", "model", "api_key"),
    "command": ("api_key", "threads", "batch_threads"),
    "base_url": ("threads", "batch_threads", "memory_mib"),
}
"""Keys of a model entry that would be read in vain, by where the model comes from."""

MODEL_TASKS = (str(Task.CHAT), str(Task.COMPLETIONS), str(Task.EMBEDDINGS))

REFERENCE = re.compile(r"^env:([A-Za-z_][A-Za-z0-9_]*)$")


def _secrets(values: dict[str, Any], environ: Mapping[str, str], places: Places) -> dict[str, str]:
    """The value of each `env:NAME` inside a provider's settings or a model's `api_key`."""
    out: dict[str, str] = {}
    for path, text in _strings({key: values.get(key) for key in ("endpoints", "models")}, ""):
        found = REFERENCE.match(text) if "_config." in path or path.endswith(".api_key") else None
        if found is None:
            continue
        value = environ.get(found[1], "")
        if not value:
            state = "is empty" if found[1] in environ else "is not set"
            raise ConfigError(f"{places(path)}: the variable {found[1]} {state}; export it before you start")
        out[text] = value
    return out


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _strings(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _strings(inner, f"{path}[{i}]")
