"""Clients that do what clients do: pipeline, stall, leave, read slowly.  By the hot way and by plain ASGI."""

import asyncio
import json
import re
import time
from itertools import product
from pathlib import Path

import msgspec
import pytest
from tests.fakes import ACCESS_TOKEN, ADMIN, SSE, FakeTransport
from tests.gateway.peers import Link, Peer, listed, looped, open_files, settled
from tests.gateway.servers import Answers, Client, Server, client, request, serving, settle

from tesela import control
from tesela.gateway.doors import BASES, DOORS
from tesela.gateway.limits import Limits
from tesela.snapshot import Credential, digest

pytestmark = pytest.mark.slow
MESSAGES = b'"messages":[{"role":"user","content":"Hi"}]'
HOT = pytest.mark.parametrize("hot", [True, False], ids=["hot", "plain"])


def ask(model: str, more: bytes = b"", text: str = "Hi") -> bytes:
    said = json.dumps([{"role": "user", "content": text}]).encode()
    return request(body=b'{"model":"%b","messages":%b%b}' % (model.encode(), said, more))


def stream(model: str) -> bytes:
    return ask(model, b',"stream":true')


# ------------------------------------------------------------ several requests at once

ONES = {
    "ok": ask("chat", text="first"),
    "another": ask("chat", text="second"),
    "slow": ask("slow"),
    "stream": stream("chat"),
    "drip": stream("drip"),
    "models": request("/v1/models", b"", method="GET", length=False),
    "no token": request(auth=None),
    "bad JSON": request(body=b"{"),
    "chunks": request(body=b"2\r\n{}\r\n0\r\n\r\n", length=False).replace(
        b"Host", b"Transfer-Encoding: chunked\r\nHost"
    ),
    "invocation": request("/serving-endpoints/chat/invocations", b"{" + MESSAGES + b"}"),
    "query": request("/v1/chat/completions?x=1", b'{"model":"chat",' + MESSAGES + b"}"),
}


def plain(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, dict[str, str], bytes]:
    """Without what differs between two answers to one request."""
    headers = {name: content for name, content in answer[1].items() if name not in ("date", "x-request-id")}
    return answer[0], headers, settle(answer[2])


@HOT
@looped
async def test_requests_that_come_together_are_answered_in_order(hot: bool, tmp_path: Path) -> None:
    async with serving(tmp_path, hot=hot) as server:

        async def answers(raw: bytes, cut: int, count: int) -> list[tuple[int, dict[str, str], bytes]]:
            async with client(server) as one:
                await one.send(raw[:cut], raw[cut:])
                await one.until(count)
                assert await one.alive()
                return [plain(answer) for answer in one.answers.whole[:count]]

        alone = {name: (await answers(raw, 0, 1))[0] for name, raw in ONES.items()}

        async def together(first: str, second: str) -> None:
            raw = ONES[first] + ONES[second]
            for cut in (0, len(ONES[first]) + 20, len(raw) - 1):
                assert await answers(raw, cut, 2) == [alone[first], alone[second]], (first, second, cut)

        await asyncio.gather(*(together(*pair) for pair in product(ONES, ONES)))
        every = list(ONES)
        assert await answers(b"".join(ONES.values()), 0, len(every)) == [alone[name] for name in every]
        assert server.at_rest()


@HOT
@looped
async def test_after_the_last_answer_of_a_connection_nothing_more_is_answered(hot: bool, tmp_path: Path) -> None:
    async with serving(tmp_path, hot=hot) as server, client(server) as one:
        last = ask("chat").replace(b"Host", b"Connection: close\r\nHost")
        await one.send(last + ask("chat"))
        await one.ended()
        assert [answer[0] for answer in one.answers.whole] == [200]


@HOT
@looped
async def test_a_half_request_behind_a_stream_does_not_break_into_it(hot: bool, tmp_path: Path) -> None:
    async with serving(tmp_path, hot=hot, limits=Limits(head_s=0.1, receive_s=0.1)) as server, client(server) as one:
        await one.send(stream("trickle"))
        await settled(lambda: server.gateway.under_way)
        await one.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost:")
        raw = await one.ended()
    assert raw.count(b"HTTP/1.1 ") == 1 or raw.index(b"HTTP/1.1 408") > raw.index(b"[DONE]")


# ------------------------------------------------------------ what does not arrive

