"""Keeps one child process alive for each engine: start, readiness, restart with back-off, memory ceiling, drain.

It lives in the parent's event loop, which must run in the main thread (engine/parent.py says why).  What it knows it
writes to `<run_dir>/engines.json`, whole, at each change: that file is how the gateway's workers see engines.  It
never sends a request of a caller and never repeats one.

A caller connects to `<run_dir>/<name>.sock`, a link that always leads to the process which is ready.  `restart` and
the memory ceiling start the next process beside the present one, move the link, and then drain the old one, so
nothing is refused meanwhile; that needs the memory of both for a moment, and so a `command`, which may hold a whole
GPU, is stopped first.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from tesela.engine import backoff
from tesela.engine.child import Child
from tesela.engine.logs import trim
from tesela.engine.memory import group_rss_bytes
from tesela.engine.placement import fill, lead, place
from tesela.engine.spec import EngineSpec as EngineSpec
from tesela.engine.spec import EngineState as EngineState
from tesela.engine.spec import Status
from tesela.errors import ConfigError, EngineError, NotFound, TeselaError

#: How often memory and the size of the log are looked at.
CHECK_S = 2.0
OnState = Callable[[EngineState], None]


class Supervisor:
    """`on_state` is called in the loop with each new state.  Logs go to `<log_dir>/<name>.log`."""

    def __init__(
        self,
        specs: Iterable[EngineSpec],
        run_dir: Path,
        on_state: OnState | None = None,
        *,
        log_dir: Path | None = None,
    ) -> None:
        self._run_dir = run_dir
        self._on_state = on_state
        self._waiters: set[asyncio.Future[None]] = set()
        logs = log_dir or run_dir / "logs"
        self._engines = {
            spec.name: _Engine(place(spec, run_dir), logs / f"{spec.name}.log", self._changed) for spec in specs
        }

    async def start(self) -> None:
        """Begin to start every engine.  Does not wait for them."""
        self._run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for stale in self._run_dir.glob("*.sock"):
            stale.unlink()
        self._save()
        for engine in self._engines.values():
            engine.begin()

    async def wait_ready(self, timeout_s: float) -> None:
        """Raises EngineError as soon as an engine has failed, or when not all are ready after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                while not all(engine.state.status == "ready" for engine in self._engines.values()):
                    self._raise_if_failed()
                    await self._next_change()
        except TimeoutError as exc:
            late = ", ".join(repr(s.name) for s in self.states() if s.status != "ready")
            raise EngineError(f"after {timeout_s:g} s these engines are not ready: {late}") from exc

    def state(self, name: str) -> EngineState:
        return self._engine(name).state

    def states(self) -> list[EngineState]:
        return [engine.state for engine in self._engines.values()]

    async def restart(self, name: str) -> None:
        """Replace the engine's process by a fresh one; returns when that is ready.

        Raises EngineError when it does not get ready; one that was serving before then goes on serving.
        """
        await self._engine(name).replace()

    async def stop(self) -> None:
        """Drain and end all engines."""
        await asyncio.gather(*(engine.end() for engine in self._engines.values()))

    def _engine(self, name: str) -> "_Engine":
        try:
            return self._engines[name]
        except KeyError as exc:
            raise NotFound(f"there is no engine {name!r}; there are: {', '.join(self._engines) or 'none'}") from exc

    def _raise_if_failed(self) -> None:
        for state in self.states():
            if state.status in ("failed", "stopped"):
                raise EngineError(f"the engine {state.name!r} is {state.status}: {state.message}")

    async def _next_change(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def _changed(self, state: EngineState) -> None:
        # Supervision goes on when the disk is full; the next change writes again.
        with contextlib.suppress(OSError):
            self._save()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._on_state is not None:
            self._on_state(state)

    def _save(self) -> None:
        target = self._run_dir / "engines.json"
        part = target.with_suffix(".part")
        # The keys are in it.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(self.states()))
        part.replace(target)


class _Engine:
    """The life of one engine, over all its processes."""

    def __init__(self, spec: EngineSpec, log: Path, changed: OnState) -> None:
        self.spec = spec
        self.state = EngineState(
            name=spec.name,
            status="starting",
            since=time.time(),
            socket="" if spec.base_url else spec.socket,
            key=spec.key,
        )
        self._log = log
        self._changed = changed
        self._generation = 0
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
        if self._child is not None:
            self._retire(self._child)
        if self._old:
            await asyncio.wait(self._old)
        self._answer(EngineError(f"the engine {self.spec.name!r} was stopped"))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.spec.socket)
        self._publish("stopped", pid=None, rss_bytes=0)

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
        self._generation += 1
        spec = fill(self.spec, self._generation)
        child = await Child.spawn(spec, self._log)
        if self.state.status != "ready":
            self._publish(self.state.status, pid=child.pid)
        facts = await child.ready()
        if spec.socket and not spec.base_url:
            lead(self.spec.socket, spec.socket)
        self._publish(
            "ready",
            pid=child.pid,
            message=reason or self.state.message,
            facts=facts,
            restarts=self.state.restarts + bool(reason),
            base_url=spec.base_url or "http://localhost",
        )
        return child

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
