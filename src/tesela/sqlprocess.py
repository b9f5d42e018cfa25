"""The process that runs statements, as its parent sees it: started when the first one asks, and anew when it died.

The parent listens and the process accepts: whoever asks while it starts only waits a little longer.
"""

import asyncio
import contextlib
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from tesela.engine.logs import open_log
from tesela.told import SQL_SOCKET, SqlStart

EARLY_S = 5.0
"""A process that ends this soon has something wrong with it."""
FIRST_PAUSE_S, MOST_PAUSE_S = 0.5, 30.0
"""For so long after that nobody waits in vain: connections are taken and closed.  Twice as long each time."""


def _listening(path: Path) -> socket.socket:
    """The socket that workers forward statements to, for this user alone."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(1024)
    listener.setblocking(False)
    return listener


class SqlProcess:
    """`start` is what the process is told, but for the socket; `note` tells whoever started the server."""

    def __init__(self, start: SqlStart, note: Callable[[str], None]) -> None:
        self._listener = _listening(Path(start.run_dir) / SQL_SOCKET)
        self._start = msgspec.structs.replace(start, descriptor=self._listener.fileno())
        self._note = note
        self._log = start.config.home / "logs" / "sql.log"
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE_S
        while not self._stopping:
            await self._wanted()
            began = loop.time()
            code = await self._live()
            if self._stopping:
                return
            self._note(f"the SQL process ended unasked ({code}); its log is {self._log}")
            if loop.time() - began >= EARLY_S:
                pause = FIRST_PAUSE_S
                continue
            await self._refuse(pause)
            pause = min(pause * 2, MOST_PAUSE_S)

    async def stop(self, drain_s: float) -> None:
        self._stopping = True
        self._listener.close()
        process = self._process
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(drain_s):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def _wanted(self) -> None:
        """Wait for a connection, without taking it."""
        loop = asyncio.get_running_loop()
        there: asyncio.Future[None] = loop.create_future()

        def readable() -> None:
            if not there.done():
                there.set_result(None)

        loop.add_reader(self._listener.fileno(), readable)
        try:
            await there
        finally:
            loop.remove_reader(self._listener.fileno())

    async def _live(self) -> str:
        """One process from its start to its end; gives how it ended."""
        descriptor = open_log(self._log)
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "tesela.sqlrunner"),
                stdin=asyncio.subprocess.PIPE,
                stdout=descriptor,
                stderr=descriptor,
                # Threads that write results would each keep memory of their own.
                env={"MALLOC_ARENA_MAX": "2", **os.environ},
                pass_fds=(self._listener.fileno(),),
                start_new_session=True,
            )
        except OSError as exc:
            return f"it could not be started: {exc.strerror or exc}"
        finally:
            os.close(descriptor)
        assert process.stdin is not None  # noqa: S101 - it was asked for
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(pickle.dumps(self._start))
            await process.stdin.drain()
        code = await process.wait()
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    async def _refuse(self, seconds: float) -> None:
        """Take connections and close them: whoever asks is told at once, and not after a time-out."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    connection, _ = await loop.sock_accept(self._listener)
                    connection.close()
