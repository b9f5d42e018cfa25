"""Which engines a configuration needs, and where each will answer.

Pulls models that are not there yet.  Starts nothing: that is the supervisor's.
"""

import importlib.util
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from tesela import serving
from tesela.addresses import EngineAddress, capabilities_of, tasks_of
from tesela.config import Config
from tesela.engine import models
from tesela.engine.gguf import read_facts
from tesela.engine.models import CATALOGUE, Installed, Manifest
from tesela.engine.placement import free_port, place
from tesela.engine.pull import find, installed, pull
from tesela.engine.spec import EngineSpec
from tesela.errors import ConfigError, NotFound
from tesela.serving import Origin
from tesela.settings import ModelEntry
from tesela.sizing import threads_of
from tesela.snapshot_build import engines_of_file
from tesela.wire.tasks import Task

Progress = Callable[[str, str, int, int], None]
"""Called with the model's name, the stage, what is done and what there is (bytes)."""

ENGINE_PACKAGES = ("xllamacpp", "onnxruntime", "tokenizers", "numpy")
QUEUE = 4
"""Requests that a llama engine may have at once, as a multiple of its slots: those beyond the slots wait in its own
queue, which knows no end, and by then a client is better told to come back."""
EMBEDDING_QUEUE = 256
DEFAULTS: dict[str, tuple[str, tuple[tuple[str, float], ...]]] = {
    # A model of this size wanders at temperature 1, and with no system prompt its template puts one in that makes it
    # answer questions of fact in the wrong language.
    "smollm2-135m-instruct": ("You are a helpful assistant.", (("temperature", 0.2), ("top_p", 0.9))),
}
"""System prompt and sampling of catalogue models, where a request gives none."""


class Plan(msgspec.Struct):
    """Engines to start and where they will answer, in the order in which they are preferred."""

    specs: list[EngineSpec]
    addresses: dict[str, EngineAddress]


def plan(config: Config, run_dir: Path, progress: Progress) -> Plan:
    """What has to run for this configuration.  Raises ConfigError, or EngineError when a model cannot be had."""
    out = Plan([], {})
    settings, named = config.settings, engines_of_file(config)
    declared = {entry.name for entry in settings.models}
    pulled = {model.name: model for model in installed(config.home)}
    for name in (*CATALOGUE, *(name for name in pulled if name not in CATALOGUE)):
        if name not in declared and (settings.local_models or name in named):
            _need_packages()
            _add(out, config, pulled.get(name) or _pulled(config, name, name, progress), None, run_dir)
    for i, entry in enumerate(settings.models):
        try:
            _add_declared(out, config, entry, run_dir, progress)
        except (ConfigError, NotFound) as exc:
            raise ConfigError(f"{config.places(f'models[{i}]')}: {exc.message}") from exc
    for name, one in named.items():
        # What there is none of is told where the endpoint names it.
        if one.slots is not None and (one.model in declared or one.model in startable(config)):
            spec, address = plan_one(config, one.model, name, run_dir, progress, one.slots)
            out.specs.append(spec)
            out.addresses[name] = address
    return out


def plan_one(
    config: Config,
    model_name: str,
    engine_name: str,
    run_dir: Path,
    progress: Progress,
    slots: int | None = None,
    threads: int | None = None,
) -> tuple[EngineSpec, EngineAddress]:
    """An engine of its own name and size for a model that is declared, pulled, or of the catalogue.

    Pulls the model when it is not there.  Raises NotFound when there is no such model, ConfigError when it is none that
    we run ourselves, or cannot run, and EngineError when it cannot be had.
    """
    _need_packages()
    entry = next((entry for entry in config.settings.models if entry.name == model_name), None)
    if entry is None:
        model = find(config.home, model_name) or _pulled(config, model_name, model_name, progress)
    elif entry.path is not None:
        model = _in_place(entry.name, config.path(entry.path))
    elif entry.source is not None:
        model = _pulled(config, entry.source, entry.name, progress)
    else:
        raise ConfigError(f"the model {model_name!r} is served by another program, so its size is not ours to choose")
    if threads is None and (entry is None or entry.threads is None):
        threads = threads_of(slots, os.cpu_count() or 1)
    sized = {"slots": slots, "threads": threads}
    given = _given(entry) | {name: value for name, value in sized.items() if value is not None}
    if entry is not None and slots is not None:
        # The bound of the entry was for its own number of slots.
        entry = msgspec.structs.replace(entry, limit=None)
    spec, address = _engine(config, model, entry, run_dir, {**given, "name": engine_name})
    # Answers name the model, whatever the size of the engine.
    return spec, msgspec.structs.replace(address, model=model_name, display_name=model_name, private=True)


def startable(config: Config) -> dict[str, frozenset[Task]]:
    """The models that an endpoint may name though nothing runs them yet, with their tasks."""
    found = {name: entry.tasks for name, entry in CATALOGUE.items()}
    found |= {model.name: model.manifest.tasks for model in installed(config.home)}
    return {name: frozenset(Task(task) for task in tasks) for name, tasks in found.items()}


def _add_declared(out: Plan, config: Config, entry: ModelEntry, run_dir: Path, progress: Progress) -> None:
    if entry.command is not None:
        _add_command(out, config, entry, run_dir)
    elif entry.path is not None:
        _need_packages()
        _add(out, config, _in_place(entry.name, config.path(entry.path)), entry, run_dir)
    elif entry.source is not None:
        _need_packages()
        _add(out, config, _pulled(config, entry.source, entry.name, progress), entry, run_dir)


