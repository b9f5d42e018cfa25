"""The one UDF: it posts rows as Arrow to the calls, and gives back their answers in order.

The module is shipped by value to whatever runs the engine's Python, so it imports nothing but the standard library and
pyarrow, and is Python that all of them run.
"""

import http.client
import io
import json
import queue
import socket
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc

WINDOW = 8
"""Batches that one task has under way, once the engine has taken that many answers."""
MARK = "[TESELA] "
"""What our own sentences begin with, among all that an engine says of a failed UDF."""


class Ask:
    """A function from an iterator of batches to an iterator of answers.

    A batch is an array, or a tuple of arrays of which one after the `arguments` says which rows are asked for at all;
    the others are NULL.  `answers` is the schema of the answer, one column, as Arrow writes it.  With an empty ticket
    nothing is asked (EXPLAIN).  The window grows with what the engine takes, so that a LIMIT does not cause calls for
    rows that it never wants.
    """

    def __init__(
        self,
        url: str,
        ticket: str,
        arguments: int,
        answers: bytes,
        *,
        constant: bool = False,
        headers: "dict[str, str] | None" = None,
        window: int = WINDOW,
    ) -> None:
        self.url = url
        self.headers = {"x-tesela-ticket": ticket, **(headers or {})}
        self.ticket = ticket
        self.arguments = arguments
        self.answers = answers
        self.constant = constant
        self.window = window

    def __call__(self, batches: Iterator[Any]) -> Iterator[pa.Array]:
        kind = pa.ipc.read_schema(pa.py_buffer(self.answers)).field(0).type
        posts = Posts(self.url, self.headers)
        under_way: deque[Sent] = deque()
        source = iter(batches)
        more, allowed = True, 1
        try:
            while more or under_way:
                while more and len(under_way) < allowed:
                    item = next(source, None)
                    if item is None:
                        more = False
                    else:
                        under_way.append(self._send(posts, item))
                if under_way:
                    yield under_way.popleft().answer(kind)
                    allowed = min(allowed * 2, self.window)
        finally:
            # Reached at the end, at an error, and when the engine wants no more: what is under way is let go.
            posts.end()

    def _send(self, posts: "Posts", item: Any) -> "Sent":
        columns = item if isinstance(item, tuple) else (item,)
        rows, places = len(columns[0]), None
        if len(columns) > self.arguments:
            needed = pc.fill_null(columns[self.arguments], False)
            columns = columns[: self.arguments]
            if pc.sum(needed).as_py() != rows:
                places = pc.indices_nonzero(needed)
                columns = tuple(one.take(places) for one in columns)
        if self.constant:
            columns = tuple(one.slice(0, 1) for one in columns)
        if not self.ticket or len(columns[0]) == 0:
            return Sent(None, rows, places, 0)
        return Sent(posts.post(encode(columns)), rows, places, len(columns[0]))


class Sent:
    """One batch on its way: `rows` of the engine's, of which those at `places` (None: all) need an answer."""

    def __init__(self, future: "Future[bytes] | None", rows: int, places: Any, asked: int) -> None:
        self.future = future
        self.rows = rows
        self.places = places
        self.asked = asked

    def answer(self, kind: pa.DataType) -> pa.Array:
        if self.future is None:
            return pa.nulls(self.rows, kind)
        answer = decode(self.future.result())
        if len(answer) != self.asked:
            raise RuntimeError(f"{MARK}{self.asked} rows were asked and {len(answer)} answered")
        if answer.type != kind:
            answer = answer.cast(kind)
        wanted = self.rows if self.places is None else len(self.places)
        if self.asked != wanted:
            answer = answer.take(pa.array([0] * wanted, pa.int64()))
        if self.places is None:
            return answer
        spread: list[int | None] = [None] * self.rows
        for at, place in enumerate(self.places.to_pylist()):
            spread[place] = at
        return answer.take(pa.array(spread, pa.int64()))


class Posts:
    """Threads with a kept connection each, as many as are needed at once."""

    def __init__(self, url: str, headers: "dict[str, str]") -> None:
        self._there = urlsplit(url)
        self._headers = {"content-type": "application/vnd.apache.arrow.stream", **headers}
        self._jobs: queue.SimpleQueue[tuple[bytes, Future[bytes]] | None] = queue.SimpleQueue()
        self._busy = 0
        self._threads: list[threading.Thread] = []
        self._open: list[Any] = []
        self._lock = threading.Lock()
        self._ended = False

    def post(self, body: bytes) -> "Future[bytes]":
        future: Future[bytes] = Future()
        with self._lock:
            self._busy += 1
            if self._busy > len(self._threads):
                self._threads.append(threading.Thread(target=self._work, daemon=True))
                self._threads[-1].start()
        self._jobs.put((body, future))
        return future

    def end(self) -> None:
        with self._lock:
            self._ended = True
            under_way = self._busy
            opened = list(self._open)
        for _ in self._threads:
            self._jobs.put(None)
        for connection in opened if under_way else ():
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except (OSError, AttributeError):
                continue  # it has ended by itself

    def _work(self) -> None:
        connection = None
        while (job := self._jobs.get()) is not None:
            body, future = job
            try:
                connection = connection or self._connect()
                answer = self._exchange(connection, body)
            except (OSError, http.client.HTTPException) as exc:
                connection = None
                told = "the statement was canceled" if self._ended else f"the statement's calls are out of reach: {exc}"
                self._done(future, RuntimeError(f"{MARK}{told}"))
            except RuntimeError as exc:
                self._done(future, exc)
            else:
                self._done(future, answer)
        if connection is not None:
            connection.close()

    def _done(self, future: "Future[bytes]", outcome: Any) -> None:
        with self._lock:
            self._busy -= 1
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def _connect(self) -> Any:
        there = self._there
        if there.scheme == "unix":
            connection: Any = http.client.HTTPConnection("localhost")
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.connect(there.path)
        elif there.scheme == "https":
            connection = http.client.HTTPSConnection(there.hostname or "", there.port)
        else:
            connection = http.client.HTTPConnection(there.hostname or "", there.port)
        with self._lock:
            if self._ended:
                raise OSError("ended")
            self._open.append(connection)
        return connection

    def _exchange(self, connection: Any, body: bytes) -> bytes:
        there = self._there
        path = "/batches" if there.scheme == "unix" else there.path + (f"?{there.query}" if there.query else "")
        connection.request("POST", path, body, self._headers)
        response = connection.getresponse()
        answer: bytes = response.read()
        if response.status != 200:
            raise RuntimeError(f"{MARK}{said(answer, response.status)}")
        return answer


def said(answer: bytes, status: int) -> str:
    """The sentence of an error's body, on one line: an engine's message has many more lines around it."""
    try:
        return " ".join(str(json.loads(answer)["message"]).split())
    except (ValueError, KeyError, TypeError):
        return f"the statement's calls answered with status {status}"


def encode(columns: Any) -> bytes:
    batch = pa.RecordBatch.from_arrays(list(columns), names=[f"a{at}" for at in range(len(columns))])
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def decode(body: bytes) -> pa.Array:
    column = pa.ipc.open_stream(body).read_all().column(0).combine_chunks()
    return column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
