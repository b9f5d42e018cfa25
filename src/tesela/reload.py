"""Takes over a configuration file that has changed while the server runs: on SIGHUP, and when the file is another one.

A file that cannot be used changes nothing: the one before it goes on serving, and the log and `/health` say so.
Settings that are read once, such as the port, are named and wait for the next start.
"""

import asyncio
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec

from tesela import local, snapshot_build
from tesela.addresses import EngineAddress
from tesela.aside import aside
from tesela.config import Config
from tesela.engine.spec import EngineSpec
from tesela.engine.supervisor import Supervisor
from tesela.errors import ConfigError, TeselaError
from tesela.steward import Steward

LOOK_S = 0.5
"""How often the file is looked at."""
READY_S = 120.0
"""How long new engines may take before their endpoints are there all the same, and answer 503."""
TAKEN_OVER = ("endpoints", "models", "local_models", "emulate", "retries")
UPSTREAM = ("connect", "first_byte", "idle", "total")
"""The settings that a running server takes over, and the time-outs, which are those of what it calls."""
WRONG = (
    "the configuration file has changed and cannot be used, so the one before it still serves; the server's log says "
    "why"
)

Mark = tuple[int, int, int] | None


class Reloader:
    """`read` reads the configuration again as the start did; `trouble` gets a sentence, or None when all is well."""

    def __init__(
        self,
        read: Callable[[], Config],
        config: Config,
        plan: local.Plan,
        steward: Steward,
        supervisor: Supervisor,
        run_dir: Path,
        note: Callable[[str], None],
        trouble: Callable[[str | None], None],
    ) -> None:
        self._read = read
        self._config = config
        self._specs = {spec.name: spec for spec in plan.specs}
        self._addresses = plan.addresses
        self._steward = steward
        self._supervisor = supervisor
        self._run_dir = run_dir
        self._note = note
        self._trouble = trouble
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Read the file again, whether or not it has changed."""
        self._asked.set()

    async def run(self) -> None:
        """Until cancelled."""
        watch = Watch(await asyncio.to_thread(_mark, self._config.file))
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._asked.wait()
            except TimeoutError:
                if not watch.changed(await asyncio.to_thread(_mark, self._config.file)):
                    continue
            self._asked.clear()
            await self._take_over()

    async def _take_over(self) -> None:
        file = self._config.file
        try:
            there = file is None or await asyncio.to_thread(_mark, file) is not None
            read = await asyncio.to_thread(self._read) if there else self._config
            if not there or (file is not None and read.file != file):
                # Without its file the server would be another one, that pulls models and has no endpoints.
                raise ConfigError(f"{file}: is no file any more")
            config = in_force(self._config, read)
            plan = await aside(local.plan, config, self._run_dir, _silent)
            built = snapshot_build.build(config, plan.addresses, self._steward.contents)
        except TeselaError as error:
            self._note(f"{error.message}; the configuration before it still serves")
            self._trouble(WRONG)
            return
        for note in (
            *config.notes,
            *(f"{why}; until it is there the endpoint answers 503" for why in built.lost.values()),
        ):
            self._note(note)
        self._name_what_waits(read)
        await self._engines(config, plan)
        self._trouble(None)
        self._note(f"{config.file or 'the configuration'} has been read again and is in force")

    def _name_what_waits(self, config: Config) -> None:
        """Say which settings have changed and wait for the next start."""
        now, then = config.settings, in_force(self._config, config).settings
        waits = [name for name in now.__struct_fields__ if getattr(now, name) != getattr(then, name)]
        if waits:
            self._note(f"{', '.join(waits)}: what the file says now waits for the next start")

    async def _engines(self, config: Config, plan: local.Plan) -> None:
        """Start engines that are new, publish the configuration, and end engines that nothing names any more."""
        entries = {entry.name: entry for entry in config.settings.models}
        before = {entry.name: entry for entry in self._config.settings.models}
        specs: dict[str, EngineSpec] = {}
        addresses: dict[str, EngineAddress] = {}
        fresh: list[EngineSpec] = []
        for spec in plan.specs:
            kept = self._specs.get(spec.name)
            same = kept is not None and _bare(kept) == _bare(spec) and entries.get(spec.name) == before.get(spec.name)
            if same and kept is not None:
                specs[spec.name], addresses[spec.name] = kept, self._addresses[spec.name]
            else:
                specs[spec.name], addresses[spec.name] = spec, plan.addresses[spec.name]
                fresh.append(spec)
        for spec in fresh:
            if spec.name in self._specs:
                await self._supervisor.remove(spec.name)
            await self._supervisor.add(spec)
        if fresh:
            try:
                await self._supervisor.wait_ready(READY_S)
            except TeselaError as error:
                self._note(f"{error.message}; its endpoints answer 503 until it is ready")
        gone = [name for name in self._specs if name not in specs]
        self._config, self._specs, self._addresses = config, specs, addresses
        self._steward.take_over(config, addresses, local.startable(config))
        for name in gone:
            await self._supervisor.remove(name)


class Watch:
    """Tells when a file has become another one: when it has been the same at two looks, for a file that is still being
    written can look like a whole one."""

    def __init__(self, mark: Mark) -> None:
        self._before = self._last = mark

    def changed(self, mark: Mark) -> bool:
        still, self._last = mark == self._last, mark
        if not still or mark == self._before:
            return False
        self._before = mark
        return True


def in_force(now: Config, new: Config) -> Config:
    """What of a new configuration a running server takes over.  The rest stays as it was, for workers too that are
    started anew: two databases for one server would be none."""
    timeouts = {name: getattr(new.settings.timeouts, name) for name in UPSTREAM}
    taken = {name: getattr(new.settings, name) for name in TAKEN_OVER}
    taken["timeouts"] = msgspec.structs.replace(now.settings.timeouts, **timeouts)
    return msgspec.structs.replace(new, settings=msgspec.structs.replace(now.settings, **taken), home=now.home)


def _mark(file: Path | None) -> Mark:
    """What tells one state of a file from another; None when it is not there, or is none that can be read again."""
    if file is None:
        return None
    try:
        found = file.stat()
    except OSError:
        return None
    # Reading a pipe may wait for ever.
    if not stat.S_ISREG(found.st_mode):
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _bare(spec: EngineSpec) -> EngineSpec:
    """Without what is drawn anew for each plan: the key, and the port of a command."""
    return msgspec.structs.replace(spec, key="", argv=(), base_url="")


def _silent(_model: str, _stage: str, _done: int, _total: int) -> None:
    return
