"""Who changed what, when and from where, and what was refused.

Records of what was done are written with the change itself; see `Database.change`.  No value of a secret gets here.
"""

import re
import time
from collections.abc import Callable, Mapping

from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.exc import SQLAlchemyError

from tesela.errors import StoreUnavailable
from tesela.records import Actor, AuditRecord
from tesela.store.database import DONE, Database, record
from tesela.store.tables import AUDIT

REFUSALS = 100_000
"""Among how many records, the newest, refusals are kept: anybody with a token can be refused as often as they like."""
EVERY = 1000
"""How often refusals are dropped: after so many records."""

_TOKEN = re.compile(r"\b(dapi|dose)[0-9a-f]{16,}")


class Audit:
    def __init__(
        self,
        database: Database,
        clock: Callable[[], float] = time.time,
        *,
        refusals: int = REFUSALS,
        every: int = EVERY,
    ) -> None:
        self._database = database
        self._clock = clock
        self._refusals = refusals
        self._every = every

    def refused(self, by: Actor, action: str, thing: str, status: int, message: str) -> bool:
        """Record what somebody was refused.

        False when it could not be written: the caller has an answer to give, which must not become another one.
        """
        try:
            with self._database.write() as connection:
                # PostgreSQL takes no NUL in a text, and all of these can come from outside.
                clean = Actor(*(text.replace("\0", "�") for text in (by.id, by.name, by.address, by.request_id)))
                # Some put the token itself where its id belongs.
                said = (_TOKEN.sub(r"\1***", text.replace("\0", "�")) for text in (action, thing, message))
                action, thing, message = said
                number = record(connection, clean, action, thing, self._clock(), status, message)
                if number % self._every == 0:
                    old = (AUDIT.c.status != DONE, AUDIT.c.id <= number - self._refusals)
                    connection.execute(delete(AUDIT).where(*old))
        except (StoreUnavailable, SQLAlchemyError):
            return False
        return True

    def list(
        self, limit: int, before_id: int | None = None, filters: Mapping[str, str] | None = None
    ) -> list[AuditRecord]:
        """The newest records first, at most `limit`, older than `before_id`; `filters` are those of AUDIT_FILTERS."""
        asked = select(AUDIT).order_by(AUDIT.c.id.desc()).limit(limit)
        if before_id is not None:
            asked = asked.where(AUDIT.c.id < before_id)
        for name, wanted in (filters or {}).items():
            asked = asked.where(_FILTERS[name](wanted))
        with self._database.read() as connection:
            return [AuditRecord(**row) for row in connection.execute(asked).mappings()]

    def prune(self, older_than_ms: int) -> int:
        """Drop records from before this time; how many there were."""
        with self._database.write() as connection:
            return connection.execute(delete(AUDIT).where(AUDIT.c.at_ms < older_than_ms)).rowcount


_FILTERS: Mapping[str, Callable[[str], ColumnElement[bool]]] = {
    "action": lambda action: AUDIT.c.action == action,
    "actor": lambda actor: or_(AUDIT.c.actor == actor, AUDIT.c.actor_id == actor),
}
"""By an action's whole name, and by an actor's name or id."""
