"""How a server ends: asked twice, with its parent killed, and beside another one of the same home."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CONFIGURED = """
timeouts: {drain: 8}
endpoints:
  - name: e
    config: {served_entities: [{external_model: {name: m, provider: scripted, task: llm/v1/chat}}]}
"""
SERVE = [sys.executable, "-P", "-c", "from tesela.cli import main; main()", "serve", "--port", "0"]
HALF = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %b\r\n"
    b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n"
)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[tuple["subprocess.Popen[str]", int, bytes]]:
    """A server that is ready, its port, and a token for it."""
    (folder / "tesela.yaml").write_text(CONFIGURED)
    environ = {**os.environ, "TESELA_HOME": str(folder / "home")}
    with subprocess.Popen(SERVE, cwd=folder, env=environ, stdout=-1, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            said = ""
            while "DATABRICKS_TOKEN=" not in said and (line := process.stdout.readline()):
                said += line
            found = re.search(r"DATABRICKS_HOST=http://[^:]+:(\d+)\n.*DATABRICKS_TOKEN=(\w+)", said)
            assert found is not None, said
            yield process, int(found[1]), found[2].encode()
        finally:
            if process.poll() is None:
                process.kill()


def busy(port: int, token: bytes) -> socket.socket:
    """A connection in the middle of a request, which a server that ends waits for."""
    made = socket.create_connection(("127.0.0.1", port), 10)
    made.sendall(HALF % token)
    assert made.recv(4096).startswith(b"HTTP/1.1 100 ")
    return made


def refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def until(found: "object", within: float = 10.0) -> None:
    assert callable(found)
    end = time.monotonic() + within
    pause = iter(lambda: subprocess.run(["/bin/sleep", "0.05"], check=True), None)
    while not found():
        assert time.monotonic() < end, "it did not come to pass"
        next(pause)


def test_a_server_that_ends_takes_no_more_and_ends_at_once_when_asked_again(tmp_path: Path) -> None:
    with served(tmp_path) as (process, port, token), busy(port, token):
        process.send_signal(signal.SIGINT)
        until(lambda: refused(port))
        asked = time.monotonic()
        until(lambda: time.monotonic() - asked > 0.6)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0


def test_a_signal_told_twice_is_one(tmp_path: Path) -> None:
    with served(tmp_path) as (process, port, token), busy(port, token) as caller:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        until(lambda: refused(port))
        assert process.poll() is None
        caller.sendall(b'{"a": 1 }')
        assert caller.recv(4096).startswith(b"HTTP/1.1 400 ")
        assert process.wait(10) == 0


def test_the_address_of_another_server_stays(tmp_path: Path) -> None:
    address = tmp_path / "home" / "address"
    with served(tmp_path) as (first, _, _), served(tmp_path) as (_, port, _):
        first.send_signal(signal.SIGTERM)
        assert first.wait(15) == 0
        assert address.read_text().strip().endswith(f":{port}")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_worker_whose_parent_was_killed_drains_without_haste(tmp_path: Path) -> None:
    def used(pid: int) -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    with served(tmp_path) as (process, port, token), busy(port, token) as caller:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        worker = next(int(pid) for pid in children if b"tesela.worker" in Path(f"/proc/{pid}/cmdline").read_bytes())
        process.kill()
        process.wait()
        until(lambda: refused(port))
        before, began = used(worker), time.monotonic()
        until(lambda: time.monotonic() - began > 2)
        assert used(worker) - before < 0.5
        caller.close()
        until(lambda: not Path(f"/proc/{worker}").exists())
