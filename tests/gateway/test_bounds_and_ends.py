"""Trailers without an end, tokens that are newer than the snapshot, answers that are no JSON, servers that must end."""

from pathlib import Path
from typing import cast

import msgspec
import pytest
from tests.fakes import ACCESS_TOKEN, ADMIN, World, endpoint, entity
from tests.gateway.peers import looped, settled
from tests.gateway.servers import client, request, serving
from tests.gateway.test_invocation import ANSWER, Query, chunk

from tesela.gateway.protocol import MAX_HEAD, HotProtocol
from tesela.snapshot import Credential, digest

HOT = pytest.mark.parametrize("hot", [True, False], ids=["hot", "asgi"])
CHUNKED = "Transfer-Encoding: chunked"
FRESH = b"dapi" + b"f" * 32


@HOT
@looped
@pytest.mark.parametrize("line", [b"x-%d: y\r\n", b"%d"], ids=["many lines", "one line"])
async def test_trailers_are_bounded(hot: bool, line: bytes, tmp_path: Path) -> None:
    """They need no credential, so whoever sends them must not fill our memory."""
    async with serving(tmp_path, hot=hot) as server, client(server) as one:
        await one.send(request("/health", b"2\r\n{}\r\n0\r\nx: ", CHUNKED, auth=None, length=False))
        connection = cast("HotProtocol", next(iter(server.server.server_state.connections)))
        for piece in range(1000):
            await one.send(b"".join(line % (piece * 1000 + number) for number in range(1000)))
            if server.connections() == 0:
                break
        # What one read brings may be more than the bound; what many bring may not.
        assert len(connection._found) < 100_000
        await settled(lambda: server.connections() == 0)


@HOT
@looped
async def test_a_body_in_the_smallest_chunks_is_no_trailer(hot: bool, tmp_path: Path) -> None:
    """Six bytes of framing for each of the body's: much more than a head may have, and a request all the same."""
    body = b'{"model":"chat","messages":[{"role":"user","content":"' + b"a" * 30_000 + b'"}]}'
    framed = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    raw = request("/v1/chat/completions", framed, CHUNKED, length=False)
    assert len(framed) > 2 * MAX_HEAD
    async with serving(tmp_path, hot=hot) as server, client(server) as one:
        await one.send(*(raw[at : at + 1000] for at in range(0, len(raw), 1000)))
        assert (await one.until(1))[0][0] == 200


@HOT
@looped
async def test_a_token_that_was_made_a_moment_ago_is_known(hot: bool, tmp_path: Path) -> None:
    """`export DATABRICKS_TOKEN=$(tesela tokens create)` and the next line of the script."""
    async with serving(tmp_path, hot=hot) as server, client(server) as one:
        looks = 0

        def recheck() -> None:
            nonlocal looks
            looks += 1
            old = server.gateway.snapshot
            if looks == 2:
                known = {**old.credentials, digest(FRESH): Credential(ADMIN)}
                server.gateway.snapshot = msgspec.structs.replace(old, credentials=known)

        server.gateway.recheck = recheck
        for auth in (ACCESS_TOKEN, FRESH, FRESH, FRESH):
            await one.send(request(auth=b"Bearer " + auth))
        # A token that is known is no reason to look.
        assert [answer[0] for answer in await one.until(4)] == [200, 401, 200, 200]
        assert looks == 2


@pytest.mark.parametrize("body", [b"", b"  ", b"<html>It works</html>", b"[]", b'"x"'])
def test_an_answer_that_is_no_object_is_the_providers_fault(body: bytes) -> None:
    world = World(endpoint("chat", entity("one"), entity("two", 0), fallback=True))
    query = Query(world)
    world.transport.sent[0].whole(body, 200, {b"content-type": b"text/html"})
    world.transport.sent[1].whole(ANSWER)
    assert (query.status, query.headers["served-model-name"]) == (200, "two")
    alone = World()
    query = Query(alone)
    alone.transport.last.whole(body, 200, {b"content-type": b"text/html"})
    assert (query.status, query.error["error_code"]) == (502, "INTERNAL_ERROR")
    assert "not a JSON object" in query.error["message"]


def test_a_server_that_must_end_says_so_to_everyone_who_waits() -> None:
    world = World(endpoint("chat", entity("one", limit=9), entity("two", 0, limit=9), fallback=True))
    whole, fresh, begun = Query(world), Query(world, stream=True), Query(world, stream=True)
    world.transport.sent[2].head(200, {b"content-type": b"text/event-stream"})
    world.transport.sent[2].data(chunk("Hel"))
    world.gateway.abandon()
    # Nobody is sent elsewhere any more.
    assert len(world.transport.sent) == 3
    for query in (whole, fresh):
        assert (query.status, query.error["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
        assert query.headers["retry-after"] == "1"
    assert b'data: {"error":' in begun.body
    assert b"[DONE]" not in begun.body
    assert world.at_rest()
