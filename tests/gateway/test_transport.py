"""Calls over real connections, to servers that do what servers do: close, cut, delay, chatter, refuse."""

import asyncio
import contextlib
import os
import random
from base64 import b64encode
from pathlib import Path
from typing import Any, cast

import pytest
from tests.gateway.peers import PATH, Caller, Heard, Link, Peer, calling, looped, settled
from tests.gateway.tls import contexts

from tesela.errors import UpstreamError, UpstreamProtocolError, UpstreamTimeout, UpstreamUnavailable
from tesela.gateway import connection as connection_module
from tesela.gateway.connection import Attempt, Connection
from tesela.gateway.dial import Dialer
from tesela.serving import Origin, Timeouts, Upstream

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
FIVE, CHUNKED = b"content-length: 5\r\n\r\nhello", b"transfer-encoding: chunked\r\n\r\n"
GO_ON = b"HTTP/1.1 100 Continue\r\n\r\n"


async def polite(link: Link) -> None:
    """Answer every request with its own body."""
    while True:
        await link.answer((await link.request()).body)


# ------------------------------------------------------------ keep-alive


@looped
async def test_what_is_sent() -> None:
    seen = []

    async def talk(link: Link) -> None:
        seen.append(await link.request())
        await link.answer(b'{"a":1}')

    async with Peer(talk).listening() as peer, calling() as caller:
        upstream = Upstream(Origin("http", "127.0.0.1", peer.port), "m", "/base", (("authorization", "Bearer k"),))
        heard = await caller.ask(upstream, b'{"b":2}', headers=(("x-extra", "é"),))
    assert (heard.status, heard.body) == (200, b'{"a":1}')
    assert heard.headers[b"content-type"] == b"application/json"
    lines = seen[0].head.split(b"\r\n")
    assert lines[0] == b"POST /base/chat/completions HTTP/1.1"
    assert sorted(lines[1:]) == sorted(
        [
            b"host: 127.0.0.1:%d" % peer.port, b"authorization: Bearer k", b"content-type: application/json",
            b"accept-encoding: identity", b"x-extra: \xe9", b"content-length: 7", b"", b"",
        ]
    )  # fmt: skip
    assert seen[0].body == b'{"b":2}'


@looped
async def test_a_connection_is_used_again_and_its_answers_are_each_requests_own() -> None:
    async with Peer(polite).listening() as peer, calling() as caller:
        upstream = peer.upstream()
        for i in range(20):
            heard = await caller.ask(upstream, b"%d" % 10**i)
            assert heard.body == b"%d" % 10**i
        assert len(peer.links) == 1
        assert heard.calls == ["answer"], "a head seen before is not parsed again"


@looped
async def test_two_at_once_are_two_connections() -> None:
    async with Peer(polite).listening() as peer, calling() as caller:
        upstream = peer.upstream()
        one, two = await asyncio.gather(caller.ask(upstream, b"1"), caller.ask(upstream, b"2"))
        assert (one.body, two.body) == (b"1", b"2")
        assert len(peer.links) == 2


@looped
async def test_a_connection_that_the_server_closed_at_rest_is_not_used() -> None:
    async def once(link: Link) -> None:
        await link.answer((await link.request()).body)
        link.close()

    async with Peer(once).listening() as peer, calling() as caller:
        upstream = peer.upstream()
        for i in range(5):
            assert (await caller.ask(upstream, b"%d" % i)).body == b"%d" % i
            await settled(lambda: not any(caller.pools.idle(upstream.origin)))
        assert len(peer.links) == 5


@looped
async def test_a_server_that_closes_just_as_we_write_is_asked_once_more() -> None:
    asked = []

    async def talk(link: Link) -> None:
        await link.answer((await link.request()).body)
        asked.append((await link.request()).body)
        link.close()

    async with Peer(talk).listening() as peer, calling() as caller:
        upstream = peer.upstream()
        await caller.ask(upstream, b"1")
        again = await caller.ask(upstream, b"2")
        assert (again.body, again.error) == (b"2", None)
        assert asked == [b"2"]
        assert len(peer.links) == 2


