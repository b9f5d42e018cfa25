"""Keeps the parent's view of the store, and starts and ends the engines that endpoints of the store need.

It polls the store for all workers, rings the bell when something has changed, makes pending configurations active once
their engines are ready, and says why when they cannot become so.  A store that does not answer is told to the workers
and changes nothing else.
"""

import asyncio
import contextlib
import functools
import logging
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from tesela import local
from tesela.addresses import EngineAddress
from tesela.aside import aside
from tesela.bell import Bell
from tesela.config import Config
from tesela.engine.spec import EngineSpec, EngineState
from tesela.errors import StoreUnavailable, TeselaError
from tesela.records import Contents, StoredEndpoint
from tesela.serving import EndpointConfig
from tesela.snapshot_build import Named, engines_named
from tesela.store.contents import read_contents
from tesela.store.store import Store
from tesela.told import ServerState, write_state

POLL_S = 0.25
"""How often the store is asked whether another server, or the command line, has changed it."""

AGAIN_S = 30.0
"""After this long an engine that an endpoint in service needs, and that could not be brought, is tried again."""

ENGINES_MAX = 16
"""Engines for endpoints of the store: anybody with a token can make one, and each engine takes memory."""

AUDIT_KEPT_S = 365 * 86_400
HOUR_S = 3600.0

_log = logging.getLogger("tesela.steward")


class Failure(NamedTuple):
    """Why an engine could not be brought, and when that is tried again (of the monotonic clock)."""

    why: str
    until: float


class Engines(Protocol):
    """As much of a supervisor as a steward uses."""

    async def add(self, spec: EngineSpec) -> None: ...

    async def remove(self, name: str) -> None: ...

    def states(self) -> list[EngineState]: ...


Plan = Callable[..., tuple[EngineSpec, EngineAddress]]
"""As `local.plan_one`."""


