"""Closing a listening port to everybody but a few connections of our own, and the relay to them."""

import contextlib
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tesela.sql.relay import relay
from tesela.sql.sealed import only_from

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux is the port closed")

SERVER = """
import os, select, socket, sys, threading
from tesela.sql.sealed import NotSealed, sealed

def greet():
    # It never ends: without descriptors a thread cannot.
    try:
        while True:
            select.select([listener], [], [])
            one, _ = listener.accept()
            accepted.append(one)
            one.sendall(b"hello")
    finally:
        threading.Event().wait()

listener, accepted = None, []
stranger = socket.socket()
nothing = os.open(os.devnull, os.O_RDONLY)

def leave():
    "As if in another process: the descriptor's number does not become free."
    os.dup2(nothing, stranger.fileno())

def start():
    global listener
    listener = socket.create_server(("127.0.0.1", 0))
    meanwhile()
    threading.Thread(target=greet, daemon=True).start()

def attempt():
    try:
        print([one.recv(9) for one in sealed(start, 3)], len(accepted))
    except NotSealed as exc:
        print(exc)

"""


def served(script: str) -> str:
    """What a process of its own says: the limits and locks that are tried here are a process's."""
    whole = SERVER + textwrap.dedent(script) + "\nsys.stdout.flush()\nos._exit(0)\n"
    done = subprocess.run([sys.executable, "-c", whole], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_connections_of_our_own_are_the_only_ones() -> None:
    said = served("""
        def meanwhile(): pass
        attempt()
        stranger.settimeout(0.2)
        try:
            stranger.connect(listener.getsockname())
        except TimeoutError:
            print("nobody else")
        try:
            listener.setsockopt(socket.SOL_SOCKET, 27, 0)  # SO_DETACH_FILTER
        except PermissionError:
            print("nor ever again")
        """)
    assert said.splitlines() == ["[b'hello', b'hello', b'hello'] 3", "nobody else", "nor ever again"]


@pytest.mark.parametrize("then", ["pass", "leave()", "reset()"])
def test_somebody_who_was_faster_is_seen_and_is_not_served(then: str) -> None:
    said = served(f"""
        def reset():
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
            leave()
        def meanwhile():
            stranger.connect(listener.getsockname())
            stranger.sendall(b"run this")
            try:
                listener.accept()
            except OSError as exc:
                print(exc.strerror)
            {then}
        attempt()
        print(len(accepted))
        """)
    assert "somebody connected to the SQL engine's port before it was closed to others" in said
    assert said.splitlines()[0] == "Too many open files"
    assert said.splitlines()[-1] == "0"


def test_what_is_no_listening_socket_is_not_taken_for_it() -> None:
    said = served("""
        def start():
            os.open(os.devnull, os.O_RDONLY)
        attempt()
        """)
    assert said == "the SQL engine's port is not where it was expected: Socket operation on non-socket\n"
    said = served("""
        def start():
            socket.socket().detach()
        attempt()
        """)
    assert said == "the SQL engine's port is not where it was expected\n"


def test_the_filter_lets_through_what_comes_from_bound_ports_alone() -> None:
    steps = only_from([1000, 2000])
    for port, address, passed in (
        (1000, 0x7F000001, True), (2000, 0x7F000001, True), (1001, 0x7F000001, False), (1000, 0x7F000002, False),
    ):  # fmt: skip
        assert judged(steps, port, address) is passed


def judged(steps: list[tuple[int, int, int, int]], port: int, address: int) -> bool:
    """Run a filter, as the kernel does for the few steps that we use."""
    value, at = 0, 0
    while True:
        code, yes, no, operand = steps[at]
        at += 1
        if code == 0x20:
            assert operand == 0xFFF00000 + 12
            value = address
        elif code == 0x28:
            assert operand == 0
            value = port
        elif code == 0x15:
            at += yes if value == operand else no
        else:
            assert code == 0x06
            return bool(operand)


@contextlib.contextmanager
def relayed(folder: Path, count: int) -> Iterator[tuple[Path, list[socket.socket], threading.Thread]]:
    """A relay with the servers' ends of its connections."""
    door = folder / "door"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(door))
    listener.listen()
    pairs = [socket.socketpair() for _ in range(count)]
    thread = threading.Thread(target=relay, args=(listener, [ours for ours, _ in pairs]), daemon=True)
    thread.start()
    try:
        yield door, [server for _, server in pairs], thread
    finally:
        for _, server in pairs:
            server.close()
        thread.join(5)
        assert not thread.is_alive()


def visitor(door: Path) -> socket.socket:
    one = socket.socket(socket.AF_UNIX)
    one.settimeout(5)
    one.connect(str(door))
    return one


def test_bytes_go_both_ways_and_each_visitor_has_a_connection(tmp_path: Path) -> None:
    with relayed(tmp_path, 2) as (door, servers, _), visitor(door) as first, visitor(door) as second:
        first.sendall(b"first")
        second.sendall(b"second")
        heard = {}
        for server in servers:
            server.settimeout(5)
            heard[server.recv(100)] = server
        assert set(heard) == {b"first", b"second"}
        big = bytes(range(256)) * 20_000
        threading.Thread(target=heard[b"second"].sendall, args=(big,), daemon=True).start()
        got = bytearray()
        while len(got) < len(big):
            got += second.recv(1024 * 1024)
        assert got == big


def test_a_visitor_who_leaves_ends_the_connection(tmp_path: Path) -> None:
    with relayed(tmp_path, 1) as (door, servers, thread):
        servers[0].settimeout(5)
        visitor(door).close()
        assert servers[0].recv(1) == b""
        thread.join(5)
        assert not thread.is_alive()


def test_a_server_that_ends_a_connection_ends_the_visit(tmp_path: Path) -> None:
    with relayed(tmp_path, 1) as (door, servers, _), visitor(door) as one:
        one.sendall(b"x")
        assert servers[0].recv(1) == b"x"
        servers[0].sendall(b"bye")
        servers[0].close()
        assert one.recv(100) == b"bye"
        assert one.recv(100) == b""


def test_a_connection_that_ended_while_it_was_spare_is_given_to_nobody(tmp_path: Path) -> None:
    with relayed(tmp_path, 3) as (door, servers, thread):
        servers[0].sendall(b"greeting")
        servers[1].close()
        servers[2].close()
        with visitor(door) as one:
            assert one.recv(100) == b"greeting"
            assert thread.is_alive()
            one.sendall(b"x")
            servers[0].settimeout(5)
            assert servers[0].recv(1) == b"x"
        thread.join(5)
        assert not thread.is_alive()


def test_the_relay_ends_when_all_spares_have(tmp_path: Path) -> None:
    with relayed(tmp_path, 2) as (_, servers, thread):
        for server in servers:
            server.close()
        thread.join(5)
        assert not thread.is_alive()
