"""Upstreams that misbehave, over real sockets and through the whole gateway: as bytes that pass, as server-sent events
that are translated (Anthropic), and in a binary framing (Bedrock).

Each way to misbehave has its tests: what the caller gets, and that another entity answers while it has got nothing.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from tests.fakes import endpoint, entity
from tests.gateway.peers import Link, Peer, Talk, looped, settled
from tests.gateway.servers import Server, client, request, serving
from tests.gateway.test_invocation import END, chunk
from tests.providers import test_anthropic_answer as anthropic
from tests.providers import test_bedrock as bedrock
from tests.providers.test_eventstream import event as message

from tesela.serving import Origin, ServedEntity, Timeouts, Upstream
from tesela.wire.tasks import Task

pytestmark = pytest.mark.slow
TEXT = "Hello \U0001f600, this is all there is to say."


class Dialect(NamedTuple):
    """How one kind of provider says the same things."""

    provider: str
    answer: bytes
    stream: list[bytes]
    kind: bytes
    failure: bytes
    """A failure under the status 200, in the middle of a stream or as all of it."""
    body: bytes
    """The same as a whole answer."""
    begun: int
    """So many events of the stream bring the caller its first byte."""


def openai() -> Dialect:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    message = {"role": "assistant", "content": TEXT}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    answer = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}
    pieces = [chunk(TEXT[at : at + 4]) for at in range(0, len(TEXT), 4)]
    failed = json.dumps({"error": {"message": "it broke", "code": "oops"}}).encode()
    stream = [*pieces, chunk("", "stop"), END]
    return Dialect(
        "custom", json.dumps(answer).encode(), stream, b"text/event-stream", b"data: " + failed + b"\n\n", failed, 1
    )


ANTHROPIC = Dialect(
    "anthropic",
    anthropic.message({"type": "text", "text": TEXT}),
    anthropic.stream({"type": "text", "text": TEXT}),
    b"text/event-stream",
    anthropic.event("error", error={"type": "api_error", "message": "it broke"}),
    b'{"type":"error","error":{"type":"api_error","message":"it broke"}}',
    5,
)
BEDROCK = Dialect(
    "amazon-bedrock",
    bedrock.message({"text": TEXT}),
    bedrock.events({"text": TEXT}),
    b"application/vnd.amazon.eventstream",
    message("internalServerException", {"message": "it broke"}, "exception"),
    b'{"message":"it broke"}',
    3,
)
DIALECTS = {"pass-through": openai(), "anthropic": ANTHROPIC, "bedrock": BEDROCK}
EVERY = pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
BOTH = pytest.mark.parametrize("streaming", [False, True], ids=["whole", "stream"])
GARBAGE = [b"\x00" * 50, b"SSH-2.0-OpenSSH\r\n", b"<html>\r\n\r\n", b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n"]


class Told(NamedTuple):
    """What the caller got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """What the model said, whole or in chunks."""
        if not self.headers["content-type"].startswith("text/event-stream"):
            return str(json.loads(self.body)["choices"][0]["message"]["content"])
        assert self.body.endswith(b"data: [DONE]\n\n")
        deltas = [chunk["choices"][0]["delta"] for chunk in self.events[:-1] if chunk.get("choices")]
        return "".join(delta.get("content") or "" for delta in deltas)

    @property
    def events(self) -> list[Any]:
        lines = [line.removeprefix("data: ") for line in self.body.decode().split("\n") if line]
        return [line if line == "[DONE]" else json.loads(line) for line in lines]


class Bench(NamedTuple):
    """A gateway with a bad upstream and a good one behind it."""

    server: Server
    bad: Peer
    heard: list[str]
    """Who was asked, in order."""

    async def ask(self, streaming: bool, model: str = "alone") -> Told:
        said = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        body = json.dumps({**said, "stream": True} if streaming else said).encode()
        async with client(self.server) as one:
            await one.send(request(body=body))
            told = Told(*(await one.until(1))[0])
            await settled(self.server.at_rest)
            return told


