"""The engines that statements run on: Sail in a supervised child process, or a Spark Connect server elsewhere."""

import json
import logging
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast

from tesela.engine.logs import last_line, open_log
from tesela.errors import EngineError
from tesela.sql.channel import shared
from tesela.sql.session import SparkConnectSession
from tesela.sql.site import PlanSettings

if TYPE_CHECKING:
    from pyspark.sql.connect.client.core import DefaultChannelBuilder
    from pyspark.sql.connect.session import SparkSession

    Dial = Callable[[], SparkSession]

_log = logging.getLogger("tesela.sql")
START_S = 60.0
REMOTE_RETRIES = 5
"""About 17 s, each pause four times the last: Spark's own 15 let a statement wait ten minutes for a server that is not
there."""
_MOST_PAUSE_S = 30.0
_ENDS = 8
_LASTING_S = 60.0
"""A process that lived this long is started again at once."""
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "SSL_CERT_FILE", "SSL_CERT_DIR")
KEPT_PREFIXES = ("AWS_", "AZURE_", "GOOGLE_", "SAIL_", "RUST_")
"""What the engine's process sees of the environment: where it is, and how object stores are reached."""
ENVIRONMENT = {
    "RUST_LOG": "warn",
    "PYTHONUNBUFFERED": "1",
    # Its default of 8,192 rows takes 150 MB more when rows are wide; less than this keeps fewer calls under way.
    "SAIL_EXECUTION__BATCH_SIZE": "2048",
    "MALLOC_ARENA_MAX": "2",
}
"""What it is told unless that environment says otherwise."""


class SailEngine:
    """Sail, started when it is first wanted and again when it died.  `folder`, for its socket, is this user's alone.

    One thread of its own starts and waits for the process: on Linux a child is told of the death of the thread that
    started it, not of the process.
    """

    def __init__(self, settings: PlanSettings, log: Path, folder: Path) -> None:
        self._settings = settings
        self._log = log
        self._folder = folder
        self._started = 0
        self._changed = threading.Condition()
        self._dial: Dial | None = None
        self._died = ""
        self._ends: dict[subprocess.Popen[bytes], str] = {}
        self._stopping = False
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        with self._changed:
            self._begin()
            self._await()

    def session(self, catalog: str, schema: str) -> SparkConnectSession:
        with self._changed:
            self._begin()
            dial = self._await()
            process = self._process
        return SparkConnectSession(dial(), self._settings, catalog, schema, lost=lambda: self.lost(process))

    def lost(self, process: "subprocess.Popen[bytes] | None") -> str:
        """Why a session on this process may have ended; "" while it lives.

        Another one may run by now: what counts is how this one ended, which the thread that waits for it writes down.
        """
        if process is None:
            return ""
        try:
            process.wait(timeout=0.5)
        except subprocess.TimeoutExpired:
            return ""
        with self._changed:
            self._changed.wait_for(lambda: process in self._ends or self._stopping, timeout=5.0)
            return self._ends.get(process, "")

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def stop(self) -> None:
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
            process, thread = self._process, self._thread
        if process is not None:
            process.kill()
        if thread is not None:
            thread.join()

    def _begin(self) -> None:
        if self._stopping:
            raise EngineError("the SQL engine is stopped")
        if self._thread is None:
            self._thread = threading.Thread(target=self._supervise, name="sail", daemon=True)
            self._thread.start()

    def _await(self) -> "Dial":
        if not self._changed.wait_for(lambda: self._dial or self._stopping, timeout=START_S):
            raise EngineError(f"the SQL engine did not start within {START_S:g} s{self._told()}")
        if self._stopping or self._dial is None:
            raise EngineError("the SQL engine is stopped")
        return self._dial

    def _told(self) -> str:
        return f": it {self._died}" if self._died else ""

    def _supervise(self) -> None:
        pause = 0.0
        while not self._stopping:
            began = time.monotonic()
            died = self._run()
            with self._changed:
                self._dial = None
                self._died = died
                if self._process is not None:
                    self._ends[self._process] = died
                    for old in list(self._ends)[:-_ENDS]:
                        del self._ends[old]
                self._changed.notify_all()
                pause = 0.0 if time.monotonic() - began > _LASTING_S else min(max(pause * 2, 0.25), _MOST_PAUSE_S)
                self._changed.wait_for(lambda: self._stopping, timeout=pause)

    def _run(self) -> str:
        """One process from its start to its end.  Gives how it ended, as the end of a sentence."""
        self._started += 1
        path = self._folder / f"sail-{self._started}.sock"
        path.unlink(missing_ok=True)
        descriptor = open_log(self._log)
        offset = os.fstat(descriptor).st_size
        try:
            process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", "-m", "tesela.sql.sail", str(path)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=descriptor, env=environment(),
                start_new_session=True,
            )  # fmt: skip
        except OSError as exc:
            return f"cannot be started: {exc.strerror}"
        finally:
            os.close(descriptor)
        with process:
            with self._changed:
                self._process = process
                if self._stopping:
                    process.kill()
            address = first_line(process, START_S)
            if address is None:
                process.kill()
            dial = dialling(address) if address is not None else None
            with self._changed:
                if dial is not None:
                    self._dial, self._died = dial, ""
                self._changed.notify_all()
            status = process.wait()
        path.unlink(missing_ok=True)
        words = last_line(self._log, offset)
        return f"ended with status {status}" + (f"; its last line in {self._log}: {words}" if words else "")


def first_line(process: subprocess.Popen[bytes], patience_s: float) -> str | None:
    """The address that the child prints; None when it does not."""
    out = cast(IO[bytes], process.stdout)
    ready, _, _ = select.select([out], [], [], patience_s)
    line = out.readline() if ready else b""
    try:
        return str(json.loads(line)["address"])
    except (ValueError, KeyError, TypeError):
        return None


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith(KEPT_PREFIXES)}
    # As a cluster, Sail would listen on more ports, and those are open.
    return {**ENVIRONMENT, **kept, "SAIL_MODE": "local"}


def dialling(address: str) -> "Dial":
    """What opens sessions on the child at `address`."""
    if not address.startswith("unix:"):
        _log.warning("the SQL engine's port is open to every user of this machine, who can run code as this one")
    connection = shared(address) if address.startswith("unix:") else address

    def dial() -> "SparkSession":
        spark = connected(connection)
        # The child is there or it is not; waiting is the supervisor's.
        spark.client.set_retry_policies([])
        # A stream that can be taken up again is kept by the engine meanwhile; here there is no network to break it.
        spark.client.disable_reattachable_execute()
        return spark

    return dial


def connected(connection: "str | DefaultChannelBuilder") -> "SparkSession":
    """A session of its own.  Not the builder's: that one is shared by everything in a process."""
    # Here, because the package takes `python -c` for a run of its own tests, and ends the process.
    from pyspark.sql.connect.session import SparkSession

    return SparkSession(connection=connection)


class RemoteEngine:
    """A Spark Connect server that somebody else runs, at `sc://host:port/;token=…`."""

    def __init__(self, settings: PlanSettings, address: str) -> None:
        self._settings = settings
        self._address = address

    def start(self) -> None:
        """Nothing to do: sessions dial."""

    def session(self, catalog: str, schema: str) -> SparkConnectSession:
        from pyspark.sql.connect.client.retries import DefaultPolicy

        spark = connected(self._address)
        spark.client.set_retry_policies([DefaultPolicy(max_retries=REMOTE_RETRIES)])
        return SparkConnectSession(spark, self._settings, catalog, schema, lost=lambda: "")

    def stop(self) -> None:
        """Nothing to do: it is not ours."""
