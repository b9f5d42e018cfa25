"""Statements that somebody else's engine runs: planned here, their calls made here, their rows brought from there.

A plan is good until its owner ends it, or nobody has brought rows for a day.
"""

import base64
import time
import uuid
from collections.abc import Callable
from typing import Any

import msgspec
import pyarrow as pa

from tesela.errors import InvalidRequest, NotFound, RateLimited, StatementError
from tesela.sql.arrow import arrow
from tesela.sql.calls.engine import Calls
from tesela.sql.calls.values import Asked, Owner
from tesela.sql.plan import plan
from tesela.sql.site import Plan, PlanSettings, Site
from tesela.sql.speak.speaker import speaker
from tesela.sql.statements.endpoints import Endpoints
from tesela.sql.statements.request import Request

MOST = 1000
IDLE_S = 24 * 3600.0
CATALOG, SCHEMA = "spark_catalog", "default"


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
        # Names are the other engine's own, and it is Spark's SQL that it reads.
        self._settings = msgspec.structs.replace(settings, engine="spark", remote=True)
        self._endpoints = endpoints
        self._concurrency = concurrency
        self._now = now
        self._open: dict[str, _Open] = {}

    def look(self, owner: Owner, request: Request) -> tuple[str, Plan, list[Asked]]:
        """Blocks.  Raises StatementError, and InvalidRequest for a statement that needs more than a rewrite."""
        id, endpoints = str(uuid.uuid4()), self._endpoints(owner)
        settings = msgspec.structs.replace(self._settings, endpoints=endpoints.defaults(self._settings.endpoints))
        planned = plan(
            request.text, tag=id.replace("-", ""), endpoints=endpoints, parameters=request.parameters,
            settings=settings, catalog=CATALOG, schema=SCHEMA, user=owner.name,
        )  # fmt: skip
        if planned.sources:
            raise StatementError("read_files is the server's own: read the files by spark.read, and query the view")
        if planned.local is not None or planned.before or planned.kind == "explain":
            raise InvalidRequest("only statements that an engine runs can be planned for another one")
        return id, planned, [Asked(one, speaker(one), endpoints.served(one.endpoint)) for one in planned.sites]

    def begin(self, owner: Owner, id: str, planned: Plan, sites: list[Asked], request: Request) -> dict[str, Any]:
        """What whoever runs the statement must know.  Raises RateLimited."""
        self.tidy()
        if len(self._open) >= MOST:
            raise RateLimited(f"{MOST} plans are open: end one", retry_after_s=60)
        tickets = self._calls.begin(id, owner, sites, request.answers or "keep", self._concurrency)
        self._open[id] = _Open(owner.id, self._now())
        return {"id": id, "sql": planned.sql, "sites": [_site(one, tickets[one.udf]) for one in planned.sites]}

    def end(self, owner_id: str, id: str) -> None:
        """Raises NotFound."""
        found = self._open.get(id)
        if found is None or found.owner != owner_id:
            raise NotFound(f"there is no plan {id[:64]!r}, or it has ended")
        del self._open[id]
        self._calls.end(id)

    def tidy(self) -> None:
        for id, one in list(self._open.items()):
            progress = self._calls.progress(id)
            if progress is not None and progress.rows != one.rows:
                one.rows, one.used = progress.rows, self._now()
            elif self._now() - one.used > IDLE_S:
                del self._open[id]
                self._calls.end(id)


def _site(site: Site, ticket: str) -> dict[str, Any]:
    """`answers` is the schema of the answer's one column, as Arrow writes it, in base64."""
    schema = pa.schema([("answer", arrow(site.returns))]).serialize().to_pybytes()
    return {
        "udf": site.udf,
        "returns": site.returns,
        "arguments": len(site.arguments),
        "constant": site.constant,
        "ticket": ticket,
        "answers": base64.b64encode(schema).decode(),
    }
