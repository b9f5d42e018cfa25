"""Every exchange that is kept as a file, through the translation of its provider and through the whole gateway."""

import asyncio
import json
import re
from typing import Any

import msgspec
import pytest
from tests.exchanges import files, translate
from tests.exchanges.features import FEATURES
from tests.exchanges.files import Form, Recorded
from tests.exchanges.translate import SECRET
from tests.gateway.peers import Link, Peer, Request, looped
from tests.providers.ends import End, ending, events, lines
from tests.providers.test_vertex_settings import account

from tesela.errors import RequestError
from tesela.providers.compatible_rows import COMPATIBLE
from tesela.providers.registry import ROWS
from tesela.serving import Origin, ServedEntity, ServedEntityInput
from tesela.wire.assemble import Assembler
from tesela.wire.tasks import Task

SECRETS = {"env:KEY": SECRET, "env:KEY_ID": SECRET, "env:ACCOUNT": account()}
ALL = {name: files.load(name) for name in files.names()}
FORMS = [(name, streaming) for name, one in ALL.items() for streaming in one.forms]
ANSWERED = [(name, streaming) for name, streaming in FORMS if ALL[name].failed is None]
SIZES = (1, 3, 10**9)


def form(name: str, streaming: bool) -> Form:
    return ALL[name].forms[streaming]


def same(answer: Any) -> Any:
    return translate.same(json.loads(json.dumps(answer)))


def test_every_provider_has_exchanges_for_each_of_its_tasks() -> None:
    shown = {(one.provider, one.task) for one in ALL.values()}
    theirs = {provider for provider, _ in shown}
    # Those that are rows of data speak the form of `custom`; the scripted one is our own.
    assert theirs == ROWS.keys() - COMPATIBLE.keys() - {"scripted"}


@pytest.mark.parametrize("name", ALL)
def test_an_exchange_says_where_it_is_from_and_holds_no_key(name: str) -> None:
    one = ALL[name]
    assert re.match(r"https://\S+$", one.page)
    assert (one.source == "recorded") == bool(re.match(r"\d{4}-\d\d-\d\d$", one.date))
    text = files.path_of(name).read_text("utf-8")
    assert SECRET not in text
    assert not re.search(r"sk-|Bearer [A-Za-z0-9]|PRIVATE KEY", text)
    assert sum((one.answer is not None, one.failed is not None, one.refused is not None)) == 1


@pytest.mark.parametrize("name", ALL)
def test_an_exchange_shows_what_it_claims(name: str) -> None:
    one = ALL[name]
    assert one.features
    for feature in one.features:
        assert feature in FEATURES
        if one.refused is None:
            assert FEATURES[feature](one), f"{name} does not show {feature}"


@pytest.mark.parametrize(("name", "streaming"), FORMS)
def test_what_is_sent(name: str, streaming: bool) -> None:
    provider, upstream = translate.entity(ALL[name], SECRETS)
    made = translate.made(ALL[name], upstream, provider, streaming=streaming)
    assert translate.sent(made, upstream) == form(name, streaming).sent
    assert made.streaming == streaming


@pytest.mark.parametrize(("name", "streaming"), ANSWERED)
def test_what_is_answered_however_the_bytes_are_cut(name: str, streaming: bool) -> None:
    one = ALL[name]
    provider, upstream = translate.entity(one, SECRETS)
    for size in SIZES:
        made = translate.made(one, upstream, provider, streaming=streaming)
        answer = translate.answered(made, form(name, streaming).reply, Task(one.task), size=size)
        assert same(answer) == same(one.answer)


@pytest.mark.parametrize("name", [name for name, one in ALL.items() if one.refused is not None])
def test_what_a_provider_cannot_be_told_is_refused_by_name(name: str) -> None:
    one = ALL[name]
    provider, upstream = translate.entity(one, SECRETS)
    with pytest.raises(RequestError) as caught:
        translate.made(one, upstream, provider, streaming=False)
    assert translate.told(caught.value) == one.refused
    assert one.refused is not None
    assert one.refused.param


@pytest.mark.parametrize("name", [name for name, one in ALL.items() if one.failed is not None])
def test_the_status_decides_what_a_failure_is(name: str) -> None:
    one = ALL[name]
    provider, _ = translate.entity(one, SECRETS)
    assert one.whole is not None
    error = translate.failure(provider, one.whole)
    assert translate.told(error) == one.failed
    silent = Form(one.whole.sent, msgspec.structs.replace(one.whole.reply, body="", base64=""))
    assert translate.told(translate.failure(provider, silent)).status == translate.told(error).status


# ------------------------------------------------------------ through the gateway, over a connection


def served(one: Recorded, port: int) -> ServedEntity:
    """The provider, at a peer on loopback; whoever wants a token is given none here."""
    provider, upstream = translate.entity(one, SECRETS)
    here = msgspec.structs.replace(upstream, origin=Origin("http", "127.0.0.1", port), token=None, links={})
    return ServedEntity("one", ServedEntityInput("one"), provider, frozenset({Task(one.task)}), here, 100)


async def exchanged(one: Recorded, streaming: bool) -> tuple[Request, Any, int]:
    """(what the provider was sent, what the caller was answered, with which status)."""
    seen: list[Request] = []
    found = one.forms[streaming].reply
    data = found.data()

    async def talk(link: Link) -> None:
        seen.append(await link.request())
        head = f"HTTP/1.1 {found.status} X\r\ncontent-type: {found.content_type}\r\ncontent-length: {len(data)}\r\n\r\n"
        await link.say(head.encode() + data)

    async with Peer(talk).listening() as peer, ending(served(one, peer.port)) as end:
        caller = await _asked(end, one, streaming)
    if caller.status >= 400 or not streaming:
        return seen[0], json.loads(caller.body), caller.status
    assembler = Assembler(Task(one.task))
    for chunk in events(caller.body):
        assembler.feed(msgspec.json.encode(chunk))
    return seen[0], json.loads(assembler.finish()), caller.status


