"""A server with prepared answers on loopback, a real one, and the command line as a process."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.system.processes import Served

ACCESS_TOKEN = "dapi" + "0123456789abcdef" * 2
COMMAND = [sys.executable, "-c", "from tesela.cli import main; main()"]
PATIENCE_S = 30.0


@dataclass
class Prepared:
    """What the server answers, by method and path, and what it was asked."""

    host: str = ""
    answers: dict[tuple[str, str], tuple[int, Iterable[bytes]]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    def answer(self, method: str, path: str, body: Any, status: int = 200) -> None:
        self.answers[method, path] = status, [json.dumps(body).encode()]

    def stream(self, path: str, *chunks: Any, done: bool = True) -> None:
        pieces = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
        self.answers["POST", path] = (
            200,
            [*pieces, b"data: [DONE]\n\n"] if done else pieces,
        )

    def endpoint(self, name: str, task: str = "llm/v1/chat", **more: Any) -> None:
        body = {
            "name": name,
            "task": task,
            "state": {"ready": "READY", "config_update": "NOT_UPDATING"},
            **more,
        }
        self.answer("GET", f"/api/2.0/serving-endpoints/{name}", body)


def handler_for(prepared: Prepared) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            prepared.asked.append(
                (
                    self.command,
                    self.path,
                    dict(self.headers.items()),
                    json.loads(body) if self.headers.get_content_type() == "application/json" else body or None,
                )
            )
            missing = json.dumps({"error_code": "ENDPOINT_NOT_FOUND", "message": "no such path"}).encode()
            status, pieces = prepared.answers.get((self.command, self.path), (404, [missing]))
            self.send_response(status)
            self.end_headers()
            for piece in pieces:
                self.wfile.write(piece)
                self.wfile.flush()

        do_GET = do_POST = serve

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    return Handler


@pytest.fixture
def server() -> Iterator[Prepared]:
    prepared = Prepared()
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler_for(prepared))
    listening.daemon_threads = True
    prepared.host = f"http://127.0.0.1:{listening.server_port}"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield prepared
    prepared.released.set()
    listening.shutdown()
    listening.server_close()
    thread.join()


@dataclass
class CommandLine:
    """Runs `tesela` in a clean environment of its own."""

    folder: Path
    environ: dict[str, str]

    def __call__(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.folder,
            env=self.environ,
            input=stdin,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def start(self, *arguments: str, **settings: Any) -> subprocess.Popen[bytes]:
        return subprocess.Popen([*COMMAND, *arguments], cwd=self.folder, env=self.environ, **settings)


@pytest.fixture
def make_tesela(tmp_path: Path) -> Callable[..., CommandLine]:
    def make(**more: str) -> CommandLine:
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("TESELA_", "DATABRICKS_"))}
        environ |= {
            "TESELA_HOME": str(tmp_path / "home"),
            "PYTHONWARNINGS": "error",
            **more,
        }
        return CommandLine(tmp_path, environ)

    return make


@pytest.fixture
def tesela(make_tesela: Callable[..., CommandLine], server: Prepared) -> CommandLine:
    """The command line, pointed at the server."""
    return make_tesela(DATABRICKS_HOST=server.host, DATABRICKS_TOKEN=ACCESS_TOKEN)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A real server, for what changes things on it.  Each test makes what it needs under names of its own."""
    with Served(tmp_path_factory.mktemp("served")) as one:
        yield one


@pytest.fixture
def admin(make_tesela: Callable[..., CommandLine], served: Served) -> CommandLine:
    """The command line, pointed at the real server with the token of its admin."""
    return make_tesela(DATABRICKS_HOST=served.host, DATABRICKS_TOKEN=served.token)
