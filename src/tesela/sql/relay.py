"""Bytes between a Unix socket and the few connections to a server that there will ever be.

Whoever comes gets one of them until they leave; it is of no use to the next one, who would find a conversation that
has begun.  When the last one is gone, so is the way to the server.
"""

import contextlib
import select
import socket
import threading
from collections.abc import Sequence

_BUFFER = 1024 * 1024


def relay(listener: socket.socket, spares: Sequence[socket.socket]) -> None:
    """Serve until no connection is left: none spare, none in use."""
    left = {one.fileno(): one for one in spares}
    used: list[threading.Thread] = []
    ready = select.poll()
    ready.register(listener, select.POLLIN)
    for number in left:
        # Not for what can be read: the server has greeted.
        ready.register(number, select.POLLRDHUP)
    while left:
        happened = {number for number, _ in ready.poll()}
        for number in happened & left.keys():
            ready.unregister(number)
            left.pop(number).close()
        if left and listener.fileno() in happened:
            outer, _ = listener.accept()
            number, inner = left.popitem()
            ready.unregister(number)
            used = [one for one in used if one.is_alive()] + [_joined(outer, inner)]
    listener.close()
    for one in used:
        one.join()


def _joined(outer: socket.socket, inner: socket.socket) -> threading.Thread:
    """A thread that lives as long as both ends do."""

    def both() -> None:
        back = threading.Thread(target=_pump, args=(inner, outer), name="relay back", daemon=True)
        back.start()
        _pump(outer, inner)
        back.join()
        outer.close()
        inner.close()

    thread = threading.Thread(target=both, name="relay", daemon=True)
    thread.start()
    return thread


def _pump(source: socket.socket, target: socket.socket) -> None:
    """Until one of them ends; then both do, in both directions."""
    buffer = memoryview(bytearray(_BUFFER))
    # When one side is gone, what was on its way with it is lost: whoever waits for it sees the end.
    with contextlib.suppress(OSError):
        while count := source.recv_into(buffer):
            target.sendall(buffer[:count])
    for one in (source, target):
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
