"""The gateway's worker processes, as their parent sees them: started, counted, started anew, ended."""

import asyncio
import pickle
import signal
import socket
import sys
from collections.abc import Callable

from tesela.told import READY, Start

READY_S = 30.0
PAUSE_S = 0.5
MAX_DEATHS = 5
"""A worker that dies this often without having become ready in between stops the server: something is wrong that
another start will not mend."""


class Workers:
    """All workers of one server.  `start` gives what a worker is told, as it is at the moment of its start."""

    def __init__(
        self,
        count: int,
        start: Callable[[int], Start],
        listener: socket.socket,
        note: Callable[[str], None],
    ) -> None:
        self._start = start
        self._listener = listener
        self._note = note
        self._lives: list[asyncio.Task[None]] = []
        self._processes: set[asyncio.subprocess.Process] = set()
        self._ready = [asyncio.Event() for _ in range(count)]
        self._stopping = False
        self._failure: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def start(self) -> None:
        self._lives = [asyncio.create_task(self._live(number)) for number in range(len(self._ready))]

    async def ready(self) -> bool:
        """Wait until every worker answers (True), or the server has failed (False)."""
        waiting = asyncio.gather(*(event.wait() for event in self._ready))
        await asyncio.wait((waiting, self._failure), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return not self._failure.done()

    async def failed(self) -> str:
        """Wait for a failure that starting anew does not mend; gives the sentence."""
        return await asyncio.shield(self._failure)

    async def _live(self, number: int) -> None:
        deaths = 0
        while not self._stopping:
            try:
                process = await self._spawn(number)
            except OSError as exc:
                self._note(f"gateway worker {number} could not be started: {exc.strerror or exc}; trying again")
                await asyncio.sleep(1.0)
                continue
            became_ready = await self._reach_ready(process, number)
            deaths = 0 if became_ready else deaths + 1
            code = await process.wait()
            self._processes.discard(process)
            if self._stopping:
                return
            self._ready[number].clear()
            if deaths >= MAX_DEATHS:
                if not self._failure.done():
                    self._failure.set_result(f"gateway worker {number} could not be started; the lines above say why")
                return
            self._note(f"gateway worker {number} ended unasked ({_ending(code)}); starting it anew")
            await asyncio.sleep(PAUSE_S * deaths)

    async def _spawn(self, number: int) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            # -P: files of the folder where we were started must not be taken for modules.
            *(sys.executable, "-P", "-m", "tesela.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            pass_fds=(self._listener.fileno(),),
            # Ctrl-C reaches the parent alone, which then ends the workers in order.
            start_new_session=True,
        )
        self._processes.add(process)
        assert process.stdin is not None  # noqa: S101 - it was asked for
        process.stdin.write(pickle.dumps(self._start(number)))
        try:
            await process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            # It died at once; its end is seen, and told, by whoever waits for it.
            return process
        return process

    async def _reach_ready(self, process: asyncio.subprocess.Process, number: int) -> bool:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        try:
            async with asyncio.timeout(READY_S):
                said = await process.stdout.readline()
        except TimeoutError:
            process.kill()
            return False
        if said != READY:
            return False
        self._ready[number].set()
        return True

    async def stop(self, drain_s: float) -> None:
        """Let the workers finish what they have begun, for at most `drain_s`, and end them."""
        self._stopping = True
        for process in self._processes:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(drain_s + 5):
                await asyncio.gather(*(process.wait() for process in self._processes))
        except TimeoutError:
            self.kill()
        for life in self._lives:
            life.cancel()
        await asyncio.gather(*self._lives, return_exceptions=True)
        if not self._failure.done():
            self._failure.cancel()

    def kill(self) -> None:
        """End the workers at once, whatever they have begun."""
        for process in self._processes:
            if process.returncode is None:
                process.kill()


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
