"""Amazon Bedrock: what is sent by Converse and InvokeModel, and the answers, whole and streamed, in the unified form.

Answers have the form of https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html and
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html.
"""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.gateway.peers import looped
from tests.providers.exchanges import HELLO, SIZES, assembled, called, chunks, same, whole
from tests.providers.exchanges import exchange as made_by
from tests.providers.test_eventstream import event

from tesela.errors import (
    ConfigError,
    InvalidRequest,
    RequestError,
    Unsupported,
    UpstreamError,
    UpstreamFailed,
    UpstreamProtocolError,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)
from tesela.providers.base import Exchange
from tesela.providers.bedrock import BEDROCK
from tesela.providers.bedrock_answer import BROKEN, FINISH
from tesela.providers.registry import PROVIDERS, resolve
from tesela.providers.sigv4 import Signer
from tesela.serving import ExternalModel, Origin, Timeouts, Upstream
from tesela.wire import usage
from tesela.wire.tasks import Task

Part = dict[str, Any]
CLAUDE = Upstream(
    Origin("https", "bedrock-runtime.us-east-1.amazonaws.com", 443), "anthropic.claude-x-v1:0", "/model/c"
)
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Now", "parameters": CITY}}
CLOCK = {"type": "function", "function": {"name": "clock"}}
THEIR_WEATHER = {"toolSpec": {"name": "weather", "inputSchema": {"json": CITY}, "description": "Now"}}
THEIR_CLOCK = {"toolSpec": {"name": "clock", "inputSchema": {"json": {"type": "object", "properties": {}}}}}
USAGE = {
    "inputTokens": 10, "outputTokens": 7, "totalTokens": 17, "cacheReadInputTokens": 20, "cacheWriteInputTokens": 3,
}  # fmt: skip
TEXT: Part = {"text": "Hello \u2028 \U0001f600!"}
THOUGHT: Part = {"reasoningContent": {"reasoningText": {"text": "Let me see.", "signature": "EqQB+/="}}}
HIDDEN: Part = {"reasoningContent": {"redactedContent": "Emwk"}}
CALL: Part = {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Paris", "days": [1, 2]}}}
SECOND: Part = {"toolUse": {"toolUseId": "t2", "name": "clock", "input": {}}}
WANTED = {"type": "json_schema", "json_schema": {"name": "place", "schema": CITY, "description": "A place"}}


def exchange(fields: dict[str, Any] | None = None, **more: Any) -> Exchange:
    return made_by(BEDROCK, fields, **more)


def sent(**fields: Any) -> Any:
    return json.loads(exchange(fields).body)


def refused(kind: type[RequestError], **fields: Any) -> RequestError:
    with pytest.raises(kind) as caught:
        sent(**fields)
    return caught.value


def message(*blocks: Part, reason: str = "end_turn") -> bytes:
    told = {"output": {"message": {"role": "assistant", "content": list(blocks)}}, "stopReason": reason, "usage": USAGE}
    return msgspec.json.encode({**told, "metrics": {"latencyMs": 5}})


def deltas(block: Part, size: int) -> tuple[Part | None, list[Part]]:
    """How a block begins, where it says so, and the deltas that follow."""

    def cut(text: str) -> list[str]:
        return [text[at : at + size] for at in range(0, len(text), size)]

    if "text" in block:
        return None, [{"text": piece} for piece in cut(block["text"])]
    if "toolUse" in block:
        use = block["toolUse"]
        text = json.dumps(use["input"]) if use["input"] else ""
        begun = {"toolUse": {"toolUseId": use["toolUseId"], "name": use["name"]}}
        return begun, [{"toolUse": {"input": piece}} for piece in ["", *cut(text)]]
    inner = block["reasoningContent"]
    if "redactedContent" in inner:
        return None, [{"reasoningContent": inner}]
    told = inner["reasoningText"]
    out = [{"reasoningContent": {"text": piece}} for piece in cut(told["text"])]
    return None, out + ([{"reasoningContent": {"signature": told["signature"]}}] if "signature" in told else [])


def events(*blocks: Part, reason: str = "end_turn", size: int = 4) -> list[bytes]:
    """The messages of a stream."""
    out = [event("messageStart", {"role": "assistant", "p": "abcd"})]
    for index, block in enumerate(blocks):
        begun, pieces = deltas(block, size)
        if begun is not None:
            out.append(event("contentBlockStart", {"start": begun, "contentBlockIndex": index}))
        out += [event("contentBlockDelta", {"delta": piece, "contentBlockIndex": index, "p": "x"}) for piece in pieces]
        out.append(event("contentBlockStop", {"contentBlockIndex": index}))
    out.append(event("messageStop", {"stopReason": reason}))
    return [*out, event("metadata", {"usage": USAGE, "metrics": {"latencyMs": 5}})]


def streamed(*blocks: Part, size: int = 10**9, task: Task = Task.CHAT, fields: Any = None, **more: Any) -> Any:
    made = exchange(fields, task=task, streaming=True)
    return assembled(made, b"".join(events(*blocks, **more)), size=size, task=task)


SAID: dict[str, tuple[Part, ...]] = {
    "text": (TEXT,),
    "nothing": (),
    "two texts": (TEXT, TEXT),
    "text and parallel calls": (TEXT, CALL, SECOND),
    "a call without arguments": (SECOND,),
    "thoughts": (THOUGHT, HIDDEN, THOUGHT, TEXT, CALL),
}


@pytest.mark.parametrize("blocks", SAID.values(), ids=SAID)
def test_a_stream_and_a_whole_answer_say_the_same_however_the_bytes_are_cut(blocks: tuple[Part, ...]) -> None:
    expected = same(whole(exchange(), message(*blocks)))
    for size in SIZES:
        assert same(streamed(*blocks, size=size)) == expected


def test_a_text() -> None:
    assert whole(exchange(), message(TEXT)) == {
        "id": "chatcmpl-abc",
        "object": "chat.completion",
        "created": 5,
        "model": "model-1",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT["text"]},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 33,
            "completion_tokens": 7,
            "total_tokens": 40,
            "prompt_tokens_details": {"cached_tokens": 20},
            "cache_read_input_tokens": 20,
            "cache_creation_input_tokens": 3,
        },
    }