def _in_place(name: str, path: Path) -> Installed:
    """A GGUF file that is served from where it lies.  Raises ConfigError when it is none."""
    facts = read_facts(path)
    said = facts.name or path.stem
    manifest = Manifest(
        name=name,
        tasks=(Task.CHAT, Task.COMPLETIONS),
        kind="llama",
        source=f"file:{path}",
        sha256="",
        licence=facts.licence,
        description=f"{said}, a {facts.architecture or 'GGUF'} model from a file of this machine",
        context=facts.context_length,
        dimensions=0,
        model=path.name,
        tokenizer="",
        files={},
        created=0.0,
    )
    return Installed(directory=path.parent, manifest=manifest)


def _need_packages() -> None:
    missing = [name for name in ENGINE_PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"local models need packages that are not installed ({', '.join(missing)}): pip install 'tesela[local]', "
            "or give a configuration file with endpoints that need none"
        )


def _pulled(config: Config, source: str, name: str, progress: Progress) -> Installed:
    """The model, pulled when it is not there.  Raises ConfigError when the name belongs to one from elsewhere."""

    def report(stage: str, done: int, total: int) -> None:
        progress(name, stage, done, total)

    return pull(config.home, source, name=name, progress=report)


def _add(out: Plan, config: Config, model: Installed, entry: ModelEntry | None, run_dir: Path) -> None:
    spec, address = _engine(config, model, entry, run_dir, _given(entry))
    out.specs.append(spec)
    out.addresses[spec.name] = address


def _given(entry: ModelEntry | None) -> dict[str, Any]:
    """What an entry says of its engine, as fields of EngineSpec."""
    if entry is None:
        return {}
    named = {"slots": entry.slots, "context": entry.context, "threads": entry.threads}
    named |= {"batch_threads": entry.batch_threads}
    given = {name: value for name, value in named.items() if value is not None}
    if entry.memory_mib is not None:
        given["memory_bytes"] = entry.memory_mib * 1024 * 1024
    return given


def _engine(
    config: Config, model: Installed, entry: ModelEntry | None, run_dir: Path, given: dict[str, Any]
) -> tuple[EngineSpec, EngineAddress]:
    """The engine for a model that is there.  `given` are fields of EngineSpec."""
    spec = place(models.engine_spec(model, drain_s=config.settings.timeouts.drain, **given), run_dir)
    can = models.capabilities(model.manifest, spec)
    system, defaults = DEFAULTS.get(_known_as(model), (None, ()))
    capabilities = serving.Capabilities(
        tools=can.tools,
        json_schema=can.json_schema,
        logprobs=can.logprobs,
        echo=can.echo,
        images=False,
        n_max=can.n_max,
        context=can.context,
        dimensions=can.dimensions,
        system=system,
        defaults=defaults,
    )
    if entry is not None:
        capabilities = capabilities_of(entry, capabilities)
    whole = spec.slots * QUEUE if spec.kind == "llama" else EMBEDDING_QUEUE
    limit = (entry.limit if entry else None) or math.ceil(whole / config.settings.workers)
    address = EngineAddress(
        name=spec.name,
        tasks=frozenset(Task(task) for task in model.manifest.tasks),
        socket=spec.socket,
        key=spec.key,
        capabilities=capabilities,
        slots=spec.slots,
        limit=limit,
        model=spec.name,
        description=(entry.description if entry else None) or model.manifest.description,
        dimensions=can.dimensions,
        display_name=model.name,
        size=_size(_known_as(model) or model.name),
    )
    return spec, address


def _known_as(model: Installed) -> str:
    """The catalogue's name of a model that may go by another; empty for one from elsewhere."""
    return next((entry.name for entry in CATALOGUE.values() if entry.source == model.manifest.source), "")


def _size(name: str) -> str:
    """ "135M" of "smollm2-135m-instruct"; empty when the name does not say."""
    for part in name.split("-"):
        if part[:-1].replace(".", "").isdigit() and part[-1:] in "mb":
            return part.upper()
    return ""


def _add_command(out: Plan, config: Config, entry: ModelEntry, run_dir: Path) -> None:
    """A process that speaks the OpenAI protocol.  Its port is chosen once: workers keep the address."""
    assert entry.command is not None  # noqa: S101 - the caller looked
    argv = entry.command
    on_socket = any("{socket}" in word for word in argv)
    port = free_port()
    spec = place(
        EngineSpec(
            name=entry.name,
            kind="command",
            argv=tuple(word.replace("{port}", str(port)) for word in argv),
            base_url="" if on_socket else f"http://127.0.0.1:{port}",
            drain_s=config.settings.timeouts.drain,
            start_timeout_s=1800.0,
            memory_bytes=(entry.memory_mib or 0) * 1024 * 1024,
        ),
        run_dir,
    )
    origin = None if on_socket else Origin("http", "127.0.0.1", urlsplit(spec.base_url).port or 80)
    out.specs.append(spec)
    out.addresses[entry.name] = EngineAddress(
        name=entry.name,
        tasks=tasks_of(entry),
        socket=spec.socket if on_socket else "",
        key=spec.key,
        capabilities=capabilities_of(entry, serving.Capabilities()),
        slots=entry.slots or 0,
        limit=entry.limit or 0,
        model=entry.model or entry.name,
        description=entry.description or f"{entry.model or entry.name}, run by {Path(argv[0]).name}",
        dimensions=entry.dimensions or 0,
        origin=origin,
        provider="local" if entry.capabilities is not None else "custom",
    )
