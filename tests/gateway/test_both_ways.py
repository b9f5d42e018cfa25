"""The hot way and plain ASGI answer the same bytes, and keep or close the connection alike, for a table of requests."""

import contextlib
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from tests.fakes import ACCESS_TOKEN
from tests.gateway.peers import looped, settled
from tests.gateway.servers import EXPIRED, SOMEBODY, Server, client, request, serving, settle

from tesela.gateway.limits import Limits

pytestmark = pytest.mark.slow
LIMITS = Limits(max_body=100_000)
MESSAGES = b'"messages":[{"role":"user","content":"Hi"}]'
STREAM = b'{"model":"%b",' + MESSAGES + b',"stream":true}'
BIG = b'{"model":"chat","messages":[{"role":"user","content":"' + b"x" * 200_000 + b'"}]}'


def ask(model: str = "chat", more: bytes = b"") -> bytes:
    return b'{"model":"%b",%b%b}' % (model.encode(), MESSAGES, more)


def chunked(*pieces: bytes, end: bytes = b"0\r\n\r\n", path: str = "/v1/chat/completions") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end
    return request(path, body, "Transfer-Encoding: chunked", length=False)


def invoke(name: str, body: bytes = b"{" + MESSAGES + b"}", *lines: str) -> bytes:
    return request(f"/serving-endpoints/{name}/invocations", body, *lines)


def basic(pair: bytes) -> bytes:
    return b"Basic " + b64encode(pair)


