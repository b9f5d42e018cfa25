"""Where engines listen: a short private directory, one lasting path per engine, one path per process of it."""

import os
import re
import secrets
import shutil
import socket
import tempfile
from pathlib import Path

import msgspec

from tesela.engine.spec import EngineSpec
from tesela.errors import ConfigError

#: sockaddr_un holds 107 bytes and an end on Linux, 103 on macOS.
LONGEST_SOCKET = 103
_GENERATION = "999999."
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def make_run_dir(environ: dict[str, str] | os._Environ[str]) -> Path:
    """A directory for this process alone, mode 0700, under $XDG_RUNTIME_DIR or the temporary directory.

    What processes that are gone left behind (SIGKILL removes nothing) is removed on the way.
    """
    base = Path(environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir())
    if not os.access(base, os.W_OK | os.X_OK):
        base = Path(tempfile.gettempdir())
    prefix = f"tesela-{os.getuid()}-"
    for left in base.glob(prefix + "*"):
        pid = left.name.removeprefix(prefix).partition("-")[0]
        if pid.isdigit() and not _alive(int(pid)) and left.lstat().st_uid == os.getuid():
            shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=base))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def place(spec: EngineSpec, run_dir: Path) -> EngineSpec:
    """Fill in the lasting socket and the key where the spec has none.  Raises ConfigError when it cannot run."""
    if not _NAME.fullmatch(spec.name):
        raise ConfigError(f"engine name {spec.name!r}: only letters, digits, '.', '_' and '-' are possible")
    if spec.kind == "command" and not spec.argv:
        raise ConfigError(f"engine {spec.name!r} has no command to start")
    path = spec.socket or str(run_dir / f"{spec.name}.sock")
    if len(os.fsencode(path)) + len(_GENERATION) > LONGEST_SOCKET:
        raise ConfigError(f"the socket path {path} is too long for the system; choose a shorter run directory")
    return msgspec.structs.replace(spec, socket=path, key=spec.key or secrets.token_urlsafe(32))


def fill(spec: EngineSpec, generation: int) -> EngineSpec:
    """The spec for one process: a socket of its own, and the words in braces of a command replaced."""
    path = f"{spec.socket.removesuffix('.sock')}.{generation}.sock"
    Path(path).unlink(missing_ok=True)
    words = {"{socket}": path, "{key}": spec.key}
    if any("{port}" in text for text in (*spec.argv, spec.base_url)):
        words["{port}"] = str(free_port())

    def filled(text: str) -> str:
        for word, value in words.items():
            text = text.replace(word, value)
        return text

    return msgspec.structs.replace(
        spec,
        socket=path,
        argv=tuple(filled(text) for text in spec.argv),
        base_url=filled(spec.base_url).rstrip("/"),
    )


def lead(link: str, target: str) -> None:
    """Make the lasting path lead to the socket of one process, with no moment between in which it leads nowhere."""
    fresh = Path(link + ".new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
