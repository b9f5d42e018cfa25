"""A whole server with SQL, an upstream that counts, and a client of the Statement Execution API for tests."""

import http.client
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.system.processes import Served

STATEMENTS = "/api/2.0/sql/statements"
PATIENCE_S = 60.0


class _Quiet(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """The gateway was killed: that is what some tests are for."""


class Upstream:
    """Answers `<prompt>`, after `late_s` and when `gate` is open; counts what it is asked.  `status` is that of a
    prompt."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.late_s = 0.0
        self.gate = threading.Event()
        self.gate.set()
        self.status: Callable[[str], int] = lambda _: 200
        self._lock = threading.Lock()
        self._server = _Quiet(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
                prompt = asked["messages"][-1]["content"]
                with upstream._lock:
                    upstream.asked[prompt] += 1
                upstream.gate.wait(PATIENCE_S)
                time.sleep(upstream.late_s)
                status = upstream.status(prompt)
                body = json.dumps(answer(f"<{prompt}>") if status == 200 else {"error": {"message": "no"}}).encode()
                try:
                    self.send_response(status)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except ConnectionError:
                    # The gateway was killed: that is what some tests are for.
                    self.close_connection = True

            def log_message(self, *_: Any) -> None:
                """Tests say what they saw."""

        return Handler


def answer(text: str) -> dict[str, Any]:
    return {
        "id": "x", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }  # fmt: skip


def endpoint(name: str, url: str) -> dict[str, Any]:
    config = {"custom_provider_url": url, "bearer_token_auth": {"token_plaintext": "k"}}
    model = {"name": "m", "provider": "custom", "task": "llm/v1/chat", "custom_provider_config": config}
    return {"name": name, "config": {"served_entities": [{"name": "m", "external_model": model}]}}


def scripted(name: str, task: str = "chat", **script: Any) -> dict[str, Any]:
    model = {"name": name, "provider": "scripted", "task": f"llm/v1/{task}"}
    if script:
        model["scripted_config"] = script  # type: ignore[assignment]
    return {"name": name, "config": {"served_entities": [{"name": "m", "external_model": model}]}}


@contextmanager
def serving(
    folder: Path, *endpoints: dict[str, Any], environ: Mapping[str, str] | None = None, **settings: Any
) -> Iterator["Sql"]:
    file = json.dumps({"endpoints": list(endpoints), **settings})
    with Served(folder, file=file, environ={"PYTHONWARNINGS": "default", **(environ or {})}) as served:
        yield Sql(served)


class Failed(Exception):
    """The statement did; the error is what its status says."""

    def __init__(self, status: dict[str, Any]) -> None:
        super().__init__(json.dumps(status))
        self.state = status["state"]
        self.error = status.get("error", {})
        self.message = self.error.get("message", "")


class Sql:
    """The API as a client sees it, with one credential."""

    def __init__(self, served: Served, token: str = "") -> None:
        self.served = served
        self.token = token or served.token
        self.upstream: Upstream | None = None

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = None
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        """Status, the body (parsed when it is JSON) and headers."""
        connection = http.client.HTTPConnection(urlsplit(self.served.host).netloc, timeout=PATIENCE_S)
        try:
            shown = self.token if token is None else token
            headers = {"Authorization": f"Bearer {shown}"} if shown else {}
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            data = response.read()
            kind = response.headers.get("content-type", "")
            return response.status, json.loads(data) if kind.endswith("json") else data, response.headers
        finally:
            connection.close()

    def begin(self, text: str, **asked: Any) -> dict[str, Any]:
        status, found, _ = self.ask("POST", STATEMENTS, {"statement": text, "warehouse_id": "w", **asked})
        assert status == 200, found
        return dict(found)

    def get(self, id: str) -> dict[str, Any]:
        status, found, _ = self.ask("GET", f"{STATEMENTS}/{id}")
        assert status == 200, found
        return dict(found)

    def wait(self, found: dict[str, Any]) -> dict[str, Any]:
        """Until it is done."""
        end = time.monotonic() + PATIENCE_S
        while found["status"]["state"] in ("PENDING", "RUNNING"):
            assert time.monotonic() < end, found
            threading.Event().wait(0.02)
            found = self.get(found["statement_id"])
        return found

    def run(self, text: str, **asked: Any) -> dict[str, Any]:
        """The answer of a statement that succeeded.  Raises Failed."""
        found = self.wait(self.begin(text, **asked))
        if found["status"]["state"] != "SUCCEEDED":
            raise Failed(found["status"])
        return found

    def rows(self, text: str, **asked: Any) -> list[list[str | None]]:
        found = self.run(text, **asked)
        return list(found["result"].get("data_array", []))

    def process(self, module: str) -> int | None:
        """The id of the process of this server that runs a module."""
        pids = [self.served.process.pid]
        while pids:
            pid = pids.pop()
            try:
                pids += map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
                # The engine is started by a thread of the process.
                for task in os.listdir(f"/proc/{pid}/task"):
                    children = Path(f"/proc/{pid}/task/{task}/children").read_text().split()
                    pids += [int(child) for child in children if int(child) not in pids]
                if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    return pid
            except (FileNotFoundError, ProcessLookupError):
                continue
        return None
