"""An endpoint over Anthropic, from the caller's request to the caller's answer, through the real transport."""

import asyncio
from typing import Any

import msgspec
import pytest
from tests.gateway.peers import Link, Peer, Request, looped
from tests.providers.ends import KEY, STREAM, chunked, ending, events, lines, served

ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
ANSWER = (
    b'{"id":"msg_1","type":"message","role":"assistant","model":"claude-1","content":[{"type":"text","text":"Hello"}],'
    b'"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":2}}'
)
EVENTS = (
    (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message",'
        b'"role":"assistant","content":[],"model":"claude-1","usage":{"input_tokens":3,"output_tokens":1}}}\n\n'
    ),
    (
        b'event: content_block_start\ndata: {"type":"content_block_start","index":0,"content_block":{"type":"text",'
        b'"text":""}}\n\n'
    ),
    b'event: ping\ndata: {"type":"ping"}\n\n',
    (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
        b'"text":"Hel"}}\n\n'
    ),
    (
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta",'
        b'"text":"lo"}}\n\n'
    ),
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n',
    (
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        b'"usage":{"output_tokens":2}}\n\n'
    ),
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
)
THOUGHT = (
    EVENTS[0],
    b'data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":""}}\n\n',
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm."}}\n\n',
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s"}}\n\n',
    *EVENTS[1:],
)
OVERLOADED = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'


class Anthropic:
    """A peer that says on each request what it was told to say."""

    def __init__(self, *says: bytes) -> None:
        self.says = list(says)
        self.heard: list[Request] = []

    async def __call__(self, link: Link) -> None:
        while True:
            self.heard.append(await link.request())
            await link.say(self.says.pop(0))


def whole(body: bytes = ANSWER, status: str = "200 OK", *more: bytes) -> bytes:
    head = b"".join(line + b"\r\n" for line in (b"content-type: application/json", *more))
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status.encode(), head, len(body), body)


def entity(peer: Peer, **more: Any) -> Any:
    base = f"http://127.0.0.1:{peer.port}"
    given = {"anthropic_api_key": "env:KEY", "anthropic_api_base": base, **more.pop("config", {})}
    return served("anthropic", given, **more)


@looped
async def test_a_whole_answer_and_the_request_that_it_answers() -> None:
    provider = Anthropic(whole())
    async with Peer(provider).listening() as peer, ending(entity(peer)) as end:
        caller = await end.ask({**ASK, "extra_params": {"top_k": "5"}})
    answer = msgspec.json.decode(caller.body)
    assert caller.status == 200
    assert answer["choices"][0]["message"]["content"] == "Hello"
    assert answer["usage"]["total_tokens"] == 5
    head = lines(provider.heard[0])
    assert head[""] == "POST /v1/messages HTTP/1.1"
    assert (head["x-api-key"], head["anthropic-version"]) == (KEY, "2023-06-01")
    assert "authorization" not in head
    assert msgspec.json.decode(provider.heard[0].body) == {"model": "m-1", "max_tokens": 8192, "top_k": 5, **ASK}


@looped
async def test_a_stream() -> None:
    provider = Anthropic(STREAM + chunked(*EVENTS))
    async with Peer(provider).listening() as peer, ending(entity(peer)) as end:
        caller = await end.ask({**ASK, "stream": True, "stream_options": {"include_usage": True}})
    assert caller.state == "closed"
    assert caller.body.endswith(b"data: [DONE]\n\n")
    found = events(caller.body)
    assert "".join(one["choices"][0]["delta"].get("content") or "" for one in found[:-1]) == "Hello"
    assert found[-1]["usage"]["prompt_tokens"] == 3


@looped
async def test_many_streams_at_once_each_have_their_own_words_in_order() -> None:
    async def provider(link: Link) -> None:
        while True:
            word = msgspec.json.decode((await link.request()).body)["messages"][0]["content"].encode()
            await link.say(STREAM)
            for event in [*EVENTS[:3], *(EVENTS[3].replace(b"Hel", b"%b-%d " % (word, n)) for n in range(20))]:
                await link.say(b"%x\r\n%b\r\n" % (len(event), event))
                await asyncio.sleep(0)
            await link.say(chunked(*EVENTS[5:]))

    async with Peer(provider).listening() as peer, ending(entity(peer)) as end:
        words = [f"w{number}" for number in range(60)]
        asked = [{"messages": [{"role": "user", "content": word}], "stream": True} for word in words]
        callers = await asyncio.gather(*(end.ask(one) for one in asked))
    for word, caller in zip(words, callers, strict=True):
        found = "".join(one["choices"][0]["delta"].get("content") or "" for one in events(caller.body))
        assert found == "".join(f"{word}-{n} " for n in range(20))


@looped
async def test_both_ways_of_databricks() -> None:
    provider = Anthropic(whole(), STREAM + chunked(*EVENTS))
    async with Peer(provider).listening() as peer, ending(entity(peer)) as end:
        caller = await end.ask(ASK, "/serving-endpoints/e/invocations")
        assert msgspec.json.decode(caller.body)["choices"][0]["finishReason"] == "stop"
        caller = await end.ask({**ASK, "stream": True}, "/serving-endpoints/e/invocations")
    found = events(caller.body)
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    assert found[-1]["choices"][0]["finish_reason"] == "stop"
    assert found[-1]["usage"]["completion_tokens"] == 2


@looped
async def test_responses_are_made_from_chat() -> None:
    provider = Anthropic(whole())
    async with Peer(provider).listening() as peer, ending(entity(peer)) as end:
        caller = await end.ask({"input": "Hi", "max_output_tokens": 9}, "/v1/responses")
    assert caller.status == 200, caller.body
    assert msgspec.json.decode(provider.heard[0].body)["max_tokens"] == 9
    assert msgspec.json.decode(caller.body)["output"][0]["content"][0]["text"] == "Hello"