HALVES = {
    "nothing of a head": b"",
    "half a head": b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n",
    "half a request line": b"POS",
    "half a body": ask("chat")[:-1],
    "half a body elsewhere": request("/api/2.0/token/create", b"{}")[:-1],
    "half a chunk": request(body=b"5\r\nab", length=False).replace(b"Host", b"Transfer-Encoding: chunked\r\nHost"),
    "half a body of a refused request": request(body=b"{}", auth=None)[:-1],
}


@HOT
@looped
async def test_half_a_request_has_its_time_and_no_more(hot: bool, tmp_path: Path) -> None:
    limits = Limits(head_s=0.1, receive_s=0.2, keep_alive_s=1.0)
    async with serving(tmp_path, hot=hot, limits=limits) as server:

        async def play(name: str) -> None:
            async with client(server) as one:
                await one.send(HALVES[name])
                await one.ended()
                told = one.answers.whole
                if name == "nothing of a head":
                    assert told == []
                elif name == "half a body of a refused request":
                    assert [answer[0] for answer in told] == [401]
                else:
                    assert [answer[0] for answer in told] == [408], name
                    assert json.loads(told[0][2])["error_code"] == "BAD_REQUEST"
                    assert told[0][1]["connection"] == "close"

        await asyncio.gather(*map(play, HALVES))
        await settled(lambda: not server.connections())
        assert server.at_rest()


@HOT
@looped
async def test_a_resting_connection_is_closed_after_its_time_and_a_busy_one_is_not(hot: bool, tmp_path: Path) -> None:
    limits = Limits(head_s=0.1, receive_s=0.1, keep_alive_s=1.0)
    async with serving(tmp_path, hot=hot, limits=limits) as server, client(server) as resting, client(server) as busy:
        await resting.send(ask("chat"))
        await busy.send(stream("trickle"))
        began = time.monotonic()
        raw = await resting.ended()
        assert raw.count(b"HTTP/1.1 ") == 1
        assert time.monotonic() - began >= 0.9
        await busy.until(1)
        assert b"[DONE]" in busy.answers.raw, "a stream takes as long as it takes"


@HOT
@looped
async def test_ten_million_bytes(hot: bool, tmp_path: Path) -> None:
    async with serving(tmp_path, hot=hot) as server, client(server) as one:
        for raw in (ask("plain", text="x" * 10_000_000), ask("plain", b',"x":"%b"' % (b"y" * 10_000_000)), ask("chat")):
            before = len(one.answers.whole)
            await one.send(raw)
            await one.until(before + 1)
            assert one.answers.whole[-1][0] == 200
        assert await one.alive()


@HOT
@looped
async def test_a_body_beyond_the_limit_is_refused_in_words_that_arrive(hot: bool, tmp_path: Path) -> None:
    """The client sends all of it before it looks: the answer must still be there."""
    async with serving(tmp_path, hot=hot, limits=Limits(max_body=1_000_000)) as server:
        raw = ask("plain", text="x" * 20_000_000)
        head, body = raw.split(b"\r\n\r\n", 1)
        parts = b"".join(
            b"%x\r\n%b\r\n" % (len(p), p) for p in (body[i : i + 65536] for i in range(0, len(body), 65536))
        )
        chunked = (
            re.sub(rb"Content-Length: \d+", b"Transfer-Encoding: chunked", head) + b"\r\n\r\n" + parts + b"0\r\n\r\n"
        )
        for sent in (raw, chunked):
            async with client(server) as one:
                await one.send(sent)
                await one.until(1)
                assert one.answers.whole[0][0] == 413
                assert json.loads(one.answers.whole[0][2])["error_code"] == "INVALID_PARAMETER_VALUE"
        assert server.at_rest()


# ------------------------------------------------------------ clients that leave

LEAVING = {
    "in the head": (ask("chat")[:40], False),
    "in the body": (ask("chat")[:-5], False),
    "while waiting": (ask("chat"), True),
    "while waiting for a stream": (stream("chat"), True),
}


