"""The store of answers, for an event loop: one thread, and one commit for all answers that arrive meanwhile.

An answer counts when its commit is done, so that whatever a statement has shown is on disk.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Protocol, TypeVar

from tesela.errors import StoreUnavailable

T = TypeVar("T")


class Store(Protocol):
    """`answers.Answers`, or what a test puts in its place."""

    def find(self, keys: Sequence[bytes]) -> dict[bytes, bytes]: ...

    def keep(self, rows: Sequence[tuple[bytes, str, bytes]], *, now: float) -> None: ...


class Keeping:
    """Everything is called in the loop."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="answers")
        self._waiting: list[tuple[bytes, str, bytes, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def find(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._store.find, keys)

    async def keep(self, key: bytes, owner: str, body: bytes) -> None:
        """Returns when the answer is durable.  Raises StoreUnavailable."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append((key, owner, body, done))
        if self._writing is None:
            # A task of its own: whoever waits may be cancelled, what was answered is written all the same.
            self._writing = loop.create_task(self._write())
        await done

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                rows, self._waiting = self._waiting, []
                pairs = [(key, owner, body) for key, owner, body, _ in rows]
                try:
                    await loop.run_in_executor(self._thread, partial(self._store.keep, pairs, now=time.time()))
                except StoreUnavailable as error:
                    for _, _, _, done in rows:
                        if not done.done():
                            done.set_exception(error)
                else:
                    for _, _, _, done in rows:
                        if not done.done():
                            done.set_result(None)
        finally:
            self._writing = None

    async def ask(self, question: Callable[[], T]) -> T:
        """Something else of the store's, in its thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, question)

    async def close(self) -> None:
        """Waits until what has been given is written."""
        if self._writing is not None:
            await asyncio.shield(self._writing)
        self._thread.shutdown()
