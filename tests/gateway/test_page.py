"""The cookie of the web pages: what makes it count, and what does not."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import ACCESS_TOKEN
from tests.gateway.peers import looped
from tests.gateway.servers import client, request, serving

from tesela import page

NAME = b"tesela_session_7"
COOKIES = NAME + b"=" + ACCESS_TOKEN


@pytest.mark.parametrize(
    "cookies",
    [COOKIES, b"a=b; " + COOKIES, COOKIES + b";x=y", b"tesela_session_77=no; " + COOKIES, b"a;;=;" + COOKIES + b";;"],
)
def test_the_session_is_found_among_other_cookies(cookies: bytes) -> None:
    headers = {b"cookie": cookies, b"x-tesela-page": b"1"}
    assert page.bear(headers, NAME)
    assert headers[b"authorization"] == b"Bearer " + ACCESS_TOKEN


@pytest.mark.parametrize(
    "headers",
    [
        {b"cookie": COOKIES},
        {b"x-tesela-page": b"1"},
        {b"cookie": b"x" + COOKIES, b"x-tesela-page": b"1"},
        {b"cookie": NAME + b"=", b"x-tesela-page": b"1"},
        {b"cookie": NAME, b"x-tesela-page": b"1"},
        {b"cookie": COOKIES, b"x-tesela-page": b"1", b"sec-fetch-site": b"cross-site"},
        {b"cookie": COOKIES, b"x-tesela-page": b"1", b"sec-fetch-site": b"same-site"},
    ],
)
def test_a_cookie_alone_is_no_credential(headers: dict[bytes, bytes]) -> None:
    assert not page.bear(headers, NAME)
    assert b"authorization" not in headers


def test_who_says_who_they_are_is_believed_before_the_cookie() -> None:
    headers = {b"cookie": COOKIES, b"x-tesela-page": b"1", b"authorization": b"Bearer other"}
    assert not page.bear(headers, NAME)
    assert headers[b"authorization"] == b"Bearer other"


@given(st.binary(max_size=200))
def test_whatever_the_cookies_say_there_is_an_answer(cookies: bytes) -> None:
    assert isinstance(page.value(cookies, NAME), bytes)


@pytest.mark.parametrize("hot", [True, False], ids=["hot", "asgi"])
@looped
async def test_a_session_queries_by_both_ways(hot: bool, tmp_path: Path) -> None:
    """The whole way: the same connection is refused without the header and answered with it."""
    async with serving(tmp_path, hot=hot) as server, client(server) as one:
        cookie = server.gateway.cookie + b"=" + ACCESS_TOKEN
        body = b'{"messages": [{"role": "user", "content": "Hi"}]}'
        wanted = []
        for lines, status in (
            (b"cookie: " + cookie, 401),
            (b"cookie: " + cookie + b"\r\nx-tesela-page: 1", 200),
            (b"x-tesela-page: 1", 401),
        ):
            wanted.append(status)
            raw = request("/serving-endpoints/chat/invocations", body, auth=None)
            await one.send(raw.replace(b"\r\n", b"\r\n" + lines + b"\r\n", 1))
            assert [answer[0] for answer in await one.until(len(wanted))] == wanted
        await one.send(
            request("/api/2.0/serving-endpoints", b"", method="GET", auth=None).replace(
                b"\r\n", b"\r\ncookie: " + cookie + b"\r\nx-tesela-page: 1\r\n", 1
            )
        )
        assert (await one.until(4))[-1][0] == 200