class Steward:
    """`note` tells whoever started the server.  Everything is called in the loop."""

    def __init__(
        self,
        store: Store,
        contents: Contents,
        state: ServerState,
        bell: Bell,
        run_dir: Path,
        supervisor: Engines,
        note: Callable[[str], None],
        plan: Plan = local.plan_one,
    ) -> None:
        self.contents = contents
        self.state = state
        self._store = store
        self._bell = bell
        self._run_dir = run_dir
        self._supervisor = supervisor
        self._note = note
        self._plan = plan
        self._making: dict[str, asyncio.Task[None]] = {}
        self._made: dict[str, EngineAddress] = {}
        self._failed: dict[str, Failure] = {}
        self._ending: set[asyncio.Task[None]] = set()
        self._pruned = -math.inf
        self._well = True
        self._told = True

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await self._look()
                if not self._told:
                    self._tell()
                self._bring_engines()
                await self._settle()
                self._end_engines()
                await self._forget_old_records()
                await asyncio.sleep(POLL_S)
        finally:
            for task in self._making.values():
                task.cancel()

    def take_over(self, config: Config, engines: dict[str, EngineAddress], models: dict[str, frozenset[Any]]) -> None:
        """Another configuration is in force from here on."""
        self._publish(ServerState(config, {**engines, **self._made}, models))

    def _publish(self, state: ServerState) -> None:
        self.state = state
        self._tell()

    def _tell(self) -> None:
        """Tell the workers of the state; again with the next look when the run folder's disk is full."""
        try:
            write_state(self._run_dir, self.state)
        except OSError as error:
            if self._told:
                self._note(f"{self._run_dir}: cannot be written: {error.strerror or error}; it is tried again")
            self._told = False
        else:
            self._told = True
            self._bell.next_state()

    async def _look(self) -> None:
        try:
            self.contents = await asyncio.to_thread(read_contents, self._store, self.contents)
        except StoreUnavailable as error:
            if self._well:
                self._note(error.message)
            self._well = False
        else:
            if not self._well:
                self._note("the database answers again")
            self._well = True
            self._bell.ring(self.contents.version)
        self._bell.well(self._well)

    async def _forget_old_records(self) -> None:
        """The audit is kept for a year; looked at once an hour."""
        if time.monotonic() - self._pruned < HOUR_S:
            return
        self._pruned = time.monotonic()
        # A store that is gone is told by `_look`; an hour later will do.
        with contextlib.suppress(StoreUnavailable):
            await asyncio.to_thread(self._store.audit.prune, int((time.time() - AUDIT_KEPT_S) * 1000))

    def _wanted(self) -> dict[str, Named]:
        """The engines that endpoints of the store need, beside those of the configuration."""
        found: dict[str, Named] = {}
        for endpoint in self.contents.endpoints:
            # What was given up is kept where nothing served before, and needs no engine.
            pending = endpoint.pending if endpoint.update_state == "IN_PROGRESS" else None
            for config in (endpoint.active, pending):
                found |= _engines(config)
        return {name: one for name, one in found.items() if name in self._made or name not in self.state.engines}

    def _bring_engines(self) -> None:
        wanted = self._wanted()
        now = time.monotonic()
        self._failed = {
            name: failure for name, failure in self._failed.items() if name in wanted and now < failure.until
        }
        for name, one in wanted.items():
            if name in self._made or name in self._making or name in self._failed:
                continue
            if len(self._made) + len(self._making) >= ENGINES_MAX:
                why = f"{ENGINES_MAX} engines run for endpoints already, which is as many as there may be"
                self._failed[name] = Failure(why, _later())
                continue
            task = self._making[name] = asyncio.create_task(self._make(name, one))
            task.add_done_callback(functools.partial(self._seen_off, name))

    async def _make(self, name: str, wanted: Named) -> None:
        """Plan and start one engine; the model is fetched when it is not there."""
        try:
            spec, address = await aside(
                self._plan, self.state.config, wanted.model, name, self._run_dir, _silent, wanted.slots
            )
            await self._supervisor.add(spec)
        except (TeselaError, OSError) as error:
            self._failed[name] = Failure(str(error), _later())
            self._note(f"engine {name}: {error}")
        else:
            self._made[name] = address
            self._publish(msgspec.structs.replace(self.state, engines={**self.state.engines, name: address}))
        finally:
            del self._making[name]

    def _seen_off(self, name: str, task: asyncio.Task[None]) -> None:
        """A fault of ours is told too, or the endpoint would be in progress for ever."""
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _log.error("engine %s could not be brought by a fault in Tesela", name, exc_info=error)
            self._failed[name] = Failure("something broke inside Tesela; the server's log has it", _later())

    async def _settle(self) -> None:
        """Pending configurations whose engines are ready become active; those that cannot be are given up."""
        for endpoint in self.contents.endpoints:
            if endpoint.update_state != "IN_PROGRESS":
                continue
            outcome = self._outcome(endpoint)
            if outcome is None:
                continue
            for name in _engines(endpoint.pending):
                # Whoever asks for it again wants it tried again.
                self._failed.pop(name, None)
            try:
                if outcome:
                    await asyncio.to_thread(self._store.endpoints.fail, endpoint.id, endpoint.pending_version, outcome)
                else:
                    await asyncio.to_thread(self._store.endpoints.activate, endpoint.id, endpoint.pending_version)
            except StoreUnavailable:
                # `_look` says so; what is pending is looked at again.
                return

    def _outcome(self, endpoint: StoredEndpoint) -> str | None:
        """Empty when all is ready, why it cannot become so, None while it may."""
        states = {state.name: state for state in self._supervisor.states()}
        waiting = False
        for name in _engines(endpoint.pending):
            if name in self._failed:
                return self._failed[name].why
            state = states.get(name)
            if state is not None and state.status == "failed":
                return f"the engine {name!r} does not get ready: {state.message}"
            if state is None and name in self.state.engines:
                # A model that only has to be found (`base_url`): whether it answers, a call will tell.
                continue
            waiting = waiting or state is None or state.status != "ready"
        return None if waiting else ""

    def _end_engines(self) -> None:
        wanted = self._wanted()
        for name in [name for name in self._made if name not in wanted]:
            del self._made[name]
            kept = {key: address for key, address in self.state.engines.items() if key != name}
            self._publish(msgspec.structs.replace(self.state, engines=kept))
            # In a task: an engine that drains must not hold up what others wait for.
            task = asyncio.create_task(self._supervisor.remove(name))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)


def _engines(config: dict[str, Any] | None) -> dict[str, Named]:
    """The engines that a configuration names; none for one that cannot be read, which the snapshot's builder tells."""
    try:
        return {} if config is None else engines_named(msgspec.convert(config, EndpointConfig, strict=False))
    except msgspec.ValidationError:
        return {}


def _later() -> float:
    return time.monotonic() + AGAIN_S


def _silent(_model: str, _stage: str, _done: int, _total: int) -> None:
    return
