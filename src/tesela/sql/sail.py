"""The process in which Sail runs: `python -m tesela.sql.sail SOCKET`.  It prints its address and dies with its parent.

Sail listens on a port of this machine without asking who connects.  On Linux that port is closed to everybody, and
the way to Sail is the Unix socket SOCKET, which is this user's alone.
"""

import json
import os
import socket
import sys
import threading
from pathlib import Path

from tesela.engine.parent import die_with_parent

CONNECTIONS = 4
"""One is in use; the others are there for when it breaks."""


def main() -> None:
    die_with_parent()
    from pysail.spark import SparkConnectServer

    server = SparkConnectServer("127.0.0.1", 0)
    if sys.platform != "linux":
        server.start(background=True)
        host, port = server.listening_address
        _tell(f"sc://{host}:{port}")
        threading.Event().wait()
        return
    from tesela.sql.relay import relay
    from tesela.sql.sealed import NotSealed, sealed

    try:
        connections = sealed(lambda: server.start(background=True), CONNECTIONS)
    except (NotSealed, OSError) as exc:
        # At once: the server may have a visitor, and must not get to them.
        sys.stderr.write(f"{exc}\n")
        sys.stderr.flush()
        os._exit(1)
    path = Path(sys.argv[1])
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen()
    _tell(f"unix:{path}")
    relay(listener, connections)
    sys.stderr.write("no connection to the engine is left\n")
    sys.stderr.flush()
    os._exit(1)


def _tell(address: str) -> None:
    sys.stdout.write(json.dumps({"address": address}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