@looped
async def test_thoughts_over_the_responses_api_are_reasoning_items() -> None:
    block = b'"content":[{"type":"thinking","thinking":"Hm.","signature":"s"},'
    provider = Anthropic(whole(ANSWER.replace(b'"content":[', block)), STREAM + chunked(*THOUGHT))
    async with Peer(provider).listening() as peer, ending(entity(peer)) as end:
        caller = await end.ask({"input": "Hi", "reasoning": {"effort": "low"}}, "/v1/responses")
        streamed = await end.ask({"input": "Hi", "stream": True}, "/v1/responses")
    output = msgspec.json.decode(caller.body)["output"]
    assert output[0]["content"][0]["text"] == "Hm."
    assert output[1]["content"][0]["text"] == "Hello"
    assert msgspec.json.decode(provider.heard[0].body)["output_config"] == {"effort": "low"}
    last = msgspec.json.decode(streamed.body.rpartition(b"data: ")[2])["response"]["output"]
    assert [(item["type"], item["content"][0]["text"]) for item in last] == [("reasoning", "Hm."), ("message", "Hello")]


@looped
async def test_completions() -> None:
    provider = Anthropic(whole())
    async with Peer(provider).listening() as peer, ending(entity(peer, task="llm/v1/completions")) as end:
        caller = await end.ask({"prompt": "Hi"}, "/v1/completions")
    assert msgspec.json.decode(caller.body)["choices"][0]["text"] == "Hello"


@looped
async def test_our_key_that_it_refuses_is_a_502_that_does_not_show_it() -> None:
    told = b'{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key %b"}}' % KEY.encode()
    provider = Anthropic(whole(told, "401 Unauthorized"))
    async with Peer(provider).listening() as peer, ending(entity(peer)) as end:
        caller = await end.ask(ASK)
    assert caller.status == 502
    assert b"API key" in caller.body
    assert KEY.encode() not in caller.body


@looped
async def test_a_refusal_of_the_request_is_passed_on_without_our_key() -> None:
    told = b'{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: %b"}}' % KEY.encode()
    provider = Anthropic(whole(told, "400 Bad Request"))
    async with Peer(provider).listening() as peer, ending(entity(peer)) as end:
        caller = await end.ask(ASK)
    assert (caller.status, msgspec.json.decode(caller.body)["message"]) == (400, "max_tokens: ***")


@looped
async def test_when_it_is_overloaded_the_next_entity_answers() -> None:
    told = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    provider = Anthropic(whole(told, "529 Overloaded"), whole())
    async with Peer(provider).listening() as peer, ending(entity(peer), entity(peer, name="two")) as end:
        caller = await end.ask(ASK)
    assert (caller.status, caller.headers["served-model-name"]) == (200, "two")


@looped
async def test_overloaded_before_the_first_chunk_leads_to_the_next_entity_too() -> None:
    provider = Anthropic(STREAM + chunked(OVERLOADED))
    other = Anthropic(STREAM + chunked(*EVENTS))
    async with (
        Peer(provider).listening() as peer,
        Peer(other).listening() as second,
        ending(entity(peer), entity(second, name="two")) as end,
    ):
        caller = await end.ask({**ASK, "stream": True})
    assert caller.headers["served-model-name"] == "two"
    assert caller.body.endswith(b"data: [DONE]\n\n")


@looped
async def test_an_error_in_the_middle_ends_the_stream_with_one_event_and_no_end_mark() -> None:
    provider = Anthropic(STREAM + chunked(*EVENTS[:4], OVERLOADED))
    async with Peer(provider).listening() as peer, ending(entity(peer)) as end:
        caller = await end.ask({**ASK, "stream": True})
    assert b"[DONE]" not in caller.body
    assert "Overloaded" in msgspec.json.encode(events(caller.body)[-1]).decode()
    assert caller.state == "closed"


@looped
async def test_a_stream_that_ends_early_has_no_end_mark() -> None:
    provider = Anthropic(STREAM + chunked(*EVENTS[:-1]))
    async with Peer(provider).listening() as peer, ending(entity(peer)) as end:
        caller = await end.ask({**ASK, "stream": True})
    assert b"[DONE]" not in caller.body
    assert b"ended its stream in the middle" in caller.body


@looped
async def test_what_it_cannot_be_told_is_never_sent() -> None:
    provider = Anthropic(whole())
    async with Peer(provider).listening() as peer:
        async with ending(entity(peer)) as end:
            caller = await end.ask({**ASK, "seed": 1})
        assert (caller.status, provider.heard) == (400, [])
        assert msgspec.json.decode(caller.body)["param"] == "seed"
        async with ending(entity(peer, config={"ignore": ["seed"]})) as end:
            assert (await end.ask({**ASK, "seed": 1})).status == 200
    assert b"seed" not in provider.heard[0].body


@looped
async def test_a_page_instead_of_an_answer() -> None:
    provider = Anthropic(whole(b"<html>sign in</html>"))
    async with Peer(provider).listening() as peer, ending(entity(peer)) as end:
        caller = await end.ask(ASK)
    assert caller.status == 502
    assert b"sign in" not in caller.body


@pytest.mark.parametrize("base", ["http://h/", "http://h/v1", "http://h/v1/", "http://h/v1/messages"])
def test_the_base_in_every_form_that_people_copy(base: str) -> None:
    upstream = served("anthropic", {"anthropic_api_key": "env:KEY", "anthropic_api_base": base}).upstream
    assert upstream.base_path == ""
    usual = served("anthropic", {"anthropic_api_key": "env:KEY"}).upstream
    assert (usual.origin.scheme, usual.origin.authority, usual.base_path) == ("https", "api.anthropic.com", "")