@looped
async def test_it_is_asked_once_more_and_no_oftener() -> None:
    requests = 0

    async def talk(link: Link) -> None:
        nonlocal requests
        request = await link.request()
        requests += 1
        if request.body == b"first":
            await link.answer()
            await link.request()
            requests += 1

    async with Peer(talk).listening() as peer, calling() as caller:
        upstream = peer.upstream()
        await caller.ask(upstream, b"first")
        heard = await caller.ask(upstream, b"second")
        assert isinstance(heard.error, UpstreamUnavailable)
        assert heard.error.retry_after_s == 1
        assert requests == 3


@looped
async def test_a_new_connection_that_closes_is_not_asked_again() -> None:
    async def talk(link: Link) -> None:
        await link.request()

    async with Peer(talk).listening() as peer, calling() as caller:
        heard = await caller.ask(peer.upstream())
        assert isinstance(heard.error, UpstreamUnavailable)
        assert f"127.0.0.1:{peer.port}" in heard.error.message
        assert len(peer.links) == 1


@pytest.mark.parametrize("said", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", HEAD])
@looped
async def test_after_one_byte_of_an_answer_nothing_is_asked_again(said: bytes) -> None:
    async def talk(link: Link) -> None:
        await link.request()
        await link.answer()
        await link.request()
        await link.say(said)

    async with Peer(talk).listening() as peer, calling() as caller:
        upstream = peer.upstream()
        await caller.ask(upstream)
        heard = await caller.ask(upstream)
        assert isinstance(heard.error, UpstreamProtocolError)
        assert len(peer.links) == 1


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"content-length: 2\r\nconnection: close\r\n\r\n{}",
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        HEAD + b"content-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
        HEAD + b"content-length: 2\r\n\r\n{}HTTP/1.1",
        HEAD + b"content-length: 2\r\n\r\n{}garbage",
        HEAD + b"content-length: 2\r\n\r\n{}\x00",
        HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\ngarbage",
    ],
)
@looped
async def test_what_does_not_end_where_it_should_is_not_used_again(answer: bytes) -> None:
    async def talk(link: Link) -> None:
        while True:
            request = await link.request()
            await (link.say(answer) if link.number == 0 else link.answer(request.body))

    async with Peer(talk).listening() as peer, calling() as caller:
        upstream = peer.upstream()
        first = await caller.ask(upstream)
        assert (first.status, first.body, first.error) == (200, b"{}", None)
        second = await caller.ask(upstream, b"2")
        assert second.body == b"2"
        assert len(peer.links) == 2


