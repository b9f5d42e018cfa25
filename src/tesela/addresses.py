"""Where local models answer, those that we start and those that only have to be found."""

import msgspec

from tesela.config import Config
from tesela.errors import ConfigError
from tesela.providers.compatible import address, base, header
from tesela.serving import Capabilities, Origin
from tesela.settings import ModelEntry
from tesela.wire.tasks import Task


class EngineAddress(msgspec.Struct, frozen=True):
    """Where a local model answers.

    Either `socket`, the path of its Unix socket, or `origin`.  `key` is presented as a bearer and never shown.
    `model` is the name that the engine knows it by, `limit` how many calls may be in flight from one worker (0: no
    limit), `slots` how many it works on at once.  `size` is for people: "135M".  `private` is an engine that was
    brought for endpoints which ask for it, and that is not offered by itself.
    """

    name: str
    tasks: frozenset[Task]
    socket: str = ""
    key: str = ""
    capabilities: Capabilities = Capabilities()
    slots: int = 0
    limit: int = 0
    model: str = ""
    description: str = ""
    dimensions: int = 0
    display_name: str = ""
    size: str = ""
    base_path: str = "/v1"
    origin: Origin | None = None
    provider: str = "local"
    private: bool = False

    def __repr__(self) -> str:
        return f"EngineAddress({self.name!r})"

    @property
    def task(self) -> Task:
        """The task by which its endpoints are known."""
        return next(task for task in Task if task in self.tasks)


def attached(config: Config) -> dict[str, EngineAddress]:
    """The models that run somewhere already and speak the OpenAI protocol."""
    out = {}
    for i, entry in enumerate(config.settings.models):
        if entry.base_url is not None:
            out[entry.name] = _attach(config, entry, entry.base_url, f"models[{i}]")
    return out


def _attach(config: Config, entry: ModelEntry, url: str, at: str) -> EngineAddress:
    place = config.places(f"{at}.base_url")
    origin, path, query = address(url, place)
    found = base(path)
    if found is None or query:
        raise ConfigError(f"{place}: must be the base of the API, such as http://127.0.0.1:8000/v1")
    key = config.secrets.get(entry.api_key or "", entry.api_key or "")
    if key:
        header("authorization", f"Bearer {key}", config.places(f"{at}.api_key"))
    return EngineAddress(
        name=entry.name,
        tasks=tasks_of(entry),
        key=key,
        capabilities=capabilities_of(entry, Capabilities()),
        slots=entry.slots or 0,
        limit=entry.limit or 0,
        model=entry.model or entry.name,
        description=entry.description or f"{entry.model or entry.name} at {origin.authority}",
        dimensions=entry.dimensions or 0,
        base_path=found,
        origin=origin,
        # A server that has been told apart gets the same mending as our own engines; otherwise bytes just pass.
        provider="local" if entry.capabilities is not None else "custom",
    )


def tasks_of(entry: ModelEntry) -> frozenset[Task]:
    """The tasks of a model entry: a model that chats also completes."""
    task = Task(entry.task) if entry.task else Task.CHAT
    return frozenset({Task.CHAT, Task.COMPLETIONS}) if task is Task.CHAT else frozenset({task})


def capabilities_of(entry: ModelEntry, assumed: Capabilities) -> Capabilities:
    """What an engine is assumed to do, with what the entry declares laid over it."""
    out = msgspec.structs.replace(
        assumed, context=entry.context or assumed.context, dimensions=entry.dimensions or assumed.dimensions
    )
    declared = entry.capabilities
    if declared is None:
        return out
    given = {name: value for name, value in msgspec.structs.asdict(declared).items() if value is not None}
    if declared.defaults is not None:
        given["defaults"] = tuple(declared.defaults.items())
    return msgspec.structs.replace(out, **given)
