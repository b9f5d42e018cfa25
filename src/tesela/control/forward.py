"""A request handed on to the process that runs statements, and its answer handed back as it comes.

Over the server's own socket.  The caller's credential has been checked; who they are goes with the request, beside the
secret by which that process knows a worker.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Mapping

import httptools
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from tesela.errors import EngineError, RequestTimeout, TooLarge

PIECE = 256 * 1024
PASSED = frozenset({"content-type", "content-length", "cache-control", "retry-after", "etag", "last-modified"})
"""Headers of an answer that reach the caller."""
CONNECT_S = 60.0


def _gone() -> EngineError:
    return EngineError(
        "the process that runs statements has ended; it starts again with the next request, and what was answered is "
        "kept",
        retry_after_s=1,
    )


class Answer:
    """One answer as it is parsed: its head, then its body in pieces.  `httptools` calls the methods that begin with
    `on_`."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self.headers: dict[str, str] = {}
        self._reader = reader
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: deque[bytes] = deque()
        self._head = False
        self._complete = False

    @property
    def status(self) -> int:
        return int(self._parser.get_status_code())

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._head = True

    def on_body(self, body: bytes) -> None:
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        self._complete = True

    async def head(self) -> None:
        """Read until the head is whole.  Raises EngineError when it ends before."""
        while not self._head:
            await self._more()

    async def body(self) -> AsyncIterator[bytes]:
        """Raises EngineError when the answer is cut: breaking the connection is the only way left to say so."""
        while True:
            while self._pieces:
                yield self._pieces.popleft()
            if self._complete:
                return
            await self._more()

    async def _more(self) -> None:
        try:
            data = await self._reader.read(PIECE)
            if not data:
                raise _gone()
            self._parser.feed_data(data)
        except (OSError, httptools.HttpParserError) as exc:
            raise _gone() from exc


async def forward(request: Request, socket: str, said: Mapping[str, str], most_bytes: int) -> Response:
    """Raises EngineError when the process is not there or ends, TooLarge, RequestTimeout."""
    body = await _body(request, most_bytes)
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_unix_connection(socket)
    except (OSError, TimeoutError) as exc:
        raise _gone() from exc
    answer = Answer(reader)
    try:
        writer.write(head(request, said, len(body)) + body)
        await writer.drain()
        await _first(request, answer)
    except OSError as exc:
        writer.close()
        raise _gone() from exc
    except BaseException:
        writer.close()
        raise

    async def rest() -> AsyncIterator[bytes]:
        try:
            async for piece in answer.body():
                yield piece
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    kept = {name: value for name, value in answer.headers.items() if name in PASSED}
    return StreamingResponse(rest(), answer.status, headers=kept)


def head(request: Request, said: Mapping[str, str], length: int) -> bytes:
    """The head of the request.  Path and query are as the caller's parser found them, so nothing in them ends a line;
    neither does anything in `said`, which is ours."""
    target = bytes(request.scope["raw_path"])
    if request.scope["query_string"]:
        target += b"?" + request.scope["query_string"]
    lines = [f"{name}: {value}" for name, value in said.items()]
    lines += ["host: localhost", f"content-length: {length}", "connection: close"]
    kind = request.headers.get("content-type")
    if kind:
        lines.append(f"content-type: {kind}")
    return request.method.encode() + b" " + target + b" HTTP/1.1\r\n" + "\r\n".join([*lines, "", ""]).encode("latin-1")


async def _first(request: Request, answer: Answer) -> None:
    """The head of the answer.  A caller who leaves before is not waited for: the other side sees it, too."""
    there = asyncio.ensure_future(answer.head())
    left = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((there, left), return_when=asyncio.FIRST_COMPLETED)
        if not there.done():
            raise RequestTimeout("the caller left before there was an answer")
        there.result()
    finally:
        left.cancel()
        there.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _body(request: Request, most_bytes: int) -> bytes:
    out = bytearray()
    try:
        async for piece in request.stream():
            out += piece
            if len(out) > most_bytes:
                raise TooLarge(f"the request body is larger than {most_bytes // 2**20} MiB")
    except ClientDisconnect as exc:
        raise RequestTimeout("the caller left before the request was complete") from exc
    return bytes(out)
