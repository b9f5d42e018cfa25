"""Connections to PostgreSQL that wait only so long for an answer.

The server's own limits do not help when it is the server, or the network, that has fallen silent.
"""

import time
from collections.abc import Callable, Generator
from typing import Any

import psycopg


def bounded(limit_s: float) -> Callable[..., "psycopg.Connection[Any]"]:
    """How SQLAlchemy is to connect: no single statement waits longer than `limit_s`."""

    class Bounded(psycopg.Connection[Any]):
        def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
            return super().wait(self._until(gen, time.monotonic() + limit_s), *arguments, **options)

        def _until(self, steps: Any, end: float) -> Generator[Any, Any, Any]:
            # psycopg resumes the steps whenever the socket is ready, and ten times a second while it is not.
            try:
                wanted = next(steps)
                while True:
                    ready = yield wanted
                    if not ready and time.monotonic() > end:
                        self.pgconn.finish()
                        raise psycopg.OperationalError("the server does not answer")
                    resumed = steps.send(ready)
                    wanted = wanted if resumed is None else resumed
            except StopIteration as done:
                return done.value

    def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> "psycopg.Connection[Any]":
        return Bounded.connect(*arguments, **options)

    return connect
