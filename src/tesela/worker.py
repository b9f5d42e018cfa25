"""One gateway worker: a process that answers requests and does nothing else.

The parent starts it with a listening socket and a `Start` on its standard input; it says "ready" on its standard
output, follows what changes in the store, and ends when the parent asks it to or goes away.
"""

import asyncio
import logging
import os
import pickle
import resource
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
import uvloop
from starlette.routing import Route

from tesela import control, invitation, page
from tesela.bell import Bell
from tesela.config import Config
from tesela.engine.spec import read_states
from tesela.follow import Follower
from tesela.gateway.asgi import Application
from tesela.gateway.auth import Sessions, token_of
from tesela.gateway.breaker import Terms
from tesela.gateway.dial import Dialer
from tesela.gateway.doors import BASES, GEMINI_BASES, GEMINI_VERSIONS
from tesela.gateway.invoke import Gateway
from tesela.gateway.limits import Limits
from tesela.gateway.models import ENDS, list_for_google, list_models
from tesela.gateway.player import Player
from tesela.gateway.protocol import hot_protocol
from tesela.gateway.seams import Transport
from tesela.gateway.transport import Pools
from tesela.providers.registry import PROVIDERS
from tesela.snapshot_build import Built
from tesela.telemetry.sharing import Shared
from tesela.telemetry.tally import Tally
from tesela.told import READY, SQL_SOCKET, TROUBLE_FILE, Start

if TYPE_CHECKING:
    from tesela.store.store import Store

FILES = 65536
"""Descriptors that a worker asks for, where the system's hard limit allows."""


def limits_of(config: Config) -> Limits:
    settings = config.settings
    return Limits(
        max_body=settings.max_body_bytes,
        head_s=settings.timeouts.receive_header,
        receive_s=settings.timeouts.receive_body,
        keep_alive_s=settings.timeouts.keep_alive,
    )


def terms_of(config: Config) -> Terms:
    breaker = config.settings.breaker
    return Terms(breaker.failures, breaker.rate, window_s=breaker.window, open_s=breaker.open)


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
    config, run_dir = start.state.config, Path(start.run_dir)
    loop = asyncio.get_running_loop()
    bell = Bell(run_dir)
    store = _Lazily(config, start.key, bell)

    dialer = Dialer(loop, urllib.request.getproxies(), lambda host: bool(urllib.request.proxy_bypass(host)))
    pools, player = Pools(loop, dialer), Player(loop)
    transports: dict[str, Transport] = {"http": pools, "https": pools, "scripted": player}
    prefix = f"{os.urandom(6).hex()}-{start.number:x}-"

    def publish(built: Built) -> None:
        gateway.snapshot = built.snapshot

    def lost() -> None:
        # Who does not see that a token was revoked must not go on: the parent starts another worker.
        server.should_exit = True

    follower = Follower(loop, bell, run_dir, store, start.state, start.sound, start.contents, publish, lost)
    workspace = start.contents.workspace
    gateway = Gateway(
        loop,
        follower.built.snapshot,
        PROVIDERS,
        transports,
        Tally(),
        id_prefix=prefix,
        sessions=Sessions(str(workspace.id)),
        terms=terms_of(config),
    )
    shared = Shared(gateway.activity, run_dir, start.number, alone=config.settings.workers == 1)
    gateway.recheck = follower.catch_up
    facts = control.Facts(
        snapshot=lambda: gateway.snapshot,
        store=store,
        now=time.time,
        workspace_id=workspace.id,
        account_id=workspace.account_id,
        created_ms=int(workspace.created * 1000),
        file=config.file.name if config.file else "",
        trust_forwarded=config.settings.trust_forwarded,
        engine_states=lambda: read_states(run_dir),
        health=lambda: _health(bell, run_dir),
        changed=follower.wake,
        logs=config.home / "logs",
        surroundings=follower.surroundings,
        counts=lambda: gateway.tally.counts,
        breakers=lambda name: gateway.health.breakers(gateway.snapshot.endpoints.get(name)),
        token_of=token_of,
        sql_socket=str(run_dir / SQL_SOCKET),
        sql_secret=start.secret,
        static=page.STATIC,
        cookie=gateway.cookie.decode(),
        authenticate=gateway.authenticate,
        activity=shared,
        take_code=lambda code: invitation.take(run_dir, code, time.time()),
    )
    handler = list_models(gateway, int(workspace.created))
    models = [Route(f"{base}/models{tail}", handler, methods=["GET"]) for base in BASES for tail in ENDS]
    theirs = list_for_google(gateway)
    models += [
        Route(f"{base}/{version}/models{tail}", theirs, methods=["GET"])
        for base in GEMINI_BASES
        for version in GEMINI_VERSIONS
        for tail in ENDS
    ]
    rest = control.Application(facts, models)
    limits = limits_of(config)
    app = Application(gateway, limits, rest, control.is_public)
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

    follower.start()
    shared.start(loop)
    loop.add_reader(sys.stdin.fileno(), _parent_gone, server)
    try:
        with socket.socket(fileno=start.descriptor) as listener:
            await server.serve(sockets=[listener])
    finally:
        loop.remove_reader(sys.stdin.fileno())
        follower.stop()
        shared.stop()
        pools.close()
        player.close()
        store.close()
        bell.close()


class _Lazily:
    """The store, opened when it is first asked for: SQLAlchemy takes 13 MB and 0.1 s, which a worker that only answers
    queries need not pay."""

    def __init__(self, config: Config, key: bytes, bell: Bell) -> None:
        self._config = config
        self._key = key
        self._bell = bell
        self._lock = threading.Lock()
        self._store: Store | None = None

    def __call__(self) -> "Store":
        with self._lock:
            if self._store is None:
                from tesela.store.store import Store

                self._store = Store(self._config.home, self._config.settings.database_url, key=self._key)
                self._store.database.announce = self._bell.ring
            return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()


def _health(bell: Bell, run_dir: Path) -> str | None:
    """What is not well, in a sentence for everybody: it names no endpoint and no secret."""
    if not bell.hear().well:
        return "the store does not answer: nothing can be changed; queries go on"
    try:
        return (run_dir / TROUBLE_FILE).read_text("utf-8").strip() or None
    except FileNotFoundError:
        return None


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