def sent_back(answer: Any) -> Any:
    body = json.loads(exchange({"messages": [HELLO, answer["choices"][0]["message"], HELLO]}, upstream=CLAUDE).body)
    return body["messages"][1]["content"]


BLOCKS = st.lists(
    st.sampled_from([THOUGHT, HIDDEN]) | st.builds(lambda text: {"text": text}, st.text(min_size=1, max_size=12)),
    max_size=6,
)
ARGUMENTS = st.dictionaries(st.text(max_size=4), st.integers(-(2**53), 2**53) | st.text(max_size=6), max_size=3)


@settings(max_examples=60)
@given(BLOCKS, st.lists(ARGUMENTS, max_size=2), st.integers(1, 40))
def test_whatever_was_said_comes_back_whole_from_both_ways(blocks: list[Part], calls: list[Any], size: int) -> None:
    blocks = [THOUGHT, *blocks]
    made = [{"toolUse": {"toolUseId": f"t{n}", "name": "f", "input": given}} for n, given in enumerate(calls)]
    expected: list[Part] = []
    for block in [*blocks, *made]:
        if expected and "text" in block and "text" in expected[-1]:
            expected[-1] = {"text": expected[-1]["text"] + block["text"]}
        else:
            expected.append(block)
    for answer in (whole(exchange(), message(*blocks, *made)), streamed(*blocks, *made, size=size)):
        assert sent_back(answer) == expected


