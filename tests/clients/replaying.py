"""A server on loopback that answers with the reply of an exchange, and the exchanges as plain JSON.

The exchange is named by the path, `/x/{provider}/{name}/…`, or by the endpoint in a workspace's path.  Nothing of
Tesela is needed here.
"""

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "exchanges"
EXCHANGES: dict[str, Any] = {
    str(file.relative_to(FOLDER).with_suffix("")): json.loads(file.read_text("utf-8"))
    for file in sorted(FOLDER.glob("*/*.json"))
}


def data(reply: Any) -> bytes:
    return base64.b64decode(reply["base64"]) if reply.get("base64") else reply.get("body", "").encode()


class Replaying(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.path == "/token":
            self._say(200, "application/json", b'{"access_token": "t", "expires_in": 3600, "token_type": "Bearer"}')
            return
        pieces = self.path.split("/")
        name = f"{pieces[2]}/{pieces[3]}" if pieces[1] == "x" else pieces[2].replace("--", "/")
        exchange = EXCHANGES[name]
        streaming = "stream" in pieces[-1].lower() or b'"stream":true' in body.replace(b" ", b"")
        reply = exchange["stream" if streaming else "whole"]["reply"]
        self._say(reply.get("status", 200), reply["content_type"], data(reply))

    def _say(self, status: int, kind: str, said: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def replaying() -> Iterator[str]:
    """The address of such a server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Replaying) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
