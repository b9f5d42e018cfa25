"""What every transport promises, held for the real one and for the fake that other tests trust."""

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.fakes import JSON, SSE, FakeCaller, FakeTransport, Sending
from tests.gateway.peers import PATH, Heard, Link, Peer, calling, looped, settled

from tesela.errors import UpstreamProtocolError, UpstreamUnavailable
from tesela.gateway.asgi import AsgiCaller
from tesela.gateway.connection import Attempt
from tesela.gateway.invocation import Invocation
from tesela.gateway.player import Player, Playing
from tesela.gateway.seams import Caller as CallerSeam
from tesela.gateway.seams import Handle, Listener, Transport
from tesela.gateway.transport import Pools
from tesela.gateway.turn import HotTurn
from tesela.serving import Origin, Upstream


class Stage:
    """One call, with the upstream in the test's hands.  `quiet` gives whatever could still come the time to come."""

    heard: Heard

    async def head(self, status: int, streaming: bool) -> None: ...

    async def data(self, data: bytes) -> None: ...

    async def end(self) -> None: ...

    async def cut(self) -> None: ...

    async def quiet(self) -> None: ...


class FakeStage(Stage):
    def __init__(self) -> None:
        self.heard = Heard()
        self.transport = FakeTransport()
        self.heard.handle = self.transport.send(Upstream(Origin(), "m"), PATH, (), b"{}", self.heard)

    async def head(self, status: int, streaming: bool) -> None:
        self.transport.last.head(status, SSE if streaming else JSON)

    async def data(self, data: bytes) -> None:
        self.transport.last.data(data)

    async def end(self) -> None:
        self.transport.last.end()

    async def cut(self) -> None:
        headed = bool(self.heard.calls)
        self.transport.last.fail(UpstreamProtocolError("cut") if headed else UpstreamUnavailable("closed"))