@pytest.mark.parametrize(("reason", "finish"), FINISH.items())
def test_every_reason_to_stop(reason: str, finish: str) -> None:
    assert whole(exchange(), message(TEXT, CALL, reason=reason))["choices"][0]["finish_reason"] == finish
    assert streamed(TEXT, CALL, reason=reason)["choices"][0]["finish_reason"] == finish
    assert whole(exchange(), message(TEXT, reason="new"))["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("reason", sorted(BROKEN))
def test_answers_that_bedrock_itself_cannot_read_are_failures(reason: str) -> None:
    with pytest.raises(UpstreamFailed, match=reason):
        whole(exchange(), message(reason=reason))
    with pytest.raises(UpstreamFailed, match=reason):
        streamed(reason=reason)


def test_other_blocks_of_answers() -> None:
    cited = {"citationsContent": {"content": [{"text": "It rains."}], "citations": [{"title": "t"}]}}
    image = {"image": {"format": "png", "source": {"bytes": "aGk="}}}
    unknown = {"hologram": {"depth": 3}}
    said = whole(exchange(), message(cited, unknown))["choices"][0]["message"]
    assert said == {"role": "assistant", "content": "It rains.", "citations": [{"title": "t"}]}
    said = whole(exchange(), message(TEXT, image))["choices"][0]["message"]
    assert said["content"][1] == {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}


def test_two_calls_stream_by_index_and_the_usage_is_found_without_parsing() -> None:
    out = chunks(exchange(streaming=True), b"".join(events(TEXT, CALL, SECOND, reason="tool_use")))
    told = [json.loads(chunk) for chunk in out]
    pieces = [call for chunk in told[:-1] for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert [piece["id"] for piece in pieces if "id" in piece] == ["t1", "t2"]
    assert (
        json.loads("".join(p["function"]["arguments"] for p in pieces if p["index"] == 0)) == CALL["toolUse"]["input"]
    )
    assert "".join(piece["function"]["arguments"] for piece in pieces if piece["index"] == 1) == "{}"
    assert usage.find(out[-1]) == usage.Usage(33, 7, 40)


@pytest.mark.parametrize("kept", range(len(events(TEXT, CALL)) - 2))
def test_a_stream_that_ends_early_is_an_error_wherever_it_ends(kept: int) -> None:
    with pytest.raises(UpstreamProtocolError):
        chunks(exchange(streaming=True), b"".join(events(TEXT, CALL)[:kept]))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("throttlingException", UpstreamRateLimited),
        ("validationException", UpstreamRejected),
        ("serviceUnavailableException", UpstreamUnavailable),
        ("internalServerException", UpstreamFailed),
        ("modelStreamErrorException", UpstreamFailed),
        ("accessDeniedException", UpstreamUnauthorized),
        ("somethingNew", UpstreamFailed),
    ],
)
def test_an_exception_in_mid_stream(kind: str, expected: type[UpstreamError]) -> None:
    told = event(kind, {"message": "no more", "originalStatusCode": 500}, "exception")
    with pytest.raises(expected) as caught:
        chunks(exchange(streaming=True), b"".join(events(TEXT)[:3]) + told)
    assert ("no more" in caught.value.message) == (expected is not UpstreamUnauthorized)


WORDS = [
    "text",
    "toolUse",
    "reasoningContent",
    "reasoningText",
    "citationsContent",
    "content",
    "image",
    "source",
    "input",
    "name",
    "toolUseId",
    "signature",
    "citation",
    "delta",
    "start",
    "contentBlockIndex",
]
ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150)
@given(
    st.lists(ODD, max_size=3), st.sampled_from(["contentBlockStart", "contentBlockDelta", "messageStop", "metadata"])
)
def test_blocks_of_any_shape_are_read_or_are_an_error(blocks: list[Any], name: str) -> None:
    for read in (
        lambda: whole(exchange(), message(*blocks)),
        lambda: chunks(exchange(streaming=True), b"".join(event(name, block) for block in blocks)),
    ):
        try:
            read()
        except UpstreamError as error:
            assert error.message  # noqa: PT017 - whatever it is, it is the provider's fault


def test_events_that_nobody_has_heard_of_or_cannot_read() -> None:
    out = events(TEXT)
    out.insert(2, event("weatherReport", {"sky": "blue"}))
    out.insert(2, event("contentBlockDelta", {"delta": {"smell": "x"}, "contentBlockIndex": 0}))
    assert assembled(exchange(streaming=True), b"".join(out)) == whole(exchange(), message(TEXT))
    payloads: list[Any] = [[], {"delta": 5}, {"delta": {"text": 5}}]
    for payload in payloads:
        with pytest.raises(UpstreamProtocolError):
            chunks(exchange(streaming=True), event("contentBlockDelta", payload))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"<html>", b"{}", b'{"output":{}}', b'{"message":"x"}', b"\xff"])
