"""The requests of statements: rows in, answers out, each paid for once.

A row's request is looked for among the answers that are kept, then among those that are under way for the same owner,
and only then sent; its answer is kept before the row counts as answered.  What an endpoint answers for good with an
error fails the statement, or the row where that was asked for.  Rows may come from many tasks of an engine at once:
they share one limit.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from secrets import token_urlsafe
from typing import Any

from tesela.errors import InvalidRequest, StatementCanceled, StatementError, StoreUnavailable
from tesela.sql.calls import again, limit
from tesela.sql.calls.again import Patience
from tesela.sql.calls.batch import Batch
from tesela.sql.calls.keeping import Keeping
from tesela.sql.calls.replies import count, failure
from tesela.sql.calls.statement import Statement, UnderWay
from tesela.sql.calls.values import Asked, Mode, Owner, Progress, Send
from tesela.sql.speak.base import BrokenAnswer


class Calls:
    """All statements of one process, in its loop.  `sleep` and `draw` are time and chance."""

    def __init__(
        self,
        send: Send,
        keeping: Keeping | None,
        *,
        patience: Patience | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._send = send
        self._keeping = keeping
        self._patience = patience or Patience()
        self._sleep = sleep
        self._draw = draw
        self._statements: dict[str, Statement] = {}
        self._tickets: dict[str, tuple[Statement, Asked]] = {}
        self._under_way: UnderWay = {}

    def begin(
        self, id: str, owner: Owner, sites: Sequence[Asked], mode: Mode, most: int, *, lasting: bool = False
    ) -> dict[str, str]:
        """A ticket for each site, by its UDF: whoever has it may ask for this statement, and for nothing else.
        A `lasting` one may be asked for again after an error."""
        statement = self._statements[id] = Statement(id, owner, mode, most, self._under_way, lasting=lasting)
        out = {}
        for asked in sites:
            ticket = token_urlsafe(24)
            self._tickets[ticket] = (statement, asked)
            statement.tickets.append(ticket)
            out[asked.site.udf] = ticket
        return out

    def progress(self, id: str) -> Progress | None:
        statement = self._statements.get(id)
        return statement.progress if statement is not None else None

    def why(self, id: str) -> Exception | None:
        """Why no more is asked for a statement, in the words of what went wrong first."""
        statement = self._statements.get(id)
        return statement.ended if statement is not None else None

    def cancel(self, id: str) -> None:
        """No more requests; rows that wait raise StatementCanceled."""
        statement = self._statements.get(id)
        if statement is not None:
            statement.stop(StatementCanceled("the statement was canceled; what was answered is kept"))

    def rest(self, id: str) -> None:
        """Nobody has asked for a lasting statement for a while."""
        statement = self._statements.get(id)
        if statement is not None:
            statement.rest()

    def end(self, id: str) -> Progress | None:
        """The statement is over: its tickets are worth nothing from here on."""
        statement = self._statements.pop(id, None)
        if statement is None:
            return None
        for ticket in statement.tickets:
            del self._tickets[ticket]
        statement.stop(StatementCanceled("the statement is over"))
        return statement.progress

    def returns(self, ticket: str) -> str:
        """The DDL type of the column of a ticket's site.  Raises InvalidRequest."""
        return self._find(ticket)[1].site.returns

    async def rows(self, ticket: str, rows: Sequence[Sequence[Any]]) -> list[Any]:
        """The values of the site's column for these rows, in order.

        Raises StatementError for the first row whose error fails the statement, StatementCanceled, StoreUnavailable.
        """
        statement, asked = self._find(ticket)
        if statement.ended is not None:
            statement.begin_again()
        if statement.ended is not None:
            raise statement.ended
        task = asyncio.ensure_future(Batch(statement, asked, self._keeping, self._paid).answers(rows))
        statement.tasks.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if statement.ended is not None and not _being_cancelled():
                raise statement.ended from None
            task.cancel()
            raise
        except (StatementError, BrokenAnswer, StoreUnavailable) as error:
            statement.stop(error)
            raise
        finally:
            statement.tasks.discard(task)

    def _find(self, ticket: str) -> tuple[Statement, Asked]:
        found = self._tickets.get(ticket)
        if found is None:
            raise InvalidRequest(
                "the statement that this call belongs to is over: run it again; what was answered is kept where "
                "answers are kept"
            )
        return found

    async def _paid(self, statement: Statement, asked: Asked, body: bytes) -> bytes:
        """The endpoint's answer with status 200.  Raises StatementError with its own words for everything final."""
        progress, turns, site = statement.progress, statement.turns, asked.site
        clock = asyncio.get_running_loop().time
        made = 0
        while True:
            await turns.take()
            progress.under_way = turns.under_way
            began = clock()
            try:
                reply = await self._send(statement.owner, site.endpoint, body)
            finally:
                turns.give()
                progress.under_way = turns.under_way
            made += 1
            if reply.status in again.LOADED:
                limit.refused(turns.limit, turns.under_way)
            else:
                limit.answered(turns.limit, clock() - began)
            if reply.status == 200:
                count(progress, reply.body)
                return reply.body
            wait = again.pause(reply.status, reply.headers, made, self._patience, self._draw)
            if wait is None:
                raise failure(site, reply, made)
            progress.repeats += 1
            await self._sleep(wait)


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and bool(task.cancelling())
