"""HTTP to an engine outside an event loop: health while it starts, load while it ends."""

import http.client
import socket
import urllib.parse


def connect(base_url: str, path: str, timeout_s: float = 5.0) -> http.client.HTTPConnection:
    """A connection to `base_url`, or to the Unix socket `path` when that is empty."""
    if base_url:
        parts = urllib.parse.urlsplit(base_url)
        return http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=timeout_s)
    return UnixConnection(path, timeout_s)


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket, for the few questions that are asked outside an event loop."""

    def __init__(self, path: str, timeout_s: float = 5.0) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
