"""One process of an engine, from its start to its end.  It decides nothing: when to start and stop is asked of it."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from tesela.engine.logs import last_line, open_log
from tesela.engine.spec import EngineSpec
from tesela.errors import ConfigError, EngineError

#: A child that was told to stop and did not within its drain time gets this much longer, then SIGKILL.
_GRACE_S = 2.0
_HINTS = {
    signal.SIGILL: "its native code needs a processor with AVX2",
    signal.SIGKILL: "perhaps the system was out of memory",
}

OURS = frozenset({"TESELA_MASTER_KEY", "TESELA_DATABASE_URL"})
"""Variables that are the server's alone: a model's process, and a command that it runs, must not have its secrets."""


class _Line(Struct):
    ready: bool
    error: str = ""
    facts: dict[str, Any] = {}


class Child:
    """A started runner.  Made by `spawn`; `ready` must be awaited once before anything else."""

    def __init__(self, spec: EngineSpec, process: asyncio.subprocess.Process, log: Path, log_start: int) -> None:
        self.spec = spec
        self.pid = process.pid
        self.ready_at: float | None = None
        self._process = process
        self._log = log
        self._log_start = log_start

    @classmethod
    async def spawn(cls, spec: EngineSpec, log: Path) -> "Child":
        try:
            descriptor = open_log(log)
        except OSError as exc:
            raise EngineError(f"its log {log} cannot be opened: {exc.strerror}") from exc
        try:
            start = os.fstat(descriptor).st_size
            process = await asyncio.create_subprocess_exec(
                # -P: a folder named tesela where we were started must not be taken for the package.
                *(sys.executable, "-P", "-m", "tesela.engine.runner"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=descriptor,
                # A group of its own: Ctrl-C stays with the parent, and SIGKILL reaches what a command started.
                start_new_session=True,
                env={name: value for name, value in os.environ.items() if name not in OURS},
            )
        except OSError as exc:
            raise EngineError(f"cannot be started: {exc.strerror}") from exc
        finally:
            os.close(descriptor)
        # Through the pipe, because the key would be seen by everyone among the arguments.
        cast(asyncio.StreamWriter, process.stdin).write(msgspec.json.encode(spec) + b"\n")
        return cls(spec, process, log, start)

    async def ready(self) -> dict[str, Any]:
        """Wait for the first line.  Returns the facts.

        Raises EngineError, and ConfigError when trying again would end the same way.
        """
        try:
            async with asyncio.timeout(self.spec.start_timeout_s):
                raw = await cast(asyncio.StreamReader, self._process.stdout).readline()
                if not raw:
                    died = await self.wait()
                    self.kill()
                    raise EngineError(died)
        except TimeoutError as exc:
            self.kill()
            raise EngineError(f"not ready after {self.spec.start_timeout_s:g} s{self.last_words()}") from exc
        except asyncio.CancelledError:
            self.kill()
            await self._process.wait()
            raise
        try:
            line = msgspec.json.decode(raw, type=_Line)
        except msgspec.DecodeError as exc:
            self.kill()
            raise EngineError(f"said {raw[:80]!r} instead of being ready") from exc
        if not line.ready:
            await self._process.wait()
            raise ConfigError(line.error)
        self.ready_at = time.monotonic()
        return line.facts

    async def wait(self) -> str:
        """Wait for the end.  Returns how it went, as words for a message."""
        status = await self._process.wait()
        if status >= 0:
            return f"ended with status {status}{self.last_words()}"
        number = signal.Signals(-status)
        hint = f" ({_HINTS[number]})" if number in _HINTS else ""
        return f"died of {number.name}{hint}{self.last_words()}"

    def last_words(self) -> str:
        """What it said last, as the end of a sentence; "" when it said nothing."""
        line = last_line(self._log, self._log_start)
        return f"; its last line in {self._log}: {line}" if line else ""

    async def stop(self) -> None:
        """Let it finish what it has begun, within its drain time; then end it and all that it started."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(self.spec.drain_s + _GRACE_S):
                    await self._process.wait()
            except TimeoutError:
                pass
            finally:
                self.kill()
        await self._process.wait()

    def kill(self) -> None:
        """End the whole group now, also what a leader that is gone left running."""
        Path(self.spec.socket).unlink(missing_ok=True)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
