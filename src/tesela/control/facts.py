"""What the control plane's handlers are given.  They hold nothing of their own."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import msgspec
from starlette.requests import Request

from tesela.errors import PermissionDenied, Unauthenticated
from tesela.records import Actor
from tesela.snapshot import Credential, Principal, Snapshot

if TYPE_CHECKING:
    from tesela.store.store import Store


class TokenFacts(Protocol):
    """What may be told of an access token.  Times are in seconds since the epoch, inf for never."""

    @property
    def id(self) -> str: ...
    @property
    def principal_id(self) -> str: ...
    @property
    def comment(self) -> str: ...
    @property
    def created(self) -> float: ...
    @property
    def expires(self) -> float: ...


class Tokens(Protocol):
    """The part of the store that the handlers use.  Its calls may wait for a disk."""

    def create_token(
        self, principal_id: str, comment: str, lifetime_s: float | None, now: float
    ) -> tuple[str, TokenFacts]: ...

    def tokens(self, principal_id: str | None) -> Sequence[TokenFacts]: ...

    def revoke(self, token_id: str, principal_id: str | None = None) -> bool: ...


class EngineFacts(Protocol):
    """How a local model is: one of the words of `DEPLOYMENT`, and why when it is not well."""

    @property
    def status(self) -> str: ...
    @property
    def message(self) -> str: ...


def _no_store() -> "Store":
    raise RuntimeError("no store was given")


class Facts(msgspec.Struct, frozen=True):
    """The workspace's identity, and where to look for everything that changes.

    `snapshot` gives the current one.  `engine_states` is keyed by the engine's name, which is a served entity's
    `admission`.  `health` gives None, or a sentence on what is wrong that names no endpoint and no secret.  `changed`
    is called after a write, so that this worker need not wait for its next look at the store.  `now` is in seconds
    since the epoch.  `file` is the name of the configuration file, empty when there is none; `created_ms` stands for
    the time of endpoints that know none.  `store` opens the store when it is first asked for: its calls may wait for a
    disk or a network, so they belong in a thread.  `logs` is the folder with the engines' output.
    """

    snapshot: Callable[[], Snapshot]
    tokens: Tokens
    now: Callable[[], float]
    workspace_id: int
    account_id: str
    created_ms: int = 0
    file: str = ""
    trust_forwarded: bool = False
    engine_states: Callable[[], Mapping[str, EngineFacts]] = dict
    health: Callable[[], str | None] = lambda: None
    changed: Callable[[], None] = lambda: None
    store: "Callable[[], Store]" = _no_store
    logs: Path | None = None


def credential(request: Request) -> Credential:
    """Who is calling, as found by whoever stands before the handlers."""
    found = getattr(request.state, "credential", None)
    if not isinstance(found, Credential):
        raise Unauthenticated("no access token: send 'Authorization: Bearer <token>'")
    return found


def actor(request: Request) -> Actor:
    """Who is calling, for the audit."""
    principal = credential(request).principal
    client = request.client.host if request.client else ""
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