def test_answers_that_are_none(body: bytes) -> None:
    titan = msgspec.structs.replace(CLAUDE, model="amazon.titan-embed-text-v2:0")
    for task in (Task.CHAT, Task.COMPLETIONS, Task.EMBEDDINGS):
        with pytest.raises(UpstreamProtocolError):
            whole(exchange(task=task, upstream=titan), body)


@pytest.mark.parametrize(
    ("status", "expected"),
    [(400, UpstreamRejected), (403, UpstreamUnauthorized), (404, UpstreamRejected), (424, UpstreamFailed),
     (429, UpstreamRateLimited), (500, UpstreamFailed), (503, UpstreamUnavailable)],
)  # fmt: skip
def test_the_status_of_a_refusal_decides(status: int, expected: type[UpstreamError]) -> None:
    for key in (b"message", b"Message"):
        error = BEDROCK.failure(status, b'{"%b":"too many tools"}' % key, None)
        assert type(error) is expected
        assert ("too many tools" in error.message) == (expected is not UpstreamUnauthorized)


# ------------------------------------------------------------ what is sent


def test_the_least_request() -> None:
    made = exchange()
    assert (made.path, made.streaming, made.chunks, made.headers, made.framing) == ("/converse", False, None, (), None)
    assert json.loads(made.body) == {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]}
    made = exchange({"stream_options": {}}, streaming=True)
    assert made.path == "/converse-stream"
    assert json.loads(made.body) == sent()


def test_zeros_and_empty_values_survive() -> None:
    body = sent(temperature=0, top_p=0, top_k=0, n=1, stop="", max_tokens=0, seed=0, presence_penalty=0)
    assert body["inferenceConfig"] == {"maxTokens": 0, "temperature": 0, "topP": 0, "stopSequences": [""]}
    assert body["additionalModelRequestFields"] == {"top_k": 0, "seed": 0}