CHAT = "/v1/chat/completions"
MESSAGES_PATH, LIMIT = "/serving-endpoints/anthropic/v1/messages", b',"max_tokens":20'
TABLE: dict[str, bytes] = {
    "ok": request(),
    "invocation": invoke("chat"),
    "served model": request("/serving-endpoints/chat/served-models/chat-model/invocations", b"{" + MESSAGES + b"}"),
    "name with a slash": invoke("a%2Fb%20c"),
    "mlflow": request("/endpoints/chat/invocations", b"{" + MESSAGES + b"}"),
    "gateway paths": request("/ai-gateway/openai/v1/chat/completions"),
    "slow": request(body=ask("slow")),
    "unicode": request(body=ask("unicode")),
    "empty answer": request(body=ask("empty")),
    "embeddings": request("/v1/embeddings", b'{"model":"embed","input":["a","b"],"encoding_format":"base64"}'),
    "completions": request("/v1/completions", b'{"model":"words","prompt":"a"}'),
    "responses": request("/v1/responses", b'{"model":"chat","input":"Hi"}'),
    "stream": request(body=STREAM % b"chat"),
    "stream with usage": request(body=ask("chat", b',"stream":true,"stream_options":{"include_usage":true}')),
    "stream of an invocation": invoke("chat", b"{" + MESSAGES + b',"stream":true}'),
    "stream of responses": request("/v1/responses", b'{"model":"chat","input":"Hi","stream":true}'),
    "long stream": request(body=STREAM % b"long"),
    "dripping stream": request(body=STREAM % b"drip"),
    "unicode stream": invoke("unicode", b"{" + MESSAGES + b',"stream":true}'),
    "stream that is cut": request(body=STREAM % b"cut"),
    "stream that is cut at once": request(body=STREAM % b"uncut"),
    "stream with an error": request(body=STREAM % b"late"),
    "stream of broken JSON": request(body=STREAM % b"broken"),
    "answer that is cut": request(body=ask("cut")),
    "broken answer": request(body=ask("broken")),
    "upstream 400": request(body=ask("bad")),
    "upstream 429": request(body=ask("busy")),
    "upstream 503": invoke("down"),
    "upstream 401": request(body=ask("denied")),
    "stream refused": request(body=STREAM % b"busy"),
    "upstream away": request(body=ask("away")),
    "no token": request(auth=None),
    "unknown token": request(auth=b"Bearer dapi" + b"0" * 32),
    "expired token": request(auth=b"Bearer " + EXPIRED),
    "no grant": request(auth=b"Bearer " + SOMEBODY),
    "basic": request(auth=basic(b"token:" + ACCESS_TOKEN)),
    "basic of another user": request(auth=basic(b"me:" + ACCESS_TOKEN)),
    "garbage for a token": request(auth=b"\xff\xfe\x01"),
    "unknown endpoint": request(body=ask("nope")),
    "unknown served model": request("/serving-endpoints/chat/served-models/x/invocations", b"{" + MESSAGES + b"}"),
    "wrong task": request("/v1/embeddings", b'{"model":"chat","input":"a"}'),
    "no model": request(body=b"{" + MESSAGES + b"}"),
    "wrong type": request(body=ask("chat", b',"temperature":"x"')),
    "bad JSON": request(body=b'{"model":'),
    "no body": request(body=b""),
    "no length": request(body=b"", length=False),
    "an array": request(body=b"[]"),
    "broken UTF-8": request(body=b'{"model":"\xff"}'),
    "a deep body": request(body=b'{"x":' + b"[" * 40_000 + b"}"),
    "keys twice": request(body=b'{"model":"nope","model":"chat","stream":true,"stream":false,' + MESSAGES + b"}"),
    "too large": request(body=BIG),
    "too large, and small": request(body=BIG[:100_001]),
    "too large in chunks": chunked(*(BIG[i : i + 20_000] for i in range(0, len(BIG), 20_000))),
    "as large as may be": request(body=ask("chat", b',"x":"%b"' % (b"x" * 99_925))[:-2].ljust(99_998, b"x") + b'"}'),
    "chunks": chunked(ask()[:7], ask()[7:]),
    "chunks with trailers": chunked(ask(), end=b"0\r\nx: y\r\nauthorization: Bearer x\r\n\r\n"),
    "chunks with extensions": request(
        CHAT, b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(ask()), ask()), "Transfer-Encoding: chunked", length=False
    ),
    "chunks of nothing": chunked(),
    "broken chunks": request(CHAT, b"zz\r\n", "Transfer-Encoding: chunked", length=False),
    "expect": request(CHAT, ask(), "Expect: 100-continue"),
    "expect in capitals": request(CHAT, ask(), "EXPECT: 100-Continue"),
    "expect something else": request(CHAT, ask(), "Expect: 200-ok"),
    "expect without a token": request(CHAT, ask(), "Expect: 100-continue", auth=None),
    "expect too much": request(CHAT, BIG, "Expect: 100-continue"),
    "connection close": request(CHAT, ask(), "Connection: close"),
    "stream, then close": request(CHAT, STREAM % b"chat", "Connection: close"),
    "error, then close": request(CHAT, b"{", "Connection: close"),
    "no token, then close": request(CHAT, ask(), "Connection: close", auth=None),
    "HTTP/1.0": request(version="1.0"),
    "HTTP/1.0 kept": request(CHAT, ask(), "Connection: keep-alive", version="1.0"),
    "HTTP/1.0 stream": request(body=STREAM % b"chat", version="1.0"),
    "HTTP/1.0 dripping stream": request(CHAT, STREAM % b"drip", "Connection: keep-alive", version="1.0"),
    "HTTP/1.0 stream that is cut": request(body=STREAM % b"cut", version="1.0"),
    "HTTP/1.0 GET": request("/v1/models", b"", method="GET", length=False, version="1.0"),
    "GET": request(CHAT, b"", method="GET", length=False),
    "PUT": request(method="PUT"),
    "DELETE": request(CHAT, b"", method="DELETE"),
    "PATCH": request(method="PATCH"),
    "OPTIONS": request(CHAT, b"", "Origin: http://x", method="OPTIONS", length=False),
    "OPTIONS without a token": request(CHAT, b"", method="OPTIONS", length=False, auth=None),
    "GET of an invocation": request("/serving-endpoints/chat/invocations", b"", method="GET", length=False),
    "query string": request(CHAT + "?api-version=2024-01-01"),
    "query string of an invocation": request("/serving-endpoints/chat/invocations?x=1", b"{" + MESSAGES + b"}"),
    "absolute form": request("http://tesela.test" + CHAT),
    "trailing slash": request(CHAT + "/"),
    "another path": request("/v1/nothing"),
    "models": request("/v1/models", b"", method="GET", length=False),
    "compressed": request(CHAT, ask(), "Content-Encoding: gzip"),
    "not compressed": request(CHAT, ask(), "Content-Encoding: identity"),
    "upgrade": request(CHAT, ask(), "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: x"),
    "upgrade of a GET": request("/v1/models", b"", "Connection: Upgrade", "Upgrade: h2c", method="GET", length=False),
    "capitals": request(CHAT, ask(), "X-A: b").replace(b"Content-Length", b"CONTENT-LENGTH").replace(b"Auth", b"AUTH"),
    "two tokens": request(CHAT, ask(), "authorization: Bearer wrong"),
    "two tokens, the other way": request(CHAT, ask(), "Authorization: Bearer wrong"),
    "a long head": request(CHAT, ask(), "X: " + "y" * 60_000),
    "too long a head": request(CHAT, ask(), "X: " + "y" * 70_000),
    "not HTTP": b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
    "a bad header": request(CHAT, ask(), "bad header"),
    "messages": request(MESSAGES_PATH, ask(more=LIMIT)),
    "stream of messages": request(MESSAGES_PATH, ask(more=LIMIT + b',"stream":true')),
    "messages by the other base": request("/ai-gateway/anthropic/v1/messages", ask("tools", LIMIT)),
    "messages with a key": request(MESSAGES_PATH, ask(more=LIMIT), "X-Api-Key: " + ACCESS_TOKEN.decode(), auth=None),
    "messages with both": request(MESSAGES_PATH, ask(more=LIMIT), "X-Api-Key: any", "Anthropic-Version: 2023-06-01"),
    "messages with a wrong key": request(MESSAGES_PATH, ask(more=LIMIT), "X-Api-Key: any", auth=None),
    "messages without a token": request(MESSAGES_PATH, ask(more=LIMIT), auth=None),
    "messages without a limit": request(MESSAGES_PATH, ask()),
    "messages that are too large": request(MESSAGES_PATH, BIG),
    "messages to a busy model": request(MESSAGES_PATH, ask("busy", LIMIT)),
    "stream of messages that is cut": request(MESSAGES_PATH, ask("cut", LIMIT + b',"stream":true')),
    "stream of messages with an error": request(MESSAGES_PATH, ask("late", LIMIT + b',"stream":true')),
    "GET of messages": request(MESSAGES_PATH, b"", method="GET", length=False),
    "messages with a query string": request(MESSAGES_PATH + "?beta=true", ask(more=LIMIT)),
    "counted tokens": request(MESSAGES_PATH + "/count_tokens", ask()),
    "two lengths": request(CHAT, ask(), "Content-Length: 5"),
    "length and chunks": request(CHAT, ask(), "Transfer-Encoding: chunked"),
}  # fmt: skip


