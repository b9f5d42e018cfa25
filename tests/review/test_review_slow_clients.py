"""Clients that do not read what they asked for: the upstream waits for them, the gateway's memory does not grow."""

import asyncio
import json
import socket
from typing import Any, cast

from tesela.gateway.asgi import HIGH_WATER, AsgiCaller, Message
from tesela.gateway.invocation import Invocation

ENOUGH = 64 * 1024 * 1024
"""Bytes; the sockets' own buffers hold less."""
EVENT = b'data: {"choices":[{"index":0,"delta":{"content":"%b"},"finish_reason":null}]}\n\n' % (b"x" * 1000)
LARGE = json.dumps({"choices": [], "text": "y" * 16_000_000}).encode()


def request(**more: Any) -> bytes:
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **more}).encode()
    head = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dapi-test\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Endless:
    """An upstream that streams for ever, and answers whole requests at length."""

    def __init__(self, received: Any) -> None:
        self._received = received
        self.sent = 0
        self.whole = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                if b'"stream":true' not in await self._received(reader):
                    self.whole += 1
                    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
                    writer.write(head % len(LARGE) + LARGE)
                    await writer.drain()
                    continue
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                )
                while True:
                    writer.write(b"%x\r\n%b\r\n" % (len(EVENT), EVENT))
                    self.sent += len(EVENT)
                    await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            writer.close()


async def client(port: int) -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    await asyncio.get_running_loop().sock_connect(made, ("127.0.0.1", port))
    return made


def test_an_unread_stream_makes_the_upstream_wait(gateway: Any, hot: bool, received: Any) -> None:
    async def main() -> None:
        upstream = Endless(received)
        async with gateway(upstream.serve, hot=hot) as running, asyncio.timeout(30):
            with await client(running.port) as caller:
                await asyncio.get_running_loop().sock_sendall(caller, request(stream=True))
                while not running.blocked() and upstream.sent < ENOUGH:
                    await asyncio.sleep(0.01)
            assert upstream.sent < ENOUGH

    asyncio.run(main())


def test_a_caller_that_leaves_in_a_fast_stream_ends_it(gateway: Any, hot: bool, received: Any) -> None:
    async def main() -> None:
        upstream = Endless(received)
        async with gateway(upstream.serve, hot=hot) as running, asyncio.timeout(30):
            loop = asyncio.get_running_loop()
            with await client(running.port) as caller:
                await loop.sock_sendall(caller, request(stream=True))
                await loop.sock_recv(caller, 65536)
            sent = upstream.sent
            while running.gateway.under_way:
                await asyncio.sleep(0.01)
            assert upstream.sent - sent < ENOUGH
            assert not running.pools.under_way

    asyncio.run(main())


def test_nobody_answers_who_does_not_read(gateway: Any, received: Any) -> None:
    """Requests that follow an unread answer wait until it is read: else each would cost the memory of its own."""

    async def main() -> None:
        upstream = Endless(received)
        async with gateway(upstream.serve, hot=True) as running, asyncio.timeout(30):
            loop = asyncio.get_running_loop()
            with await client(running.port) as caller:
                await loop.sock_sendall(caller, request())
                while not running.deaf():
                    await asyncio.sleep(0.01)
                await loop.sock_sendall(caller, request())
                assert upstream.whole == 1
                size = 0
                while size < 2 * len(LARGE):
                    size += len(await loop.sock_recv(caller, 1 << 20))
                assert upstream.whole == 2

    asyncio.run(main())


class Told:
    """Stands where the invocation is: what it is told, in order."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def pause(self) -> None:
        self.words.append("pause")

    def resume(self) -> None:
        self.words.append("resume")

    def cancel(self) -> None:
        self.words.append("cancel")


def test_what_comes_while_a_message_waits_for_the_client_counts() -> None:
    async def main() -> None:
        caller, told = AsgiCaller(), Told()
        begun, may_go, never = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def receive() -> Message:
            await never.wait()
            return {}

        async def send(_message: Message) -> None:
            begun.set()
            await may_go.wait()

        caller.open(200, b"")
        playing = asyncio.create_task(caller.play(receive, send, cast(Invocation, told)))
        await begun.wait()
        for _ in range(HIGH_WATER // 1000):
            caller.send(b"x" * 1000)
        assert told.words == []
        caller.send(b"x" * 1000)
        caller.send(b"x" * 1000)
        assert told.words == ["pause"]
        may_go.set()
        async with asyncio.timeout(10):
            while "resume" not in told.words:
                await asyncio.sleep(0)
            caller.close()
            await playing
        assert told.words == ["pause", "resume", "cancel"]

    asyncio.run(main())
