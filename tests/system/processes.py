"""`tesela serve` as a process of its own, and a client for it."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

PATIENCE_S = 30.0
COMMAND = [sys.executable, "-P", "-c", "from tesela.cli import main; main()"]
MESSAGES = [{"role": "user", "content": "Hi"}]


def endpoint(name: str, model: str) -> str:
    served = f"name: m, external_model: {{name: '{model}', provider: scripted, task: llm/v1/chat}}"
    return f"  - {{name: {name}, config: {{served_entities: [{{{served}}}]}}}}\n"


FILE = (
    "endpoints:\n" + endpoint("chat", "echo") + endpoint("trickle", "long-12+drip-100ms") + endpoint("slow", "slow-1s")
)


def until(condition: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """The first true value of a condition.  Fails when it does not come in time."""
    end = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        threading.Event().wait(0.01)
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Served:
    """One server.  As a context it ends with the test, whatever the test did."""

    def __init__(
        self, folder: Path, *arguments: str, file: str = FILE, wait: bool = True, environ: Mapping[str, str] = {}
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder, self.home = folder, folder / "home"
        self.configuration = folder / "tesela.yaml"
        self.configuration.write_text(file)
        self.environ = {
            name: content
            for name, content in os.environ.items()
            if not name.startswith(("TESELA_", "DATABRICKS_", "PYTHON")) and not name.lower().endswith("_proxy")
        } | {"TESELA_HOME": str(self.home), "PYTHONWARNINGS": "error", **environ}
        self.noise = folder / f"stderr-{time.monotonic_ns()}"
        with self.noise.open("wb") as err:
            self.process = subprocess.Popen(
                [*COMMAND, "serve", "--port", "0", *arguments],
                cwd=folder, env=self.environ, stdout=subprocess.PIPE, stderr=err, text=True,
            )  # fmt: skip
        self.host = self.token = self.banner = ""
        if wait:
            self._read_banner()

    def _read_banner(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.banner += line
            if "DATABRICKS_TOKEN=" in line:
                break
        found = dict(re.findall(r"^ *export (DATABRICKS_\w+)=(\S+)$", self.banner, re.MULTILINE))
        assert found, self.errors()
        self.host, self.token = found["DATABRICKS_HOST"], found["DATABRICKS_TOKEN"]

    def errors(self) -> str:
        return self.noise.read_text()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        workers = self.workers()
        if self.process.poll() is None:
            self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE_S)
        for pid in (self.process.pid, *workers):
            if self.process.returncode is None or (pid != self.process.pid and alive(pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def end(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop, and wait for its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def workers(self) -> list[int]:
        """The ids of the gateway's worker processes."""
        try:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            return []
        return [int(pid) for pid in children if b"tesela.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    @contextlib.contextmanager
    def connected(self) -> Iterator[http.client.HTTPConnection]:
        where = urlsplit(self.host)
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=PATIENCE_S)
        try:
            yield connection
        finally:
            connection.close()

    def ask(self, model: str = "chat", token: str | None = None, **more: Any) -> tuple[int, dict[str, str], Any]:
        """One question on a connection of its own."""
        with self.connected() as connection:
            self.begin(connection, model, token, **more)
            answer = connection.getresponse()
            body = answer.read()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, json.loads(body)

    def begin(
        self, connection: http.client.HTTPConnection, model: str = "chat", token: str | None = None, **more: Any
    ) -> None:
        body = json.dumps({"model": model, "messages": MESSAGES, **more})
        connection.request(
            "POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {self.token if token is None else token}"}
        )

    def call(self, method: str, path: str, body: Any = None, token: str | None = None) -> tuple[int, Any]:
        """One request to the control plane, on a connection of its own."""
        with self.connected() as connection:
            headers = {"Authorization": f"Bearer {self.token if token is None else token}"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command line beside the server."""
        return subprocess.run(
            [*COMMAND, *arguments], cwd=self.folder, env=self.environ, capture_output=True, text=True,
            timeout=PATIENCE_S, check=False,
        )  # fmt: skip
