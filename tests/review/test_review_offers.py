"""Requests that offer HTTP/2 in clear, as Java's client and `curl --http2` do, are read as if they offered nothing."""

import asyncio
from typing import Any

import pytest

from tesela.gateway import offers

ANSWER = b'{"choices":[]}'
BODY = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
OFFER = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"
REQUEST = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dapi-test\r\n"
    + OFFER
    + b"Content-Length: %d\r\n\r\n" % len(BODY)
    + BODY
)


@pytest.mark.parametrize("cut", [1, 40, REQUEST.index(b"\r\n\r\n") + 4, len(REQUEST) - 1, len(REQUEST)])
def test_each_is_answered(gateway: Any, hot: bool, received: Any, cut: int) -> None:
    bodies: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                bodies.append(await received(reader))
                head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                writer.write(head % len(ANSWER) + ANSWER)
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()

    async def main() -> None:
        async with gateway(serve, hot=hot) as running, asyncio.timeout(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            for sent in (REQUEST, REQUEST + REQUEST):
                writer.write(sent[:cut])
                await writer.drain()
                await asyncio.sleep(0)
                writer.write(sent[cut:])
                for _ in range(len(sent) // len(REQUEST)):
                    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
                    assert await reader.readexactly(len(ANSWER)) == ANSWER
            writer.close()

    asyncio.run(main())
    assert len(bodies) == 3
    assert all(b'"content":"hi"' in body for body in bodies)


def test_a_tunnel_is_refused(gateway: Any, hot: bool) -> None:
    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def main() -> None:
        async with gateway(serve, hot=hot) as running, asyncio.timeout(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port)
            writer.write(b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
            writer.close()

    asyncio.run(main())


def test_what_else_connection_says_stays() -> None:
    head = offers.without(b"POST", b"/", "1.0", {b"connection": b"close, Upgrade", b"Upgrade": b"h2c", b"A": b"b"})
    assert head == b"POST / HTTP/1.0\r\nconnection: close\r\nA: b\r\n\r\n"
