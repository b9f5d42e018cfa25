"""`tesela serve`: builds the parts and hands them to each other.

The parent answers no requests.  It reads the configuration, opens the store, binds the socket, starts the gateway's
workers and the engines, starts anew what ends unasked, and takes everything down in the right order.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from tesela import __version__, invitation, local, page, snapshot_build
from tesela.bell import Bell
from tesela.config import Config
from tesela.engine.placement import make_run_dir
from tesela.engine.spec import EngineState
from tesela.engine.supervisor import Supervisor
from tesela.errors import TeselaError
from tesela.listening import bound, is_loopback, listen, near, url_of
from tesela.records import SYSTEM, Contents
from tesela.reload import Reloader
from tesela.screen import Screen
from tesela.snapshot import digest
from tesela.sqlprocess import SqlProcess
from tesela.steward import Steward
from tesela.store.contents import read_contents
from tesela.store.opening import open_store
from tesela.store.store import Store
from tesela.told import TROUBLE_FILE, ServerState, SqlStart, Start, write_state
from tesela.workers import Workers

TOKEN_FILE = "token"  # noqa: S105 - the name of a file
ADDRESS_FILE = "address"
"""Where a server that runs says how to reach it; the command line looks there."""
KNOWN_S = 1.0
"""How often a server looks whether its address still stands there."""
IMPATIENT_S = 0.5
"""Ctrl-C again, this long after the first, ends the server at once; sooner it is the same one, told twice."""
SQL_DRAIN_S = 10.0
"""How long the process that runs statements may take to end."""
READY_S = 120.0
"""How long the first start of engines may take before the address is printed all the same."""


def run(config: Config, read: Callable[[], Config]) -> int:
    """Serve until SIGINT or SIGTERM; `read` reads the configuration again when its file has changed.

    Returns the exit code.  Raises ConfigError, or StoreUnavailable, before anything has started.
    """
    screen = Screen(sys.stdout, sys.stderr)
    for note in config.notes:
        screen.note(note)
    # First of all: nobody should wait for models to be fetched and then hear that the port is taken.
    listener = bound(config.settings.host, config.settings.port)
    store, key = _opened(config, listener)
    run_dir = make_run_dir(os.environ)
    try:
        plan = local.plan(config, run_dir, screen.progress)
        contents = read_contents(store)
        # Said before anything starts, in one sentence, rather than by each worker.
        for why in snapshot_build.build(config, plan.addresses, contents).lost.values():
            screen.note(f"{why}; until it is there the endpoint answers 503")
        listen(listener, config.settings.host, config.settings.port)
        access_token = _access_token(config, store)
        parts = _Parts(config, read, store, read_contents(store, contents), key, plan, run_dir, screen)
        return asyncio.run(_serve(parts, listener, access_token))
    finally:
        listener.close()
        store.close()
        shutil.rmtree(run_dir, ignore_errors=True)


class _Parts(NamedTuple):
    config: Config
    read: Callable[[], Config]
    store: Store
    contents: Contents
    key: bytes
    plan: local.Plan
    run_dir: Path
    screen: Screen
    static: Path = page.STATIC

    def __repr__(self) -> str:
        return "_Parts(***)"


async def _serve(parts: _Parts, listener: socket.socket, access_token: str | None) -> int:
    config, plan, screen, run_dir = parts.config, parts.plan, parts.screen, parts.run_dir
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    said: dict[str, str] = {}

    def told(state: EngineState) -> None:
        line = f"engine {state.name}: {state.status}: {state.message}"
        # A start has a message when it takes long; a state comes again when the process has a number.
        if state.message and state.status in ("starting", "restarting", "failed") and said.get(state.name) != line:
            said[state.name] = line
            screen.note(line)

    bell = Bell(run_dir, create=True)
    bell.ring(parts.contents.version)
    parts.store.database.announce = bell.ring
    state = ServerState(config, plan.addresses, local.startable(config))
    write_state(run_dir, state)
    supervisor = Supervisor(plan.specs, run_dir, told, log_dir=config.home / "logs")
    steward = Steward(parts.store, parts.contents, state, bell, run_dir, supervisor, screen.note)
    reloader = Reloader(
        parts.read, config, plan, steward, supervisor, run_dir, screen.note, lambda text: _tell(run_dir, text)
    )

    secret = secrets.token_urlsafe(32)

    def start(number: int) -> Start:
        sound, descriptor = bell.hear().state, listener.fileno()
        return Start(steward.state, sound, steward.contents, number, descriptor, str(run_dir), parts.key, secret)

    workers = Workers(config.settings.workers, start, listener, screen.note)
    asked_at = 0.0

    def asked() -> None:
        nonlocal asked_at
        if not stop.is_set():
            asked_at = loop.time()
        elif loop.time() - asked_at >= IMPATIENT_S:
            workers.kill()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked)
    loop.add_signal_handler(signal.SIGHUP, reloader.ask)
    url = url_of(*listener.getsockname()[:2])
    address = near(listener)
    sql = SqlProcess(SqlStart(config, *address, -1, str(run_dir), parts.key, secret), screen.note)
    keepers: list[asyncio.Task[None]] = []
    try:
        await supervisor.start()
        await workers.start()
        ready = asyncio.ensure_future(_ready(supervisor, workers, screen))
        stopped = asyncio.ensure_future(stop.wait())
        failed = asyncio.ensure_future(workers.failed())
        keepers += [asyncio.ensure_future(steward.run()), asyncio.ensure_future(reloader.run())]
        keepers.append(asyncio.ensure_future(sql.run()))
        ends = (stopped, failed, *keepers)
        await asyncio.wait((ready, *ends), return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set() and not failed.done() and await ready:
            _write(config.home / ADDRESS_FILE, url)
            first_page = _first_page(parts, url)
            screen.banner(__version__, url, access_token, sorted(plan.addresses), first_page)
            keepers.append(asyncio.ensure_future(_stay_known(config.home / ADDRESS_FILE, url)))
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            screen.note(failed.result())
            return 1
        await _raise_from(keepers)
        return 0
    finally:
        screen.stopping()
        _forget(config.home / ADDRESS_FILE, url)
        # The workers have closed theirs: without this one the system would take connections that nobody answers.
        listener.close()
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        # First those that take requests, then those that answer them.  Statements ask the workers.
        await sql.stop(SQL_DRAIN_S)
        await workers.stop(config.settings.timeouts.drain)
        await supervisor.stop()
        bell.close()


def _first_page(parts: _Parts, url: str) -> str:
    """The address of the pages that signs its reader in, once; empty where they are not built."""
    if not (parts.static / "index.html").exists():
        return ""
    code = invitation.invite(parts.run_dir, parts.store.identities.first_admin().id, time.time())
    # Behind the hash: browsers send that to nobody, so it stands in no log.
    return f"{url}/#code={code}"


async def _raise_from(keepers: list[asyncio.Task[None]]) -> None:
    """A keeper ends only by a fault of ours, which must be seen."""
    for keeper in keepers:
        if keeper.done():
            await keeper


def _tell(run_dir: Path, trouble: str | None) -> None:
    """Leave word for the workers' `/health`."""
    if trouble is None:
        (run_dir / TROUBLE_FILE).unlink(missing_ok=True)
    else:
        _write(run_dir / TROUBLE_FILE, trouble)


