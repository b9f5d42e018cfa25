"""A gateway behind real sockets, by the hot way or by plain ASGI, and clients that send whatever bytes a test wants."""

import asyncio
import contextlib
import re
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httptools
import msgspec
import uvicorn
from starlette.routing import Route
from tests.fakes import ACCESS_TOKEN, ADMIN, contents
from tests.gateway.peers import PATIENCE_S, settled

from tesela import control, snapshot_build
from tesela.config import load
from tesela.gateway.asgi import Application
from tesela.gateway.dial import Dialer
from tesela.gateway.doors import BASES
from tesela.gateway.invoke import Gateway
from tesela.gateway.limits import Limits
from tesela.gateway.models import ENDS, list_models
from tesela.gateway.player import Player
from tesela.gateway.protocol import hot_protocol
from tesela.gateway.seams import Transport
from tesela.gateway.transport import Pools
from tesela.providers.registry import PROVIDERS
from tesela.snapshot import Credential, Principal, digest
from tesela.store import schema
from tesela.store.store import Store
from tesela.telemetry.tally import Tally

EXPIRED, SOMEBODY = b"dapi" + b"e" * 32, b"dapi" + b"5" * 32
MODELS = {
    "chat": "echo", "plain": "quiet", "slow": "echo+slow-100ms", "bad": "error-400", "busy": "error-429",
    "down": "error-503", "denied": "error-401", "cut": "cut-after-2", "uncut": "cut-after-0", "broken": "bad-json",
    "late": "error-after-2", "unicode": "unicode", "tools": "tool-call", "long": "long-300", "drip": "drip-20ms+long-8",
    "trickle": "drip-150ms+long-14",
    "empty": "empty",
}  # fmt: skip


def configuration(peer: str = "http://127.0.0.1:9/v1") -> str:
    """Scripted endpoints by their models' names, one for embeddings, and `away`, which is at another address."""

    def one(name: str, model: str, task: str = "chat") -> str:
        served = (
            f'{{name: "{task}-model", external_model: {{name: "{model}", provider: scripted, task: llm/v1/{task}}}}}'
        )
        return f'- {{name: "{name}", config: {{served_entities: [{served}]}}}}\n'

    away = (
        "- name: away\n  config:\n    served_entities:\n    - name: far\n      external_model:\n"
        "        name: m\n        provider: custom\n        task: llm/v1/chat\n"
        f"        custom_provider_config:\n          custom_provider_url: '{peer}'\n"
        "          bearer_token_auth: {token_plaintext: k}\n"
    )
    lines = "".join(one(*pair) for pair in MODELS.items())
    return "endpoints:\n" + lines + one("embed", "vectors", "embeddings") + one("words", "echo", "completions") + away


class Server:
    """One server.  `transport` takes the place of all others when it is given."""

    def __init__(
        self, home: Path, *, hot: bool, limits: Limits, transport: Transport | None, peer: str, patience_s: float
    ) -> None:
        file = home / "tesela.yaml"
        file.write_text(configuration(peer))
        self.home = home
        built = snapshot_build.build(load(file, {}, {}), {}, contents())
        credentials = {
            digest(ACCESS_TOKEN): Credential(ADMIN, token_id="t"),
            digest(EXPIRED): Credential(ADMIN, 1.0, "e"),
            digest(SOMEBODY): Credential(Principal("5", "somebody@example.com"), token_id="s"),
        }
        loop = asyncio.get_running_loop()
        self.pools, self.player, self.tally = Pools(loop, Dialer(loop)), Player(loop), Tally()
        transports: dict[str, Transport] = {"http": self.pools, "https": self.pools, "scripted": self.player}
        if transport is not None:
            transports = dict.fromkeys(transports, transport)
        snapshot = msgspec.structs.replace(built.snapshot, credentials=credentials)
        self.gateway = Gateway(
            loop, snapshot, PROVIDERS, transports, self.tally, id_prefix="id-", patience_s=patience_s
        )
        self.facts = control.Facts(
            snapshot=lambda: self.gateway.snapshot,
            store=self.store,
            now=time.time,
            workspace_id=7,
            account_id="a",
            surroundings=lambda: built.around,
        )
        handler = list_models(self.gateway, 1)
        self.models = [Route(f"{base}/models{end}", handler, methods=["GET"]) for base in BASES for end in ENDS]
        self.app = Application(self.gateway, limits, control.Application(self.facts, self.models), control.is_public)
        self.server = uvicorn.Server(
            uvicorn.Config(
                self.app, http=hot_protocol(self.gateway, limits, hot=hot), ws="none", lifespan="off", log_config=None,
                access_log=False, server_header=False, proxy_headers=False, timeout_graceful_shutdown=5,
                timeout_keep_alive=int(limits.keep_alive_s) or 1,
            )
        )  # fmt: skip
        self.port = 0
        self.opened: Store | None = None

    def store(self) -> Store:
        """Made when it is first asked for: most tests never do."""
        if self.opened is None:
            self.opened = Store(self.home, key=bytes(32))
            schema.prepare(self.opened.database)
        return self.opened

    def at_rest(self) -> bool:
        """Nothing is left of any request, here or on its way to an upstream."""
        busy = any(self.gateway.in_flight.values())
        return not self.gateway.under_way and not busy and not self.pools.under_way

    def connections(self) -> int:
        return len(self.server.server_state.connections)


