"""What tests of SQL share: a stand-in for the calls that answers batches and counts, and the engines themselves."""

import io
import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pyarrow as pa

from tesela.sql.arrow import arrow
from tesela.sql.site import EndpointFacts, Site
from tesela.wire.tasks import Task

ENDPOINTS = {
    "chat": EndpointFacts("chat", Task.CHAT),
    "emb": EndpointFacts("emb", Task.EMBEDDINGS),
    "old": EndpointFacts("old", Task.COMPLETIONS),
}

Answer = Callable[[Site, tuple[Any, ...]], Any]


def echo(site: Site, row: tuple[Any, ...]) -> Any:
    """An answer that shows what was asked; NULL for NULL."""
    if row[0] is None:
        return None
    return [float(len(row[0])), 1.0] if site.value.startswith("ARRAY<") else f"<{row[0]}>"


class Calls:
    """The batches' side of the calls: real HTTP, real Arrow, answers by a function, rows counted."""

    def __init__(self, answer: Answer = echo) -> None:
        self.answer = answer
        self.rows: list[tuple[str, tuple[Any, ...]]] = []
        self.batches = 0
        self.sites: dict[str, Site] = {}
        self.release = threading.Event()
        self.release.set()
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/batches"

    def tickets(self, sites: Sequence[Site]) -> Mapping[str, str]:
        self.sites |= {f"ticket-{site.udf}": site for site in sites}
        return {site.udf: f"ticket-{site.udf}" for site in sites}

    def asked(self) -> list[Any]:
        """The first argument of each row that was asked, sorted."""
        return sorted((row[0] for _, row in self.rows), key=str)

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def post(self, ticket: str, body: bytes) -> tuple[int, bytes]:
        site = self.sites[ticket]
        columns = [column.to_pylist() for column in pa.ipc.open_stream(body).read_all().columns]
        rows = list(zip(*columns, strict=True))
        with self._lock:
            self.rows += [(site.function, row) for row in rows]
            self.batches += 1
        self.release.wait(30)
        try:
            answers = [self.answer(site, row) for row in rows]
        except ValueError as exc:
            return 400, json.dumps({"message": str(exc)}).encode()
        if not site.fail_on_error:
            answers = [{"result": one, "errorMessage": None} for one in answers]
        batch = pa.RecordBatch.from_arrays([pa.array(answers, arrow(site.returns))], names=["answer"])
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        return 200, sink.getvalue()

    def _handler(calls) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                status, answer = calls.post(self.headers["x-tesela-ticket"], body)
                self.send_response(status)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *arguments: object) -> None:
                """Quiet."""

        return Handler


@contextmanager
def calls(answer: Answer = echo) -> Iterator[Calls]:
    one = Calls(answer)
    try:
        yield one
    finally:
        one.close()