@contextlib.asynccontextmanager
async def standing(home: Path, dialect: Dialect, talk: Talk, **limits: Any) -> AsyncIterator[Bench]:
    """`alone` has the bad upstream only, `pair` falls back on a good one."""
    heard: list[str] = []

    async def bad(link: Link) -> None:
        while True:
            await link.request()
            heard.append("bad")
            await talk(link)

    async def good(link: Link) -> None:
        while True:
            asked = json.loads((await link.request()).body)
            heard.append("good")
            await (link.say(streamed(openai())) if asked.get("stream") else link.answer(openai().answer))

    def served(name: str, peer: Peer, provider: str, percentage: int) -> ServedEntity:
        upstream = Upstream(Origin("http", "127.0.0.1", peer.port), "m", timeouts=Timeouts(**limits))
        return entity(name, percentage, provider=provider, upstream=upstream, tasks=frozenset({Task.CHAT}))

    async with (
        Peer(bad).listening() as broken,
        Peer(good).listening() as well,
        serving(home) as server,
    ):
        first = served("bad", broken, dialect.provider, 100)
        points = endpoint("alone", first), endpoint("pair", first, served("good", well, "custom", 0), fallback=True)
        server.gateway.snapshot = msgspec.structs.replace(
            server.gateway.snapshot, endpoints={one.name: one for one in points}
        )
        yield Bench(server, broken, heard)


def head(dialect: Dialect, streaming: bool, *lines: bytes) -> bytes:
    kind = dialect.kind if streaming else b"application/json"
    return b"".join(line + b"\r\n" for line in (b"HTTP/1.1 200 OK", b"content-type: " + kind, *lines, b""))


def chunked(*pieces: bytes, end: bool = True) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + (b"0\r\n\r\n" if end else b"")


CHUNKED = b"transfer-encoding: chunked"


def streamed(dialect: Dialect, *pieces: bytes, end: bool = True) -> bytes:
    return head(dialect, True, CHUNKED) + chunked(*(pieces or dialect.stream), end=end)


def length(body: bytes, more: int = 0) -> bytes:
    return b"content-length: %d" % (len(body) + more)


def good(dialect: Dialect, streaming: bool) -> bytes:
    if streaming:
        return streamed(dialect)
    return head(dialect, False, length(dialect.answer)) + dialect.answer


async def fails(bench: Bench, streaming: bool, status: int, says: str) -> None:
    """Alone, the caller hears of it; with another entity that one answers, and nothing of the failure shows."""
    told = await bench.ask(streaming)
    assert told.status == status, told.body
    assert says in json.loads(told.body)["message"]
    told = await bench.ask(streaming, "pair")
    assert (told.status, told.text, told.headers["served-model-name"]) == (200, TEXT, "good")
    assert told.headers["x-tesela-attempts"].startswith("bad=")
    assert told.headers["x-tesela-attempts"].endswith(", good=200")
    assert bench.heard == ["bad", "bad", "good"]


async def breaks_off(bench: Bench, says: str) -> None:
    """After the first byte: one event that says so, no end mark, and nobody else is asked."""
    told = await bench.ask(True, "pair")
    assert told.status == 200
    *chunks, last = told.events
    assert chunks
    assert says in last["error"]["message"]
    assert b"[DONE]" not in told.body
    assert bench.heard == ["bad"]


# ------------------------------------------------------------ slow


@EVERY
@BOTH
@looped
async def test_a_slow_one_is_waited_for(dialect: Dialect, streaming: bool, tmp_path: Path) -> None:
    waiting, go = asyncio.Event(), asyncio.Event()

    async def talk(link: Link) -> None:
        waiting.set()
        await go.wait()
        await link.say(good(dialect, streaming))

    async with standing(tmp_path, dialect, talk) as bench:
        asked = asyncio.ensure_future(bench.ask(streaming))
        await waiting.wait()
        assert not asked.done()
        go.set()
        told = await asked
        assert (told.status, told.text) == (200, TEXT)


