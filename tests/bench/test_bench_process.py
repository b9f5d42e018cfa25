"""Children are weighed rightly and never outlive the bench."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from bench.machine import short_name
from bench.process import BenchError, Child, await_answer, family, free_port, processor_ns, resident_mb

STUBBORN = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
SPAWNER = f"""
import subprocess, sys, time
inner = subprocess.Popen([sys.executable, "-c", {STUBBORN!r}], stdout=subprocess.PIPE)
inner.stdout.readline()
print(inner.pid, flush=True)
time.sleep(60)
"""


def _gone(pid: int) -> bool:
    """Whether a process has ended, waited for up to five seconds; a zombie that nobody has fetched has ended too."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        os.sched_yield()
    return False


def test_a_family_is_the_root_and_all_below() -> None:
    assert family(10, {1: 0, 10: 1, 11: 10, 12: 11, 20: 1}) == [10, 11, 12]
    assert family(99, {1: 0}) == [99]


def test_processor_time_is_what_the_process_itself_reads() -> None:
    before = time.process_time_ns()
    read = processor_ns(os.getpid())
    assert before <= read <= time.process_time_ns()
    assert resident_mb(os.getpid()) > 5


def test_a_process_that_is_gone_weighs_nothing(tmp_path: Path) -> None:
    with Child([sys.executable, "-c", "pass"], core=None, log=tmp_path / "log") as child:
        child.process.wait(timeout=20)
        pid = child.process.pid
    assert _gone(pid)
    assert resident_mb(pid) == 0


def test_ending_a_child_ends_its_children_even_when_they_will_not(tmp_path: Path) -> None:
    with Child([sys.executable, "-c", SPAWNER], core=0, log=tmp_path / "log", piped=True) as child:
        _, out = child.pipes()
        inner = int(out.readline())
        assert child.pids() == sorted([child.process.pid, inner])
        assert os.sched_getaffinity(inner) == {0}
        assert child.resident()["processes"] == 2
    assert _gone(inner)
    assert child.process.returncode == -signal.SIGTERM


def test_a_child_that_dies_at_start_is_reported_in_its_own_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.exit('the port is taken')"]
    with (
        Child(command, core=None, log=tmp_path / "gate.log") as child,
        pytest.raises(BenchError, match="gate ended at start with 1: the port is taken"),
    ):
        await_answer(child, free_port(), b"GET / HTTP/1.1\r\n\r\n", limit_s=20)


def test_short_names_tell_the_processor_and_nothing_else() -> None:
    assert short_name("Intel(R) Xeon(R) Processor", 2) == "xeon-2c"
    assert short_name("AMD EPYC 7763 64-Core Processor", 8) == "epyc-7763-8c"
    assert short_name("", 4) == "machine-4c"
