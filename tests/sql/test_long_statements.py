"""A statement that takes longer than a service principal's token is good for."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tesela.client import remote
from tesela.client.statements import Connection
from tesela.errors import UpstreamRejected


class Workspace:
    """Gives tokens, of which the newest is good; after `good_for` answers it is not any more."""

    def __init__(self, good_for: int) -> None:
        self.good_for = good_for
        self.tokens = 0
        self.left = 0
        self.polls = 3
        self.paths: list[tuple[int, str, str]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, method: str, path: str, shown: str) -> tuple[int, dict[str, Any]]:
        if path == "/oidc/v1/token":
            self.tokens += 1
            self.left = self.good_for
            return 200, {"access_token": f"token-{self.tokens}"}
        if shown != f"Bearer token-{self.tokens}" or self.left == 0:
            return 401, {"error_code": "UNAUTHENTICATED", "message": "the token has ended"}
        self.left -= 1
        if path == "/api/2.0/sql/sessions":
            return 200, {"session_id": "s"}
        if method == "GET":
            self.polls -= 1
        done = method == "GET" and self.polls == 0
        return 200, {"statement_id": "i", "status": {"state": "SUCCEEDED" if done else "RUNNING"}}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        workspace = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                status, found = workspace.answer(self.command, self.path, self.headers.get("authorization", ""))
                workspace.paths.append((status, self.command, self.path))
                body = json.dumps(found).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_DELETE = do_POST

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        return Handler


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    one = Workspace(good_for=3)
    yield one
    one.close()


def environ(home: Path) -> dict[str, str]:
    return {"DATABRICKS_CLIENT_ID": "id", "DATABRICKS_CLIENT_SECRET": "secret", "TESELA_HOME": str(home)}


def test_another_token_is_got_while_the_statement_runs(workspace: Workspace, tmp_path: Path) -> None:
    with Connection(remote.connect(workspace.url, None, environ(tmp_path))) as session:
        assert session.sql("SELECT 1").state == "SUCCEEDED"
    assert workspace.tokens == 2
    assert [path for status, method, path in workspace.paths if (status, method) == (200, "POST")].count(
        "/api/2.0/sql/statements"
    ) == 1, "the statement is sent once"


def test_a_principal_that_is_gone_is_told_once(workspace: Workspace, tmp_path: Path) -> None:
    workspace.good_for = 0
    with pytest.raises(UpstreamRejected, match="the token has ended"):
        remote.connect(workspace.url, None, environ(tmp_path)).get("/api/2.0/sql/statements/i")
    assert workspace.tokens == 2


def test_a_token_that_was_given_is_the_only_one(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(UpstreamRejected, match="the token has ended"):
        remote.connect(workspace.url, "given", environ(tmp_path)).get("/api/2.0/sql/statements/i")
    assert workspace.tokens == 0
