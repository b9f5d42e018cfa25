"""Short-lived tokens: one request at a time for them, renewal before their end, and what their failures come to."""

import asyncio
from typing import Any

import msgspec
import pytest
from tests.fakes import JSON, FakeTransport, Sending
from tests.gateway.peers import PATIENCE_S, Heard, Link, Peer, calling, looped, settled

from tesela.errors import (
    TeselaError,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)
from tesela.gateway.tokens import Tokens
from tesela.serving import Origin, Timeouts, TokenSource, Upstream

FORM = b"grant_type=client_credentials&client_secret=hush"


def source(origin: Origin | None = None, key: str = "k", **limits: Any) -> TokenSource:
    headers = (("content-type", "application/x-www-form-urlencoded"),)
    issuer = Upstream(origin or Origin(host="issuer.test"), "", "/token", headers, Timeouts(**limits))
    return TokenSource(issuer, lambda _: FORM, key, "The issuer")


def told(token: str = "t-1", **more: Any) -> bytes:
    return msgspec.json.encode({"token_type": "Bearer", "expires_in": 3600, "access_token": token, **more})


# ------------------------------------------------------------ over real connections


class Issuer:
    """A peer that gives a new token on each request, once it may."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, link: Link) -> None:
        while True:
            request = await link.request()
            self.heads.append(request.head)
            self.bodies.append(request.body)
            await self.open.wait()
            await link.answer(told(f"t-{len(self.heads)}"))


class Provider:
    def __init__(self, status: str = "200 OK", body: bytes = b'{"id":1}') -> None:
        self.heads: list[bytes] = []
        self.status, self.body = status, body

    async def __call__(self, link: Link) -> None:
        while True:
            self.heads.append((await link.request()).head)
            await link.answer(self.body, status=self.status)


def upstream(provider: Peer, issuer: Peer, **limits: Any) -> Upstream:
    found = source(Origin("http", "127.0.0.1", issuer.port), **limits)
    return Upstream(Origin("http", "127.0.0.1", provider.port), "m", "/v1", query="v=1", token=found)


@looped
async def test_calls_at_once_wait_for_one_token_and_later_ones_have_it() -> None:
    issuer, provider = Issuer(), Provider()
    issuer.open.clear()
    async with Peer(issuer).listening() as one, Peer(provider).listening() as two, calling() as caller:
        target = upstream(two, one)
        heard = [caller.send(target) for _ in range(5)]
        await settled(lambda: issuer.heads)
        issuer.open.set()
        await asyncio.wait_for(asyncio.gather(*(one.over.wait() for one in heard)), PATIENCE_S)
        later = await caller.ask(target)
    assert [one.body for one in [*heard, later]] == [b'{"id":1}'] * 6
    assert issuer.bodies == [FORM]
    assert issuer.heads[0].startswith(b"POST /token HTTP/1.1\r\n")
    assert b"\r\ncontent-type: application/x-www-form-urlencoded\r\n" in issuer.heads[0]
    assert b"application/json" not in issuer.heads[0]
    assert len(provider.heads) == 6
    assert all(b"\r\nauthorization: Bearer t-1\r\n" in head for head in provider.heads)
    assert provider.heads[0].startswith(b"POST /v1/chat/completions?v=1 HTTP/1.1\r\n")


@looped
async def test_a_token_that_the_provider_refuses_is_not_used_again_nor_told() -> None:
    issuer, provider = Issuer(), Provider("401 Unauthorized", b'{"message":"Bearer t-1 is revoked"}')
    async with Peer(issuer).listening() as one, Peer(provider).listening() as two, calling() as caller:
        target = upstream(two, one)
        refused = await caller.ask(target)
        provider.status = "200 OK"
        taken = await caller.ask(target)
    assert (refused.status, refused.body) == (401, b'{"message":"Bearer *** is revoked"}')
    assert taken.status == 200
    assert b"Bearer t-2" in provider.heads[1]


@looped
async def test_an_issuer_that_is_not_there_or_says_nothing() -> None:
    issuer, provider = Issuer(), Provider()
    issuer.open.clear()
    async with Peer(issuer).listening() as one, Peer(provider).listening() as two, calling() as caller:
        slow = await caller.ask(upstream(two, one, total_s=0.3))
        silent = msgspec.structs.replace(upstream(two, one), token=source(Origin("http", "127.0.0.1", 1), key="other"))
        gone = await caller.ask(silent)
        issuer.open.set()
    assert isinstance(slow.error, UpstreamTimeout)
    assert isinstance(gone.error, UpstreamUnavailable)
    assert provider.heads == []


@looped
async def test_a_call_that_is_given_up_while_it_waits_is_never_sent() -> None:
    issuer, provider = Issuer(), Provider()
    issuer.open.clear()
    async with Peer(issuer).listening() as one, Peer(provider).listening() as two, calling() as caller:
        target = upstream(two, one)
        first, second = caller.send(target), caller.send(target)
        await settled(lambda: issuer.heads)
        assert first.handle is not None
        first.handle.cancel()
        issuer.open.set()
        await asyncio.wait_for(second.over.wait(), PATIENCE_S)
    assert first.calls == []
    assert len(provider.heads) == 1


# ------------------------------------------------------------ with time and answers in the test's hands


class Desk:
    """Tokens over a transport that keeps what is sent."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.transport = FakeTransport()
        self.tokens = Tokens(self.transport, lambda: self.now)
        self.target = Upstream(Origin(host="p"), "m", token=source())

    def call(self) -> Heard:
        heard = Heard()
        heard.handle = self.tokens.send(self.target, "/x", (("a", "b"),), b"{}", heard)
        return heard

    def hosts(self) -> list[str]:
        return [sending.upstream.origin.host for sending in self.transport.sent]

    def asked(self) -> Sending:
        """The last request for a token."""
        return next(one for one in reversed(self.transport.sent) if one.upstream.origin.host == "issuer.test")

    def authorization(self) -> str:
        return dict(self.transport.last.headers)["authorization"]


