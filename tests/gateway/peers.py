"""Loopback servers whose every byte a test decides, and a listener that writes down what a transport tells it."""

import asyncio
import contextlib
import functools
import gc
import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

from tesela.errors import TeselaError
from tesela.gateway.dial import Dialer
from tesela.gateway.seams import Handle, Headers
from tesela.gateway.transport import Pools
from tesela.serving import Origin, Timeouts, Upstream

PATIENCE_S = 20.0
PATH = "/chat/completions"


def looped(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on the loop that workers run on.  It must leave no open file behind."""

    @functools.wraps(test)
    def wrapper(*arguments: Any, **named: Any) -> None:
        # The first loop of a process opens what all later ones share.
        uvloop.new_event_loop().close()
        before = open_files()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            faults: list[dict[str, Any]] = []
            runner.get_loop().set_exception_handler(lambda _, context: faults.append(context))
            runner.run(asyncio.wait_for(test(*arguments, **named), PATIENCE_S))
            runner.run(settled(lambda: True))
            assert not faults, f"an exception escaped into the event loop: {faults}"
        if open_files() > before:
            gc.collect()
        assert open_files() <= before, f"files or sockets were left open: {listed()}"

    return wrapper


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def listed() -> list[str]:
    found = []
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return found


async def settled(condition: Callable[[], object]) -> None:
    """Wait until something holds, and let what is due be called."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.002)
    for _ in range(5):
        await asyncio.sleep(0)


class Heard:
    """A listener.  It holds the transport to the order in which a listener may be told things."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.status = 0
        self.headers: Headers = {}
        self.pieces: list[bytes] = []
        self.error: TeselaError | None = None
        self.over = asyncio.Event()
        self.handle: Handle | None = None

    def _hear(self, what: str) -> None:
        assert not self.over.is_set(), f"{what} after the end"
        self.calls.append(what)

    def on_answer(self, body: bytes) -> None:
        assert not self.calls
        self._hear("answer")
        self.status, self.pieces = 200, [body]
        self.over.set()

    def on_head(self, status: int, headers: Headers) -> None:
        assert not self.calls
        self._hear("head")
        self.status, self.headers = status, dict(headers)

    def on_data(self, data: bytes) -> None:
        assert self.calls[0] == "head"
        self._hear("data")
        self.pieces.append(data)

    def on_end(self) -> None:
        assert self.calls[0] == "head"
        self._hear("end")
        self.over.set()

    def on_failure(self, error: TeselaError) -> None:
        self._hear("failure")
        self.error = error
        self.over.set()

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


class Request:
    """What a peer has read."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.head, self.body = head, body


class Link:
    """One connection of a client, at the peer's end."""

    def __init__(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.number, self.reader, self.writer = number, reader, writer

    async def request(self) -> Request:
        """The next request.  Raises asyncio.IncompleteReadError when the client has left."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return Request(head, await self.reader.readexactly(length))

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes = b"{}", *more: bytes, status: str = "200 OK") -> None:
        lines = b"".join(line + b"\r\n" for line in (b"content-type: application/json", *more))
        head = b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n" % (status.encode(), lines, len(body))
        await self.say(head + body)

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()


Talk = Callable[[Link], Awaitable[None]]


class Peer:
    """A server that does on each connection what the test says."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.links: list[Link] = []
        self.port = 0
        self.faults: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(len(self.links), reader, writer)
        self.links.append(link)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(
                asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError, ssl.SSLError
            ):
                await self.talk(link)
        finally:
            self._tasks.discard(task)
            writer.close()

    @contextlib.asynccontextmanager
    async def listening(self, unix: Path | None = None, tls: ssl.SSLContext | None = None) -> AsyncIterator["Peer"]:
        if unix is not None:
            server = await asyncio.start_unix_server(self.handle, unix)
        else:
            server = await asyncio.start_server(self.handle, "127.0.0.1", 0, ssl=tls, limit=2**24)
            self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for link in self.links:
                with contextlib.suppress(Exception):
                    await link.writer.wait_closed()

    def upstream(self, **more: Any) -> Upstream:
        origin = more.pop("origin", None) or Origin("http", "127.0.0.1", self.port)
        return Upstream(origin, "m", timeouts=Timeouts(**more))


class Caller:
    """Pools with which a test sends."""

    def __init__(self, dialer: Any = None) -> None:
        loop = asyncio.get_running_loop()
        self.pools = Pools(loop, dialer or Dialer(loop))

    def send(self, upstream: Upstream, body: bytes = b"{}", headers: Any = (), path: str = PATH) -> Heard:
        heard = Heard()
        heard.handle = self.pools.send(upstream, path, headers, body, heard)
        assert not heard.calls, "`send` never calls the listener itself"
        return heard

    async def ask(self, upstream: Upstream, body: bytes = b"{}", **more: Any) -> Heard:
        heard = self.send(upstream, body, **more)
        await asyncio.wait_for(heard.over.wait(), PATIENCE_S)
        return heard


@contextlib.asynccontextmanager
async def calling(dialer: Any = None) -> AsyncIterator[Caller]:
    caller = Caller(dialer)
    try:
        yield caller
        assert not caller.pools.under_way
    finally:
        caller.pools.close()
        await settled(lambda: True)
