"""The life of one engine over all its processes: start, readiness, death, back-off, memory ceiling, replacement, drain.

A caller connects to `<run_dir>/<name>.sock`, a link that always leads to the process which is ready.  A replacement
starts the next process beside the present one, moves the link, and then drains the old one, so nothing is refused
meanwhile; that needs the memory of both for a moment, and so a `command`, which may hold a whole GPU, is stopped first.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tesela.engine import backoff
from tesela.engine.child import Child
from tesela.engine.logs import trim
from tesela.engine.memory import group_rss_bytes
from tesela.engine.placement import fill, lead
from tesela.engine.spec import EngineSpec, EngineState, Status
from tesela.errors import ConfigError, EngineError, TeselaError

#: How often memory and the size of the log are looked at.
CHECK_S = 2.0
#: A start that takes longer is told, then again after twice as long, and so on.
SLOW_S = 5.0
OnState = Callable[[EngineState], None]


class Life:
    """Begun once, ended once.  `changed` is called in the loop with each new state.

    `generations` numbers the processes; shared by all engines of a directory, so that one which ends and one which
    begins under the same name are not in each other's way.
    """

    def __init__(
        self, spec: EngineSpec, log: Path, generations: Iterator[int], changed: OnState, slow_s: float = SLOW_S
    ) -> None:
        self.spec = spec
        self.state = EngineState(
            name=spec.name,
            status="starting",
            since=time.time(),
            socket="" if spec.base_url else spec.socket,
            key=spec.key,
            log=str(log),
        )
        self._log = log
        self._changed = changed
        self._generations = generations
        self._slow_s = slow_s
        self._task: asyncio.Task[None] | None = None
        self._child: Child | None = None
        self._old: set[asyncio.Task[None]] = set()
        #: Those who wait for a replacement; not empty means that one is wanted.
        self._asked: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()

    def begin(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"engine {self.spec.name}")

    async def replace(self) -> None:
        if self._task is None or self._task.done():
            raise EngineError(f"the engine {self.spec.name!r} is stopped")
        asked = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        self._wake.set()
        await asked

    async def end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        # Before the drain, which takes a while: by then the path may lead to another engine of this name.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.spec.socket)
        if self._child is not None:
            self._retire(self._child)
        if self._old:
            await asyncio.wait(self._old)
        self._answer(EngineError(f"the engine {self.spec.name!r} was stopped"))
        self._publish("stopped", message="", pid=None, rss_bytes=0)

    async def _run(self) -> None:
        tally = backoff.Tally()
        while True:
            try:
                self._child = await self._launch()
                self._answer(None)
                died = await self._watch(self._child)
            except TeselaError as exc:
                died, lasted_s, hopeless = exc.message, 0.0, isinstance(exc, ConfigError)
            else:
                lasted_s, hopeless = time.monotonic() - (self._child.ready_at or 0.0), False
                self._child.kill()
            self._child = None
            self._answer(EngineError(f"the engine {self.spec.name!r} {died}"))
            tally = backoff.after_death(tally, lasted_s)
            delay_s = backoff.LONGEST_S if hopeless else backoff.delay_s(tally)
            self._publish(
                "failed" if hopeless or tally.failed else "restarting",
                message=died,
                restarts=self.state.restarts + 1,
                pid=None,
                rss_bytes=0,
            )
            await self._woken(delay_s)

    async def _watch(self, child: Child) -> str:
        """Stay with the child until it dies, replacing it when that is asked for.  Returns how the last one went."""
        while True:
            death = asyncio.create_task(child.wait())
            try:
                while not death.done():
                    wake = asyncio.create_task(self._wake.wait())
                    await asyncio.wait({death, wake}, timeout=CHECK_S, return_when=asyncio.FIRST_COMPLETED)
                    wake.cancel()
                    reason = "" if death.done() else await self._inspect(child)
                    if self._asked or reason:
                        break
                else:
                    return death.result()
            finally:
                death.cancel()
            if reason and time.monotonic() - (child.ready_at or 0.0) < backoff.EARLY_S:
                # A fresh one would be there as soon: back-off, and in the end "failed", says that the ceiling is wrong.
                return reason
            if died := await self._succeed(child, reason):
                return died
            child = self._child or child

    async def _succeed(self, old: Child, reason: str) -> str:
        """Put a fresh process in the present one's place.  Returns "", or why there is none."""
        self._wake.clear()
        if self.spec.kind == "command":
            self._publish("restarting", message=reason, pid=None)
            await old.stop()
        try:
            self._child = await self._launch(reason)
        except TeselaError as exc:
            if self.spec.kind == "command":
                return exc.message
            self._answer(EngineError(f"the engine {self.spec.name!r} was not replaced: its successor {exc.message}"))
            return ""
        self._retire(old)
        self._answer(None)
        return ""

    async def _launch(self, reason: str = "") -> Child:
        """Start a process, wait until it is ready, and lead callers to it."""
        self._wake.clear()
        spec = fill(self.spec, next(self._generations))
        child = await Child.spawn(spec, self._log)
        if self.state.status != "ready":
            self._publish(self.state.status, pid=child.pid)
        before = self.state.message
        telling = asyncio.create_task(self._tell_slowness(child, before))
        try:
            facts = await child.ready()
        finally:
            telling.cancel()
        if spec.socket and not spec.base_url:
            lead(self.spec.socket, spec.socket)
        self._publish(
            "ready",
            pid=child.pid,
            message=reason or before,
            facts=facts,
            restarts=self.state.restarts + bool(reason),
            base_url=spec.base_url or "http://localhost",
        )
        return child

    async def _tell_slowness(self, child: Child, before: str) -> None:
        """Large models load for minutes: whoever waits learns that it goes on, and what was last said."""
        waited_s = 0.0
        while self.state.status != "ready":
            pause_s = waited_s or self._slow_s
            await asyncio.sleep(pause_s)
            waited_s += pause_s
            words = f"not ready after {waited_s:g} s{child.last_words()}"
            self._publish(self.state.status, message=f"{before}; {words}" if before else words)

    async def _inspect(self, child: Child) -> str:
        """Look at log and memory.  Returns why the process must be replaced, or ""."""
        trim(self._log)
        rss = await asyncio.to_thread(group_rss_bytes, child.pid)
        self.state = msgspec.structs.replace(self.state, rss_bytes=rss)
        ceiling = self.spec.memory_bytes
        if not ceiling or rss <= ceiling:
            return ""
        return f"ended at {rss >> 20} MiB of memory, above its ceiling of {ceiling >> 20} MiB"

    def _retire(self, child: Child) -> None:
        task = asyncio.create_task(child.stop())
        self._old.add(task)
        task.add_done_callback(self._old.discard)

    async def _woken(self, delay_s: float) -> None:
        try:
            async with asyncio.timeout(delay_s):
                await self._wake.wait()
        except TimeoutError:
            return

    def _answer(self, error: EngineError | None) -> None:
        asked, self._asked = self._asked, []
        self._wake.clear()
        for future in asked:
            if future.done():
                continue
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

    def _publish(self, status: Status, **changes: object) -> None:
        since = self.state.since if status == self.state.status else time.time()
        self.state = msgspec.structs.replace(self.state, status=status, since=since, **changes)
        self._changed(self.state)