# ------------------------------------------------------------ silent


@EVERY
@BOTH
@looped
async def test_one_that_never_answers(dialect: Dialect, streaming: bool, tmp_path: Path) -> None:
    left = []

    async def talk(link: Link) -> None:
        left.append(await link.reader.read())

    async with standing(tmp_path, dialect, talk, first_byte_s=0.1) as bench:
        await fails(bench, streaming, 504, "did not begin to answer within 0.1 s")
        await settled(lambda: left == [b"", b""])


@EVERY
@BOTH
@looped
async def test_one_that_falls_silent_behind_its_head(dialect: Dialect, streaming: bool, tmp_path: Path) -> None:
    async def talk(link: Link) -> None:
        await link.say(head(dialect, streaming, CHUNKED))
        await link.reader.read()

    async with standing(tmp_path, dialect, talk, idle_s=0.1) as bench:
        await fails(bench, streaming, 504, "sent nothing for 0.1 s")


@EVERY
@looped
async def test_one_that_falls_silent_in_the_middle_of_its_stream(dialect: Dialect, tmp_path: Path) -> None:
    async def talk(link: Link) -> None:
        await link.say(streamed(dialect, *dialect.stream[: dialect.begun], end=False))
        await link.reader.read()

    async with standing(tmp_path, dialect, talk, idle_s=0.1) as bench:
        await breaks_off(bench, "sent nothing for 0.1 s")


# ------------------------------------------------------------ dripping


@EVERY
@BOTH
@looped
async def test_one_that_drips_says_the_same(dialect: Dialect, streaming: bool, tmp_path: Path) -> None:
    async def talk(link: Link) -> None:
        for byte in good(dialect, streaming):
            await link.say(b"%c" % byte)
            await asyncio.sleep(0)

    async with standing(tmp_path, dialect, talk) as bench:
        told = await bench.ask(streaming)
        assert (told.status, told.text) == (200, TEXT)


@EVERY
@BOTH
@looped
async def test_one_that_drips_for_ever_has_its_time_in_all(dialect: Dialect, streaming: bool, tmp_path: Path) -> None:
    async def talk(link: Link) -> None:
        await link.say(head(dialect, streaming, CHUNKED))
        # Blanks in JSON, comments between events, the length of a message that is to be one of 16 MiB.
        drop = b" " if not streaming else b":\n" if dialect.provider != BEDROCK.provider else b"\x00"
        while not link.writer.is_closing():
            await link.say(chunked(drop, end=False))
            await asyncio.sleep(0.01)

    async with standing(tmp_path, dialect, talk, idle_s=5.0, total_s=0.3) as bench:
        told = await bench.ask(streaming)
        if streaming and dialect is BEDROCK:
            assert told.status == 502, "zeros are no message, and that shows at once"
        else:
            assert (told.status, "did not finish within 0.3 s" in told.body.decode()) == (504, True)
        told = await bench.ask(streaming, "pair")
        assert (told.text, told.headers["served-model-name"]) == (TEXT, "good")


# ------------------------------------------------------------ half-closing


@EVERY
@BOTH
@looped
async def test_one_that_half_closes_instead_of_answering(dialect: Dialect, streaming: bool, tmp_path: Path) -> None:
    async def talk(link: Link) -> None:
        link.writer.write_eof()
        await link.reader.read()

    async with standing(tmp_path, dialect, talk) as bench:
        await fails(bench, streaming, 503, "closed the connection without an answer")


@EVERY
@looped
async def test_one_that_half_closes_in_the_middle_of_an_answer(dialect: Dialect, tmp_path: Path) -> None:
    async def talk(link: Link) -> None:
        await link.say(good(dialect, False)[:-10])
        link.writer.write_eof()
        await link.reader.read()

    async with standing(tmp_path, dialect, talk) as bench:
        await fails(bench, False, 502, "broke the connection in the middle of its answer")


