"""Runs work that may take long, such as a download, beside the loop, in a thread that holds up no end.

`asyncio.to_thread` is for short work: a program that ends waits for all that it has begun.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")


async def aside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the work gives, or raises.  Whoever stops waiting leaves it to go on; it ends with the program."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        try:
            done = work(*args, **kwargs)
        except BaseException as exc:  # noqa: BLE001 - raised where it is waited for
            tell(outcome.set_exception, exc)
        else:
            tell(outcome.set_result, done)

    def tell(how: Callable[[U], None], what: U) -> None:
        # The loop may be closed by now: then nobody waits.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(lambda: None if outcome.done() else how(what))

    threading.Thread(target=run, name="aside", daemon=True).start()
    return await outcome
