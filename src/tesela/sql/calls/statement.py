"""What the calls know of one statement while it runs."""

import asyncio
from typing import Any

from tesela.sql.calls.turns import Turns
from tesela.sql.calls.values import Mode, Owner, Progress

RECENT_BYTES = 32 * 1024 * 1024

UnderWay = dict[bytes, "asyncio.Future[bytes]"]
"""Requests that are queued or sent, by their key."""


class Recent:
    """The last answers of a statement: an engine may evaluate the same call in two places of it, one after the other.

    Up to `most` bytes of keys and answers; the oldest go first.
    """

    def __init__(self, most: int = RECENT_BYTES) -> None:
        self._most = most
        self._size = 0
        self._answers: dict[bytes, bytes] = {}

    def get(self, name: bytes) -> bytes | None:
        return self._answers.get(name)

    def add(self, name: bytes, answer: bytes) -> None:
        if name in self._answers:
            return
        self._answers[name] = answer
        self._size += len(name) + len(answer)
        while self._size > self._most:
            oldest = next(iter(self._answers))
            self._size -= len(oldest) + len(self._answers.pop(oldest))


class Statement:
    """`lasting` is one that may be run many times, by an engine that is somebody else's: an error ends a run of it."""

    def __init__(
        self, id: str, owner: Owner, mode: Mode, most: int, shared: UnderWay, *, lasting: bool = False
    ) -> None:
        self.id = id
        self.owner = owner
        self.mode = mode
        self.most = most
        self.lasting = lasting
        self.turns = Turns(most)
        self.progress = Progress()
        self.recent = Recent()
        # Who asks anew does not take what others asked for before.
        self.under_way: UnderWay = {} if mode == "again" else shared
        self.tasks: set[asyncio.Task[Any]] = set()
        self.tickets: list[str] = []

    @property
    def ended(self) -> Exception | None:
        return self.turns.ended

    def stop(self, why: Exception) -> None:
        """The first reason counts.  Requests that were sent go on and are kept; nothing new is sent."""
        self.turns.end(why)
        for task in list(self.tasks):
            task.cancel()

    def begin_again(self) -> None:
        """After an error, when all that it stopped has stopped."""
        if self.lasting and not self.tasks:
            self.turns = Turns(self.most)

    def rest(self) -> None:
        """Nobody asks at the moment: let go of what only saves time."""
        self.recent = Recent()
