"""Many requests over few TLS connections, and many streams at once through providers that are translated."""

import asyncio
import contextlib
import json
import resource
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.fakes import endpoint, entity
from tests.gateway.peers import Link, Peer, Talk, looped, settled
from tests.gateway.servers import Server, client, request, serving
from tests.gateway.test_bad_upstreams import ANTHROPIC, BEDROCK, CHUNKED, Dialect, chunked, head, openai, streamed
from tests.gateway.tls import contexts
from tests.providers import test_anthropic_answer as anthropic
from tests.providers import test_bedrock as bedrock

from tesela.serving import Origin, Upstream
from tesela.wire.tasks import Task

pytestmark = pytest.mark.slow

# ------------------------------------------------------------ TLS connections are used again


@contextlib.asynccontextmanager
async def secured(home: Path, talk: Talk, dialect: Dialect) -> AsyncIterator[tuple[Server, ssl.SSLContext]]:
    """A gateway in front of a server that speaks TLS, and that server's context, which counts handshakes."""
    context, _ = contexts(home)
    async with Peer(talk).listening(tls=context) as peer, serving(home) as server:
        upstream = Upstream(Origin("https", "localhost", peer.port, verify=False), "m")
        one = entity("one", provider=dialect.provider, upstream=upstream, tasks=frozenset({Task.CHAT}))
        spare = entity("two", 0, provider=dialect.provider, upstream=upstream, tasks=frozenset({Task.CHAT}))
        points = endpoint("chat", one), endpoint("pair", one, spare, fallback=True)
        server.gateway.snapshot = msgspec.structs.replace(
            server.gateway.snapshot, endpoints={point.name: point for point in points}
        )
        yield server, context


def handshakes(context: ssl.SSLContext) -> int:
    return context.session_stats()["accept_good"]


def asked(text: str, *, streaming: bool = False, model: str = "chat") -> bytes:
    body = {"model": model, "stream": streaming, "messages": [{"role": "user", "content": text}]}
    return request(body=json.dumps(body).encode())


def said(body: bytes) -> str:
    """What the caller wrote, wherever the provider's form has it."""
    content = json.loads(body)["messages"][-1]["content"]
    return str(content if isinstance(content, str) else content[-1]["text"])


DIALECTS = pytest.mark.parametrize(
    "dialect", [openai(), ANTHROPIC, BEDROCK], ids=["pass-through", "anthropic", "bedrock"]
)


@DIALECTS
@looped
async def test_one_handshake_serves_answers_streams_and_failures(dialect: Dialect, tmp_path: Path) -> None:
    async def talk(link: Link) -> None:
        while True:
            what = said((await link.request()).body)
            if what == "stream":
                await link.say(streamed(dialect))
            elif what == "whole":
                await link.answer(dialect.answer)
            else:
                await link.answer(dialect.body, status=f"{what} Whatever")

    async with secured(tmp_path, talk, dialect) as (server, context), client(server) as one:
        count = 0
        for _ in range(4):
            for what, status in (("whole", 200), ("stream", 200), ("500", 502), ("429", 429), ("400", 400)):
                await one.send(asked(what, streaming=what == "stream"))
                count += 1
                assert (await one.until(count))[-1][0] == status
                # The caller has the end of a stream before the end of its framing has come.
                await settled(server.at_rest)
        await one.send(asked("500", model="pair"))
        assert (await one.until(count + 1))[-1][1]["x-tesela-attempts"] == "one=500, two=500"
        assert handshakes(context) == 1


@looped
async def test_as_many_handshakes_as_there_are_calls_at_once(tmp_path: Path) -> None:
    together = asyncio.Barrier(8)

    async def talk(link: Link) -> None:
        while True:
            await link.request()
            await together.wait()
            await link.answer(openai().answer)

    async with secured(tmp_path, talk, openai()) as (server, context), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(server)) for _ in range(8)]
        for count in range(1, 6):
            for one in clients:
                await one.send(asked("Hi"))
            for one in clients:
                assert (await one.until(count))[-1][0] == 200
            await settled(server.at_rest)
        assert handshakes(context) == 8


@looped
async def test_a_connection_that_broke_costs_one_more_and_no_more(tmp_path: Path) -> None:
    async def talk(link: Link) -> None:
        while True:
            what = said((await link.request()).body)
            if what == "cut":
                await link.say(head(openai(), False, b"content-length: 1000") + b"{")
                link.close()
            elif what == "reset":
                link.reset()
            await link.answer(openai().answer)

    async with secured(tmp_path, talk, openai()) as (server, context), client(server) as one:
        # One that breaks before its first byte on a kept connection is asked once more on another, which breaks too.
        for count, (what, status, made) in enumerate(
            [
                ("a", 200, 1),
                ("b", 200, 1),
                ("cut", 502, 1),
                ("c", 200, 2),
                ("reset", 503, 3),
                ("d", 200, 4),
                ("e", 200, 4),
            ],
            1,
        ):
            await one.send(asked(what))
            assert (await one.until(count))[-1][0] == status
            await settled(server.at_rest)
            assert handshakes(context) == made, what


# ------------------------------------------------------------ many streams at once

STREAMS, PIECES = 500, 12


@pytest.fixture
def many_files() -> Iterator[None]:
    """Each stream takes four descriptors here, where both ends of all connections are in one process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 6 * STREAMS
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"this system gives a process {hard} descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def text_of(number: int) -> str:
    return "".join(f"[{number}:{piece:04}]" for piece in range(PIECES))


@pytest.mark.parametrize("kind", ["anthropic", "bedrock"])
@looped
async def test_five_hundred_streams_at_once_are_each_whole_and_in_order(
    kind: str, many_files: None, tmp_path: Path
) -> None:
    dialect = ANTHROPIC if kind == "anthropic" else BEDROCK
    arrived, all_here = 0, asyncio.Event()

    async def talk(link: Link) -> None:
        nonlocal arrived
        number = int(said((await link.request()).body))
        text = text_of(number)
        size = len(text) // PIECES
        events = (
            anthropic.stream({"type": "text", "text": text}, size=size)
            if kind == "anthropic"
            else bedrock.events({"text": text}, size=size)
        )
        await link.say(head(dialect, True, CHUNKED))
        arrived += 1
        if arrived == STREAMS:
            all_here.set()
        await all_here.wait()
        for event in events:
            await link.say(chunked(event, end=False))
            # All others write in between.
            await asyncio.sleep(0)
        await link.say(b"0\r\n\r\n")

    peer = Peer(talk)
    async with peer.listening(), serving(tmp_path) as server:
        upstream = Upstream(Origin("http", "127.0.0.1", peer.port), "m")
        one = entity("one", provider=dialect.provider, upstream=upstream, tasks=frozenset({Task.CHAT}))
        server.gateway.snapshot = msgspec.structs.replace(
            server.gateway.snapshot, endpoints={"chat": endpoint("chat", one)}
        )

        async def ask(number: int) -> None:
            async with client(server) as caller:
                await caller.send(asked(str(number), streaming=True))
                status, _, body = (await caller.until(1))[0]
            assert status == 200
            *events, last = body.split(b"\n\n")[:-1]
            assert last == b"data: [DONE]"
            chunks = [json.loads(event.removeprefix(b"data: ")) for event in events]
            deltas = [choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"]]
            assert "".join(deltas) == text_of(number)
            assert [delta for delta in deltas if delta] == [f"[{number}:{piece:04}]" for piece in range(PIECES)]

        await asyncio.gather(*map(ask, range(1000, 1000 + STREAMS)))
        assert arrived == STREAMS
        await settled(server.at_rest)
