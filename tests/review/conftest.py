"""A gateway on a real port over a real loop, and upstreams that a test writes byte by byte."""

import asyncio
import contextlib
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from tesela.gateway.asgi import Application
from tesela.gateway.dial import Dialer
from tesela.gateway.invoke import Gateway
from tesela.gateway.limits import Limits
from tesela.gateway.protocol import hot_protocol
from tesela.gateway.transport import Pools
from tesela.providers.registry import PROVIDERS
from tesela.serving import Endpoint, EndpointConfig, Origin, ServedEntity, ServedEntityInput, ServingEndpoint, Upstream
from tesela.snapshot import Credential, Principal, Snapshot, digest
from tesela.telemetry.tally import Tally
from tesela.wire.tasks import Task

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Running:
    """A gateway over one upstream.  `blocked` tells whether it has told the upstream to wait."""

    def __init__(self, pools: Pools, gateway: Gateway, port: int, server: uvicorn.Server) -> None:
        self.pools, self.gateway, self.port, self.server = pools, gateway, port, server

    def blocked(self) -> bool:
        return any(attempt.paused for attempt in self.pools.under_way)

    def deaf(self) -> bool:
        """Whether a client has to wait before its next request is read."""
        connections: Any = self.server.server_state.connections
        return any(connection.flow.read_paused for connection in connections)


@contextlib.asynccontextmanager
async def running(serve: Serve, *, hot: bool) -> AsyncIterator[Running]:
    loop = asyncio.get_running_loop()
    upstream = await asyncio.start_server(serve, "127.0.0.1", 0)
    asked = ServedEntityInput(name="e")
    there = Upstream(Origin("http", "127.0.0.1", upstream.sockets[0].getsockname()[1]), "upstream-model", "/v1")
    entity = ServedEntity("e", asked, "custom", frozenset({Task.CHAT}), there, 100)
    endpoint = Endpoint("m", Task.CHAT, (entity,), ServingEndpoint("m", EndpointConfig((asked,))))
    who = Credential(Principal("1", "admin@example.com", admin=True))
    pools = Pools(loop, Dialer(loop))
    snapshot = Snapshot(1, {"m": endpoint}, {digest(b"dapi-test"): who})
    gateway = Gateway(loop, snapshot, PROVIDERS, {"http": pools}, Tally(), id_prefix="r-")
    limits = Limits()

    async def nothing(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    app = Application(gateway, limits, nothing, frozenset[str]().__contains__)
    config = uvicorn.Config(
        app, http=hot_protocol(gateway, limits, hot=hot), ws="none", lifespan="off", log_config=None,
        access_log=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(config)
    server.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield Running(pools, gateway, listener.getsockname()[1], server)
    finally:
        pools.close()
        for connection in list(server.server_state.connections):
            connection.transport.abort()
        server.should_exit = True
        await task
        upstream.close()


@pytest.fixture(params=[True, False], ids=["hot", "asgi"])
def hot(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture
def gateway() -> Callable[..., Any]:
    return running


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """The body of the next request."""
    head = await reader.readuntil(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head)
    assert found is not None
    return await reader.readexactly(int(found[1]))


@pytest.fixture
def received() -> Callable[[asyncio.StreamReader], Awaitable[bytes]]:
    return read_request