def test_fields_of_converse_and_fields_of_the_model() -> None:
    guard = {"guardrailIdentifier": "g", "guardrailVersion": "1"}
    thinking = {"type": "enabled", "budget_tokens": 2000}
    body = sent(
        guardrailConfig=guard, thinking=thinking, inferenceConfig={"topP": 1}, temperature=1, presence_penalty=0.5,
        additionalModelRequestFields={"a": 1},
    )  # fmt: skip
    assert body["guardrailConfig"] == guard
    assert body["inferenceConfig"] == {"temperature": 1, "topP": 1}
    assert body["additionalModelRequestFields"] == {"thinking": thinking, "presence_penalty": 0.5, "a": 1}
    assert refused(InvalidRequest, inferenceConfig={"topP": 1}, top_p=1).param == "inferenceConfig"
    assert refused(InvalidRequest, additionalModelRequestFields=5).param == "additionalModelRequestFields"
    twice = refused(InvalidRequest, additionalModelRequestFields={"top_k": 1}, top_k=1)
    assert twice.param == "additionalModelRequestFields"
    nova = msgspec.structs.replace(CLAUDE, model="us.amazon.nova-lite-v1:0")
    made = json.loads(exchange({"top_k": 5}, upstream=nova).body)
    assert made["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 5}}


def test_messages() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,aGk="}, "cache_control": {"type": "x"}}
    stored = {"type": "image_url", "image_url": {"url": "s3://bucket/a.png"}}
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk=", "filename": "My report_1.pdf"}}
    audio = {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}
    body = sent(
        messages=[
            {"role": "system", "content": [{"type": "text", "text": "Be short.", "cache_control": {"type": "x"}}]},
            {"role": "user", "content": [{"type": "text", "text": "See"}, image, stored, file, audio]},
            HELLO,
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Paris"}'}},
                {"id": "t2", "type": "function", "function": {"name": "clock", "arguments": ""}},
            ]},
            {"role": "tool", "tool_call_id": "t1", "content": "rain"},
            {"role": "tool", "tool_call_id": "t2"},
            {"role": "developer", "content": "Shorter."},
            HELLO,
        ]
    )  # fmt: skip
    assert body["system"] == [{"text": "Be short."}, {"cachePoint": {"type": "default"}}, {"text": "Shorter."}]
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][0]["content"] == [
        {"text": "See"},
        {"image": {"format": "jpeg", "source": {"bytes": "aGk="}}},
        {"cachePoint": {"type": "default"}},
        {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://bucket/a.png"}}}},
        {"document": {"format": "pdf", "source": {"bytes": "aGk="}, "name": "My report 1"}},
        {"audio": {"format": "wav", "source": {"bytes": "aGk="}}},
        {"text": "Hello"},
    ]
    assert body["messages"][1]["content"] == [
        {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Paris"}}},
        {"toolUse": {"toolUseId": "t2", "name": "clock", "input": {}}},
    ]
    assert body["messages"][2]["content"] == [
        {"toolResult": {"toolUseId": "t1", "content": [{"text": "rain"}]}},
        {"toolResult": {"toolUseId": "t2", "content": [{"text": ""}]}},
        {"text": "Hello"},
    ]


@pytest.mark.parametrize(
    ("part", "at"),
    [
        ({"type": "image_url", "image_url": {"url": "https://h/a.png"}}, "messages[0].content[0].image_url"),
        ({"type": "image_url", "image_url": {"url": "data:image/tiff;base64,aGk="}},
         "messages[0].content[0].image_url"),
        ({"type": "image_url", "image_url": {"url": "s3://h/a.png", "detail": "high"}},
         "messages[0].content[0].image_url.detail"),
        ({"type": "hologram", "hologram": {}}, "messages[0].content[0].type"),
        ({"type": "text", "text": "x", "colour": "red"}, "messages[0].content[0].colour"),
    ],
)  # fmt: skip
def test_parts_that_converse_cannot_be_sent(part: Part, at: str) -> None:
    assert refused(Unsupported, messages=[{"role": "user", "content": [part]}]).param == at


def test_what_another_provider_added_to_its_answer_is_passed_over() -> None:
    call = {"id": "t1", "type": "function", "function": {"name": "clock", "arguments": "{}"}, "extra_content": {"a": 1}}
    said = {"role": "assistant", "content": "Yes", "tool_plan": "p", "citations": [], "extra_content": {"google": {}}}
    body = sent(
        messages=[HELLO, {**said, "tool_calls": [call]}, {"role": "tool", "tool_call_id": "t1", "content": "x"}]
    )
    use = {"toolUse": {"toolUseId": "t1", "name": "clock", "input": {}}}
    assert body["messages"][1]["content"] == [{"text": "Yes"}, use]
    assert refused(Unsupported, messages=[{**HELLO, "colour": "red"}]).param == "messages[0].colour"


def test_parts_that_only_converse_has() -> None:
    point = {"type": "cachePoint", "cachePoint": {"type": "default"}}
    body = sent(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}, point]}])
    assert body["messages"][0]["content"] == [{"text": "x"}, {"cachePoint": {"type": "default"}}]


def test_thoughts_without_a_signature_go_back_only_to_models_that_sign_none() -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
    said = {"role": "assistant", "content": [thought, {"type": "text", "text": "Yes"}]}
    fields = {"messages": [HELLO, said, HELLO]}
    plain = {"reasoningContent": {"reasoningText": {"text": "hm"}}}
    assert json.loads(exchange(fields).body)["messages"][1]["content"] == [plain, {"text": "Yes"}]
    assert json.loads(exchange(fields, upstream=CLAUDE).body)["messages"][1]["content"] == [{"text": "Yes"}]


