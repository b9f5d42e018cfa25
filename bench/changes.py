"""How soon a change through the API is served by every worker: `python -m bench.changes`.

Starts a server of four workers with a scripted endpoint, makes endpoints one after another, and asks for each on fresh
connections until every worker has answered.  The time is from the answer to the change until the last worker's last
refusal; a request id names its worker.
"""

import http.client
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

WORKERS, TIMES = 4, 40
LIMIT_S = 30.0
MODEL = {"name": "echo", "provider": "scripted", "task": "llm/v1/chat"}


def body(name: str) -> dict[str, Any]:
    return {"name": name, "config": {"served_entities": [{"name": "m", "external_model": MODEL}]}}


class Server:
    """One server with this configuration, for as long as the context lasts."""

    def __init__(self, folder: Path, config: dict[str, Any], workers: int, *, quiet: bool = False) -> None:
        environ = {**os.environ, "TESELA_HOME": str(folder / "home")}
        (folder / "tesela.yaml").write_text(json.dumps(config))
        command = [sys.executable, "-m", "tesela", "serve", "--port", "0", "--workers", str(workers)]
        self.process = subprocess.Popen(
            [*command, "--config", "tesela.yaml"],
            cwd=folder, env=environ, stdout=subprocess.PIPE, text=True,
            stderr=subprocess.DEVNULL if quiet else None,
        )  # fmt: skip
        self.host = self.token = ""

    def __enter__(self) -> "Server":
        said = ""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said += line
            if "DATABRICKS_TOKEN=" in line:
                break
        found = dict(re.findall(r"export (DATABRICKS_\w+)=(\S+)", said))
        self.host, self.token = found["DATABRICKS_HOST"], found["DATABRICKS_TOKEN"]
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(LIMIT_S)

    def call(self, path: str, asked: dict[str, Any]) -> tuple[int, str]:
        """Status and the worker's number."""
        connection = http.client.HTTPConnection(urlsplit(self.host).netloc, timeout=LIMIT_S)
        try:
            connection.request("POST", path, json.dumps(asked), {"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.headers["x-request-id"].split("-")[1]
        finally:
            connection.close()


def once(server: Server, name: str) -> tuple[float, float]:
    """Seconds that the change took, and seconds from its answer until no worker refused any more."""
    began = time.perf_counter()
    status, _ = server.call("/api/2.0/serving-endpoints", body(name))
    assert status == 200, status
    made = last = time.perf_counter()
    right: set[str] = set()
    while len(right) < WORKERS and time.perf_counter() - made < LIMIT_S:
        asked = time.perf_counter()
        status, worker = server.call(
            "/v1/chat/completions", {"model": name, "messages": [{"role": "user", "content": "x"}]}
        )
        if status == 200:
            right.add(worker)
        else:
            last = asked
    return made - began, last - made


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder), {"endpoints": [body("first")]}, WORKERS) as server,
    ):
        took = [once(server, f"made-{i}") for i in range(TIMES)]
    for text, values in (("change answered", [a for a, _ in took]), ("last refusal after it", [b for _, b in took])):
        ordered = sorted(values)
        print(f"{text}: median {statistics.median(ordered) * 1000:.1f} ms, longest {ordered[-1] * 1000:.1f} ms")


if __name__ == "__main__":
    main()