async def _asked(end: End, one: Recorded, streaming: bool) -> Any:
    path = {
        "llm/v1/chat": "/chat/completions",
        "llm/v1/completions": "/completions",
        "llm/v1/embeddings": "/embeddings",
    }
    more = {"stream": True, "stream_options": {"include_usage": True}} if streaming else {}
    return await end.ask({**one.asked, **more}, "/v1" + path[one.task])


UNSTEADY = ("id", "created")
"""What an answer has of the invocation, where the provider tells none."""


@pytest.mark.parametrize(("name", "streaming"), FORMS)
@looped
async def test_an_exchange_through_the_gateway(name: str, streaming: bool) -> None:
    one = ALL[name]
    request, answer, status = await exchanged(one, streaming)
    asked = form(name, streaming).sent
    head = lines(request)
    assert head[""].split(" ")[1] == asked.path
    assert asked.headers.keys() - {"authorization"} <= head.keys()
    for header, content in asked.headers.items():
        assert content == translate.HIDDEN or head[header] == content
    if one.failed is not None:
        assert (status, answer["error_code"]) == (one.failed.status, one.failed.code)
        assert SECRET not in json.dumps(answer)
        return
    assert status == 200
    expected = same(one.answer)
    found = same(answer)
    for field in UNSTEADY:
        expected.pop(field, None)
        found.pop(field, None)
    for one_answer in (expected, found):
        for call in (one_answer.get("choices") or [{}])[0].get("message", {}).get("tool_calls") or ():
            call["id"] = call["id"].partition("_")[0] if call["id"].startswith("call_") else call["id"]
    assert found == expected


# ------------------------------------------------------------ other APIs over every provider

CHATS = sorted(name.partition("/")[0] for name, one in ALL.items() if name.endswith("/text") and one.whole is not None)
OTHER: dict[str, tuple[str, dict[str, Any]]] = {
    "responses": ("/v1/responses", {"input": "Hello", "max_output_tokens": 64}),
    "messages": (
        "/serving-endpoints/anthropic/v1/messages",
        {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 64},
    ),
    "generate": (
        "/serving-endpoints/gemini/v1beta/models/e:generateContent",
        {"contents": [{"parts": [{"text": "Hello"}]}], "generationConfig": {"maxOutputTokens": 64}},
    ),
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("other", OTHER)
@pytest.mark.parametrize("folder", CHATS)
@looped
async def test_other_apis_over_every_provider(folder: str, other: str, streaming: bool) -> None:
    """A text and two calls, by another API than the provider's, whole and streamed."""
    path, asked = OTHER[other]
    if streaming and other == "generate":
        path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
    elif streaming:
        asked = {**asked, "stream": True}
    for name in ("text", "parallel-calls"):
        one = ALL[f"{folder}/{name}"]
        reply = one.forms[streaming].reply
        data = reply.data()

        async def talk(link: Link, kind: str = reply.content_type, data: bytes = data) -> None:
            await link.request()
            head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(data)}\r\n\r\n"
            await link.say(head.encode() + data)

        async with Peer(talk).listening() as peer, ending(served(one, peer.port)) as end:
            caller = await end.ask(asked, path)
        assert caller.status == 200, caller.body
        text = caller.body.decode()
        assert "event: error" not in text
        # Texts and arguments come in pieces, where they come as events.
        words = {"text": ("Hel", "!"), "parallel-calls": ("weather", "clock")}[name]
        more = {"text": ("there!",), "parallel-calls": ("Paris",)}[name] if not streaming else ()
        assert all(word in text for word in words + more)


@pytest.mark.parametrize("header", ["request-id", "x-amzn-RequestId", "x-request-id"])
@pytest.mark.parametrize("folder", CHATS)
@looped
async def test_an_answer_that_is_none_is_told_by_the_providers_request(folder: str, header: str) -> None:
    """502, with what the provider calls the request, and nothing of what it said."""
    one = ALL[f"{folder}/text"]

    async def talk(link: Link) -> None:
        await link.request()
        body = b'{"surprise": {"private": "x1y2z3"}}'
        head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{header}: r-77\r\n"
        await link.say(b"%bcontent-length: %d\r\n\r\n%b" % (head.encode(), len(body), body))

    async with Peer(talk).listening() as peer, ending(served(one, peer.port)) as end:
        caller = await end.ask({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 5})
    assert caller.status == 502, caller.body
    assert b"r-77" in caller.body
    assert b"x1y2z3" not in caller.body


@pytest.mark.parametrize("folder", ["anthropic", "cohere", "amazon-bedrock"])
@looped
async def test_a_provider_that_falls_silent_behind_its_end_holds_nobody_up(folder: str) -> None:
    """The last event ends the answer, not the end of the body."""
    one = ALL[f"{folder}/text"]
    reply = one.forms[True].reply
    heard = asyncio.Event()

    async def talk(link: Link) -> None:
        await link.request()
        head = f"HTTP/1.1 200 OK\r\ncontent-type: {reply.content_type}\r\ntransfer-encoding: chunked\r\n\r\n"
        data = reply.data().removesuffix(b"data: [DONE]\n\n")
        await link.say(head.encode() + b"%x\r\n%b\r\n" % (len(data), data))
        await heard.wait()

    async with Peer(talk).listening() as peer, ending(served(one, peer.port)) as end:
        caller = await _asked(end, one, streaming=True)
        assert caller.state == "closed"
        assert caller.body.endswith(b"data: [DONE]\n\n")
        heard.set()