def test_tools_and_the_choice_among_them() -> None:
    tools = [WEATHER, CLOCK]
    assert sent(tools=tools, tool_choice="auto")["toolConfig"] == {"tools": [THEIR_WEATHER, THEIR_CLOCK]}
    assert sent(tools=tools, tool_choice="required")["toolConfig"]["toolChoice"] == {"any": {}}
    forced = sent(tools=tools, tool_choice={"type": "function", "function": {"name": "clock"}})["toolConfig"]
    assert forced["toolChoice"] == {"tool": {"name": "clock"}}
    kept = {**WEATHER, "cache_control": {"type": "ephemeral"}}
    assert sent(tools=[kept, CLOCK])["toolConfig"]["tools"] == [
        THEIR_WEATHER, {"cachePoint": {"type": "default"}}, THEIR_CLOCK
    ]  # fmt: skip
    assert refused(Unsupported, tools=[{**CLOCK, "colour": "red"}]).param == "tools[0].colour"
    assert "toolConfig" not in sent(tools=tools, tool_choice="none")
    call = {"id": "t1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
    talk = [HELLO, {"role": "assistant", "tool_calls": [call]}, {"role": "tool", "tool_call_id": "t1", "content": "x"}]
    assert refused(Unsupported, messages=talk, tools=tools, tool_choice="none").param == "tool_choice"


def test_the_form_of_the_answer_is_a_tool_that_the_caller_never_sees() -> None:
    answer = {"toolSpec": {"name": "place", "inputSchema": {"json": CITY}, "description": "A place"}}
    assert sent(response_format=WANTED)["toolConfig"] == {"tools": [answer], "toolChoice": {"tool": {"name": "place"}}}
    both = sent(response_format=WANTED, tools=[CLOCK])["toolConfig"]
    assert both == {"tools": [THEIR_CLOCK, answer], "toolChoice": {"any": {}}}
    made = {"toolUse": {"toolUseId": "t", "name": "place", "input": {"city": "Paris"}}}
    fields = {"response_format": WANTED, "tools": [CLOCK]}
    found = whole(exchange(fields), message(made, reason="tool_use"))["choices"][0]
    assert (found["message"], found["finish_reason"]) == ({"role": "assistant", "content": '{"city":"Paris"}'}, "stop")
    for size in SIZES:
        other = streamed(made, reason="tool_use", fields=fields, size=size)["choices"][0]
        assert json.loads(other["message"].pop("content")) == {"city": "Paris"}
        assert (other["message"], other["finish_reason"]) == ({"role": "assistant"}, "stop")
    called_first = whole(exchange(fields), message(SECOND, reason="tool_use"))["choices"][0]
    assert called_first["finish_reason"] == "tool_calls"
    free = sent(response_format={"type": "json_object"})["toolConfig"]["tools"][0]["toolSpec"]
    assert free["inputSchema"] == {"json": {"type": "object"}}
    taken = {"type": "function", "function": {"name": "place"}}
    names = [tool["toolSpec"]["name"] for tool in sent(response_format=WANTED, tools=[taken])["toolConfig"]["tools"]]
    assert names == ["place", "place_"]


def test_effort() -> None:
    claude = json.loads(exchange({"reasoning_effort": "high"}, upstream=CLAUDE).body)
    assert claude["outputConfig"] == {"effort": "high"}
    assert sent(reasoning_effort="low")["additionalModelRequestFields"] == {"reasoning_effort": "low"}
    off = json.loads(exchange({"reasoning_effort": "none"}, upstream=CLAUDE).body)
    assert off["additionalModelRequestFields"] == {"thinking": {"type": "disabled"}}


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("n", 2), ("logprobs", True), ("top_logprobs", 2), ("store", True), ("service_tier", "flex"),
        ("verbosity", "low"), ("audio", {}), ("prediction", {}), ("functions", []), ("modalities", ["audio"]),
        ("parallel_tool_calls", False),
    ],
)  # fmt: skip
def test_what_bedrock_cannot_be_told_is_refused_by_name_unless_it_is_ignored(field: str, given: Any) -> None:
    error = refused(Unsupported, **{field: given})
    assert error.param == field
    assert "ignore" in error.message
    assert json.loads(exchange({field: given}, ignore=frozenset({field})).body) == sent()


