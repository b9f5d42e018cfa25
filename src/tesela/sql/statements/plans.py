"""Statements that somebody else's engine runs: planned here, their calls made here, their rows brought from there.

That engine may run one many times and in parts, whenever it likes: a plan is good until its owner ends it, or nobody
has brought rows for a day.
"""

import base64
import time
import uuid
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec
import pyarrow as pa

from tesela.errors import NotFound, RateLimited
from tesela.sql.arrow import arrow
from tesela.sql.calls.engine import Calls
from tesela.sql.calls.values import Asked, Owner
from tesela.sql.plan_own import plan_own
from tesela.sql.site import Plan, PlanSettings, Site
from tesela.sql.speak.speaker import speaker
from tesela.sql.statements.endpoints import Endpoints
from tesela.sql.statements.request import Request

MOST = 2000
MOST_OF_ONE = 500
"""Of one owner: another one ends the plan that was not used for the longest time."""
IDLE_S = 24 * 3600.0
RESTS_S = 60.0


class Looked(NamedTuple):
    """A plan that is not open yet."""

    id: str
    plan: Plan
    sites: list[Asked]


class _Open:
    def __init__(self, owner: str, now: float) -> None:
        self.owner = owner
        self.rows = 0
        self.used = now


class Plans:
    def __init__(
        self,
        calls: Calls,
        settings: PlanSettings,
        endpoints: Callable[[Owner], Endpoints],
        concurrency: int,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._calls = calls
        self._settings = settings
        self._endpoints = endpoints
        self._concurrency = concurrency
        self._now = now
        self._open: dict[str, _Open] = {}

    def look(self, owner: Owner, request: Request, engine: Literal["spark", "sail"]) -> Looked:
        """Blocks.  `engine` is what reads the SQL.  Raises StatementError."""
        id, endpoints = str(uuid.uuid4()), self._endpoints(owner)
        planned = plan_own(
            request.text,
            tag=id.replace("-", ""),
            endpoints=endpoints,
            parameters=request.parameters,
            settings=msgspec.structs.replace(
                self._settings, engine=engine, remote=True, endpoints=endpoints.defaults(self._settings.endpoints)
            ),
        )
        return Looked(id, planned, [Asked(one, speaker(one), endpoints.served(one.endpoint)) for one in planned.sites])

    def begin(self, owner: Owner, looked: Looked, request: Request) -> dict[str, Any]:
        """What whoever runs the statement must know.  Where nothing is asked, nothing is open.  Raises RateLimited."""
        id, planned, sites = looked
        tickets = {site.udf: "" for site in planned.sites}
        if planned.sites and planned.kind != "explain":
            self._room(owner.id)
            mode = request.answers or "keep"
            tickets = self._calls.begin(id, owner, sites, mode, self._concurrency, lasting=True)
            self._open[id] = _Open(owner.id, self._now())
        return {
            "id": id if id in self._open else "",
            "status": {"state": "SUCCEEDED"},
            "sql": planned.sql,
            "kind": planned.kind,
            "sites": [_site(one, tickets[one.udf]) for one in planned.sites],
        }

    def end(self, owner_id: str, id: str) -> None:
        """Raises NotFound."""
        found = self._open.get(id)
        if found is None or found.owner != owner_id:
            raise NotFound(f"there is no plan {id[:64]!r}, or it has ended")
        self._end(id)

    def tidy(self) -> None:
        for id, one in list(self._open.items()):
            progress = self._calls.progress(id)
            if progress is not None and (progress.rows != one.rows or progress.under_way):
                one.rows, one.used = progress.rows, self._now()
                continue
            idle = self._now() - one.used
            if idle > IDLE_S:
                self._end(id)
            elif idle > RESTS_S:
                self._calls.rest(id)

    def _room(self, owner_id: str) -> None:
        if len(self._open) < MOST and len(self._of(owner_id)) < MOST_OF_ONE:
            return
        # Which of them were used lately is looked at from time to time only.
        self.tidy()
        own = self._of(owner_id)
        if len(own) >= MOST_OF_ONE:
            self._end(min(own)[1])
        elif len(self._open) >= MOST:
            raise RateLimited(f"{MOST} plans are open: try again later", retry_after_s=60)

    def _of(self, owner_id: str) -> list[tuple[float, str]]:
        """When each plan of an owner was used, and its id."""
        return [(one.used, id) for id, one in self._open.items() if one.owner == owner_id]

    def _end(self, id: str) -> None:
        del self._open[id]
        self._calls.end(id)


def _site(site: Site, ticket: str) -> dict[str, Any]:
    """`answers` is the schema of the answer's one column, as Arrow writes it, in base64; with an empty ticket nothing
    is asked."""
    schema = pa.schema([("answer", arrow(site.returns))]).serialize().to_pybytes()
    return {
        "udf": site.udf,
        "returns": site.returns,
        "arguments": len(site.arguments),
        "constant": site.constant,
        "ticket": ticket,
        "answers": base64.b64encode(schema).decode(),
    }