@HOT
@pytest.mark.parametrize("name", LEAVING)
@looped
async def test_a_client_that_leaves_takes_its_call_along(hot: bool, name: str, tmp_path: Path) -> None:
    upstream = FakeTransport()
    raw, sent = LEAVING[name]
    async with serving(tmp_path, hot=hot, transport=upstream) as server:
        async with client(server) as one:
            await one.send(raw)
            if sent:
                await settled(lambda: upstream.sent)
        await settled(lambda: not server.connections())
        await settled(server.at_rest)
        assert len(upstream.sent) == sent
        assert all(one.cancelled for one in upstream.sent)
        assert [each.cancelled for each in server.tally.counts.values()] == [1] * sent


@HOT
@looped
async def test_a_client_that_leaves_with_a_request_waiting_behind_is_noticed_when_it_is_answered(
    hot: bool, tmp_path: Path
) -> None:
    """With a second request at hand nothing more is read, so its leaving is seen when there is something to write."""
    upstream = FakeTransport()
    async with serving(tmp_path, hot=hot, transport=upstream) as server:
        async with client(server) as one:
            await one.send(stream("chat") + ask("chat"))
            await settled(lambda: upstream.sent)
        event = b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":null}]}\n\n'
        upstream.last.head(200, SSE)
        while server.connections():
            upstream.sent[0].data(event)
            await asyncio.sleep(0.01)
        await settled(server.at_rest)
        assert upstream.sent[0].cancelled
        assert len(upstream.sent) == 1