def test_a_token_is_renewed_before_its_end_and_nobody_waits_for_that() -> None:
    desk = Desk()
    desk.call()
    desk.asked().whole(told("t-1"))
    assert desk.hosts() == ["issuer.test", "p"]
    desk.now += 3299
    desk.call()
    assert desk.hosts() == ["issuer.test", "p", "p"]
    desk.now += 2
    desk.call()
    assert desk.authorization() == "Bearer t-1"
    assert desk.hosts()[3:] == ["issuer.test", "p"]
    desk.call()
    assert desk.hosts()[5:] == ["p"], "one request for a token at a time"
    desk.asked().whole(told("t-2"))
    desk.call()
    assert desk.authorization() == "Bearer t-2"


def test_a_token_that_has_nearly_ended_is_not_used() -> None:
    desk = Desk()
    desk.call()
    desk.asked().whole(told("t-1", expires_in="3600"))
    desk.now += 3571
    desk.call()
    assert desk.hosts() == ["issuer.test", "p", "issuer.test"]
    desk.asked().whole(told("t-2", expires_in=0))
    assert desk.authorization() == "Bearer t-2"
    desk.call()
    assert desk.hosts()[-1] == "issuer.test"


def test_a_renewal_that_fails_is_tried_again_while_the_token_lasts() -> None:
    desk = Desk()
    desk.call()
    desk.asked().whole(told("t-1"))
    desk.now += 3400
    heard = desk.call()
    desk.asked().whole(b"", 503)
    assert heard.calls == []
    desk.call()
    assert desk.hosts()[-2:] == ["issuer.test", "p"]
    assert desk.authorization() == "Bearer t-1"


@pytest.mark.parametrize(
    ("status", "body", "expected", "words"),
    [
        (401, b'{"error":"invalid_client","error_description":"hush"}', UpstreamUnauthorized, "status 401, invalid_cl"),
        (400, b"no json", UpstreamUnauthorized, "(status 400)"),
        (403, b"[]", UpstreamUnauthorized, "The issuer refused"),
        (429, b"", UpstreamUnavailable, "status 429"),
        (500, b"", UpstreamUnavailable, "status 500"),
        (302, b"", UpstreamUnavailable, "status 302"),
        (200, b"<html>", UpstreamProtocolError, "without one"),
        (200, b'{"access_token":5}', UpstreamProtocolError, "without one"),
        (200, b'{"access_token":"a\\r\\nb: c"}', UpstreamProtocolError, "cannot be sent"),
        (200, b'{"access_token":""}', UpstreamProtocolError, "cannot be sent"),
        (200, b"x" * (1024 * 1024 + 1), UpstreamProtocolError, "more than"),
    ],
)
def test_all_that_wait_hear_why_there_is_no_token(
    status: int, body: bytes, expected: type[TeselaError], words: str
) -> None:
    desk = Desk()
    heard = [desk.call(), desk.call()]
    desk.asked().whole(body, status)
    for one in heard:
        assert type(one.error) is expected
        assert words in one.error.message
        assert "hush" not in one.error.message
    assert desk.hosts() == ["issuer.test"]
    desk.call()
    assert desk.hosts() == ["issuer.test", "issuer.test"], "the next call tries again"


def test_a_call_that_is_paused_while_it_waits_begins_paused() -> None:
    desk = Desk()
    heard, other = desk.call(), desk.call()
    assert heard.handle is not None
    heard.handle.pause()
    desk.asked().answer(told())
    mine, its = desk.transport.sent[-2:]
    assert (mine.paused, its.paused) == (True, False)
    mine.head(200, JSON).data(b"{}")
    assert heard.calls == []
    heard.handle.resume()
    mine.end()
    assert heard.body == b"{}"
    assert other.calls == []


def test_equal_credentials_share_a_token_and_others_do_not() -> None:
    desk = Desk()
    desk.call()
    desk.asked().whole(told("t-1"))
    desk.target = Upstream(Origin(host="q"), "n", token=source())
    desk.call()
    assert desk.hosts()[-1] == "q"
    desk.target = Upstream(Origin(host="q"), "n", token=source(key="other"))
    desk.call()
    assert desk.hosts()[-1] == "issuer.test"


def test_nothing_of_the_credentials_is_in_a_repr() -> None:
    assert "hush" not in repr(source())
    assert "hush" not in repr(Upstream(Origin(), "m", token=source()))
