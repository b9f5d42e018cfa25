"""One gateway worker: a process that answers requests and does nothing else.

The parent starts it with a listening socket and a `Start` on its standard input; it says "ready" on its standard
output, polls the store's version once a second, and ends when the parent asks it to or goes away.
"""

import asyncio
import logging
import os
import pickle
import socket
import sys
import urllib.request
from collections.abc import Mapping

import msgspec
import uvicorn
import uvloop
from starlette.applications import Starlette

from tesela import control, snapshot_build
from tesela.addresses import EngineAddress
from tesela.config import Config
from tesela.control import errors as control_errors
from tesela.errors import TeselaError
from tesela.gateway.asgi import Application
from tesela.gateway.dial import Dialer
from tesela.gateway.invoke import Gateway
from tesela.gateway.limits import Limits
from tesela.gateway.player import Player
from tesela.gateway.protocol import hot_protocol
from tesela.gateway.transport import Pools
from tesela.providers.registry import PROVIDERS
from tesela.snapshot import Snapshot
from tesela.store import Store
from tesela.telemetry.tally import Tally

POLL_S = 0.5
"""How often a worker asks the store whether anything changed."""
READY = b"ready\n"

_log = logging.getLogger("tesela.worker")


class Start(msgspec.Struct, frozen=True):
    """What the parent tells a worker.  `run_dir` is where the engines' states are written."""

    config: Config
    engines: dict[str, EngineAddress]
    number: int
    descriptor: int
    run_dir: str


class Engines:
    """The engines' states, as the parent writes them down.  Read when somebody asks, never on a request's path."""

    def __init__(self, path: str) -> None:
        self._path = path

    def states(self) -> Mapping[str, str]:
        """State by engine name; empty before the parent wrote any."""
        try:
            with open(self._path, "rb") as file:
                return {name: found.state for name, found in _states.decode(file.read()).items()}
        except FileNotFoundError:
            return {}


class _State(msgspec.Struct):
    state: str


_states = msgspec.json.Decoder(dict[str, _State])


def limits_of(config: Config) -> Limits:
    settings = config.settings
    return Limits(
        max_body=settings.max_body_bytes,
        receive_s=settings.timeouts.receive_body,
        keep_alive_s=settings.timeouts.keep_alive,
    )


async def serve(start: Start, ready: int) -> None:
    """Answer requests until told to stop.  `ready` is the descriptor that "ready" is written to."""
    config = start.config
    loop = asyncio.get_running_loop()
    store = Store(config.home / "tesela.db")
    store.open()
    version = store.version()

    def build(version: int) -> Snapshot:
        return snapshot_build.build(config, start.engines, store.credentials(), version)

    dialer = Dialer(loop, urllib.request.getproxies(), lambda host: bool(urllib.request.proxy_bypass(host)))
    pools, player = Pools(loop, dialer), Player(loop)
    transports = {"http": pools, "https": pools, "scripted": player}
    prefix = f"{os.urandom(6).hex()}-{start.number:x}-"
    gateway = Gateway(loop, build(version), PROVIDERS, transports, Tally(), id_prefix=prefix)
    engines = Engines(os.path.join(start.run_dir, "engines.json"))
    facts = control.Facts(
        snapshot=lambda: gateway.snapshot, store=store, config=config, engine_states=engines.states, health=lambda: None
    )
    rest = Starlette(routes=control.routes(facts), exception_handlers=control_errors.exception_handlers())
    rest.router.redirect_slashes = False
    limits = limits_of(config)
    app = Application(gateway, limits, rest, control.PUBLIC)
    server = uvicorn.Server(
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
        )
    )

    async def follow() -> None:
        nonlocal version
        while True:
            await asyncio.sleep(POLL_S)
            try:
                now = store.version()
                if now != version:
                    gateway.snapshot = build(now)
                    version = now
            except (TeselaError, OSError):
                _log.exception("the store could not be read; going on with what was read before")

    async def announce() -> None:
        while not server.started:
            await asyncio.sleep(0.005)
        os.write(ready, READY)

    following, announcing = loop.create_task(follow()), loop.create_task(announce())
    loop.add_reader(sys.stdin.fileno(), _parent_gone, server)
    try:
        with socket.socket(fileno=start.descriptor) as listener:
            await server.serve(sockets=[listener])
    finally:
        loop.remove_reader(sys.stdin.fileno())
        following.cancel()
        announcing.cancel()
        pools.close()
        store.close()


def _parent_gone(server: uvicorn.Server) -> None:
    """The parent holds the other end of standard input: when it dies, however it dies, this end closes."""
    if not os.read(sys.stdin.fileno(), 1):
        server.should_exit = True


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # The parent wrote a Start on this pipe, which nobody else can write to.
    start: Start = pickle.load(sys.stdin.buffer)  # noqa: S301
    asyncio.Runner(loop_factory=uvloop.new_event_loop).run(serve(start, sys.stdout.fileno()))


if __name__ == "__main__":
    main()
