"""One gateway worker: a process that answers requests and does nothing else.

The parent starts it with a listening socket and a `Start` on its standard input; it says "ready" on its standard
output, polls the store's version twice a second, and ends when the parent asks it to or goes away.
"""

import asyncio
import logging
import os
import pickle
import resource
import socket
import sqlite3
import sys
import time
import urllib.request
from pathlib import Path

import msgspec
import uvicorn
import uvloop
from starlette.routing import Route

from tesela import control, snapshot_build
from tesela.addresses import EngineAddress
from tesela.config import Config
from tesela.engine.spec import read_states
from tesela.errors import TeselaError
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
from tesela.store import Store
from tesela.telemetry.tally import Tally

POLL_S = 0.5
"""How often a worker asks the store whether anything changed."""
READY = b"ready\n"
FILES = 65536
"""Descriptors that a worker asks for, where the system's hard limit allows."""

_log = logging.getLogger("tesela.worker")


class Start(msgspec.Struct, frozen=True):
    """What the parent tells a worker.  `run_dir` is where the engines' states are written."""

    config: Config
    engines: dict[str, EngineAddress]
    number: int
    descriptor: int
    run_dir: str


def limits_of(config: Config) -> Limits:
    settings = config.settings
    return Limits(
        max_body=settings.max_body_bytes,
        head_s=settings.timeouts.receive_header,
        receive_s=settings.timeouts.receive_body,
        keep_alive_s=settings.timeouts.keep_alive,
    )


class Server(uvicorn.Server):
    """uvicorn's server, which says on a descriptor that it answers, and leaves nobody without a word."""

    def __init__(self, config: uvicorn.Config, ready: int, gateway: Gateway) -> None:
        super().__init__(config)
        self._ready = ready
        self._gateway = gateway

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        os.write(self._ready, READY)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        # uvicorn waits for as long as requests may still take, and knows nothing of those that are no tasks.
        self._gateway.abandon()
        await asyncio.sleep(0)


async def serve(start: Start, ready: int) -> None:
    """Answer requests until told to stop.  `ready` is the descriptor that "ready" is written to."""
    config = start.config
    loop = asyncio.get_running_loop()
    store = Store(config.home)
    store.open()
    snapshot = snapshot_build.build(config, start.engines, store.credentials(), store.version())

    dialer = Dialer(loop, urllib.request.getproxies(), lambda host: bool(urllib.request.proxy_bypass(host)))
    pools, player = Pools(loop, dialer), Player(loop)
    transports: dict[str, Transport] = {"http": pools, "https": pools, "scripted": player}
    prefix = f"{os.urandom(6).hex()}-{start.number:x}-"
    gateway = Gateway(loop, snapshot, PROVIDERS, transports, Tally(), id_prefix=prefix)

    trouble: str | None = None

    def follow_store() -> None:
        """Take over what has changed in the store.  What cannot be read now leaves the snapshot as it was."""
        nonlocal trouble
        try:
            version = store.version()
            trouble = None
            if version != gateway.snapshot.version:
                gateway.snapshot = snapshot_build.refresh(gateway.snapshot, store.credentials(), version)
        except (TeselaError, sqlite3.Error):
            if trouble is None:
                _log.exception("the store could not be read; going on with what was read before")
            trouble = "the store cannot be read; what was read before still holds"

    gateway.recheck = follow_store
    workspace = store.workspace()
    facts = control.Facts(
        snapshot=lambda: gateway.snapshot,
        tokens=store,
        now=time.time,
        workspace_id=workspace.id,
        account_id=workspace.account_id,
        created_ms=int(workspace.created * 1000),
        file=config.file.name if config.file else "",
        trust_forwarded=config.settings.trust_forwarded,
        engine_states=lambda: read_states(Path(start.run_dir)),
        health=lambda: trouble,
        changed=follow_store,
    )
    handler = list_models(gateway, int(workspace.created))
    models = [Route(f"{base}/models{tail}", handler, methods=["GET"]) for base in BASES for tail in ENDS]
    rest = control.Application(facts, models)
    limits = limits_of(config)
    app = Application(gateway, limits, rest, control.PUBLIC)
    server = Server(
        uvicorn.Config(
            app,
            http=hot_protocol(gateway, limits, hot=config.settings.hot_routes),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(limits.keep_alive_s),
            timeout_graceful_shutdown=int(config.settings.timeouts.drain),
            backlog=4096,
        ),
        ready,
        gateway,
    )

    async def follow() -> None:
        while True:
            await asyncio.sleep(POLL_S)
            follow_store()

    following = loop.create_task(follow())
    loop.add_reader(sys.stdin.fileno(), _parent_gone, server)
    try:
        with socket.socket(fileno=start.descriptor) as listener:
            await server.serve(sockets=[listener])
    finally:
        loop.remove_reader(sys.stdin.fileno())
        following.cancel()
        pools.close()
        player.close()
        store.close()


def _parent_gone(server: uvicorn.Server) -> None:
    """The parent holds the other end of standard input: when it dies, however it dies, this end closes."""
    if not os.read(sys.stdin.fileno(), 1):
        # An end is there to be read for ever: watched on, it would keep the processor busy while requests are drained.
        asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
        server.should_exit = True


def _more_files() -> None:
    """Each stream takes two descriptors, and the usual limit of 1,024 is there for programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _more_files()
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # The parent wrote a Start on this pipe, which nobody else can write to.
    start: Start = pickle.load(sys.stdin.buffer)  # noqa: S301
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(serve(start, sys.stdout.fileno()))


if __name__ == "__main__":
    main()
