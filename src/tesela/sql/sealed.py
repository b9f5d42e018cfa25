"""A server that listens on a port of this machine, closed to everybody but this process.  Linux only.

Loopback is open to every user of a machine, and the server asks nobody who they are.  So the kernel lets nothing
through to its listening socket but a few connections of our own, and after these nothing at all.
"""

import ctypes
import errno
import os
import resource
import socket
import struct
from collections.abc import Callable, Sequence

HOST = "127.0.0.1"
_ATTACH_FILTER = 26
_LOCK_FILTER = 44
"""SO_ATTACH_FILTER and SO_LOCK_FILTER of <asm-generic/socket.h>, which Python does not name."""
_DROP, _KEEP = (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF)
_NETWORK_HEADER = 0xFFF00000
_PATIENCE_S = 5.0
_PROOF_S = 0.02

Step = tuple[int, int, int, int]


class NotSealed(Exception):
    """The server may be open to others, so it must not run; the message says why."""


def sealed(start: Callable[[], None], count: int) -> list[socket.socket]:
    """Let `start` open its port, and give the only connections to it that there will ever be.  Raises NotSealed.

    Between listening and the first filter lies a moment in which anybody could connect.  Until it is over this
    process may open no further descriptor: nothing can be accepted, and whoever came waits where we look.  If somebody
    did, it stays like that, and the process must end at once.
    """
    ours = [_bound() for _ in range(count)]
    number = _next_descriptor()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number + 1, limits[1]))
    try:
        start()
        listener = _listener(number)
        _attach(listener, only_from([one.getsockname()[1] for one in ours]))
        _nobody_came(listener)
    except BaseException:
        # Descriptors that are closed on the way out are not to be had either.
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
        raise
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    port = listener.getsockname()[1]
    for one in ours:
        _greeted(one, port)
    _attach(listener, [_DROP])
    listener.setsockopt(socket.SOL_SOCKET, _LOCK_FILTER, 1)
    _prove(port)
    listener.detach()
    return ours


def only_from(ports: Sequence[int]) -> list[Step]:
    """The filter (classic BPF, at the TCP header) that lets through what comes from these ports of this address.

    A port that a socket is bound to is nobody else's, as long as that socket is open.
    """
    address = int.from_bytes(socket.inet_aton(HOST))
    last = len(ports)
    return [
        (0x20, 0, 0, _NETWORK_HEADER + 12),  # the source address
        (0x15, 0, last + 1, address),
        (0x28, 0, 0, 0),  # the source port
        *((0x15, last - at, 0, port) for at, port in enumerate(ports)),
        _DROP,
        _KEEP,
    ]


def _attach(one: socket.socket, steps: Sequence[Step]) -> None:
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in steps))
    one.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("@HP", len(steps), ctypes.addressof(program)))


def _bound() -> socket.socket:
    one = socket.socket()
    one.bind((HOST, 0))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one


def _next_descriptor() -> int:
    """The number that the next open descriptor gets: the lowest free one."""
    number = os.open(os.devnull, os.O_RDONLY)
    os.close(number)
    return number


def _listener(number: int) -> socket.socket:
    """The server's socket.  It stays the server's: detach it."""
    try:
        one = socket.socket(fileno=number)
    except OSError as exc:
        raise NotSealed(f"the SQL engine's port is not where it was expected: {exc.strerror}") from exc
    if one.family != socket.AF_INET or not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        one.detach()
        raise NotSealed("the SQL engine's port is not where it was expected")
    return one


def _nobody_came(listener: socket.socket) -> None:
    """Look whether connections wait to be accepted (tcpi_unacked of a listener); also those closed again do."""
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    if struct.unpack_from("=I", info, 24)[0]:
        raise NotSealed("somebody connected to the SQL engine's port before it was closed to others")


def _greeted(one: socket.socket, port: int) -> None:
    """Connect, and wait until the server says something: then it has taken the connection.  What it says stays."""
    one.settimeout(_PATIENCE_S)
    try:
        one.connect((HOST, port))
        said = one.recv(1, socket.MSG_PEEK)
    except OSError as exc:
        raise NotSealed(f"the SQL engine does not take our connections: {exc}") from exc
    if not said:
        raise NotSealed("the SQL engine does not take our connections")
    one.settimeout(None)


def _prove(port: int) -> None:
    """Try to connect as anybody could: a kernel that takes filters and does not heed them is found here."""
    with socket.socket() as stranger:
        stranger.settimeout(_PROOF_S)
        try:
            stranger.connect((HOST, port))
        except TimeoutError:
            return
        except OSError as exc:
            told = errno.errorcode.get(exc.errno or 0, str(exc))
            raise NotSealed(f"the SQL engine's port answers others with {told}") from exc
    raise NotSealed("this kernel does not close the SQL engine's port to others")
