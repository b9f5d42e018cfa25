"""What the control plane's handlers are given.  They hold nothing of their own."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
from starlette.requests import Request

from tesela.endpoint_build import Surroundings
from tesela.errors import PermissionDenied, Unauthenticated
from tesela.places import Places
from tesela.records import Actor
from tesela.serving import Timeouts
from tesela.snapshot import Credential, Principal, Snapshot
from tesela.telemetry.activity import Activity
from tesela.telemetry.sharing import Shared

if TYPE_CHECKING:
    from tesela.store.store import Store


class CountFacts(Protocol):
    """What a worker has counted for one endpoint, served entity and principal since it started."""

    @property
    def requests(self) -> int: ...
    @property
    def failed(self) -> int: ...
    @property
    def cancelled(self) -> int: ...
    @property
    def prompt_tokens(self) -> int: ...
    @property
    def completion_tokens(self) -> int: ...


class EngineFacts(Protocol):
    """How a local model is: one of the words of `DEPLOYMENT`, and why when it is not well."""

    @property
    def status(self) -> str: ...
    @property
    def message(self) -> str: ...


def refuse(_authorization: bytes) -> Credential:
    """For handlers that nobody can sign in to."""
    raise Unauthenticated("nobody can sign in here")


class Facts(msgspec.Struct, frozen=True):
    """The workspace's identity, and where to look for everything that changes.

    `snapshot` gives the current one.  `engine_states` is keyed by the engine's name, which is a served entity's
    `admission`.  `health` gives None, or a sentence on what is wrong that names no endpoint and no secret.  `changed`
    is called after a write, so that this worker need not wait for its next look at the store.  `now` is in seconds
    since the epoch.  `file` is the name of the configuration file, empty when there is none; `created_ms` stands for
    the time of endpoints that know none.  `store` opens the store when it is first asked for: its calls may wait for a
    disk or a network, so they belong in a thread.  `logs` is the folder with the engines' output, `surroundings`
    what an endpoint that is asked for now can refer to.  `counts` is what this worker has counted, by endpoint, served
    entity and principal; `breakers` says, for an endpoint's name, of which served entities the breaker is open.
    `token_of` reads the token out of an Authorization header.  `sql_socket` is where the process that runs statements
    is asked, and `sql_secret` what it is shown.  `static` is the folder of the built web pages, `cookie` the name of
    their session's cookie; `authenticate` finds the credential behind an Authorization header, and `take_code` uses up
    a one-time code and gives the id of the principal whom it signs in.  `activity` is what endpoints did lately, over
    all workers; beside no gateway that is nothing.
    """

    snapshot: Callable[[], Snapshot]
    store: "Callable[[], Store]"
    now: Callable[[], float]
    workspace_id: int
    account_id: str
    created_ms: int = 0
    file: str = ""
    trust_forwarded: bool = False
    engine_states: Callable[[], Mapping[str, EngineFacts]] = dict
    health: Callable[[], str | None] = lambda: None
    changed: Callable[[], None] = lambda: None
    logs: Path | None = None
    surroundings: Callable[[], Surroundings] = lambda: Surroundings(Places(), {}, Timeouts(), {})
    counts: Callable[[], Mapping[tuple[str, str, str], CountFacts]] = dict
    breakers: Callable[[str], Mapping[str, bool]] = lambda _: {}
    token_of: Callable[[bytes], bytes] = bytes
    sql_socket: str = ""
    sql_secret: str = ""
    static: Path = Path()
    cookie: str = "tesela_session"
    authenticate: Callable[[bytes], Credential] = refuse
    take_code: Callable[[str], str | None] = lambda _: None
    activity: Shared = msgspec.field(default_factory=lambda: Shared(Activity(), Path(), 0, alone=True))

    def __repr__(self) -> str:
        return f"Facts({self.workspace_id})"


def credential(request: Request) -> Credential:
    """Who is calling, as found by whoever stands before the handlers."""
    found = getattr(request.state, "credential", None)
    if not isinstance(found, Credential):
        raise Unauthenticated("no access token: send 'Authorization: Bearer <token>'")
    if found.endpoints is not None:
        raise PermissionDenied("this access token was made for querying endpoints, and for nothing else")
    return found


def actor(request: Request) -> Actor:
    """Who is calling, for the audit."""
    return actor_of(credential(request), request)


def actor_of(credential: Credential, request: Request) -> Actor:
    client = request.client.host if request.client else ""
    principal = credential.principal
    return Actor(principal.id, principal.name, client, getattr(request.state, "request_id", ""))


def require_admin(principal: Principal, what: str) -> None:
    """Raises PermissionDenied for anybody else; `what` completes "only an admin may …"."""
    if not principal.admin:
        raise PermissionDenied(f"only an admin may {what}; {principal.name} is none")


def base_url(request: Request, facts: Facts) -> str:
    """The address by which the caller reached us: scheme, host and port, with no slash at the end."""
    scheme = request.url.scheme
    host = request.headers.get("host", "")
    if facts.trust_forwarded:
        scheme = _first(request.headers.get("x-forwarded-proto")) or scheme
        host = _first(request.headers.get("x-forwarded-host")) or host
    if scheme not in ("http", "https"):
        scheme = "http"
    if not host or not _PLAIN.issuperset(host):
        server = request.scope.get("server") or ("localhost", None)
        host = f"{server[0]}:{server[1]}" if server[1] else str(server[0])
    return f"{scheme}://{host}"


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[]")


def _first(value: str | None) -> str:
    return value.split(",")[0].strip() if value else ""