@contextlib.asynccontextmanager
async def both(folder: Path) -> AsyncIterator[tuple[Server, Server]]:
    ways = {"hot": True, "plain": False}
    async with contextlib.AsyncExitStack() as stack:
        opened = [serving(folder / name, hot=hot, limits=LIMITS) for name, hot in ways.items()]
        hot, plain = [await stack.enter_async_context(one) for one in opened]
        yield hot, plain


async def answered(server: Server, *pieces: bytes) -> tuple[bytes, bool, object]:
    """What is answered, whether the connection lives on, and what was counted."""
    server.tally.counts.clear()
    async with client(server) as one:
        await one.send(*pieces)
        await one.until(1)
        said = settle(one.answers.raw)
        alive = not one.answers.closed and await one.alive()
    await settled(server.at_rest)
    counts = [
        (*key, each.requests, each.failed, each.cancelled, each.prompt_tokens)
        for key, each in server.tally.counts.items()
    ]
    return numbered(said), alive, counts


def numbered(said: bytes) -> bytes:
    """With request ids by the order in which they appear."""
    seen = list(dict.fromkeys(re.findall(rb"id-?([0-9a-f]{8})", said)))
    for i, number in enumerate(seen):
        said = said.replace(number, b"<%d>" % i)
    return said


def same(one: object, other: object) -> str:
    return "" if one == other else f"{one!r}\n   is not\n{other!r}"