@contextlib.asynccontextmanager
async def serving(
    home: Path, *, hot: bool = True, limits: Limits | None = None, transport: Transport | None = None,
    peer: str = "http://127.0.0.1:9/v1", patience_s: float = 45.0,
) -> AsyncIterator[Server]:  # fmt: skip
    home.mkdir(exist_ok=True)
    one = Server(home, hot=hot, limits=limits or Limits(), transport=transport, peer=peer, patience_s=patience_s)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    one.port = listener.getsockname()[1]
    task = asyncio.create_task(one.server.serve(sockets=[listener]))
    try:
        await settled(lambda: one.server.started or task.done())
        yield one
    finally:
        one.server.should_exit = True
        one.server.force_exit = not one.server.started
        await task
        one.pools.close()
        one.player.close()
        if one.opened is not None:
            one.opened.close()
        listener.close()


def request(
    path: str = "/v1/chat/completions",
    body: bytes = b'{"model":"chat","messages":[{"role":"user","content":"Hi"}]}',
    *lines: str,
    method: str = "POST",
    auth: bytes | None = b"Bearer " + ACCESS_TOKEN,
    length: bool = True,
    version: str = "1.1",
) -> bytes:
    """The bytes of a request."""
    head = [f"{method} {path} HTTP/{version}", "Host: tesela.test", *lines]
    if length:
        head.append(f"Content-Length: {len(body)}")
    raw = "\r\n".join(head).encode() + b"\r\n"
    if auth is not None:
        raw += b"Authorization: " + auth + b"\r\n"
    return raw + b"\r\n" + body


class Answers:
    """Reads answers as far as they have come."""

    def __init__(self) -> None:
        self._raw = bytearray()
        self.whole: list[tuple[int, dict[str, str], bytes]] = []
        self.closed = False
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._parser = httptools.HttpResponseParser(self)

    @property
    def raw(self) -> bytes:
        return bytes(self._raw)

    def feed(self, data: bytes) -> None:
        self._raw += data
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._headers, self._body = {}, []

    def on_header(self, name: bytes, content: bytes) -> None:
        self._headers[name.decode().lower()] = content.decode()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200:
            self.whole.append((status, self._headers, b"".join(self._body)))


class Client:
    """One connection, and what has come back on it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.answers = Answers()

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.writer.write(piece)
            with contextlib.suppress(ConnectionError):
                await self.writer.drain()
            await asyncio.sleep(0)

    async def until(self, count: int = 1) -> list[tuple[int, dict[str, str], bytes]]:
        """The answers, once there are so many or the connection has ended."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.answers.whole) < count and not self.answers.closed:
                await self.more()
        return self.answers.whole

    async def more(self) -> None:
        try:
            data = await self.reader.read(2**18)
        except ConnectionError:
            data = b""
        if data:
            self.answers.feed(data)
        else:
            self.answers.closed = True

    async def ended(self) -> bytes:
        """Everything, once the server has closed the connection."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.answers.closed:
                await self.more()
        return self.answers.raw

    async def alive(self) -> bool:
        """Whether the connection takes another request, and answers that one and nothing else."""
        before = len(self.answers.whole)
        await self.send(request("/health", b"", method="GET", auth=None, length=False))
        await self.until(before + 1)
        return len(self.answers.whole) == before + 1 and self.answers.whole[-1][0] == 200


@contextlib.asynccontextmanager
async def client(server: Server) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=2**20)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


def settle(raw: bytes) -> bytes:
    """Without what the clock says."""
    raw = re.sub(rb"date: [^\r]+\r\n", b"date: now\r\n", raw)
    return re.sub(rb'"created(_at)?":\d+', rb'"created\1":0', raw)
