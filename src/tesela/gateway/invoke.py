"""A request from start to end.  Read this first.

    match the path and authenticate        protocol.py and asgi.py, while the head arrives
    decode the body one level              begin
    endpoint, task, permission             begin
    order the served entities              traffic.py
    admit, translate, send                 Attempts._send, in attempting.py
    again, or next entity, on a failure    Attempts.on_failure, before the first byte to the caller
    relay, record                          Invocation.on_data, on_end, in invocation.py

Everything after the body has arrived is callbacks: the transport calls the invocation, the invocation calls the
caller.  When the caller leaves, the upstream call is cancelled and what was counted is recorded.
"""

import asyncio
import time
from collections.abc import Callable, Mapping

import msgspec

from tesela.errors import EngineError, NotFound, PermissionDenied, Unauthenticated, UpstreamUnavailable
from tesela.gateway import ask
from tesela.gateway.auth import Sessions, authenticate
from tesela.gateway.breaker import Terms
from tesela.gateway.doors import Door, Manners
from tesela.gateway.health import Health
from tesela.gateway.invocation import Invocation
from tesela.gateway.refusal import boundary, refuse
from tesela.gateway.seams import Caller, Transport
from tesela.page import cookie_name
from tesela.providers.base import Provider
from tesela.snapshot import Credential, Snapshot
from tesela.telemetry.activity import Activity
from tesela.telemetry.tally import Tally

PATIENCE_S = 45.0
"""After this long without an answer a caller at an invocation door is sent white space.  The Databricks SDK gives up
on a socket that is silent for 60 s and sends the request again, so a slow answer would be made twice and read never."""


class Gateway:
    """What all requests of one worker share.  `snapshot` is replaced whole; a request keeps the one it began with."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        snapshot: Snapshot,
        providers: Mapping[str, Provider],
        transports: Mapping[str, Transport],
        tally: Tally,
        *,
        id_prefix: str,
        patience_s: float = PATIENCE_S,
        sessions: Sessions | None = None,
        terms: Terms | None = None,
        activity: Activity | None = None,
    ) -> None:
        self.loop = loop
        self.snapshot = snapshot
        self.providers = providers
        self.transports = transports
        self.tally = tally
        self.activity = activity or Activity()
        self.in_flight: dict[str, int] = {}
        self.health = Health(terms or Terms(), loop.time)
        self.ailing = self.health.ailing
        self.under_way: set[Invocation] = set()
        self.patience_s = patience_s
        self.sessions = sessions
        self.cookie = cookie_name(sessions.workspace_id if sessions is not None else "").encode()
        self._prefix = id_prefix
        self._count = 0
        self._looking: asyncio.TimerHandle | None = None
        self.recheck: Callable[[], None] = _nothing

    def authenticate(self, authorization: bytes | None) -> Credential:
        """Who is calling.  Raises Unauthenticated.

        Before somebody is refused, `recheck` may take over what has changed since the snapshot was built: a token that
        was made a moment ago must work.  Only refusals cost that look.
        """
        before = self.snapshot
        try:
            return authenticate(before, authorization, time.time(), self.sessions)
        except Unauthenticated:
            self.recheck()
            if self.snapshot is before:
                raise
            return authenticate(self.snapshot, authorization, time.time(), self.sessions)

    def abandon(self) -> None:
        """The server must end: whoever still waits is told so, and where nothing has been sent yet with a 503."""
        for invocation in list(self.under_way):
            invocation.abandon(UpstreamUnavailable("this server is ending; send the request again", retry_after_s=1))

    def next_id(self) -> str:
        """A request id: unique among all workers and starts, and cheap."""
        self._count += 1
        return f"{self._prefix}{self._count:08x}"

    def begin(self, caller: Caller, door: Door, credential: Credential, body: bytes) -> Invocation | None:
        """Answer one request.  None when it is answered already, because it could not be sent anywhere."""
        request_id = self.next_id()
        invocation: Invocation | None = None
        try:
            question = self._read(door, credential, body)
            invocation = Invocation(self, caller, question, credential, request_id)
            self.under_way.add(invocation)
            # Who speaks Anthropic's API is kept company in streams, who comes by an invocation door in whole answers.
            kept = question.echo is not None if question.streaming else door.manners is Manners.DATABRICKS
            if kept and self._looking is None and question.sign:
                self._looking = self.loop.call_later(self.patience_s / 8, self._look)
            invocation.start()
        except Exception as exc:
            error = boundary(exc, request_id)
            if invocation is not None:
                invocation.refused(error)
            refuse(caller, error, request_id, door)
            return None
        return invocation

    def _read(self, door: Door, credential: Credential, body: bytes) -> ask.Question:
        """Understand a request; before it is refused, look whether its endpoint or its grant came a moment ago."""
        before = self.snapshot
        try:
            return ask.read(before, door, credential, body)
        except (NotFound, PermissionDenied, EngineError):
            self.recheck()
            principal = self.snapshot.principals.get(credential.principal.id)
            # Whoever has been deleted meanwhile gets no second look.
            if self.snapshot is before or principal is None:
                raise
            return ask.read(self.snapshot, door, msgspec.structs.replace(credential, principal=principal), body)

    def _look(self) -> None:
        """Find the callers that have waited long.  One timer for all, and none when nobody waits."""
        self._looking = None
        before = self.loop.time() - self.patience_s
        for invocation in list(self.under_way):
            invocation.reassure(before)
        if self.under_way:
            self._looking = self.loop.call_later(self.patience_s / 8, self._look)


def _nothing() -> None:
    return