def test_completions() -> None:
    made = exchange({"prompt": "Hi", "max_tokens": 3}, task=Task.COMPLETIONS)
    assert json.loads(made.body) == {
        "messages": [{"role": "user", "content": [{"text": "Hi"}]}], "inferenceConfig": {"maxTokens": 3},
    }  # fmt: skip
    answer = whole(made, message(THOUGHT, TEXT))
    assert answer["choices"] == [{"text": TEXT["text"], "index": 0, "logprobs": None, "finish_reason": "stop"}]
    for size in SIZES:
        assert streamed(THOUGHT, TEXT, size=size, task=Task.COMPLETIONS) == answer


# ------------------------------------------------------------ embeddings


def embedding(model: str, **fields: Any) -> Exchange:
    return exchange(fields, task=Task.EMBEDDINGS, upstream=msgspec.structs.replace(CLAUDE, model=model))


def test_embeddings_of_titan() -> None:
    made = embedding("amazon.titan-embed-text-v2:0", dimensions=2, normalize=True)
    assert made.path == "/invoke"
    assert json.loads(made.body) == {"inputText": "Hello", "dimensions": 2, "normalize": True}
    answer = whole(made, b'{"embedding":[0.25,-1],"inputTextTokenCount":3,"embeddingsByType":{}}')
    assert (answer["data"][0]["embedding"], answer["usage"]["prompt_tokens"]) == ([0.25, -1], 3)
    with pytest.raises(Unsupported) as caught:
        embedding("amazon.titan-embed-text-v1", input=["a", "b"])
    assert caught.value.param == "input"


def test_embeddings_of_cohere() -> None:
    made = embedding("us.cohere.embed-v4:0", input=["a", "b"], truncate="END", dimensions=256)
    assert json.loads(made.body) == {
        "texts": ["a", "b"], "input_type": "search_document", "truncate": "END", "output_dimension": 256,
    }  # fmt: skip
    for told in (
        b'{"embeddings":[[1],[2]],"response_type":"embeddings_floats"}',
        b'{"embeddings":{"float":[[1],[2]]}}',
    ):
        assert [one["embedding"] for one in whole(made, told)["data"]] == [[1], [2]]
    typed = embedding("cohere.embed-english-v3", embedding_types=["int8"])
    assert whole(typed, b'{"embeddings":{"int8":[[5]]}}')["data"][0]["embedding"] == [5]


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("amazon.titan-embed-text-v2:0", b'{"embedding":[0.25,-1],"inputTextTokenCount":3}'),
        ("cohere.embed-v4:0", b'{"embeddings":{"float":[[0.25,-1]]}}'),
    ],
)
def test_embeddings_in_base64(model: str, told: bytes) -> None:
    answer = whole(embedding(model, encoding_format="base64"), told)
    assert answer["data"][0]["embedding"] == "AACAPgAAgL8="


@pytest.mark.parametrize(
    ("model", "fields", "at"),
    [
        ("anthropic.claude", {}, "input"),
        ("cohere.embed-v4", {"encoding_format": "hex"}, "encoding_format"),
        ("cohere.embed-v4", {"embedding_types": ["int8", "float"]}, "embedding_types"),
        ("cohere.embed-v4", {"instruction": "x"}, "instruction"),
        ("cohere.embed-v4", {"input": [[1, 2]]}, "input"),
    ],
)
def test_embeddings_that_cannot_be(model: str, fields: Part, at: str) -> None:
    with pytest.raises(RequestError) as caught:
        embedding(model, **fields)
    assert caught.value.param == at


# ------------------------------------------------------------ settings and the wire

PROFILE = "arn:aws:iam::123456789012:instance-profile/serving"
KEYS = {"aws_access_key_id": "env:ID", "aws_secret_access_key": "env:SECRET"}
SECRETS = {"env:ID": "AKID1", "env:SECRET": "very-secret", "env:SESSION": "session-1"}


def read(model: str = "anthropic.claude-x-v1:0", **config: Any) -> Upstream:
    found = resolve(
        ExternalModel(model, "amazon-bedrock", "llm/v1/chat", amazon_bedrock_config=config),
        at="m", place=lambda path: f"<{path}>", secrets=SECRETS, timeouts=Timeouts(),
    )  # fmt: skip
    assert found.provider in PROVIDERS
    return found.upstream


