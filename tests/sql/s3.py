"""An S3 server on loopback, and the environment in which a server of ours finds it."""

import http.client
import os
import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import IO

import pytest

COMMAND = Path(__file__).parents[2] / ".venv-services" / "bin" / "moto_server"
PATIENCE_S = 60
SIGNED = "AWS4-HMAC-SHA256 Credential=tester/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


class Store:
    """A store with its objects, which are put and listed over its own protocol."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.environment = {
            "AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "a-key-of-the-tests", "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_ALLOW_HTTP": "true",
        }  # fmt: skip

    def put(self, path: str, body: bytes = b"") -> None:
        self._ask("PUT", path, body)

    def keys(self, bucket: str, prefix: str) -> list[str]:
        text = self._ask("GET", f"/{bucket}?list-type=2&prefix={prefix}")
        return re.findall(r"<Key>([^<]*)</Key>", text)

    def _ask(self, method: str, path: str, body: bytes = b"") -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        headers = {"authorization": SIGNED, "content-type": "application/octet-stream"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert answer.status == 200, text
        return text


@contextmanager
def s3_store() -> Iterator[Store]:
    """Skips where there is no environment for servers."""
    if not COMMAND.exists():
        pytest.skip("the S3 server needs the environment of services")
    process = subprocess.Popen(
        [str(COMMAND), "-H", "127.0.0.1", "-p", "0"],
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    ports: Queue[int] = Queue()
    assert process.stderr is not None
    reader = threading.Thread(target=_read, args=(process.stderr, ports))
    reader.start()
    try:
        yield Store(ports.get(timeout=PATIENCE_S))
    except Empty:
        raise AssertionError("the S3 server did not start") from None
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        reader.join()
        process.stderr.close()


def _read(lines: IO[bytes], ports: "Queue[int]") -> None:
    """The port that it says it listens on, and the rest of its log, so that it never waits for a reader."""
    for line in lines:
        found = re.search(rb"Running on http://127\.0\.0\.1:(\d+)", line)
        if found:
            ports.put(int(found[1]))