@EVERY
@looped
async def test_one_that_half_closes_in_the_middle_of_a_stream(dialect: Dialect, tmp_path: Path) -> None:
    async def talk(link: Link) -> None:
        await link.say(streamed(dialect, *dialect.stream[: dialect.begun], end=False))
        link.writer.write_eof()
        await link.reader.read()

    async with standing(tmp_path, dialect, talk) as bench:
        await breaks_off(bench, "broke the connection in the middle of its answer")


@EVERY
@BOTH
@looped
async def test_one_whose_answer_ends_with_its_half_of_the_connection(
    dialect: Dialect, streaming: bool, tmp_path: Path
) -> None:
    """HTTP/1.1 allows it (RFC 9112, section 6.3): neither a length nor chunks."""

    async def talk(link: Link) -> None:
        body = b"".join(dialect.stream) if streaming else dialect.answer
        await link.say(head(dialect, streaming) + body)
        link.writer.write_eof()
        await link.reader.read()

    async with standing(tmp_path, dialect, talk) as bench:
        told = await bench.ask(streaming)
        assert (told.status, told.text) == (200, TEXT)


# ------------------------------------------------------------ garbage


@EVERY
@BOTH
@pytest.mark.parametrize("garbage", GARBAGE)
@looped
async def test_garbage_that_is_no_http(dialect: Dialect, streaming: bool, garbage: bytes, tmp_path: Path) -> None:
    async def talk(link: Link) -> None:
        await link.say(garbage)

    async with standing(tmp_path, dialect, talk) as bench:
        await fails(bench, streaming, 502, "did not answer in HTTP/1.1")


@EVERY
@BOTH
@pytest.mark.parametrize("garbage", [b"\xff\xfe\x00garbage", b"<html>Sign in</html>", b"[]", b'{"a":'])
@looped
async def test_garbage_in_good_framing(dialect: Dialect, streaming: bool, garbage: bytes, tmp_path: Path) -> None:
    said = b"data: " + garbage + b"\n\n" if streaming and dialect.kind == b"text/event-stream" else garbage

    async def talk(link: Link) -> None:
        await link.say(head(dialect, streaming, CHUNKED) + chunked(said))

    async with standing(tmp_path, dialect, talk) as bench:
        await fails(bench, streaming, 502, "")


@EVERY
@looped
async def test_garbage_in_mid_stream(dialect: Dialect, tmp_path: Path) -> None:
    noise = b"data: \xff{garbage\n\n" if dialect is not BEDROCK else b"\xff{garbage" * 4

    async def talk(link: Link) -> None:
        await link.say(streamed(dialect, *dialect.stream[: dialect.begun], noise, *dialect.stream[dialect.begun :]))

    async with standing(tmp_path, dialect, talk) as bench:
        await breaks_off(bench, "")


# ------------------------------------------------------------ lying


@EVERY
@looped
async def test_a_content_length_that_is_too_long(dialect: Dialect, tmp_path: Path) -> None:
    async def talk(link: Link) -> None:
        await link.say(head(dialect, False, length(dialect.answer, 5)) + dialect.answer)
        link.close()

    async with standing(tmp_path, dialect, talk) as bench:
        await fails(bench, False, 502, "broke the connection in the middle of its answer")


@EVERY
@pytest.mark.parametrize("cut", [1, 2, 30])
@pytest.mark.parametrize("large", [False, True])
@looped
async def test_a_content_length_that_is_too_short(dialect: Dialect, cut: int, large: bool, tmp_path: Path) -> None:
    answer = dialect.answer.replace(TEXT.encode()[:5], b"Hello" * 1000) if large else dialect.answer

    async def talk(link: Link) -> None:
        await link.say(head(dialect, False, length(answer, -cut)) + answer)

    async with standing(tmp_path, dialect, talk) as bench:
        await fails(bench, False, 502, "")
        assert len(bench.bad.links) == 2, "what is left of an answer is no beginning of another"


