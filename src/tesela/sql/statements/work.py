"""One statement from its text to its result, in the thread that it has for itself: plan, run, write chunks.

Blocks.  What it needs of the loop, the calls, it is given as functions.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from tesela.errors import StatementCanceled, StatementError, TeselaError
from tesela.sql.calls.values import Asked
from tesela.sql.plan import plan
from tesela.sql.seams import Result, Session
from tesela.sql.site import Plan, PlanSettings
from tesela.sql.speak.speaker import speaker
from tesela.sql.statements.chunks import CHUNK_BYTES, Writer, pieces
from tesela.sql.statements.columns import columns
from tesela.sql.statements.endpoints import Endpoints
from tesela.sql.statements.record import Manifest
from tesela.sql.statements.request import Request

if TYPE_CHECKING:
    import pyarrow as pa

INLINE_BYTES = 25 * 1024 * 1024
"""A larger result cannot be had INLINE; the statement fails, as it does there."""
LONGEST_RESULT = 100 * 1024**3
"""The byte limit of EXTERNAL_LINKS where none is given."""


Open = Callable[[], AbstractContextManager[Session]]
"""A session of the engine for one statement: its own, or that of the client, which outlives it."""


class Means(Struct, frozen=True):
    """What the work of one statement is done with.

    `apart` is a session in which nothing of it is known.  `begin` gives a ticket for each site's UDF.
    """

    settings: PlanSettings
    session: Open
    apart: Open
    endpoints: Endpoints
    user: str
    begin: Callable[[Plan, Sequence[Asked]], dict[str, str]]
    calls_url: str


class Work:
    """`cancel` may be called from any thread; the others are for the one that does the work."""

    def __init__(self, id: str, request: Request, folder: Path, means: Means) -> None:
        self._id = id
        self._request = request
        self._folder = folder
        self._means = means
        self._result: Result | None = None
        self._canceled = False
        self._planned: Plan | None = None
        self.rows_out = 0

    def cancel(self) -> None:
        self._canceled = True
        if self._result is not None:
            self._result.interrupt()

    def expected(self) -> int | None:
        """How many rows the calls are made for; None where that cannot be told.  For another thread."""
        planned = self._planned
        if planned is None or not planned.rows:
            return None
        counting = msgspec.structs.replace(planned, sql=planned.rows, kind="query", before=(), after=(), folders=())
        try:
            with self._means.apart() as session:
                # Without tickets nothing is asked.
                batches = list(session.execute(counting, {}, "").batches())
        except TeselaError:
            # A view that only the client's session has, a table that is not there yet: then nobody can tell.
            return None
        return int(batches[0].column(0)[0].as_py()) * len(planned.sites) if batches else None

    def run(self) -> Manifest:
        """Raises StatementError, StatementCanceled, EngineError, StoreUnavailable, BrokenAnswer and OSError."""
        self._look()
        with self._means.session() as session:
            return self._in(session)

    def _in(self, session: Session) -> Manifest:
        request, means = self._request, self._means
        planned = self._planned = self._plan(session)
        tickets = means.begin(
            planned, [Asked(site, speaker(site), means.endpoints.served(site.endpoint)) for site in planned.sites]
        )
        self._look()
        result = session.execute(planned, {} if planned.kind == "explain" else tickets, means.calls_url)
        self._result = result
        if self._canceled:
            result.interrupt()
        inline = request.disposition == "INLINE"
        writer = Writer(self._folder, result.schema, request.format, request.compression, 0 if inline else CHUNK_BYTES)
        try:
            truncated = self._copy(result, writer, inline)
            chunks = writer.finish() if result.types else []
        finally:
            writer.drop()
        return Manifest(
            request.format,
            request.compression,
            columns(result.schema.names, result.types),
            chunks,
            writer.rows,
            writer.bytes,
            truncated,
        )

    def _plan(self, session: Session) -> Plan:
        request, means = self._request, self._means
        settings = means.settings
        if "ai_" in request.text.lower():
            settings = msgspec.structs.replace(settings, endpoints=means.endpoints.defaults(settings.endpoints))
        return plan(
            request.text,
            tag=self._id.replace("-", ""),
            endpoints=means.endpoints,
            parameters=request.parameters,
            settings=settings,
            catalog=request.catalog or session.catalog,
            schema=request.schema or session.schema,
            most_rows=request.row_limit,
            user=means.user,
        )

    def _copy(self, result: Result, writer: Writer, inline: bool) -> bool:
        """Whether a limit cut the result short."""
        limit = self._request.row_limit
        room = self._request.byte_limit or LONGEST_RESULT
        batches = result.batches()
        try:
            for batch in batches:
                for piece in pieces(batch):
                    if limit is not None and writer.rows + piece.num_rows > limit:
                        writer.write(piece.slice(0, limit - writer.rows))
                        return True
                    if writer.bytes + piece.nbytes > room:
                        # Rows of a piece have about the same size.
                        writer.write(piece.slice(0, _fitting(piece, room - writer.bytes)))
                        return True
                    writer.write(piece)
                    self.rows_out = writer.rows
                    if inline and writer.bytes > INLINE_BYTES:
                        raise StatementError(
                            f"the result is larger than the {INLINE_BYTES // 2**20} MiB that fit into an answer: "
                            "ask for the disposition EXTERNAL_LINKS, or for fewer rows",
                            error_class="INLINE_RESULT_TOO_LARGE",
                            sql_state="54000",
                        )
        finally:
            batches.close()  # type: ignore[attr-defined]
        return False

    def _look(self) -> None:
        if self._canceled:
            raise StatementCanceled("the statement was canceled before it began")


def _fitting(piece: "pa.RecordBatch", bytes: int) -> int:
    return int(piece.num_rows * max(0, bytes) / max(1, piece.nbytes))
