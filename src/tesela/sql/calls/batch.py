"""One batch of rows: each row's answer is looked for, waited for or asked for, and given back in its place.

As many hands as there may be requests at once take the batch's requests in their order.  A hand is no part of the
batch's own task: when that is given up, what was sent is still answered and kept, and what was not is left to others
who wait for it.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tesela.errors import StatementError
from tesela.sql.calls.answers import key
from tesela.sql.calls.keeping import Keeping
from tesela.sql.calls.statement import Statement
from tesela.sql.calls.values import Asked
from tesela.sql.speak.base import BrokenAnswer, Speaker, Unaskable

RAW = 10_000
"""Characters of a broken answer that are shown."""
SLICE = 512
"""Rows that are looked at before others in the loop have their turn."""

Pay = Callable[[Statement, Asked, bytes], Awaitable[bytes]]
"""Send a body and give back the answer.  Raises StatementError for everything final."""


class _GivenUp(Exception):
    """A request that somebody else had queued will not be sent by them."""


class Batch:
    def __init__(self, statement: Statement, asked: Asked, keeping: Keeping | None, pay: Pay) -> None:
        self._statement = statement
        self._asked = asked
        self._keeping = keeping if statement.mode != "off" else None
        self._pay = pay
        self._bodies: dict[bytes, bytes] = {}
        self._found: dict[bytes, bytes | StatementError] = {}
        self._mine: dict[bytes, asyncio.Future[bytes]] = {}
        self._theirs: dict[bytes, asyncio.Future[bytes]] = {}
        self._queue: deque[list[bytes]] = deque()
        self._hands: set[asyncio.Task[None]] = set()

    async def answers(self, rows: Sequence[Sequence[Any]]) -> list[Any]:
        """The values of the rows.  Raises StatementError, BrokenAnswer, StoreUnavailable, and what ended the
        statement."""
        names: list[bytes | Unaskable | None] = []
        try:
            for at in range(0, len(rows), SLICE):
                names += await self._begin(rows[at : at + SLICE])
                # Those whose answers have come meanwhile.
                await asyncio.sleep(0)
            await self._finish()
            return await self._values(names)
        finally:
            self._let_go()

    async def _begin(self, rows: Sequence[Sequence[Any]]) -> list[bytes | Unaskable | None]:
        """Have these rows asked for; gives the key of each, None where nothing is, or why it cannot be asked for."""
        statement, asked = self._statement, self._asked
        owner, endpoint, request = statement.owner.id, asked.site.endpoint, asked.speaker.request
        names: list[bytes | Unaskable | None] = []
        fresh: dict[bytes, bytes] = {}
        for row in rows:
            try:
                body = request(row)
            except Unaskable as error:
                if asked.site.fail_on_error:
                    raise
                names.append(error)
                statement.progress.rows += 1
                continue
            if body is None:
                names.append(None)
                statement.progress.rows += 1
                continue
            name = key(owner, endpoint, asked.served, body)
            names.append(name)
            if name in self._bodies:
                statement.progress.shared += 1
                statement.progress.rows += 1
            else:
                self._bodies[name] = fresh[name] = body
        kept: dict[bytes, bytes] = {}
        if self._keeping is not None and statement.mode == "keep" and fresh:
            kept = await self._keeping.find(list(fresh))
            statement.progress.kept += len(kept)
            statement.progress.rows += len(kept)
            self._found.update(kept)
        self._ask([name for name in fresh if name not in kept])
        return names

    def _ask(self, names: Sequence[bytes]) -> None:
        """Queue what nobody else has, and see that there are hands for it."""
        statement = self._statement
        loop = asyncio.get_running_loop()
        mine = []
        for name in names:
            recent = statement.recent.get(name)
            if recent is not None:
                self._found[name] = recent
                statement.progress.shared += 1
                statement.progress.rows += 1
                continue
            running = statement.under_way.get(name)
            if running is not None:
                self._theirs[name] = running
                statement.progress.shared += 1
                continue
            self._mine[name] = statement.under_way[name] = loop.create_future()
            mine.append(name)
        size = max(1, self._asked.speaker.batch)
        self._queue.extend(mine[at : at + size] for at in range(0, len(mine), size))
        for _ in range(min(len(self._queue), statement.most - len(self._hands))):
            hand = asyncio.create_task(self._work())
            self._hands.add(hand)
            hand.add_done_callback(self._dropped)

    def _dropped(self, hand: "asyncio.Task[None]") -> None:
        self._hands.discard(hand)
        if not hand.cancelled():
            # Whoever waits for the batch is told by the futures; nobody may be left.
            hand.exception()

    async def _work(self) -> None:
        while self._queue:
            group = self._queue.popleft()
            try:
                await self._group(group)
            except StatementError as error:
                for name in group:
                    self._settle(name, error)
            except BaseException as exc:
                for name in group:
                    self._settle(name, _Ours(exc))
                raise

    async def _group(self, names: Sequence[bytes]) -> None:
        """One request for one body, or for several that go together."""
        speaker = self._asked.speaker
        bodies = [self._bodies[name] for name in names]
        single = len(bodies) == 1
        answer = await self._pay(self._statement, self._asked, bodies[0] if single else speaker.join(bodies))
        answers = [answer] if single else speaker.split(answer, bodies)
        if self._keeping is not None:
            # What the model broke is asked for again the next time.
            good = [(name, one) for name, one in zip(names, answers, strict=True) if _reads(speaker, one)]
            owner = self._statement.owner.id
            await asyncio.gather(*(self._keeping.keep(name, owner, one) for name, one in good))
        for name, one in zip(names, answers, strict=True):
            self._statement.recent.add(name, one)
            self._settle(name, one)

    def _settle(self, name: bytes, outcome: "bytes | Exception") -> None:
        """Tell all who wait for a request of this batch."""
        future = self._mine[name]
        if self._statement.under_way.get(name) is future:
            del self._statement.under_way[name]
        if future.done():
            return
        if not isinstance(outcome, _GivenUp):
            self._statement.progress.rows += 1
        if isinstance(outcome, bytes):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)
            # Nobody may be left to hear it.
            future.exception()

    async def _finish(self) -> None:
        """Until every request has its outcome.  Raises the first error that fails the statement."""
        while self._mine or self._theirs:
            waiting = {**self._mine, **self._theirs}
            names = {future: name for name, future in waiting.items()}
            pending = set(names)
            given_up = []
            while pending:
                # Waiting cancels none of them: they may be others' too.
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_EXCEPTION)
                for future in done:
                    outcome = future.exception()
                    name = names[future]
                    if name in self._theirs and not isinstance(outcome, _GivenUp):
                        self._statement.progress.rows += 1
                    if outcome is None:
                        self._found[name] = future.result()
                    elif isinstance(outcome, StatementError) and not self._asked.site.fail_on_error:
                        self._found[name] = outcome
                    elif isinstance(outcome, _GivenUp) and not (isinstance(outcome, _Ours) and name in self._mine):
                        given_up.append(name)
                    else:
                        raise outcome.why if isinstance(outcome, _Ours) else outcome
            self._mine.clear()
            self._theirs.clear()
            self._ask(given_up)

    async def _values(self, names: Sequence[bytes | Unaskable | None]) -> list[Any]:
        out: list[Any] = []
        for at in range(0, len(names), SLICE):
            part = [
                self._value(self._found[name] if isinstance(name, bytes) else name) for name in names[at : at + SLICE]
            ]
            out += part
            await asyncio.sleep(0)
        return out

    def _value(self, found: "bytes | StatementError | None") -> Any:
        failing = self._asked.site.fail_on_error
        if found is None:
            return None if failing else {"result": None, "errorMessage": None}
        try:
            if isinstance(found, StatementError):
                raise found
            value = self._asked.speaker.answer(found)
        except (StatementError, BrokenAnswer) as error:
            if failing:
                raise
            self._statement.progress.failed += 1
            return {"result": None, "errorMessage": said(error)}
        return value if failing else {"result": value, "errorMessage": None}

    def _let_go(self) -> None:
        """What is queued is not sent for this batch any more; what was sent goes on."""
        while self._queue:
            for name in self._queue.popleft():
                self._settle(name, _GivenUp())


class _Ours(_GivenUp):
    """The same for others; for the batch itself it is `why`."""

    def __init__(self, why: BaseException) -> None:
        super().__init__()
        self.why = why


def said(error: StatementError | BrokenAnswer) -> str:
    """With what the model did say: it was paid for, and may be of use."""
    raw = error.raw.strip() if isinstance(error, BrokenAnswer) else ""
    return f"{error.message}; it said: {raw[:RAW]}" if raw else error.message


def _reads(speaker: Speaker, answer: bytes) -> bool:
    try:
        speaker.answer(answer)
    except BrokenAnswer:
        return False
    return True
