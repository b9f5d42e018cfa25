"""What an endpoint is: frozen values in the shapes of the REST API, and the addresses that they resolve to.

`ServingEndpoint` and below are exactly what `POST /api/2.0/serving-endpoints` takes, so an endpoint can be copied
from a workspace.  `Origin` and `Upstream` are what remains of a served entity once its references are resolved.
"""

from collections.abc import Callable, Generator
from typing import Any, Literal

import msgspec

from tesela.wire.tasks import Task

Struct = msgspec.Struct


class ExternalModel(Struct, frozen=True, omit_defaults=True):
    """A model run by a provider elsewhere.  The provider's own settings stay a plain mapping until it reads them."""

    name: str
    provider: str
    task: str
    openai_config: dict[str, Any] | None = None
    anthropic_config: dict[str, Any] | None = None
    cohere_config: dict[str, Any] | None = None
    ai21labs_config: dict[str, Any] | None = None
    amazon_bedrock_config: dict[str, Any] | None = None
    google_cloud_vertex_ai_config: dict[str, Any] | None = None
    databricks_model_serving_config: dict[str, Any] | None = None
    palm_config: dict[str, Any] | None = None
    custom_provider_config: dict[str, Any] | None = None
    scripted_config: dict[str, Any] | None = None

    def __repr__(self) -> str:
        # Keys that were given in plain are in the settings.
        return f"ExternalModel({self.name!r}, {self.provider!r}, {self.task!r})"


class FoundationModel(Struct, frozen=True, omit_defaults=True):
    """A model that we run."""

    name: str
    display_name: str | None = None
    description: str | None = None
    docs: str | None = None


class ServedEntityInput(Struct, frozen=True, omit_defaults=True):
    """One model under an endpoint, as it is asked for: an external model, or a local one by `entity_name`."""

    name: str | None = None
    external_model: ExternalModel | None = None
    entity_name: str | None = None
    entity_version: str | None = None
    foundation_model: FoundationModel | None = None
    workload_size: str | None = None
    workload_type: str | None = None
    scale_to_zero_enabled: bool | None = None
    min_provisioned_throughput: int | None = None
    max_provisioned_throughput: int | None = None
    min_provisioned_concurrency: int | None = None
    max_provisioned_concurrency: int | None = None
    provisioned_model_units: int | None = None
    environment_vars: dict[str, str] | None = None


class Route(Struct, frozen=True, omit_defaults=True):
    """How much of an endpoint's traffic one served entity gets, in percent."""

    traffic_percentage: int
    served_model_name: str | None = None
    served_entity_name: str | None = None


class TrafficConfig(Struct, frozen=True, omit_defaults=True):
    routes: tuple[Route, ...] = ()


class EndpointConfig(Struct, frozen=True, omit_defaults=True):
    served_entities: tuple[ServedEntityInput, ...] = ()
    served_models: tuple[ServedEntityInput, ...] = ()
    traffic_config: TrafficConfig | None = None
    name: str | None = None


class FallbackConfig(Struct, frozen=True, omit_defaults=True):
    enabled: bool = False


class AIGateway(Struct, frozen=True, omit_defaults=True):
    """The part of `ai_gateway` that has an effect.  The rest of it is named when it is asked for, not kept."""

    fallback_config: FallbackConfig | None = None


class Tag(Struct, frozen=True, omit_defaults=True):
    key: str
    value: str | None = None


class ServingEndpoint(Struct, frozen=True, omit_defaults=True):
    """An endpoint as it is asked for.  Percentages may come as numeric strings; decode with `strict=False`."""

    name: str
    config: EndpointConfig
    description: str | None = None
    tags: tuple[Tag, ...] = ()
    ai_gateway: AIGateway | None = None
    route_optimized: bool = False
    task: str | None = None


class Retries(Struct, frozen=True):
    """How often the same entity is asked again.  The pause before is any time up to `pause_s`, which doubles with each,
    up to `longest_s`; a provider that asks for a longer one is not asked again."""

    count: int = 0
    pause_s: float = 0.5
    longest_s: float = 8.0


class Timeouts(Struct, frozen=True):
    """Seconds.  `first_byte_s` runs from the end of the request to the first byte of the answer, `total_s` over all
    attempts at one entity."""

    connect_s: float = 10.0
    first_byte_s: float = 600.0
    idle_s: float = 120.0
    total_s: float = 3600.0
    retries: Retries = Retries()


