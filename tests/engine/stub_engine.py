"""A process that speaks just enough HTTP to be a `command` engine.  Usage: stub_engine.py PORT-or-SOCKET [FAULT]

GET /health, /pid (its process and, with `/grow/N`, N MiB more memory), /exit/STATUS.
"""

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from socketserver import UnixStreamServer

HELD: list[bytes] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        _, what, *rest = self.path.split("/")
        if what == "exit":
            sys.stderr.write("told to exit\n")
            sys.stderr.flush()
            os._exit(int(rest[0]))
        if what == "grow":
            HELD.append(os.urandom(int(rest[0]) * 2**20))
        body = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return

    def address_string(self) -> str:
        return "stub"


def main() -> None:
    where, *fault = sys.argv[1:]
    if fault == ["die"]:
        sys.exit("the weights are made of cheese")
    server = HTTPServer(("127.0.0.1", int(where)), Handler) if where.isdigit() else UnixStreamServer(where, Handler)
    server.serve_forever()


if __name__ == "__main__":
    main()