@EVERY
@looped
async def test_a_content_length_of_a_stream_that_is_too_short(dialect: Dialect, tmp_path: Path) -> None:
    whole, begun = b"".join(dialect.stream), len(b"".join(dialect.stream[: dialect.begun]))

    async def talk(link: Link) -> None:
        await link.say(head(dialect, True, b"content-length: %d" % (begun + 5)) + whole)

    async with standing(tmp_path, dialect, talk) as bench:
        await breaks_off(bench, "in the middle of")


@EVERY
@looped
async def test_a_whole_answer_that_is_an_error_under_the_status_200(dialect: Dialect, tmp_path: Path) -> None:
    async def talk(link: Link) -> None:
        await link.answer(dialect.body)

    async with standing(tmp_path, dialect, talk) as bench:
        await fails(bench, False, 502, "it broke" if dialect is not BEDROCK else "")


@EVERY
@looped
async def test_a_stream_that_is_an_error_under_the_status_200(dialect: Dialect, tmp_path: Path) -> None:
    async def talk(link: Link) -> None:
        await link.say(streamed(dialect, dialect.failure))

    async with standing(tmp_path, dialect, talk) as bench:
        await fails(bench, True, 502, "it broke")


@EVERY
@looped
async def test_a_whole_answer_where_a_stream_was_asked_for(dialect: Dialect, tmp_path: Path) -> None:
    async def talk(link: Link) -> None:
        await link.answer(dialect.body)

    async with standing(tmp_path, dialect, talk) as bench:
        await fails(bench, True, 502, "was asked for a stream and did not answer with one")


# ------------------------------------------------------------ ends of streams


@EVERY
@looped
async def test_an_error_in_mid_stream(dialect: Dialect, tmp_path: Path) -> None:
    async def talk(link: Link) -> None:
        await link.say(streamed(dialect, *dialect.stream[: dialect.begun], dialect.failure))

    async with standing(tmp_path, dialect, talk) as bench:
        await breaks_off(bench, "it broke")


@EVERY
@looped
async def test_a_stream_that_ends_in_the_middle_of_the_answer(dialect: Dialect, tmp_path: Path) -> None:
    async def talk(link: Link) -> None:
        await link.say(streamed(dialect, *dialect.stream[: dialect.begun]))

    async with standing(tmp_path, dialect, talk) as bench:
        await breaks_off(bench, "middle of the answer")


@looped
async def test_no_done_behind_a_finish_reason_is_an_end_all_the_same(tmp_path: Path) -> None:
    dialect = DIALECTS["pass-through"]

    async def talk(link: Link) -> None:
        await link.say(streamed(dialect, *dialect.stream[:-1]))

    async with standing(tmp_path, dialect, talk) as bench:
        told = await bench.ask(True)
        assert (told.status, told.text) == (200, TEXT)


@pytest.mark.parametrize("dialect", [ANTHROPIC, BEDROCK], ids=["anthropic", "bedrock"])
@looped
async def test_no_end_mark_of_the_providers_own(dialect: Dialect, tmp_path: Path) -> None:
    """`message_stop` and `messageStop` are what `[DONE]` is elsewhere."""
    kept = 1 if dialect is ANTHROPIC else 2

    async def talk(link: Link) -> None:
        await link.say(streamed(dialect, *dialect.stream[:-kept]))

    async with standing(tmp_path, dialect, talk) as bench:
        await breaks_off(bench, "middle of the answer")


@EVERY
@looped
async def test_what_follows_the_end_of_a_stream_is_nobodys(dialect: Dialect, tmp_path: Path) -> None:
    more = [dialect.failure] if dialect.provider == "custom" else []

    async def talk(link: Link) -> None:
        await link.say(streamed(dialect, *dialect.stream, *more) + b"and more")

    async with standing(tmp_path, dialect, talk) as bench:
        for count in (1, 2):
            told = await bench.ask(True)
            assert (told.status, told.text) == (200, TEXT)
            await settled(lambda: not bench.server.pools.under_way)
            assert len(bench.bad.links) == count