async def _ready(supervisor: Supervisor, workers: Workers, screen: Screen) -> bool:
    """Whether there is something to announce: workers that answer, if not yet engines."""
    if not await workers.ready():
        return False
    try:
        await supervisor.wait_ready(READY_S)
    except TeselaError as error:
        screen.note(f"{error.message}; its endpoints answer 503 until it is ready")
    return True


def _opened(config: Config, listener: socket.socket) -> tuple[Store, bytes]:
    try:
        return open_store(config.home, config.settings.database_url, os.environ)
    except TeselaError:
        listener.close()
        raise


def _access_token(config: Config, store: Store) -> str | None:
    """The token to print.

    On loopback it is also kept in a file for this user alone, so that every start prints lines that work.  Bound to
    anything else it is shown once and kept nowhere.
    """
    file = config.home / TOKEN_FILE
    first = store.tokens.first_start()
    if not is_loopback(config.settings.host):
        return first
    if first is None:
        with contextlib.suppress(FileNotFoundError):
            kept = file.read_text(encoding="ascii", errors="replace").strip()
            credential = read_contents(store).credentials.get(digest(kept.encode()))
            if credential is not None and credential.expires_at > time.time():
                return kept
        admin = store.identities.first_admin()
        first, _ = store.tokens.create(SYSTEM, admin.id, "made for this machine by tesela serve", None)
    _write(file, first)
    return first


def _write(file: Path, line: str) -> None:
    """A file for this user alone, whole or not at all."""
    part = file.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as out:
        out.write(line + "\n")
    part.replace(file)


def _forget(file: Path, line: str) -> None:
    """Remove the file if it says this: another server of the same home may have written it since."""
    with contextlib.suppress(FileNotFoundError):
        if file.read_text(encoding="ascii", errors="replace").strip() == line:
            file.unlink()


async def _stay_known(file: Path, url: str) -> None:
    """Write the address again when it is gone: another server of the same home took the file with it at its end."""
    while True:
        await asyncio.sleep(KNOWN_S)
        await asyncio.to_thread(_say_again, file, url)


def _say_again(file: Path, url: str) -> None:
    # A full disk ends nothing here; the next look tries again.
    with contextlib.suppress(OSError):
        if not file.exists():
            _write(file, url)