class Origin(Struct, frozen=True):
    """Where to dial.  `unix` is the path of a socket and wins over host and port; `scripted` dials nothing."""

    scheme: Literal["http", "https", "scripted"] = "http"
    host: str = "localhost"
    port: int = 80
    unix: str | None = None
    verify: bool = True

    @property
    def authority(self) -> str:
        """The value of the Host header (RFC 9112, section 3.2)."""
        usual = {"http": 80, "https": 443}.get(self.scheme)
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == usual else f"{host}:{self.port}"


class Capabilities(Struct, frozen=True):
    """What the model behind an upstream can do by itself; the translation does or refuses the rest."""

    tools: bool = True
    json_schema: bool = True
    logprobs: bool = True
    echo: bool = True
    images: bool = True
    n_max: int = 0
    context: int = 0
    dimensions: int = 0
    system: str | None = None
    defaults: tuple[tuple[str, float], ...] = ()


class Step(Struct, frozen=True):
    """One request of those that lead to a token."""

    upstream: "Upstream"
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"Step({self.upstream!r})"


class Granted(Struct, frozen=True):
    """What an issuer gave, and for how many seconds it is good.

    Without `sign` the secret is sent as a bearer; `sign` makes the headers of a request from its host, path, body and
    time.  `secret` is what of it goes over the wire.
    """

    secret: str
    lives_s: float
    sign: Callable[[str, str, bytes, int], tuple[tuple[str, str], ...]] | None = None

    def __repr__(self) -> str:
        return f"Granted({self.lives_s:g} s)"


Asking = Generator[Step, tuple[int, bytes], Granted]
"""A conversation with an issuer: it yields what to send, and is sent the status and the body of the answer.  What goes
wrong on the way is thrown into it."""


class TokenSource(Struct, frozen=True):
    """How the short-lived token of a provider is got: a form that is posted (RFC 6749, section 4.4; RFC 7523).

    `form` gives the form for the time now, in seconds since the epoch, because an assertion says when it was signed;
    `key` is equal for equal credentials and tells nothing of them; `issuer` is whom messages name.  `ask` is there for
    an issuer with whom one form is not enough, and takes its place.
    """

    upstream: "Upstream"
    form: Callable[[int], bytes]
    key: str
    issuer: str
    ask: Callable[[int], Asking] | None = None

    def __repr__(self) -> str:
        return f"TokenSource({self.issuer}, {self.upstream!r})"


class Upstream(Struct, frozen=True):
    """Address, model and key of the place that we call.

    `headers` hold the key and never leave this process but towards the origin; the repr leaves them out.  `limit` is
    how many calls may be in flight from one worker, 0 for no limit; `ignore` names request fields that a translation
    drops instead of refusing them; `query` follows the path of every request; `token` is there when the provider wants
    a short-lived token, which the transport gets and puts into the `authorization` header; `signer` signs each request
    for a provider that wants that, inside its translation; `script` belongs to the scripted provider; `method` differs
    for some issuers of tokens only; `links` is where the transport keeps what it has worked out for each path.
    """

    origin: Origin
    model: str
    base_path: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    timeouts: Timeouts = Timeouts()
    capabilities: Capabilities = Capabilities()
    limit: int = 0
    ignore: frozenset[str] = frozenset()
    query: str = ""
    token: TokenSource | None = None
    signer: Any = None
    script: Any = None
    method: str = "POST"
    links: dict[str, Any] = msgspec.field(default_factory=dict)

    @property
    def called(self) -> str:
        """What messages call it."""
        if self.origin.unix is not None:
            return f"the local model {self.model!r}"
        return f"the provider at {self.origin.authority}"

    def __repr__(self) -> str:
        return f"Upstream({self.origin.scheme}://{self.origin.authority}{self.base_path}, model={self.model!r})"


class ServedEntity(Struct, frozen=True):
    """A served entity with everything resolved: which provider's translations, and where to."""

    name: str
    config: ServedEntityInput
    provider: str
    tasks: frozenset[Task]
    upstream: Upstream
    percentage: int
    admission: str = ""


class Endpoint(Struct, frozen=True):
    """A named thing you query, as one request sees it.

    `entities` are in the order of the configuration, which is the order of fallback.  `source` is "file", "store" or
    "built-in".  `creator` and times are what the API shows; times are in milliseconds since the epoch.
    """

    name: str
    task: Task
    entities: tuple[ServedEntity, ...]
    config: ServingEndpoint
    fallback: bool = False
    source: str = "file"
    creator: str = ""
    created_ms: int = 0
    description: str = ""
    id: str = ""