@looped
async def test_bytes_that_come_at_rest_end_the_connection() -> None:
    async def talk(link: Link) -> None:
        request = await link.request()
        await link.answer(request.body)
        if link.number == 0:
            await link.say(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
        await polite(link)

    async with Peer(talk).listening() as peer, calling() as caller:
        upstream = peer.upstream()
        await caller.ask(upstream, b"1")
        await settled(lambda: not caller.pools.idle(upstream.origin))
        assert (await caller.ask(upstream, b"2")).body == b"2"


@looped
async def test_many_requests_over_many_connections_are_never_mixed() -> None:
    chance = random.Random(3)

    async def talk(link: Link) -> None:
        for _ in range(chance.randint(1, 30)):
            body = (await link.request()).body
            answer = HEAD + b"content-length: %d\r\n\r\n%b" % (len(body), body)
            if chance.random() < 0.3:
                answer = HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
            if chance.random() < 0.3:
                cut = chance.randint(0, len(answer))
                await link.say(answer[:cut])
                await asyncio.sleep(0)
                answer = answer[cut:]
            await link.say(answer)

    async with Peer(talk).listening() as peer, calling() as caller:
        upstream = peer.upstream()
        numbers = iter(range(2000))
        right = wrong = failed = 0

        async def ask_on() -> None:
            nonlocal right, wrong, failed
            for number in numbers:
                body = b"%d:" % number + b"x" * (number % 97)
                heard = await caller.ask(upstream, body)
                failed += heard.error is not None
                wrong += heard.error is None and heard.body != body
                right += heard.body == body
                if number % 50 == 0:
                    caller.send(upstream, b"left").handle.cancel()  # type: ignore[union-attr]

        await asyncio.gather(*(ask_on() for _ in range(50)))
        assert (wrong, right + failed) == (0, 2000)
        assert failed == 0, "a server that closes between two answers costs a retry and no more"


# ------------------------------------------------------------ framing, cut everywhere


class Wire:
    """As much of an asyncio transport as a connection uses."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False
        self.reading = True

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def writelines(self, parts: Any) -> None:
        self.written += parts

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close


class Keeper:
    """As much of the pools as a connection uses."""

    def __init__(self) -> None:
        self.loop = self
        self.under_way: set[Attempt] = set()
        self.resting: list[Connection] = []

    def time(self) -> float:
        return 0.0

    def rest(self, connection: Connection) -> None:
        self.resting.append(connection)

    def forget(self, connection: Connection) -> None:
        """At rest or not."""

    def dial(self, attempt: Attempt) -> None:
        raise AssertionError("nothing is dialled here")


class Played:
    """A connection that is fed by hand."""

    def __init__(self) -> None:
        self.keeper, self.wire = Keeper(), Wire()
        self.connection = Connection(cast("Any", self.keeper), [])
        self.connection.connection_made(cast("Any", self.wire))

    def hear(self, pieces: list[bytes], lost: bool = False) -> tuple[Any, ...]:
        heard = Heard()
        attempt = Attempt(cast("Any", self.keeper), Upstream(Origin(), "m"), b"", b"{}", heard, 1.0)
        self.keeper.under_way.add(attempt)
        self.keeper.resting.clear()
        self.connection.begin(attempt)
        for piece in pieces:
            if piece and not self.wire.closed:
                self.connection.data_received(piece)
        if lost or self.wire.closed:
            self.connection.connection_lost(None)
        assert heard.over.is_set() == (attempt not in self.keeper.under_way)
        return heard.over.is_set(), heard.status, heard.body, type(heard.error), bool(self.keeper.resting)


ANSWERS: dict[str, tuple[bytes, bytes, bool, bool]] = {
    # name: bytes, body, ends with the connection, may be used again
    "length": (HEAD + b"content-length: 5\r\n\r\nhello", b"hello", False, True),
    "nothing": (HEAD + b"content-length: 0\r\n\r\n", b"", False, True),
    "chunks": (HEAD + b"transfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n", b"hello", False, True),
    "trailers": (HEAD + CHUNKED + b"5\r\nhello\r\n0\r\nx: y\r\netag: z\r\n\r\n", b"hello", False, True),
    "one hundred": (GO_ON + HEAD + FIVE, b"hello", False, True),
    "early hints": (
        b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + GO_ON + HEAD + FIVE,
        b"hello", False, True,
    ),
    "until the end": (HEAD + b"\r\nhello", b"hello", True, False),
    "closing": (HEAD + b"content-length: 5\r\nconnection: close\r\n\r\nhello", b"hello", False, False),
    "a body that looks like an answer": (
        HEAD + b"content-length: 50\r\n\r\n" + b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".ljust(50),
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".ljust(50), False, True,
    ),
    "headers of all kinds": (HEAD + b"X:\r\nY:   z  \r\nX: again\r\n" + FIVE, b"hello", False, True),
}  # fmt: skip


@pytest.mark.parametrize("name", ANSWERS)
@looped
async def test_an_answer_cut_anywhere_is_the_same_answer(name: str) -> None:
    raw, body, to_the_end, again = ANSWERS[name]
    expected = (True, 200, body, type(None), again)
    for cut in range(len(raw) + 1):
        played = Played()
        assert played.hear([raw[:cut], raw[cut:]], lost=to_the_end) == expected, cut
        if again:
            # Whatever was learned from these pieces, the next answer is read as it is.
            assert played.hear([raw]) == expected, cut
            assert played.hear([raw[:cut], raw[cut:]]) == expected, cut
    assert Played().hear([raw[i : i + 1] for i in range(len(raw))], lost=to_the_end) == expected


@pytest.mark.parametrize("name", ANSWERS)
@looped
async def test_an_answer_that_ends_anywhere_before_its_end_is_an_error(name: str) -> None:
    raw, _, to_the_end, _ = ANSWERS[name]
    begun = raw.index(b"\r\n\r\n") + 4
    for cut in range(begun if to_the_end else len(raw)):
        over, _, _, error, again = Played().hear([raw[:cut]], lost=True)
        assert over
        assert issubclass(error, UpstreamError), cut
        assert not again


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage", b"\r\n\r\n\r\nx", b"HTTP/1.1 99 x\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\nPRI * HTTP/2.0",
        b"\x16\x03\x01\x00\x00", b"SSH-2.0-OpenSSH\r\n", b"POST / HTTP/1.1\r\n\r\n", b"\x00" * 100,
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 500_000,
    ],
)  # fmt: skip
@looped
async def test_what_is_not_http_is_an_error_and_never_used_again(raw: bytes) -> None:
    for pieces in ([raw], [raw[i : i + 1] for i in range(min(len(raw), 200))] + [raw[200:]]):
        over, _, _, error, again = Played().hear(pieces, lost=True)
        assert over
        assert issubclass(error, UpstreamError)
        assert not again


@looped
async def test_a_head_without_an_end_is_not_kept() -> None:
    played = Played()
    heard = Heard()
    attempt = Attempt(cast("Any", played.keeper), Upstream(Origin(), "m"), b"", b"{}", heard, 1.0)
    played.keeper.under_way.add(attempt)
    played.connection.begin(attempt)
    sent = 0
    while not heard.over.is_set() and sent < 64 * 1024 * 1024:
        played.connection.data_received(b"HTTP/1.1 200 OK\r\n" if not sent else b"x: %b\r\n" % (b"y" * 65000))
        sent += 65000
    assert isinstance(heard.error, UpstreamProtocolError)
    assert sent <= 4 * 1024 * 1024


# ------------------------------------------------------------ an answer before the request is read


@looped
async def test_an_early_answer_is_heard_and_the_rest_of_the_request_is_not_for_another() -> None:
    async def talk(link: Link) -> None:
        if link.number == 0:
            await link.reader.readuntil(b"\r\n\r\n")
            await link.answer(b'{"error":"too large"}', status="413 Too Large")
            with contextlib.suppress(ConnectionError):
                while await link.reader.read(2**16):
                    await asyncio.sleep(0)
        else:
            await polite(link)

    async with Peer(talk).listening() as peer, calling() as caller:
        upstream = peer.upstream()
        heard = await caller.ask(upstream, b"x" * 20_000_000)
        assert heard.status == 413
        assert (await caller.ask(upstream, b"2")).body == b"2"
        assert len(peer.links) == 2


@looped
async def test_a_large_request_arrives_whole() -> None:
    async with Peer(polite).listening() as peer, calling() as caller:
        upstream = peer.upstream()
        for size in (connection_module.JOIN_BELOW - 1, connection_module.JOIN_BELOW, 8_000_000):
            body = os.urandom(size)
            assert (await caller.ask(upstream, body)).body == body
        assert len(peer.links) == 1


# ------------------------------------------------------------ time


@looped
async def test_a_connection_that_is_not_made() -> None:
    class Nowhere:
        async def dial(self, origin: Origin, make: Any) -> Any:
            await asyncio.sleep(3600)

    async with calling(Nowhere()) as caller:
        heard = await caller.ask(Upstream(Origin(), "m", timeouts=Timeouts(connect_s=0.05)))
    assert isinstance(heard.error, UpstreamTimeout)
    assert "no connection" in heard.error.message
    assert "0.05 s" in heard.error.message


@pytest.mark.parametrize(
    ("said", "limits", "says"),
    [
        (b"", {"connect_s": 0.0, "first_byte_s": 0.1}, "did not begin to answer within 0.1 s"),
        (HEAD, {"idle_s": 0.1}, "sent nothing for 0.1 s"),
        (HEAD + b"content-length: 9\r\n\r\nx", {"idle_s": 0.1}, "sent nothing for 0.1 s"),
        (HEAD + b"\r\nx", {"total_s": 0.2}, "did not finish within 0.2 s"),
        (b"", {"total_s": 0.2}, "did not finish within 0.2 s"),
    ],
)
@looped
async def test_a_server_that_takes_too_long(said: bytes, limits: Any, says: str) -> None:
    left = asyncio.Event()

    async def talk(link: Link) -> None:
        await link.request()
        await link.say(said)
        await link.reader.read()
        left.set()

    async with Peer(talk).listening() as peer, calling() as caller:
        upstream = peer.upstream(**{"connect_s": 5.0, **limits} if limits.get("connect_s") else limits)
        if limits.get("connect_s") == 0.0:
            # The connection is there already: the wait for the first byte is all that counts.
            upstream = peer.upstream(connect_s=0.05, first_byte_s=0.1)
        heard = await caller.ask(upstream)
        assert isinstance(heard.error, UpstreamTimeout)
        assert says in heard.error.message
        await left.wait()


@looped
async def test_a_server_that_is_slow_but_never_silent_has_its_time() -> None:
    async def talk(link: Link) -> None:
        await link.request()
        await link.say(HEAD + b"content-length: 8\r\n\r\n")
        for _ in range(8):
            await asyncio.sleep(0.1)
            await link.say(b"x")

    async with Peer(talk).listening() as peer, calling() as caller:
        heard = await caller.ask(peer.upstream(idle_s=0.6))
        assert heard.body == b"x" * 8


# ------------------------------------------------------------ the caller's side


@looped
async def test_cancelled_while_dialling() -> None:
    async with Peer(polite).listening() as peer, calling() as caller:
        upstream = peer.upstream()
        for steps in range(8):
            heard = caller.send(upstream)
            for _ in range(steps):
                await asyncio.sleep(0)
            assert heard.handle is not None
            heard.handle.cancel()
            heard.handle.cancel()
            await settled(lambda: not caller.pools.under_way)
            assert heard.calls in ([], ["head", "data", "end"], ["answer"])
        assert (await caller.ask(upstream, b"1")).body == b"1"


@looped
async def test_cancelled_in_the_middle_of_an_answer() -> None:
    left = asyncio.Event()

    async def talk(link: Link) -> None:
        await link.request()
        await link.say(HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
        with contextlib.suppress(ConnectionError):
            while await link.reader.read(100):
                pass
        left.set()

    async with Peer(talk).listening() as peer, calling() as caller:
        heard = caller.send(peer.upstream())
        await settled(lambda: heard.pieces)
        assert heard.handle is not None
        heard.handle.cancel()
        await asyncio.wait_for(left.wait(), 5)
        assert heard.calls == ["head", "data"]
        assert not caller.pools.under_way
        heard.handle.pause()
        heard.handle.resume()


@looped
async def test_a_listener_that_cancels_within_a_call_hears_no_more() -> None:
    for when in ("head", "data"):

        async def talk(link: Link) -> None:
            await link.request()
            chunks = b"".join(b"1\r\n%c\r\n" % c for c in b"abcdef")
            await link.say(HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
            await link.reader.read()

        class Leaves(Heard):
            def _hear(self, what: str, when: str = when) -> None:
                super()._hear(what)
                if what == when and self.handle is not None:
                    self.handle.cancel()

        async with Peer(talk).listening() as peer, calling() as caller:
            heard = Leaves()
            heard.handle = caller.pools.send(peer.upstream(), PATH, (), b"{}", heard)
            await settled(lambda heard=heard: heard.calls)  # type: ignore[misc]
            assert heard.calls == ["head", "data"][: ["head", "data"].index(when) + 1]


@looped
async def test_a_paused_call_holds_the_server_back() -> None:
    total = 64 * 1024 * 1024
    written = 0

    async def talk(link: Link) -> None:
        nonlocal written
        await link.request()
        await link.say(HEAD + b"content-length: %d\r\n\r\n" % total)
        while written < total:
            await link.say(b"x" * 65536)
            written += 65536

    async with Peer(talk).listening() as peer, calling() as caller:
        heard = caller.send(peer.upstream())
        await settled(lambda: heard.pieces)
        assert heard.handle is not None
        heard.handle.pause()
        await asyncio.sleep(0)
        before, calls = -1, len(heard.calls)
        while before != written:
            before = written
            await asyncio.sleep(0.05)
        assert len(heard.calls) <= calls + 1
        assert written < total // 2
        heard.handle.resume()
        await asyncio.wait_for(heard.over.wait(), 10)
        assert len(heard.body) == total


@looped
async def test_paused_before_there_is_a_connection() -> None:
    async with Peer(polite).listening() as peer, calling() as caller:
        upstream = peer.upstream(idle_s=0.2)
        heard = caller.send(upstream, b"1")
        assert heard.handle is not None
        heard.handle.pause()
        await asyncio.sleep(0.6)
        assert heard.calls == [], "a paused call hears nothing, and its silence is not the server's"
        heard.handle.resume()
        await asyncio.wait_for(heard.over.wait(), 5)
        assert heard.body == b"1"
        assert (await caller.ask(upstream, b"2")).body == b"2"


# ------------------------------------------------------------ where to


@looped
async def test_nobody_there() -> None:
    async with Peer(polite).listening() as peer:
        upstream = peer.upstream()
    async with calling() as caller:
        heard = await caller.ask(upstream)
        assert isinstance(heard.error, UpstreamUnavailable)
        assert heard.error.retry_after_s == 1
        assert f"127.0.0.1:{peer.port}" in heard.error.message


@pytest.mark.parametrize("host", ["x" * 64, "a..b", "no-such-host.invalid", "", "[::1", "127.0.0.1\x00"])
@looped
async def test_a_host_that_is_none(host: str) -> None:
    async with calling() as caller:
        heard = await caller.ask(Upstream(Origin("http", host, 9), "m", timeouts=Timeouts(connect_s=5)))
        assert isinstance(heard.error, UpstreamError)


@looped
async def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "engine.sock"
    async with Peer(polite).listening(unix=path), calling() as caller:
        upstream = Upstream(Origin(unix=str(path)), "tiny")
        assert (await caller.ask(upstream, b"1")).body == b"1"
        assert (await caller.ask(upstream, b"2")).body == b"2"
    path.unlink(missing_ok=True)
    async with calling() as caller:
        heard = await caller.ask(upstream)
        assert isinstance(heard.error, UpstreamUnavailable)
        assert heard.error.message == "the local model 'tiny' is starting or restarting; try again in a moment"
        assert str(path) not in heard.error.message


@looped
async def test_tls(tmp_path: Path) -> None:
    server, authority = contexts(tmp_path)
    async with Peer(polite).listening(tls=server) as peer:
        origin = Origin("https", "localhost", peer.port)
        async with calling() as caller:
            for upstream in (Upstream(origin, "m"), Upstream(Origin("https", "127.0.0.1", peer.port), "m")):
                heard = await caller.ask(upstream)
                assert isinstance(heard.error, UpstreamUnavailable)
                assert "certificate" in heard.error.message.lower()
            trusting = Upstream(Origin("https", "localhost", peer.port, verify=False), "m")
            for i in range(3):
                assert (await caller.ask(trusting, b"%d" % i)).body == b"%d" % i
            assert (await caller.ask(Upstream(origin, "m"))).error is not None, "trust in one is not trust in all"
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("SSL_CERT_FILE", str(authority))
            async with calling() as caller:
                body = os.urandom(1_000_000)
                assert (await caller.ask(Upstream(origin, "m"), body)).body == body
                other = await caller.ask(Upstream(Origin("https", "127.0.0.2", peer.port), "m"))
                assert other.error is not None, "the certificate is not for that host"


@looped
async def test_tls_towards_a_server_that_speaks_none() -> None:
    async def plain(link: Link) -> None:
        await link.say(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await link.reader.read(100)

    async with Peer(plain).listening() as peer, calling() as caller:
        heard = await caller.ask(Upstream(Origin("https", "localhost", peer.port), "m"))
        assert isinstance(heard.error, UpstreamUnavailable)


# ------------------------------------------------------------ through a proxy


class Proxy(Peer):
    """Opens a tunnel to whatever is asked for, unless `refusal` is what it says instead."""

    def __init__(self, refusal: bytes = b"", extra: bytes = b"") -> None:
        super().__init__(self.tunnel)
        self.heads: list[bytes] = []
        self.refusal, self.extra = refusal, extra

    async def tunnel(self, link: Link) -> None:
        head = await link.reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        if self.refusal:
            await link.say(self.refusal)
            return
        host, _, port = head.split(b" ")[1].rpartition(b":")
        reader, writer = await asyncio.open_connection(host.decode(), int(port))
        for i in range(len(answer := b"HTTP/1.1 200 Connection established\r\nx: y\r\n\r\n")):
            await link.say(answer[i : i + 1])
            await asyncio.sleep(0)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        try:
            await asyncio.gather(pump(link.reader, writer), pump(reader, link.writer))
        finally:
            writer.close()


def dialer(proxy: Proxy, direct: Any = lambda host: False, credentials: str = "") -> Dialer:
    url = f"http://{credentials}127.0.0.1:{proxy.port}"
    return Dialer(asyncio.get_running_loop(), {"http": url, "https": url}, direct)


@pytest.mark.parametrize("secure", [False, True])
@looped
async def test_through_a_proxy(secure: bool, tmp_path: Path) -> None:
    tls = contexts(tmp_path)[0] if secure else None
    async with Peer(polite).listening(tls=tls) as peer, Proxy().listening() as found:
        proxy = cast("Proxy", found)
        upstream = Upstream(Origin("https" if secure else "http", "localhost", peer.port, verify=False), "m")
        async with calling(dialer(proxy, credentials="us%65r:p%40ss@")) as caller:
            for i in range(3):
                body = b"%d" % i * 100_000
                assert (await caller.ask(upstream, body)).body == body
        assert len(proxy.heads) == 1
        assert proxy.heads[0].startswith(b"CONNECT localhost:%d HTTP/1.1\r\n" % peer.port)
        assert b"Proxy-Authorization: Basic " + b64encode(b"user:p@ss") in proxy.heads[0]
        assert b"/chat/completions" not in proxy.heads[0]


@pytest.mark.parametrize(
    "refusal",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
        b"HTTP/1.1 403 Forbidden\r\ncontent-length: 3\r\n\r\nno!",
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n", b"HTTP/1.1 2000\r\n\r\n", b"garbage\r\n\r\n",
        b"HTTP/1.1 200", b"x" * 100_000,
    ],
)  # fmt: skip
@looped
async def test_a_proxy_that_opens_no_tunnel(refusal: bytes) -> None:
    async with Proxy(refusal).listening() as proxy, calling(dialer(cast("Proxy", proxy))) as caller:
        heard = await caller.ask(Upstream(Origin("http", "localhost", 9), "m"))
        assert isinstance(heard.error, UpstreamUnavailable)
        assert "proxy" in heard.error.message


@looped
async def test_no_proxy_there_and_hosts_that_need_none() -> None:
    async with Proxy().listening() as found:
        proxy = cast("Proxy", found)
        gone = dialer(proxy)
        around = dialer(proxy, direct=lambda host: host == "127.0.0.1")
        async with Peer(polite).listening() as peer, calling(around) as caller:
            assert (await caller.ask(peer.upstream(), b"1")).body == b"1"
            assert not proxy.heads
    async with calling(gone) as caller:
        assert isinstance((await caller.ask(Upstream(Origin("http", "localhost", 9), "m"))).error, UpstreamUnavailable)


class Dialled:
    """As much of a loop as dialling takes: it writes down where to, and connects nothing."""

    def __init__(self) -> None:
        self.hosts: list[Any] = []

    async def create_connection(self, make: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        self.hosts.append(host)
        raise ConnectionRefusedError(host)

    def create_future(self) -> None:
        """What would tell that a tunnel is open."""


@pytest.mark.parametrize(
    ("host", "asked"),
    [("169.254.169.254", "169.254.169.254"), ("fd00:ec2::23", "fd00:ec2::23"), ("api.example.com", "proxy.test")],
)
def test_a_machines_own_services_are_never_asked_through_a_proxy(host: str, asked: str) -> None:
    loop = Dialled()
    dialer = Dialer(cast("asyncio.AbstractEventLoop", loop), {"http": "http://proxy.test:3128"}, lambda _: False)
    dial = dialer.dial(Origin("http", host), asyncio.Protocol)
    with pytest.raises(ConnectionRefusedError):
        dial.send(None)
    assert loop.hosts == [asked]


@looped
async def test_cancelled_while_the_proxy_thinks() -> None:
    asked = asyncio.Event()

    async def talk(link: Link) -> None:
        await link.reader.readuntil(b"\r\n\r\n")
        asked.set()
        await link.reader.read()

    peer = Proxy()
    peer.talk = talk
    async with peer.listening(), calling(dialer(peer)) as caller:
        heard = caller.send(Upstream(Origin("http", "localhost", 9), "m"))
        await asked.wait()
        assert heard.handle is not None
        heard.handle.cancel()
        await settled(lambda: not caller.pools.under_way)
        assert heard.calls == []


# ------------------------------------------------------------ the end


@looped
async def test_closing_breaks_off_without_a_word() -> None:
    async def talk(link: Link) -> None:
        await link.request()
        await link.answer()
        await link.request()
        await link.say(HEAD)
        await link.reader.read()

    async with Peer(talk).listening() as peer:
        caller = Caller()
        upstream = peer.upstream()
        await caller.ask(upstream)
        under_way, dialling = caller.send(upstream), caller.send(upstream)
        caller.pools.close()
        await settled(lambda: True)
        assert (under_way.calls, dialling.calls) == ([], [])
        assert not caller.pools.under_way
