"""Who may send next: first come, first served, as many at once as the limit has room for."""

import asyncio
from collections import deque

from tesela.sql.calls import limit


class Turns:
    """Of one statement.  Everything is called in the loop."""

    def __init__(self, most: int) -> None:
        self.limit = limit.of(most)
        self.under_way = 0
        self.ended: Exception | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def take(self) -> None:
        """Wait until the limit has room.  Raises what it was ended with."""
        while self.under_way >= self.limit.now or self._waiting:
            if self.ended is not None:
                raise self.ended
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._next()
                raise
            if self.under_way < self.limit.now:
                break
        if self.ended is not None:
            raise self.ended
        self.under_way += 1

    def give(self) -> None:
        """What was sent has come back, or not."""
        self.under_way -= 1
        self._next()

    def end(self, why: Exception) -> None:
        """Nobody sends any more; the first reason counts."""
        if self.ended is None:
            self.ended = why
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(self.ended)
                # Nobody may be left to hear it.
                turn.exception()

    def _next(self) -> None:
        room = self.limit.now - self.under_way
        while room > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1
