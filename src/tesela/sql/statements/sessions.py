"""Sessions that clients open: a catalog, a schema and temporary views that outlive a statement.

A session of the engine is made with the first statement, in that statement's thread, and anew when the engine was.
"""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterator

from tesela.errors import InvalidRequest, NotFound, RateLimited
from tesela.sql.seams import Engine, Session
from tesela.sql.statements.work import Open

MOST = 1000
IDLE_S = 3600.0
CATALOG, SCHEMA = "main", "default"


class _Session:
    def __init__(self, owner: str, catalog: str, schema: str, now: float) -> None:
        self.owner = owner
        self.catalog = catalog
        self.schema = schema
        self.used = now
        self.users = 0
        self.lock = threading.Lock()
        self.engine: Session | None = None


class Sessions:
    """`now` is in seconds of a clock that only goes forward."""

    def __init__(self, engine: Engine, now: Callable[[], float] = time.monotonic) -> None:
        self._engine = engine
        self._now = now
        self._open: dict[str, _Session] = {}

    def make(self, owner: str, catalog: str, schema: str) -> str:
        self.tidy()
        if len(self._open) >= MOST:
            raise RateLimited(f"{MOST} sessions are open: close one, or wait until they are", retry_after_s=60)
        id = str(uuid.uuid4())
        self._open[id] = _Session(owner, catalog or CATALOG, schema or SCHEMA, self._now())
        return id

    def close(self, owner: str, id: str) -> None:
        session = self._find(owner, id)
        del self._open[id]
        if session.engine is not None:
            session.engine.close()

    def check(self, owner: str, id: str) -> None:
        """Raises NotFound."""
        self._find(owner, id)

    def opened(self, owner: str, id: str, catalog: str, schema: str) -> Open:
        """What a statement opens: the client's session, or with no id one of its own.  Raises NotFound."""
        if not id:
            return lambda: self._own(catalog or CATALOG, schema or SCHEMA)
        if catalog or schema:
            raise InvalidRequest("catalog and schema are the session's: leave them out, or leave the session out")
        session = self._find(owner, id)
        return lambda: self._shared(session)

    def apart(self, catalog: str, schema: str) -> Open:
        """A session that shares nothing with others."""
        return lambda: self._own(catalog or CATALOG, schema or SCHEMA)

    def tidy(self) -> None:
        """Close what nobody has used for an hour."""
        for id, session in list(self._open.items()):
            if not session.users and self._now() - session.used > IDLE_S:
                self.close(session.owner, id)

    def _find(self, owner: str, id: str) -> _Session:
        session = self._open.get(id)
        if session is None or session.owner != owner:
            raise NotFound(f"there is no session {id[:64]!r}: it was closed, or not used for {IDLE_S / 3600:g} h")
        return session

    @contextlib.contextmanager
    def _own(self, catalog: str, schema: str) -> Iterator[Session]:
        session = self._engine.session(catalog, schema)
        try:
            yield session
        finally:
            session.close()

    @contextlib.contextmanager
    def _shared(self, session: _Session) -> Iterator[Session]:
        with session.lock:
            session.users += 1
            if session.engine is None:
                session.engine = self._engine.session(session.catalog, session.schema)
            engine = session.engine
        try:
            yield engine
        finally:
            with session.lock:
                session.users -= 1
                session.used = self._now()