@HOT
@looped
async def test_a_client_that_leaves_in_mid_stream(hot: bool, tmp_path: Path) -> None:
    left = asyncio.Event()

    async def talk(link: Link) -> None:
        await link.request()
        await link.say(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        event = b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":null}]}\n\n'
        await link.say(b"%x\r\n%b\r\n" % (len(event), event))
        await link.reader.read()
        left.set()

    async with (
        Peer(talk).listening() as peer,
        serving(tmp_path, hot=hot, peer=f"http://127.0.0.1:{peer.port}/v1") as server,
    ):
        for _ in range(5):
            left.clear()
            async with client(server) as one:
                await one.send(stream("away"))
                while b"data: " not in one.answers.raw:
                    await one.more()
            await asyncio.wait_for(left.wait(), 5)
            await settled(server.at_rest)
        assert [each.cancelled for each in server.tally.counts.values()] == [5]


@HOT
@looped
async def test_a_client_that_reads_slowly_holds_the_upstream_back(hot: bool, tmp_path: Path) -> None:
    event = b'data: {"choices":[{"delta":{"content":"%b"},"finish_reason":null}]}\n\n' % (b"x" * 30_000)
    piece = b"%x\r\n%b\r\n" % (len(event), event)
    last = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    total, written = 2000, 0

    async def talk(link: Link) -> None:
        nonlocal written
        await link.request()
        await link.say(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(total):
            await link.say(piece)
            written += 1
        await link.say(b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last))

    async with (
        Peer(talk).listening() as peer,
        serving(tmp_path, hot=hot, peer=f"http://127.0.0.1:{peer.port}/v1") as server,
    ):
        async with client(server) as one:
            one.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await one.send(stream("away"))
            await settled(lambda: written)
            before = -1
            while before != written:
                before = written
                await asyncio.sleep(0.1)
            assert written < total // 2, "what nobody reads is not fetched"
            one.writer.transport.resume_reading()  # type: ignore[attr-defined]
            await one.until(1)
            assert one.answers.raw.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
            assert one.answers.whole[0][2].count(b"data: ") == total + 2
        written = 0
        async with client(server) as one:
            one.writer.transport.pause_reading()  # type: ignore[attr-defined]
            await one.send(stream("away"))
            await settled(lambda: written)
        await settled(server.at_rest)
        await settled(lambda: not server.connections())


@HOT
@looped
async def test_clients_of_all_kinds_leave_nothing_behind(hot: bool, tmp_path: Path) -> None:
    async with serving(tmp_path, hot=hot) as server:
        # Once to begin with: the first change opens the store, which then stays open.
        await everything(server)

        def others() -> list[str]:
            """Without the database's files: two handlers at once have a connection each, which the pool keeps."""
            return sorted(re.sub(r"\d+", "N", name) for name in listed() if not name.startswith(str(tmp_path)))

        before = others()
        for _ in range(15):
            await everything(server)
        assert others() == before
        assert open_files() <= len(before) + 2 * 15


async def everything(server: Server) -> None:
    """Each kind of request, and of what is none, on a connection of its own."""
    for raw in [*ONES.values(), *HALVES.values(), b"\x00\xff\r\n\r\n", stream("long")]:
        async with client(server) as one:
            await one.send(raw)
            await asyncio.sleep(0)
    await settled(lambda: not server.connections())
    await settled(server.at_rest)


# ------------------------------------------------------------ who may call


@HOT
@looped
async def test_a_token_that_is_revoked_is_refused_on_connections_that_have_shown_it(hot: bool, tmp_path: Path) -> None:
    async with serving(tmp_path, hot=hot) as server, client(server) as one:
        for _ in range(3):
            await one.send(ask("chat"))
        await one.until(3)
        built = server.gateway.snapshot
        server.gateway.snapshot = msgspec.structs.replace(built, credentials={})
        await one.send(ask("chat"))
        assert [answer[0] for answer in await one.until(4)] == [200, 200, 200, 401]
        server.gateway.snapshot = built
        await one.send(ask("chat"))
        assert (await one.until(5))[-1][0] == 200


@HOT
@looped
async def test_a_token_that_runs_out_is_refused_on_connections_that_have_shown_it(hot: bool, tmp_path: Path) -> None:
    async with serving(tmp_path, hot=hot) as server, client(server) as one:
        soon = {digest(ACCESS_TOKEN): Credential(ADMIN, time.time() + 0.4)}
        server.gateway.snapshot = msgspec.structs.replace(server.gateway.snapshot, credentials=soon)
        statuses: list[int] = []
        while 401 not in statuses:
            await one.send(ask("chat"))
            await one.until(len(statuses) + 1)
            statuses = [answer[0] for answer in one.answers.whole]
            await asyncio.sleep(0.02)
        assert statuses[:2] == [200, 200]


DISCOVERY = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration", "/v1/token")
SQL = {"/api/2.0/sql/batches", "/api/2.0/sql/results/{id:uuid}/{index:int}"}
"""A ticket and a signature are the credentials here: whoever made them looks at them."""
SESSION = "/api/2.0/tesela/session"
PAGES = {"/", "/playground", "/serving", "/serving-create", "/serving/{name}", "/serving/{name}/edit", "/sql"}
"""One file for everybody, which shows nothing but what the API gives to who is signed in."""
OPEN = {"/.well-known/databricks-config", "/health", "/oidc/jwks.json", "/assets/{file}", SESSION, *SQL, *PAGES} | {
    f"{base}{path}" for base in ("/oidc", "/oidc/accounts/{account_id}") for path in DISCOVERY
}


def filled(path: str) -> str:
    """A path with a name in each of its places."""
    path = path.replace("{id:uuid}", "00000000-0000-0000-0000-000000000000").replace("{index:int}", "0")
    return re.sub(r"\{(\w+)(?::\w+)?\}", "chat", path)


def test_these_paths_are_public_and_no_others() -> None:
    assert control.PUBLIC == OPEN


@HOT
@looped
async def test_every_path_but_the_public_ones_wants_a_credential(hot: bool, tmp_path: Path) -> None:
    async with serving(tmp_path, hot=hot) as server:
        walked: set[tuple[str, str]] = set()
        for route in [*control.routes(server.facts), *server.models]:
            path = filled(route.path)
            walked |= {(method, path) for method in route.methods or ()}
        walked |= {("POST", path.decode()) for path in DOORS}
        walked |= {("POST", f"/serving-endpoints/chat{more}/invocations") for more in ("", "/served-models/chat-model")}
        walked |= {("POST", "/endpoints/chat/invocations")}
        walked |= {(method, "/nowhere") for method in ("GET", "POST", "OPTIONS", "PUT", "DELETE", "PATCH")}
        walked |= {
            (method, path) for method, path in product(("GET", "OPTIONS", "DELETE"), [b.decode() for b in DOORS])
        }
        assert len(walked) > 80
        assert {f"{base}/models" for base in BASES} <= {path for _, path in walked}

        async def walk(one: Client, auth: bytes | None) -> dict[tuple[str, str], int]:
            found: dict[tuple[str, str], int] = {}
            for method, path in sorted(walked):
                if method == "HEAD":
                    continue
                await one.send(request(path, b"", method=method, auth=auth))
                found[method, path] = (await one.until(len(found) + 1))[-1][0]
            return found

        for auth in (None, b"Bearer dapi" + b"0" * 32, b"Basic dG9rZW46", b""):
            async with client(server) as one:
                statuses = await walk(one, auth)
            open_to_all = {path for (_, path), status in statuses.items() if status != 401}
            assert {path for path in open_to_all if not path.endswith("/token")} == {
                filled(path) for path in OPEN if not path.endswith("/token")
            }
        async with client(server) as one:
            statuses = await walk(one, b"Bearer " + ACCESS_TOKEN)
        assert {key for key, status in statuses.items() if status in (401, 500)} <= {
            ("POST", path) for path in map(filled, OPEN)
        }
        # A page's address may have anything in it: what is sent is the same.  No file of theirs is there.
        for path in map(filled, OPEN - PAGES - {"/assets/{file}"}):
            for disguised in (
                f"//{path[1:]}",
                f"{path}/",
                f"{path}/../v1/models",
                path.upper(),
                f"{path}%00",
                f"{path};x",
            ):
                async with client(server) as one:
                    await one.send(request(disguised, b"", method="GET", auth=None, length=False))
                    assert (await one.until(1))[0][0] in (400, 401), disguised
            async with client(server) as one:
                await one.send(request(f"/v1/models?x={path}", b"", method="GET", auth=None, length=False))
                assert (await one.until(1))[0][0] == 401


# ------------------------------------------------------------ waiting, and the end


@HOT
@looped
async def test_white_space_on_the_wire_is_still_one_answer(hot: bool, tmp_path: Path) -> None:
    upstream = FakeTransport()
    async with serving(tmp_path, hot=hot, transport=upstream, patience_s=0.2) as server:
        raw = request("/serving-endpoints/chat/invocations", b"{" + MESSAGES + b"}")
        async with client(server) as one:
            await one.send(raw)
            while one.answers.raw.count(b"1\r\n \r\n") < 2:
                await one.more()
            upstream.last.whole(b'{"choices":[{"finish_reason":"stop"}]}')
            status, headers, body = (await one.until(1))[0]
            assert (status, headers["transfer-encoding"]) == (200, "chunked")
            assert json.loads(body) == {"choices": [{"finish_reason": "stop", "finishReason": "stop"}]}
            assert await one.alive()
        async with client(server) as one:
            await one.send(raw)
            while b"1\r\n \r\n" not in one.answers.raw:
                await one.more()
            upstream.last.whole(b"{}", 500)
            await one.ended()
            assert not one.answers.whole, "an answer that failed must not look whole"
        await settled(server.at_rest)


@HOT
@looped
async def test_a_server_that_stops_lets_streams_finish(hot: bool, tmp_path: Path) -> None:
    async with (
        serving(tmp_path, hot=hot) as server,
        client(server) as streaming,
        client(server) as resting,
        client(server) as waiting,
    ):
        await resting.send(ask("chat"))
        await resting.until(1)
        await streaming.send(stream("drip"))
        await waiting.send(ask("slow"))
        while b"data: " not in streaming.answers.raw:
            await streaming.more()
        server.server.should_exit = True
        await resting.ended()
        assert b"data: [DONE]\n\n\r\n0\r\n\r\n" in await streaming.ended()
        await waiting.ended()
        assert [answer[0] for answer in waiting.answers.whole] == [200]
        with pytest.raises(ConnectionError):
            await asyncio.open_connection("127.0.0.1", server.port)


@HOT
@looped
async def test_what_an_upstream_sends_after_the_end_is_nobodys(hot: bool, tmp_path: Path) -> None:
    upstream = FakeTransport()
    async with serving(tmp_path, hot=hot, transport=upstream) as server, client(server) as one:
        for i in range(3):
            await one.send(stream("chat"))
            await settled(lambda i=i: len(upstream.sent) == i + 1)  # type: ignore[misc]
            event = b'data: {"choices":[{"delta":{"content":"%d"},"finish_reason":"stop"}]}\n\n' % i
            upstream.last.head(200, SSE).data(event).data(b"data: [DONE]\n\n").data(b"\n").data(event).end()
            await one.until(i + 1)
            assert one.answers.whole[i][2] == event + b"data: [DONE]\n\n"


@looped
async def test_the_reader_of_answers_in_these_tests_reads_answers() -> None:
    answers = Answers()
    answers.feed(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx")
    assert answers.whole == [(200, {"content-length": "1"}, b"x")]
