"""A request handed on over a socket: real sockets, answers in every shape and cut at every byte."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from tesela.control.forward import forward
from tesela.errors import EngineError, TooLarge

WHOLE = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length: 7\r\nx-other: 1\r\n\r\n{"a":1}'
CHUNKED = b"HTTP/1.1 404 Not Found\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"


def request(
    body: bytes = b"", method: str = "POST", path: bytes = b"/api/2.0/sql/x%20y", query: bytes = b"a=b"
) -> Request:
    told = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        if not told:
            await asyncio.Event().wait()
        return told.pop()

    scope = {
        "type": "http", "method": method, "path": "/api/2.0/sql/x y", "raw_path": b"/api/2.0/sql/x%20y",
        "query_string": b"a=b", "headers": [(b"content-type", b"application/json")],
    }  # fmt: skip
    return Request(scope, receive)


async def answered(
    folder: Path, act: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]], asked: Request
) -> tuple[int, dict[str, str], bytes]:
    async with await asyncio.start_unix_server(act, folder / "s"):
        response = await forward(asked, str(folder / "s"), {"x-tesela-run": "secret"}, 100)
        body = b"".join([bytes(piece) async for piece in response.body_iterator])  # type: ignore[attr-defined]
        return response.status_code, dict(response.headers), body


@pytest.mark.parametrize("step", [1, 3, 1000])
def test_what_is_asked_and_answered(tmp_path: Path, step: int) -> None:
    seen: list[bytes] = []

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(5))
        for at in range(0, len(WHOLE), step):
            writer.write(WHOLE[at : at + step])
            await writer.drain()
        writer.close()

    found = asyncio.run(answered(tmp_path, act, request(b"12345")))
    assert found == (200, {"content-type": "application/json", "content-length": "7"}, b'{"a":1}')
    head = seen[0].decode()
    assert head.startswith("POST /api/2.0/sql/x%20y?a=b HTTP/1.1\r\nx-tesela-run: secret\r\n")
    assert head.endswith("content-type: application/json\r\n\r\n12345")


def test_an_answer_in_chunks(tmp_path: Path) -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for byte in CHUNKED:
            writer.write(bytes([byte]))
            await writer.drain()
        writer.close()

    assert asyncio.run(answered(tmp_path, act, request(method="GET")))[::2] == (404, b"abcdefg")


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED])
def test_an_answer_that_is_cut_is_an_error_wherever_it_is(tmp_path: Path, answer: bytes) -> None:
    async def each() -> None:
        for end in range(len(answer)):

            async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, end: int = end) -> None:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer[:end])
                writer.close()

            with pytest.raises(EngineError, match="starts again"):
                await answered(tmp_path, act, request())
            (tmp_path / "s").unlink(missing_ok=True)

    asyncio.run(each())


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="starts again"):
        asyncio.run(forward(request(), str(tmp_path / "none"), {}, 100))


def test_too_large(tmp_path: Path) -> None:
    with pytest.raises(TooLarge):
        asyncio.run(forward(request(b"x" * 101), str(tmp_path / "none"), {}, 100))


def test_what_is_no_http(tmp_path: Path) -> None:
    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"hello\r\n\r\n")
        writer.close()

    with pytest.raises(EngineError):
        asyncio.run(answered(tmp_path, act, request()))
