"""Where the engines' UDFs bring their rows: Arrow in, Arrow out, by the ticket of a call in a statement.

The other half of `tesela.sql.udf`.
"""

import asyncio
import io
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import pyarrow as pa
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tesela.errors import InvalidRequest, TeselaError, TooLarge
from tesela.sql.arrow import arrow
from tesela.sql.calls.engine import Calls
from tesela.wire import problem

PATHS = ("/batches", "/api/2.0/sql/batches")
MOST_BYTES = 512 * 1024 * 1024
MEDIA = "application/vnd.apache.arrow.stream"
Found = TypeVar("Found")


class Batches:
    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def routes(self) -> list[Route]:
        return [Route(path, self.answer, methods=["POST"]) for path in PATHS]

    async def answer(self, asked: Request) -> Response:
        body = bytearray()
        async for piece in asked.stream():
            body += piece
            if len(body) > MOST_BYTES:
                raise TooLarge(f"a batch of rows is larger than {MOST_BYTES // 2**20} MiB")
        ticket = asked.headers.get("x-tesela-ticket", "")
        try:
            returns = self._calls.returns(ticket)
            values = await unless_left(asked, self._calls.rows(ticket, rows(bytes(body))))
            return Response(encoded(values, returns), media_type=MEDIA)
        except TeselaError as error:
            # Statuses are for the engine's client, which repeats nothing: the calls have.
            return Response(problem.body(error), 400, media_type="application/json")


async def unless_left(asked: Request, work: Coroutine[Any, Any, Found]) -> Found:
    """The outcome of `work`, which is given up when the engine does not want it any more: it was interrupted, or its
    LIMIT is reached.  Raises InvalidRequest then, which nobody hears."""
    task, left = asyncio.ensure_future(work), asyncio.ensure_future(_left(asked))
    try:
        await asyncio.wait((task, left), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise InvalidRequest("the engine left before its rows were answered")
    finally:
        left.cancel()
        task.cancel()


async def _left(asked: Request) -> None:
    while (await asked.receive())["type"] != "http.disconnect":
        pass


def rows(body: bytes) -> Sequence[tuple[Any, ...]]:
    """Raises InvalidRequest for what is no Arrow stream."""
    try:
        table = pa.ipc.open_stream(body).read_all()
    except (pa.ArrowInvalid, OSError) as exc:
        raise InvalidRequest(f"the batch is no Arrow stream: {exc}") from exc
    return list(zip(*(column.to_pylist() for column in table.columns), strict=True))


def encoded(values: Sequence[Any], returns: str) -> bytes:
    schema = pa.schema([("answer", arrow(returns))])
    batch = pa.RecordBatch.from_arrays([pa.array(values, schema.field(0).type)], schema=schema)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()
