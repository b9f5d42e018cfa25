"""A request handed on to the process that runs statements, and its answer handed back as it comes.

Over the server's own socket.  The caller's credential has been checked; who they are goes with the request, beside the
secret by which that process knows a worker.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from tesela.errors import EngineError, RequestTimeout, TooLarge

PIECE = 256 * 1024
PASSED = frozenset({"content-type", "content-length", "cache-control", "retry-after", "etag", "last-modified"})
"""Headers of an answer that reach the caller."""
CONNECT_S = 60.0


async def forward(request: Request, socket: str, said: Mapping[str, str], most_bytes: int) -> Response:
    """Raises EngineError when the process is not there or ends, TooLarge, RequestTimeout."""
    body = await _body(request, most_bytes)
    # Here, because a worker that nobody asks for statements need not load it.
    import h11

    gone = EngineError(
        "the process that runs statements has ended; it starts again with the next request, and what was answered is "
        "kept",
        retry_after_s=1,
    )
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_unix_connection(socket)
    except (OSError, TimeoutError) as exc:
        raise gone from exc
    speaking = h11.Connection(h11.CLIENT)
    target = request.url.path.encode() + (b"?" + request.url.query.encode() if request.url.query else b"")
    headers = [("host", "localhost"), ("content-length", str(len(body))), ("connection", "close"), *said.items()]
    kind = request.headers.get("content-type")
    if kind:
        headers.append(("content-type", kind))
    try:
        head = h11.Request(method=request.method.encode(), target=target, headers=headers)
        writer.write((speaking.send(head) or b"") + (speaking.send(h11.Data(data=body)) or b""))
        writer.write(speaking.send(h11.EndOfMessage()) or b"")
        await writer.drain()
        event = await _first(request, speaking, reader)
    except (OSError, h11.ProtocolError) as exc:
        writer.close()
        raise gone from exc
    except BaseException:
        writer.close()
        raise
    if not isinstance(event, h11.Response):
        writer.close()
        raise gone
    kept = {name.decode(): value.decode("latin-1") for name, value in event.headers if name.decode() in PASSED}

    async def rest() -> AsyncIterator[bytes]:
        try:
            while isinstance(data := await _next(speaking, reader), h11.Data):
                yield bytes(data.data)
            if not isinstance(data, h11.EndOfMessage):
                # The answer is cut: breaking the connection is the only way left to say so.
                raise gone
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    return StreamingResponse(rest(), event.status_code, headers=kept)


async def _first(request: Request, speaking: Any, reader: asyncio.StreamReader) -> Any:
    """The head of the answer.  A caller who leaves before is not waited for: the other side sees it, too."""
    answer = asyncio.ensure_future(_next(speaking, reader))
    left = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((answer, left), return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        raise RequestTimeout("the caller left before there was an answer")
    finally:
        left.cancel()
        answer.cancel()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _next(speaking: Any, reader: asyncio.StreamReader) -> Any:
    import h11

    while (event := speaking.next_event()) is h11.NEED_DATA:
        speaking.receive_data(await reader.read(PIECE))
    return event


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
