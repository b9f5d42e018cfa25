"""`tesela serve`: builds the parts and hands them to each other.

The parent answers no requests.  It reads the configuration, opens the store, binds the socket, starts the gateway's
workers and the engines, starts anew what ends unasked, and takes everything down in the right order.
"""

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import socket
import sys
import time
from pathlib import Path

from tesela import __version__, local, snapshot_build
from tesela.config import Config
from tesela.engine.placement import make_run_dir
from tesela.engine.spec import EngineState
from tesela.engine.supervisor import Supervisor
from tesela.errors import ConfigError, TeselaError
from tesela.screen import Screen
from tesela.snapshot import digest
from tesela.store import Store
from tesela.workers import Workers

TOKEN_FILE = "token"  # noqa: S105 - the name of a file
ADDRESS_FILE = "address"
"""Where a server that runs says how to reach it; the command line looks there."""
IMPATIENT_S = 0.5
"""Ctrl-C again, this long after the first, ends the server at once; sooner it is the same one, told twice."""
READY_S = 120.0
"""How long the first start of engines may take before the address is printed all the same."""


def run(config: Config) -> int:
    """Serve until SIGINT or SIGTERM.  Returns the exit code.  Raises ConfigError before anything has started."""
    screen = Screen(sys.stdout, sys.stderr)
    for note in config.notes:
        screen.note(note)
    try:
        config.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise ConfigError(f"{config.home}: cannot hold the server's state: {exc.strerror}") from exc
    store = Store(config.home)
    store.open()
    run_dir = make_run_dir(os.environ)
    try:
        plan = local.plan(config, run_dir, screen.progress)
        # Said before anything starts, in one sentence, rather than by each worker.
        snapshot_build.build(config, plan.addresses, {}, 0)
        listener = _listen(config.settings.host, config.settings.port)
        with listener:
            access_token = _access_token(config, store)
            return asyncio.run(_serve(config, plan, listener, run_dir, access_token, screen))
    finally:
        store.close()
        shutil.rmtree(run_dir, ignore_errors=True)


async def _serve(
    config: Config,
    plan: local.Plan,
    listener: socket.socket,
    run_dir: Path,
    access_token: str | None,
    screen: Screen,
) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def told(state: EngineState) -> None:
        if state.status in ("restarting", "failed"):
            screen.note(f"engine {state.name}: {state.status}: {state.message}")

    supervisor = Supervisor(plan.specs, run_dir, told, log_dir=config.home / "logs")
    workers = Workers(config, plan.addresses, listener, run_dir, screen.note)
    asked_at = 0.0

    def asked() -> None:
        nonlocal asked_at
        if not stop.is_set():
            asked_at = loop.time()
        elif loop.time() - asked_at >= IMPATIENT_S:
            workers.kill()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, asked)
    url = _url(*listener.getsockname()[:2])
    try:
        await supervisor.start()
        await workers.start()
        ready = asyncio.ensure_future(_ready(supervisor, workers, screen))
        stopped = asyncio.ensure_future(stop.wait())
        failed = asyncio.ensure_future(workers.failed())
        await asyncio.wait((ready, stopped, failed), return_when=asyncio.FIRST_COMPLETED)
        if not stop.is_set() and not failed.done() and await ready:
            _write(config.home / ADDRESS_FILE, url)
            screen.banner(__version__, url, access_token, sorted(plan.addresses))
        await asyncio.wait((stopped, failed), return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            screen.note(failed.result())
            return 1
        return 0
    finally:
        screen.stopping()
        _forget(config.home / ADDRESS_FILE, url)
        # The workers have closed theirs: without this one the system would take connections that nobody answers.
        listener.close()
        # First those that take requests, then those that answer them.
        await workers.stop(config.settings.timeouts.drain)
        await supervisor.stop()


async def _ready(supervisor: Supervisor, workers: Workers, screen: Screen) -> bool:
    """Whether there is something to announce: workers that answer, if not yet engines."""
    if not await workers.ready():
        return False
    try:
        await supervisor.wait_ready(READY_S)
    except TeselaError as error:
        screen.note(f"{error.message}; its endpoints answer 503 until it is ready")
    return True


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket.  Raises ConfigError with what to change."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
    except OSError as exc:
        raise ConfigError(f"the address {host!r} cannot be used: {exc.strerror or exc}") from exc
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(4096)
        listener.setblocking(False)
    except OSError as exc:
        listener.close()
        hint = (
            "another program has it; choose another with --port"
            if exc.errno == errno.EADDRINUSE
            else (exc.strerror or str(exc))
        )
        raise ConfigError(f"port {port} on {host} cannot be opened: {hint}") from exc
    return listener


def _url(host: str, port: int) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = socket.gethostname() if host == "0.0.0.0" else "[::1]"  # noqa: S104
    elif ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{port}"


def _access_token(config: Config, store: Store) -> str | None:
    """The token to print.

    On loopback it is also kept in a file for this user alone, so that every start prints lines that work.  Bound to
    anything else it is shown once and kept nowhere.
    """
    file = config.home / TOKEN_FILE
    first = store.first_start(time.time())
    if not _loopback(config.settings.host):
        return first
    if first is None:
        with contextlib.suppress(FileNotFoundError):
            kept = file.read_text(encoding="ascii", errors="replace").strip()
            credential = store.credentials().get(digest(kept.encode()))
            if credential is not None and credential.expires_at > time.time():
                return kept
        first, _ = store.create_token(store.admin().id, "made for this machine by tesela serve", None, time.time())
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


def _loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")
