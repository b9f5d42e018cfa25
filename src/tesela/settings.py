"""The settings as values: what each is, what it may be, and what it is when nobody says."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tesela import serving
from tesela.serving import ServingEndpoint

Struct = msgspec.Struct
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Count = Annotated[int, Meta(ge=1, le=1_000_000)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class Timeouts(Struct, frozen=True, forbid_unknown_fields=True):
    """Seconds.  The first four are about what we call, the rest about who calls us."""

    connect: Seconds = 10.0
    first_byte: Seconds = 600.0
    idle: Seconds = 120.0
    total: Seconds = 3600.0
    keep_alive: Seconds = 75.0
    receive_header: Seconds = 20.0
    receive_body: Seconds = 60.0
    drain: Seconds = 30.0


class Retries(Struct, frozen=True, forbid_unknown_fields=True):
    """How often the same served entity is asked again, and how long is waited before: any time up to `pause` seconds,
    which doubles with each, up to `longest`."""

    count: Annotated[int, Meta(ge=0, le=5)] = 0
    pause: Seconds = 0.5
    longest: Seconds = 8.0


class Breaker(Struct, frozen=True, forbid_unknown_fields=True):
    """When a model's server that fails is not called for a while: after so many `failures` within `window` seconds, if
    they are at least `rate` of the calls, for `open` seconds.  0 failures: never."""

    failures: Annotated[int, Meta(ge=0, le=1_000_000)] = 5
    rate: Annotated[float, Meta(gt=0, le=1)] = 0.5
    window: Seconds = 30.0
    open: Seconds = 10.0


class Sql(Struct, frozen=True, forbid_unknown_fields=True):
    """SQL: where statements run, what they may touch, and for how long what they gave is kept.

    `remote` is a Spark Connect server (`sc://host:port`); empty, an engine of our own is started.  `warehouse` is the
    folder of tables, `<home>/warehouse` when empty; below it and the `roots` statements may read and write.
    `endpoints` are the defaults of the small functions, by function, task or "default".  `concurrency` is how many
    requests one statement has under way at most, `statements` how many run at once, the rest wait.  `calls_url` is
    where a remote engine reaches this server.  Ages are in hours, sizes in MiB.
    """

    remote: str = ""
    warehouse: str = ""
    roots: tuple[str, ...] = ()
    endpoints: dict[str, str] = msgspec.field(default_factory=dict)
    concurrency: Annotated[int, Meta(ge=1, le=4096)] = 64
    statements: Annotated[int, Meta(ge=1, le=256)] = 8
    calls_url: str = ""
    answers_hours: Annotated[float, Meta(gt=0, le=1_000_000)] = 30 * 24.0
    answers_mib: Annotated[int, Meta(ge=1, le=100_000_000)] = 10 * 1024
    results_hours: Annotated[float, Meta(gt=0, le=8760)] = 12.0
    results_mib: Annotated[int, Meta(ge=1, le=100_000_000)] = 20 * 1024


class DeclaredCapabilities(Struct, frozen=True, omit_defaults=True):
    """What a model can do by itself, where that differs from what is assumed of its engine."""

    tools: bool | None = None
    json_schema: bool | None = None
    logprobs: bool | None = None
    echo: bool | None = None
    images: bool | None = None
    n_max: Annotated[int, Meta(ge=0)] | None = None
    system: str | None = None
    defaults: dict[str, float] | None = None


class ModelEntry(Struct, frozen=True, omit_defaults=True):
    """A model that runs here: one of `source`, `path`, `command` or `base_url` says where it comes from.

    `source` is `pypi:`, `hf:` or `file:` or the name of a model that Tesela knows; `path` is a GGUF file; `command`
    starts a process that speaks the OpenAI protocol, `base_url` names one that runs already.  `memory_mib` is the
    ceiling at which the engine is started anew.
    """

    name: Name
    source: str | None = None
    path: str | None = None
    command: tuple[str, ...] | None = None
    base_url: str | None = None
    api_key: str | None = None
    task: str | None = None
    model: str | None = None
    description: str | None = None
    slots: Count | None = None
    context: Count | None = None
    threads: Count | None = None
    batch_threads: Count | None = None
    memory_mib: Count | None = None
    limit: Count | None = None
    dimensions: Count | None = None
    capabilities: DeclaredCapabilities | None = None

    def __repr__(self) -> str:
        return f"ModelEntry({self.name!r})"


class Settings(Struct, frozen=True):
    """The settings that the file, the environment and the options give.  Bytes, and seconds where not said."""

    home: str = ""
    database_url: str = ""
    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535)] = 8787
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    hot_routes: bool = True
    max_body_bytes: Annotated[int, Meta(ge=1024, le=1024 * 1024 * 1024)] = 32 * 1024 * 1024
    trust_forwarded: bool = False
    local_models: bool = False
    emulate: Literal["databricks"] | None = None
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    breaker: Breaker = Breaker()
    sql: Sql = Sql()
    models: tuple[ModelEntry, ...] = ()
    endpoints: tuple[ServingEndpoint, ...] = ()

    @property
    def patience(self) -> serving.Timeouts:
        """How long what we call is waited for, and how often it is asked again."""
        waits, again = self.timeouts, self.retries
        return serving.Timeouts(
            connect_s=waits.connect,
            first_byte_s=waits.first_byte,
            idle_s=waits.idle,
            total_s=waits.total,
            retries=serving.Retries(again.count, again.pause, again.longest),
        )

    def __repr__(self) -> str:
        # A URL of a database has a password in it.
        return f"Settings(home={self.home!r}, host={self.host!r}, port={self.port!r})"
