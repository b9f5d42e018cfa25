"""All engines of a server: begun, added, removed and ended; what is known of them is written where workers look.

It lives in the parent's event loop, which must run in the main thread (engine/parent.py says why).  What it knows it
writes to `<run_dir>/engines.json`, whole, at each change: that file is how the gateway's workers see engines.  It
never sends a request of a caller and never repeats one.  How one engine lives is in engine/life.py.
"""

import asyncio
import contextlib
import itertools
import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from tesela.engine.life import SLOW_S, Life, OnState
from tesela.engine.placement import place
from tesela.engine.spec import EngineSpec as EngineSpec
from tesela.engine.spec import EngineState as EngineState
from tesela.errors import EngineError, NotFound


class Supervisor:
    """`on_state` is called in the loop with each new state.  Logs go to `<log_dir>/<name>.log`.

    A start that takes longer than `slow_s` is told too: the status stays, the message says how long and what was last
    said.
    """

    def __init__(
        self,
        specs: Iterable[EngineSpec],
        run_dir: Path,
        on_state: OnState | None = None,
        *,
        log_dir: Path | None = None,
        slow_s: float = SLOW_S,
    ) -> None:
        self._run_dir = run_dir
        self._log_dir = log_dir or run_dir / "logs"
        self._on_state = on_state
        self._slow_s = slow_s
        self._waiters: set[asyncio.Future[None]] = set()
        self._generations = itertools.count(1)
        self._engines = {spec.name: self._life(spec) for spec in specs}
        #: Those that were removed and still finish what they have begun, by name.
        self._leaving: dict[asyncio.Task[None], str] = {}
        self._stopped = False

    async def start(self) -> None:
        """Begin to start every engine.  Does not wait for them."""
        self._run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        for stale in self._run_dir.glob("*.sock"):
            stale.unlink()
        self._save()
        for engine in self._engines.values():
            engine.begin()

    async def add(self, spec: EngineSpec) -> None:
        """Begin to start one more engine.  Does not wait for it, and does nothing when this very one is there.

        Raises EngineError when the name is taken by another, or all engines were stopped; ConfigError when it cannot
        run.
        """
        present = self._engines.get(spec.name)
        if present is not None:
            keyed = msgspec.structs.replace(spec, key=spec.key or present.spec.key)
            if place(keyed, self._run_dir) == present.spec:
                return
            raise EngineError(f"an engine {spec.name!r} is there with other settings; remove it first")
        if self._stopped:
            raise EngineError(f"the engine {spec.name!r} is not started: the server is stopping")
        engine = self._engines[spec.name] = self._life(spec)
        self._note()
        engine.begin()

    async def remove(self, name: str) -> None:
        """Let an engine finish what it has begun, within its drain time, and end it; then return.

        It is out of `states` and of engines.json at once, and its name is free.  Does nothing when there is none of
        that name; when one of that name is leaving already, waits for its end.  To cancel the wait stops no drain.
        """
        engine = self._engines.pop(name, None)
        if engine is not None:
            self._note()
            task = asyncio.create_task(engine.end(), name=f"end of engine {name}")
            self._leaving[task] = name
            task.add_done_callback(self._leaving.pop)
        leaving = [task for task, leaver in self._leaving.items() if leaver == name]
        if leaving:
            await asyncio.wait(leaving)

    async def wait_ready(self, timeout_s: float) -> None:
        """Raises EngineError as soon as an engine has failed, or when not all are ready after `timeout_s`.

        Returns also when they are being stopped: then there is nothing to wait for.
        """
        try:
            async with asyncio.timeout(timeout_s):
                while not (self._stopped or all(state.status == "ready" for state in self.states())):
                    self._raise_if_failed()
                    await self._next_change()
        except TimeoutError as exc:
            late = ", ".join(repr(s.name) for s in self.states() if s.status != "ready")
            raise EngineError(f"after {timeout_s:g} s these engines are not ready: {late}") from exc

    def states(self) -> list[EngineState]:
        return [engine.state for engine in self._engines.values()]

    async def restart(self, name: str) -> None:
        """Replace the engine's process by a fresh one; returns when that is ready.

        Raises EngineError when it does not get ready; one that was serving before then goes on serving.
        """
        await self._engine(name).replace()

    async def stop(self) -> None:
        """Drain and end all engines, those that are leaving too."""
        self._stopped = True
        await asyncio.gather(*(engine.end() for engine in self._engines.values()), *self._leaving)

    def _life(self, spec: EngineSpec) -> Life:
        log = self._log_dir / f"{spec.name}.log"
        return Life(place(spec, self._run_dir), log, self._generations, self._changed, self._slow_s)

    def _engine(self, name: str) -> Life:
        try:
            return self._engines[name]
        except KeyError as exc:
            raise NotFound(f"there is no engine {name!r}; there are: {', '.join(self._engines) or 'none'}") from exc

    def _raise_if_failed(self) -> None:
        for state in self.states():
            if state.status == "failed":
                raise EngineError(f"the engine {state.name!r} is failed: {state.message}")

    async def _next_change(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    def _changed(self, state: EngineState) -> None:
        self._note()
        if self._on_state is not None:
            self._on_state(state)

    def _note(self) -> None:
        """Write down what is known, and wake those who wait for a change."""
        # Supervision goes on when the disk is full; the next change writes again.
        with contextlib.suppress(OSError):
            self._save()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _save(self) -> None:
        target = self._run_dir / "engines.json"
        part = target.with_suffix(".part")
        # The keys are in it.
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(self.states()))
        part.replace(target)