@looped
async def test_the_same_bytes_by_both_ways(tmp_path: Path) -> None:
    wrong = {}
    async with both(tmp_path) as (hot, plain):
        for name, raw in TABLE.items():
            told = await answered(hot, raw)
            assert told[0].startswith(b"HTTP/1.1 "), name
            assert not told[0].startswith(b"HTTP/1.1 500"), name
            wrong[name] = same(told, await answered(plain, raw))
    assert not {name: sentence for name, sentence in wrong.items() if sentence}


@pytest.mark.parametrize("name", ["HTTP/1.0 stream", "HTTP/1.0 dripping stream"])
@pytest.mark.parametrize("hot", [True, False])
@looped
async def test_a_client_of_http_1_0_gets_no_chunks(hot: bool, name: str, tmp_path: Path) -> None:
    """It does not know them: the end of the connection is the end of the answer."""
    async with serving(tmp_path, hot=hot, limits=LIMITS) as server:
        said, alive, _ = await answered(server, TABLE[name])
    head, _, body = said.partition(b"\r\n\r\n")
    assert not alive
    assert b"\r\nconnection: close" in head
    assert b"transfer-encoding" not in head
    assert body.startswith(b"data: {")
    assert body.endswith(b"}\n\ndata: [DONE]\n\n")


@pytest.mark.parametrize("hot", [True, False])
@looped
async def test_in_pieces_as_at_once(hot: bool, tmp_path: Path) -> None:
    """A slow network changes no answer, and takes none away: not even one that comes before all of the request."""
    wrong = {}
    async with both(tmp_path) as servers:
        server = servers[0 if hot else 1]
        for name, raw in TABLE.items():
            head = raw.index(b"\r\n\r\n")
            edges = [0, 3, head - 2, head + 4, (head + 4 + len(raw)) // 2, len(raw)]
            pieces = [raw[a:b] for a, b in pairwise(edges)]
            wrong[name] = same(await answered(server, *pieces), await answered(server, raw))
    assert not {name: sentence for name, sentence in wrong.items() if sentence}


ORDER = [
    "ok", "ok", "unknown endpoint", "ok", "stream", "ok", "no token", "ok", "expired token", "basic", "bad JSON",
    "chunks", "ok", "invocation", "invocation", "no grant", "ok", "too large, and small", "ok", "expect", "GET", "ok",
    "models", "stream", "stream", "unicode", "wrong type", "query string", "ok", "two tokens", "ok", "invocation",
    "messages with a key", "messages with a key", "messages with a wrong key", "messages", "messages", "ok", "messages",
    "messages with both", "messages with both", "stream of messages", "counted tokens", "ok",
    "basic",
]  # fmt: skip


@pytest.mark.parametrize("hot", [True, False])
@looped
async def test_on_one_connection_each_answer_is_as_on_its_own(hot: bool, tmp_path: Path) -> None:
    """The heads that a connection has seen, the token that it has shown: none of it may change the next answer."""
    async with both(tmp_path) as servers:
        server = servers[0 if hot else 1]
        alone = {name: (await answered(server, TABLE[name]))[0] for name in dict.fromkeys(ORDER)}
        async with client(server) as one:
            for i, name in enumerate(ORDER):
                before = len(one.answers.raw)
                await one.send(TABLE[name])
                await one.until(i + 1)
                assert numbered(settle(one.answers.raw[before:])) == alone[name], (i, name)