class RealStage(Stage):
    def __init__(self, pools: Pools, peer: Peer) -> None:
        self.heard = Heard()
        self.heard.handle = pools.send(peer.upstream(), PATH, (), b"{}", self.heard)
        self.peer, self.pools = peer, pools

    async def link(self) -> Link | None:
        """The connection; None when the call was given up before there was one."""
        await settled(lambda: self.peer.links or not self.pools.under_way)
        return self.peer.links[0] if self.peer.links else None

    async def head(self, status: int, streaming: bool) -> None:
        kind = b"text/event-stream" if streaming else b"application/json"
        await self._say(b"HTTP/1.1 %d X\r\ncontent-type: %b\r\ntransfer-encoding: chunked\r\n\r\n" % (status, kind))

    async def data(self, data: bytes) -> None:
        await self._say(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        await self._say(b"0\r\n\r\n")

    async def _say(self, data: bytes) -> None:
        link = await self.link()
        # uvloop says of a closed connection that it is closed with a RuntimeError.
        with contextlib.suppress(ConnectionError, RuntimeError):
            if link is not None:
                await link.say(data)
        await self.quiet()

    async def cut(self) -> None:
        link = await self.link()
        if link is not None:
            link.close()
        await self.quiet()

    async def quiet(self) -> None:
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def stage(kind: str) -> AsyncIterator[Stage]:
    if kind == "fake":
        yield FakeStage()
        return

    async def hold(link: Link) -> None:
        await link.request()
        await link.reader.read()

    async with Peer(hold).listening() as peer, calling() as caller:
        one = RealStage(caller.pools, peer)
        yield one
        if one.heard.handle is not None:
            one.heard.handle.cancel()
        await settled(lambda: not caller.pools.under_way)


KINDS = pytest.mark.parametrize("kind", ["fake", "real"])


@KINDS
@looped
async def test_an_answer_is_its_head_its_data_and_its_end(kind: str) -> None:
    async with stage(kind) as one:
        assert one.heard.calls == [], "`send` never calls the listener itself"
        await one.head(200, streaming=True)
        assert (one.heard.calls, one.heard.status) == (["head"], 200)
        assert one.heard.headers[b"content-type"] == b"text/event-stream"
        await one.data(b"a")
        await one.data(b"b")
        assert (one.heard.calls, one.heard.body) == (["head", "data", "data"], b"ab")
        await one.end()
        assert one.heard.calls == ["head", "data", "data", "end"]
        await one.data(b"c")
        await one.quiet()
        assert one.heard.calls[-1] == "end", "nothing comes after the end"


@KINDS
@looped
async def test_an_error_status_is_an_answer_like_any_other(kind: str) -> None:
    async with stage(kind) as one:
        await one.head(503, streaming=False)
        await one.data(b"{}")
        await one.end()
        assert (one.heard.calls, one.heard.status) == (["head", "data", "end"], 503)


@KINDS
@pytest.mark.parametrize("headed", [True, False])
@looped
async def test_a_failure_comes_last_and_once(kind: str, headed: bool) -> None:
    async with stage(kind) as one:
        if headed:
            await one.head(200, streaming=False)
        await one.cut()
        assert one.heard.calls == [*(["head"] if headed else []), "failure"]
        assert type(one.heard.error) is (UpstreamProtocolError if headed else UpstreamUnavailable)
        await one.cut()
        assert one.heard.calls.count("failure") == 1


@KINDS
@pytest.mark.parametrize("when", ["before", "head", "data", "end"])
@looped
async def test_after_cancel_nothing_is_heard(kind: str, when: str) -> None:
    async with stage(kind) as one:
        assert one.heard.handle is not None
        for step in ("before", "head", "data", "end"):
            if step == "head":
                await one.head(200, streaming=True)
            elif step == "data":
                await one.data(b"x")
            elif step == "end":
                await one.end()
            if step == when:
                before = list(one.heard.calls)
                one.heard.handle.cancel()
                one.heard.handle.cancel()
        await one.cut()
        assert one.heard.calls == before


@KINDS
@looped
async def test_while_paused_nothing_is_heard_and_then_everything(kind: str) -> None:
    async with stage(kind) as one:
        assert one.heard.handle is not None
        await one.head(200, streaming=True)
        await one.data(b"a")
        one.heard.handle.pause()
        one.heard.handle.pause()
        await one.data(b"b")
        await one.end()
        assert one.heard.calls == ["head", "data"]
        one.heard.handle.resume()
        await settled(one.heard.over.is_set)
        one.heard.handle.resume()
        assert (one.heard.body, one.heard.calls[-1]) == (b"ab", "end")


@KINDS
@looped
async def test_a_call_that_is_cancelled_while_paused_is_gone(kind: str) -> None:
    async with stage(kind) as one:
        assert one.heard.handle is not None
        await one.head(200, streaming=True)
        one.heard.handle.pause()
        await one.data(b"a")
        one.heard.handle.cancel()
        one.heard.handle.resume()
        await one.quiet()
        assert one.heard.calls == ["head"]


SEAMS: list[tuple[type[Any], type[Any]]] = [
    (Transport, Pools), (Transport, Player), (Transport, FakeTransport), (Handle, Attempt), (Handle, Playing),
    (Handle, Sending), (Listener, Invocation), (Listener, Heard), (CallerSeam, HotTurn), (CallerSeam, AsgiCaller),
    (CallerSeam, FakeCaller),
]  # fmt: skip


@pytest.mark.parametrize(("seam", "kind"), SEAMS, ids=lambda kind: kind.__name__)
def test_whoever_stands_at_a_seam_has_all_of_it(seam: type[Any], kind: type[Any]) -> None:
    asked: dict[str, Callable[..., Any]] = {
        name: found for name, found in vars(seam).items() if callable(found) and not name.startswith("_")
    }
    assert asked
    for name, found in asked.items():
        has = list(inspect.signature(getattr(kind, name)).parameters)
        assert has == list(inspect.signature(found).parameters), f"{kind.__name__}.{name}"
