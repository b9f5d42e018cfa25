"""What tests of translations share: an exchange, its answer read in every way, and a call over a real connection."""

import json
from typing import Any

import msgspec
from tests.gateway.peers import Link, Peer, Request, calling

from tesela.gateway.relay import Source
from tesela.providers.base import Call, Exchange, Provider
from tesela.serving import Origin, Upstream
from tesela.wire import document
from tesela.wire.assemble import Assembler
from tesela.wire.tasks import Task

HELLO = {"role": "user", "content": "Hello"}
SIZES = (1, 2, 3, 7, 64, 10**9)


def exchange(
    provider: Provider, fields: dict[str, Any] | None = None, *, task: Task = Task.CHAT, streaming: bool = False,
    upstream: Upstream | None = None, ignore: frozenset[str] = frozenset(),
) -> Exchange:  # fmt: skip
    """What is sent for a request with these fields; for the least one when there are none."""
    least: dict[Task, dict[str, Any]] = {
        Task.CHAT: {"messages": [HELLO]},
        Task.COMPLETIONS: {"prompt": "Hello"},
        Task.EMBEDDINGS: {"input": "Hello"},
    }
    called = upstream or Upstream(Origin("https", "api.example.com", 443), "model-1", ignore=ignore)
    translate = provider.translations[task]
    assert translate is not None
    asked = document.decode(msgspec.json.encode({"model": "endpoint", **least[task], **(fields or {})}))
    return translate(Call(task, asked, streaming, called, 5, "abc"))


def whole(made: Exchange, body: bytes) -> Any:
    assert made.answer is not None
    return json.loads(made.answer(body))


def chunks(made: Exchange, data: bytes, *, size: int = 10**9) -> list[bytes]:
    """The unified chunks of a stream whose bytes come in pieces of this size."""
    source, out = Source(made), []
    for at in range(0, len(data), size):
        out += source.feed(data[at : at + size])
    return out + source.finish()


def assembled(made: Exchange, data: bytes, *, size: int = 10**9, task: Task = Task.CHAT) -> Any:
    assembler = Assembler(task)
    for chunk in chunks(made, data, size=size):
        assembler.feed(chunk)
    return json.loads(assembler.finish())


def same(answer: Any) -> Any:
    """What two answers must agree in: not in the spaces of a call's arguments."""
    for call in answer["choices"][0]["message"].get("tool_calls", ()):
        call["function"]["arguments"] = json.loads(call["function"]["arguments"])
    return answer


async def called(made: Exchange, told: bytes, *, upstream: Upstream, kind: str) -> tuple[Request, bytes]:
    """(what a server on loopback was sent, what the transport brought back).  `kind` is the content type."""
    seen: list[Request] = []

    async def talk(link: Link) -> None:
        seen.append(await link.request())
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\n\r\n"
        await link.say(head.encode())
        for at in range(0, len(told), 100):
            piece = told[at : at + 100]
            await link.say(b"%x\r\n%b\r\n" % (len(piece), piece))
        await link.say(b"0\r\n\r\n")

    async with Peer(talk).listening() as peer, calling() as caller:
        here = msgspec.structs.replace(upstream, origin=Origin("http", "127.0.0.1", peer.port), links={})
        heard = await caller.ask(here, made.body, headers=made.headers, path=made.path)
    assert heard.error is None
    return seen[0], heard.body