def test_settings() -> None:
    upstream = read(aws_region="eu-west-3", bedrock_provider="Anthropic", ignore=["n"], **KEYS)
    assert upstream.origin.authority == "bedrock-runtime.eu-west-3.amazonaws.com"
    assert upstream.base_path == "/model/anthropic.claude-x-v1%3A0"
    assert (upstream.headers, upstream.ignore) == ((), frozenset({"n"}))
    assert upstream.signer == Signer("AKID1", "very-secret", "eu-west-3")
    assert "very-secret" not in repr(upstream)
    named = read(aws_region="eu-west-3", aws_session_token="env:SESSION", **KEYS)
    assert named.signer == Signer("AKID1", "very-secret", "eu-west-3", "session-1")
    arn = "arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.claude"
    assert read(arn, aws_region="us-east-1", **KEYS).base_path.count("/") == 2
    assert read(aws_region="cn-north-1", **KEYS).origin.host.endswith(".amazonaws.com.cn")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (KEYS, "must be a region"),
        ({**KEYS, "aws_region": "evil.example.com/"}, "is not a region"),
        ({"aws_region": "us-east-1"}, "exactly one of aws_access_key_id"),
        ({"aws_region": "us-east-1", "instance_profile_arn": "arn:x"}, "is not the ARN of an instance profile"),
        ({**KEYS, "aws_region": "us-east-1", "instance_profile_arn": PROFILE}, "not both"),
        ({"aws_region": "us-east-1", "uc_service_credential_name": "x"}, "there is no Unity Catalog"),
        ({**KEYS, "aws_region": "us-east-1", "bedrock_provider": "meta"}, "must be one of anthropic"),
        ({**KEYS, "aws_region": "us-east-1", "aws_regoin": "x"}, "did you mean 'aws_region'"),
        ({**KEYS, "aws_region": "us-east-1", "aws_secret_access_key": "x"}, "must be a reference"),
        ({**KEYS, "aws_region": "us-east-1", "amazon_bedrock_api_base": "https://x?y=1"}, "must be an address"),
    ],
)
def test_settings_that_cannot_work(config: Part, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**config)
    assert words in caught.value.message
    assert "very-secret" not in caught.value.message


def test_the_keys_of_the_machine() -> None:
    upstream = read(aws_region="us-east-1", instance_profile_arn=PROFILE)
    assert (upstream.signer, upstream.headers) == (None, ())
    assert upstream.token is not None
    assert upstream.token.ask is not None
    assert exchange(upstream=upstream).headers == (), "the transport signs, when it has the keys"


@pytest.mark.parametrize(
    "model",
    ["amazon.titan-text-express-v1", "ai21.j2-mid-v1", "cohere.command-text-v14", "anthropic.claude-v2:1"],
)
def test_models_that_amazon_retired_are_refused(model: str) -> None:
    with pytest.raises(ConfigError, match=r"can no longer be called: Amazon retired it in 2025"):
        read(model, aws_region="us-east-1", **KEYS)
    assert read("cohere.command-r-v1:0", aws_region="us-east-1", **KEYS).model


@looped
async def test_a_signed_stream_over_a_real_connection() -> None:
    upstream = read(aws_region="us-east-1", aws_session_token="env:SESSION", **KEYS)
    made = exchange(streaming=True, upstream=upstream)
    kind = "application/vnd.amazon.eventstream"
    request, data = await called(made, b"".join(events(THOUGHT, TEXT)), upstream=upstream, kind=kind)
    lines = dict(line.split(": ", 1) for line in request.head.decode().split("\r\n")[1:] if line)
    assert request.head.startswith(b"POST /model/anthropic.claude-x-v1%3A0/converse-stream HTTP/1.1\r\n")
    assert lines["x-amz-date"] == "19700101T000005Z"
    assert lines["x-amz-security-token"] == "session-1"
    assert upstream.signer is not None
    expected = dict(upstream.signer.headers(upstream.origin.authority, upstream.base_path + made.path, request.body, 5))
    assert lines["authorization"] == expected["authorization"]
    assert lines["content-type"] == "application/json"
    answer = assembled(made, data)
    assert answer["choices"] == whole(exchange(upstream=upstream), message(THOUGHT, TEXT))["choices"]
