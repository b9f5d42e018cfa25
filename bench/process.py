"""Child processes of the bench: started on one core, weighed from outside, ended in every case.

A child leads a session of its own, so that ending it ends its children too, and it is told to stop when the
bench dies. Only processes started here are ever signalled.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

_PR_SET_PDEATHSIG = 1
# clockid_t of another process: the complement of its id, and 2 for "time on the processor" (linux/posix-timers.h).
_CPUCLOCK_SCHED = 2


class BenchError(Exception):
    """Something the bench needs is missing or did not happen; the text says what to do."""


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def processor_ns(pid: int) -> int:
    """Processor time of a live process so far, all threads, user and system, in ns. 0 when it is gone."""
    try:
        return time.clock_gettime_ns((~pid << 3) | _CPUCLOCK_SCHED)
    except OSError:
        return 0


def waited_ns(pid: int) -> int:
    """Time in which the threads of a process were ready to run and had no core, in ns. 0 when it is gone."""
    total = 0
    for schedstat in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(schedstat.read_text().split()[1])
        except OSError:
            continue
    return total


def parents() -> dict[int, int]:
    """Process id to parent id for every process that can be seen."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            found[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    return found


def birth(pid: int) -> str:
    """What tells a process from a later one with the same number: when it began. Empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def family(root: int, parent_of: Mapping[int, int]) -> list[int]:
    """`root` and all its descendants, ascending."""
    members = {root}
    grown = True
    while grown:
        more = {pid for pid, parent in parent_of.items() if parent in members} - members
        members |= more
        grown = bool(more)
    return sorted(members)


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB (10^6 bytes), shared pages included. 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 1)


class Child:
    """One started command and whatever it starts itself."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        core: int | None,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        piped: bool = False,
    ) -> None:
        self.log = log
        libc = ctypes.CDLL(None)

        def prepare() -> None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if core is not None:
                os.sched_setaffinity(0, {core})

        with log.open("ab") as output:
            self.started = time.monotonic()
            self.process = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else output,
                stderr=output,
                env=None if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
                preexec_fn=prepare,  # the bench has one thread
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end()

    def pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        """Standard input and output of a child that was started `piped`."""
        if self.process.stdin is None or self.process.stdout is None:
            raise BenchError(f"{self.log.stem} was not started with pipes")
        return self.process.stdin, self.process.stdout

    def pids(self) -> list[int]:
        """The process and its descendants."""
        return family(self.process.pid, parents())

    def processor_ns(self) -> int:
        """Processor time of the whole family so far, in ns."""
        return sum(processor_ns(pid) for pid in self.pids())

    def waited_ns(self) -> int:
        """Time in which the family was ready to run and had no core, in ns."""
        return sum(waited_ns(pid) for pid in self.pids())

    def resident(self) -> dict[str, float]:
        """Resident MB: of the largest process, of all together, and how many they are."""
        sizes = [resident_mb(pid) for pid in self.pids()]
        return {
            "largest_mb": max(sizes),
            "together_mb": round(sum(sizes), 1),
            "processes": len(sizes),
        }

    def alive(self) -> bool:
        return self.process.poll() is None

    def tail(self) -> str:
        """The end of what it wrote, for an error message."""
        return self.log.read_text(errors="replace")[-1500:].strip()

    def end(self) -> None:
        """Ask it to stop, and after three seconds make it; then make sure that none of its family is left."""
        births = {pid: birth(pid) for pid in self.pids()}
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(timeout=3)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid, born in births.items():
            if born and birth(pid) == born:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


def await_answer(child: Child, port: int, request: bytes, *, limit_s: float) -> float:
    """Ask until the first 200, and return the seconds from the child's start to that answer's last byte.

    Raises `BenchError` with the child's own words when it dies or takes longer than `limit_s`.
    """
    last = "no connection"
    while time.monotonic() - child.started < limit_s:
        if not child.alive():
            raise BenchError(f"{child.log.stem} ended at start with {child.process.returncode}: {child.tail()}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
                line.sendall(request)
                answer = line.recv(65_536)
        except OSError:
            time.sleep(0.001)
            continue
        if answer.startswith(b"HTTP/1.1 200"):
            return time.monotonic() - child.started
        last = answer[:300].decode("latin-1")
        time.sleep(0.05)
    raise BenchError(f"{child.log.stem} gave no 200 within {limit_s} s; last answer: {last!r}; log: {child.tail()}")
