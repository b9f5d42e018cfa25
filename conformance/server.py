"""Starts the real server on a free loopback port with a home of its own, and ends it.

Nothing but the standard library is needed, so that it also runs where only the clients are installed.
"""

import os
import re
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
START_S = 300.0
"""Seconds; the very first start fetches the two default models."""

STOP_S = 40.0

EXPORT = re.compile(r"""^\s*export (DATABRICKS_[A-Z]+)=["']?([^"'\s]+)""", re.MULTILINE)


@dataclass(frozen=True)
class Server:
    """A running server.  `log` holds what it has written so far."""

    host: str
    access_token: str
    home: Path
    log: Path


class Unusable(Exception):
    """The server did not start; the text ends with its last words."""


def program() -> str:
    """The `tesela` under test: TESELA_BIN, or the one of the clone's environment."""
    return os.environ.get("TESELA_BIN") or str(REPOSITORY / ".venv" / "bin" / "tesela")


def models() -> Path:
    """Where models are kept between runs, so that they are fetched once."""
    return Path(os.environ.get("TESELA_TEST_MODELS") or Path.home() / ".cache" / "tesela-tests").expanduser()


@contextmanager
def running(folder: Path, config: str = "") -> Iterator[Server]:
    """A server with its home in `folder`, ready to answer.  `config` is the text of its tesela.yaml."""
    home = folder / "home"
    home.mkdir(parents=True)
    cache = models() / "models"
    cache.mkdir(parents=True, exist_ok=True)
    (home / "models").symlink_to(cache)
    command = [program(), "serve", "--port", "0", "--home", str(home)]
    if config:
        file = folder / "tesela.yaml"
        file.write_text(config, encoding="utf-8")
        command += ["--config", str(file)]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("TESELA_", "DATABRICKS_"))}
    log = folder / "server.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _started(process, home, log)
    finally:
        _stop(process)


def _started(process: subprocess.Popen[bytes], home: Path, log: Path) -> Server:
    """Waits for the lines to export, which the server prints once it listens, and then for its good health."""
    deadline = time.monotonic() + START_S
    # A proxy of the machine has no business on loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    reason = "no address was printed"
    while time.monotonic() < deadline:
        exported = dict(EXPORT.findall(log.read_text(encoding="utf-8", errors="replace")))
        if {"DATABRICKS_HOST", "DATABRICKS_TOKEN"} <= exported.keys():
            server = Server(exported["DATABRICKS_HOST"], exported["DATABRICKS_TOKEN"], home, log)
            try:
                with opener.open(server.host + "/health", timeout=5):
                    return server
            except OSError as error:
                reason = f"{server.host}/health: {error}"
        try:
            code = process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        raise Unusable(f"the server ended with exit code {code}: {_last(log)}")
    raise Unusable(f"the server was not ready in {START_S:.0f} seconds ({reason}): {_last(log)}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise Unusable(f"the server did not stop within {STOP_S:.0f} seconds") from None


def _last(log: Path) -> str:
    return " | ".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]) or "it said nothing"
