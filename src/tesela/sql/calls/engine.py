"""The requests of statements: rows in, answers out, each paid for once.

A row's request is looked for among the answers that are kept, then among those that are under way for the same owner,
and only then sent; its answer is kept before the row counts as answered.  What an endpoint answers for good with an
error fails the statement, or the row where that was asked for.  Rows may come from many tasks of an engine at once:
they share one limit.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from secrets import token_urlsafe
from typing import Any

from tesela.errors import InvalidRequest, StatementCanceled, StatementError, StoreUnavailable
from tesela.sql.calls import again, limit
from tesela.sql.calls.again import Patience
from tesela.sql.calls.answers import key
from tesela.sql.calls.keeping import Keeping
from tesela.sql.calls.replies import count, failure
from tesela.sql.calls.turns import Turns
from tesela.sql.calls.values import Asked, Mode, Owner, Progress, Send
from tesela.sql.site import Site
from tesela.sql.speak.base import BrokenAnswer, Speaker


class _Statement:
    def __init__(self, id: str, owner: Owner, mode: Mode, most: int) -> None:
        self.id = id
        self.owner = owner
        self.mode = mode
        self.turns = Turns(most)
        self.progress = Progress()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.tickets: list[str] = []


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
        self._statements: dict[str, _Statement] = {}
        self._tickets: dict[str, tuple[_Statement, Asked]] = {}
        self._under_way: dict[bytes, asyncio.Task[bytes]] = {}

    def begin(self, id: str, owner: Owner, sites: Sequence[Asked], mode: Mode, most: int) -> dict[str, str]:
        """A ticket for each site, by its UDF: whoever has it may ask for this statement, and for nothing else."""
        statement = self._statements[id] = _Statement(id, owner, mode, most)
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
        return statement.turns.ended if statement is not None else None

    def cancel(self, id: str) -> None:
        """No more requests; rows that wait raise StatementCanceled."""
        statement = self._statements.get(id)
        if statement is not None:
            self._stop(statement, StatementCanceled("the statement was canceled; what was answered is kept"))

    def end(self, id: str) -> Progress | None:
        """The statement is over: its tickets are worth nothing from here on."""
        statement = self._statements.pop(id, None)
        if statement is None:
            return None
        for ticket in statement.tickets:
            del self._tickets[ticket]
        self._stop(statement, StatementCanceled("the statement is over"))
        return statement.progress

    def returns(self, ticket: str) -> str:
        """The DDL type of the column of a ticket's site.  Raises InvalidRequest."""
        return self._find(ticket)[1].site.returns

    async def rows(self, ticket: str, rows: Sequence[Sequence[Any]]) -> list[Any]:
        """The values of the site's column for these rows, in order.

        Raises StatementError for the first row whose error fails the statement, StatementCanceled, StoreUnavailable.
        """
        statement, asked = self._find(ticket)
        if statement.turns.ended is not None:
            raise statement.turns.ended
        task = asyncio.ensure_future(self._batch(statement, asked, rows))
        statement.tasks.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if statement.turns.ended is not None and not _being_cancelled():
                raise statement.turns.ended from None
            task.cancel()
            raise
        except (StatementError, BrokenAnswer, StoreUnavailable) as error:
            self._stop(statement, error)
            raise
        finally:
            statement.tasks.discard(task)

    def _find(self, ticket: str) -> tuple[_Statement, Asked]:
        found = self._tickets.get(ticket)
        if found is None:
            raise InvalidRequest("the statement that this call belongs to is over")
        return found

    async def _batch(self, statement: _Statement, asked: Asked, rows: Sequence[Sequence[Any]]) -> list[Any]:
        bodies = [asked.speaker.request(row) for row in rows]
        keys = [
            None if body is None else key(statement.owner.id, asked.site.endpoint, asked.served, body)
            for body in bodies
        ]
        kept: dict[bytes, bytes] = {}
        if self._keeping is not None and statement.mode == "keep":
            kept = await self._keeping.find(list({name for name in keys if name is not None}))
        wanted: dict[bytes, bytes] = {}
        for name, body in zip(keys, bodies, strict=True):
            if name is not None and body is not None and name not in kept:
                wanted.setdefault(name, body)
        answers = await self._all(statement, asked, wanted)
        statement.progress.kept += sum(name in kept for name in keys if name is not None)
        statement.progress.shared += sum(name in wanted for name in keys if name is not None) - len(wanted)
        out = []
        for name in keys:
            found = None if name is None else kept[name] if name in kept else answers[name]
            out.append(self._value(statement, asked, found))
            statement.progress.rows += 1
        return out

    async def _all(
        self, statement: _Statement, asked: Asked, wanted: Mapping[bytes, bytes]
    ) -> dict[bytes, "bytes | StatementError"]:
        """The answer to each body, or the error that it ended in where rows may fail."""
        groups: list[list[bytes]] = []
        size = max(1, asked.speaker.batch)
        fresh = []
        tasks: dict[bytes, asyncio.Task[bytes]] = {}
        for name in wanted:
            running = self._under_way.get(name) if statement.mode != "again" else None
            if running is not None:
                tasks[name] = running
                statement.progress.shared += 1
            else:
                fresh.append(name)
        groups = [fresh[at : at + size] for at in range(0, len(fresh), size)]
        for group in groups:
            one = asyncio.ensure_future(self._group(statement, asked, [(name, wanted[name]) for name in group]))
            for name in group:
                task = tasks[name] = asyncio.ensure_future(_part(one, name))
                self._under_way[name] = task
                task.add_done_callback(partial(self._gone, name))
        out: dict[bytes, bytes | StatementError] = {}
        try:
            for name, task in tasks.items():
                try:
                    out[name] = await asyncio.shield(task)
                except StatementError as error:
                    if asked.site.fail_on_error:
                        raise
                    out[name] = error
        finally:
            # What nobody else waits for is given up with the statement; what was sent is kept when it comes.
            for name in fresh:
                if name not in out:
                    tasks[name].add_done_callback(_heard)
        return out

    def _gone(self, name: bytes, task: "asyncio.Task[bytes]") -> None:
        if self._under_way.get(name) is task:
            del self._under_way[name]

    async def _group(
        self, statement: _Statement, asked: Asked, pairs: Sequence[tuple[bytes, bytes]]
    ) -> dict[bytes, bytes]:
        """One request for one body, or for several that go together."""
        bodies = [body for _, body in pairs]
        speaker = asked.speaker
        answer = await self._paid(statement, asked.site, bodies[0] if len(bodies) == 1 else speaker.join(bodies))
        answers = [answer] if len(bodies) == 1 else speaker.split(answer, bodies)
        if self._keeping is not None and statement.mode != "off":
            # What the model broke is asked for again the next time.
            good = [(name, one) for (name, _), one in zip(pairs, answers, strict=True) if _reads(speaker, one)]
            await asyncio.gather(*(self._keeping.keep(name, statement.owner.id, one) for name, one in good))
        return {name: one for (name, _), one in zip(pairs, answers, strict=True)}

    async def _paid(self, statement: _Statement, site: Site, body: bytes) -> bytes:
        """The endpoint's answer with status 200.  Raises StatementError with its own words for everything final."""
        progress, turns = statement.progress, statement.turns
        made = 0
        while True:
            await turns.take()
            progress.under_way = turns.under_way
            try:
                reply = await self._send(statement.owner, site.endpoint, body)
            finally:
                turns.give()
                progress.under_way = turns.under_way
            made += 1
            if reply.status in again.LOADED:
                limit.refused(turns.limit, turns.under_way)
            else:
                limit.answered(turns.limit)
            if reply.status == 200:
                count(progress, reply.body)
                return reply.body
            wait = again.pause(reply.status, reply.headers, made, self._patience, self._draw)
            if wait is None:
                raise failure(site, reply, made)
            progress.repeats += 1
            await self._sleep(wait)

    def _value(self, statement: _Statement, asked: Asked, found: "bytes | StatementError | None") -> Any:
        failing = asked.site.fail_on_error
        if found is None:
            return None if failing else {"result": None, "errorMessage": None}
        try:
            if isinstance(found, StatementError):
                raise found
            value = asked.speaker.answer(found)
        except (StatementError, BrokenAnswer) as error:
            if failing:
                raise
            statement.progress.failed += 1
            return {"result": None, "errorMessage": error.message}
        return value if failing else {"result": value, "errorMessage": None}

    def _stop(self, statement: _Statement, why: Exception) -> None:
        """The first reason counts.  Requests that were sent go on and are kept; nothing new is sent."""
        statement.turns.end(why)
        for task in list(statement.tasks):
            task.cancel()


async def _part(group: "asyncio.Task[dict[bytes, bytes]]", name: bytes) -> bytes:
    return (await asyncio.shield(group))[name]


def _reads(speaker: Speaker, answer: bytes) -> bool:
    try:
        speaker.answer(answer)
    except BrokenAnswer:
        return False
    return True


def _heard(task: "asyncio.Task[Any]") -> None:
    """An outcome that nobody waits for is no fault of the program."""
    if not task.cancelled():
        task.exception()


def _being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and bool(task.cancelling())
