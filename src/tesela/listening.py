"""The address of the server: a socket that has it, what to say when it cannot be had, and how it is written."""

import errno
import socket

from tesela.errors import ConfigError


def bound(host: str, port: int) -> socket.socket:
    """A socket that has the address and takes no connections yet.  Raises ConfigError with what to change."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
    except OSError as exc:
        raise ConfigError(f"the address {host!r} cannot be used: {exc.strerror or exc}") from exc
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.setblocking(False)
    except OSError as exc:
        listener.close()
        raise _refused(host, port, exc) from exc
    return listener


def listen(listener: socket.socket, host: str, port: int) -> None:
    """Take connections from here on.  Raises ConfigError when another program was quicker."""
    try:
        listener.listen(4096)
    except OSError as exc:
        raise _refused(host, port, exc) from exc


def _refused(host: str, port: int, exc: OSError) -> ConfigError:
    taken = exc.errno == errno.EADDRINUSE
    hint = "another program has it; choose another with --port" if taken else (exc.strerror or str(exc))
    return ConfigError(f"port {port} on {host} cannot be opened: {hint}")


def url_of(host: str, port: int) -> str:
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        host = socket.gethostname() if host == "0.0.0.0" else "[::1]"  # noqa: S104
    elif ":" in host:
        host = f"[{host}]"
    return f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    return host in ("localhost", "::1") or host.startswith("127.")


def near(listener: socket.socket) -> tuple[str, int]:
    """Host and port by which processes of this machine reach it."""
    host, port = listener.getsockname()[:2]
    # Where everybody may come from, this machine comes from itself.
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port  # noqa: S104 - compared, not bound
