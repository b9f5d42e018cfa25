"""Gemini and embeddings on Vertex AI: what is sent, and the answers, whole and streamed, in the unified form.

Answers have the form of https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference and
https://cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api.
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

from tesela.errors import (
    InvalidRequest,
    RequestError,
    Unsupported,
    UpstreamError,
    UpstreamFailed,
    UpstreamProtocolError,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamUnauthorized,
)
from tesela.providers.base import Exchange
from tesela.providers.gemini_answer import BROKEN, FINISH
from tesela.providers.vertex import VERTEX
from tesela.serving import Origin, Upstream
from tesela.wire import usage
from tesela.wire.tasks import Task

Part = dict[str, Any]
CITY = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
THEIR_CITY = {
    "type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "propertyOrdering": ["city"], "required": ["city"],
}  # fmt: skip
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Now", "parameters": CITY}}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}
USAGE = {
    "promptTokenCount": 10, "candidatesTokenCount": 4, "thoughtsTokenCount": 3, "totalTokenCount": 17,
    "cachedContentTokenCount": 8,
}  # fmt: skip
TEXT: Part = {"text": "Hello \u2028 \U0001f600!"}
THOUGHT: Part = {"text": "Let me see.", "thought": True}
CALL: Part = {"functionCall": {"name": "weather", "args": {"city": "Paris"}}, "thoughtSignature": "c2ln"}
SECOND: Part = {"functionCall": {"name": "clock", "args": {}}}
IMAGE: Part = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
CODE: Part = {"executableCode": {"language": "PYTHON", "code": "1+1"}}


GEMINI = Upstream(Origin("https", "h", 443), "gemini-2.5-flash")


def exchange(
    fields: dict[str, Any] | None = None,
    *,
    upstream: Upstream = GEMINI,
    ignore: frozenset[str] = frozenset(),
    **more: Any,
) -> Exchange:
    return made_by(VERTEX, fields, upstream=msgspec.structs.replace(upstream, ignore=ignore), **more)


def sent(**fields: Any) -> Any:
    return json.loads(exchange(fields).body)


def config(**fields: Any) -> Any:
    return sent(**fields)["generationConfig"]


def refused(kind: type[RequestError], **fields: Any) -> RequestError:
    with pytest.raises(kind) as caught:
        sent(**fields)
    return caught.value


def told(*parts: Part, reason: str | None = "STOP", **more: Any) -> Part:
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **more}
    if reason is not None:
        candidate["finishReason"] = reason
    out: Part = {"candidates": [candidate], "modelVersion": "gemini-2.5-flash-001", "responseId": "r1"}
    return out | ({"usageMetadata": USAGE} if reason is not None else {"usageMetadata": {"promptTokenCount": 10}})


def message(*parts: Part, **more: Any) -> bytes:
    return msgspec.json.encode(told(*parts, **more))


def events(*parts: Part, size: int = 4, reason: str = "STOP", **more: Any) -> list[bytes]:
    """The events of a stream: texts in pieces, everything else in one."""
    out = []
    for part in parts:
        if "text" in part:
            text = part["text"]
            out += [told({**part, "text": text[at : at + size]}, reason=None) for at in range(0, len(text), size)]
        else:
            out.append(told(part, reason=None))
    out.append(told({"text": ""}, reason=reason, **more))
    return [b"data: %b\r\n\r\n" % msgspec.json.encode(one) for one in out]


def streamed(*parts: Part, size: int = 10**9, task: Task = Task.CHAT, **more: Any) -> Any:
    return assembled(exchange(task=task, streaming=True), b"".join(events(*parts, **more)), size=size, task=task)


SAID: dict[str, tuple[Part, ...]] = {
    "text": (TEXT,),
    "nothing": (),
    "a thought": (THOUGHT, TEXT),
    "parallel calls": (CALL, SECOND),
    "text and calls": (TEXT, CALL, SECOND),
    "an image": (TEXT, IMAGE),
    "code": (CODE, {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}}, TEXT),
}


@pytest.mark.parametrize("parts", SAID.values(), ids=SAID)
def test_a_stream_and_a_whole_answer_say_the_same_however_the_bytes_are_cut(parts: tuple[Part, ...]) -> None:
    expected = same(whole(exchange(), message(*parts)))
    for size in SIZES:
        assert same(streamed(*parts, size=size)) == expected


def test_a_text() -> None:
    assert whole(exchange(), message(THOUGHT, TEXT)) == {
        "id": "r1",
        "object": "chat.completion",
        "created": 5,
        "model": "gemini-2.5-flash-001",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": [
                        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Let me see."}]},
                        {"type": "text", "text": TEXT["text"]},
                    ],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 7,
            "total_tokens": 17,
            "prompt_tokens_details": {"cached_tokens": 8},
            "cache_read_input_tokens": 8,
            "completion_tokens_details": {"reasoning_tokens": 3},
        },
    }


def test_calls_have_ids_signatures_and_indexes() -> None:
    said = whole(exchange(), message(CALL, SECOND))["choices"][0]
    assert said["finish_reason"] == "tool_calls"
    first, second = said["message"]["tool_calls"]
    assert (first["id"], second["id"]) == ("call_abc_0", "call_abc_1")
    assert first["extra_content"] == {"google": {"thought_signature": "c2ln"}}
    assert first["function"] == {"name": "weather", "arguments": '{"city":"Paris"}'}
    out = [json.loads(chunk) for chunk in chunks(exchange(streaming=True), b"".join(events(CALL, SECOND)))]
    indexes = [call["index"] for chunk in out[:-1] for call in chunk["choices"][0]["delta"].get("tool_calls", ())]
    assert indexes == [0, 1]
    assert [chunk["choices"][0]["finish_reason"] for chunk in out[:-1]][-1] == "tool_calls"


def sent_back(answer: Any, *more: Any) -> Any:
    return sent(messages=[HELLO, answer["choices"][0]["message"], *more])["contents"][1:]


def test_an_answer_and_its_results_go_back_with_their_signatures() -> None:
    answer = whole(exchange(), message(TEXT, CALL, SECOND))
    first, second = answer["choices"][0]["message"]["tool_calls"]
    results = [
        {"role": "tool", "tool_call_id": second["id"], "content": '{"time":"noon"}'},
        {"role": "tool", "tool_call_id": first["id"], "content": "rain"},
    ]
    model, results_back = sent_back(answer, *results)
    assert model == {"role": "model", "parts": [TEXT, CALL, SECOND]}
    assert results_back == {
        "role": "user",
        "parts": [
            {"functionResponse": {"name": "clock", "response": {"time": "noon"}}},
            {"functionResponse": {"name": "weather", "response": {"output": "rain"}}},
        ],
    }
    lost = {"role": "tool", "tool_call_id": "x", "content": "rain"}
    assert refused(InvalidRequest, messages=[HELLO, lost]).param == "messages[1].tool_call_id"


def test_newer_models_want_a_signature_with_calls_that_have_lost_theirs() -> None:
    calls = whole(exchange(), message(SECOND, CALL))["choices"][0]["message"]["tool_calls"]
    messages = [HELLO, {"role": "assistant", "content": None, "tool_calls": calls}]
    assert sent(messages=messages)["contents"][1]["parts"] == [SECOND, CALL]
    newer = Upstream(Origin("https", "h", 443), "gemini-3-pro")
    parts = json.loads(exchange({"messages": messages}, upstream=newer).body)["contents"][1]["parts"]
    assert parts == [{**SECOND, "thoughtSignature": "skip_thought_signature_validator"}, CALL]


def test_the_signature_of_a_text_goes_back_with_it() -> None:
    signed = {**TEXT, "thoughtSignature": "dGV4dA=="}
    for answer in (
        whole(exchange(), message(signed)),
        whole(exchange(), message(TEXT, {"text": "", "thoughtSignature": "dGV4dA=="})),
    ):
        assert answer["choices"][0]["message"]["content"] == TEXT["text"]
        assert sent_back(answer)[0]["parts"] == [signed]
    assert sent_back(streamed(THOUGHT, TEXT))[0]["parts"] == [THOUGHT, TEXT]


PARTS = st.lists(
    st.sampled_from([CALL, SECOND, CODE])
    | st.builds(lambda text: {"text": text}, st.text(min_size=1, max_size=12))
    | st.builds(lambda text: {"text": text, "thought": True}, st.text(min_size=1, max_size=12)),
    max_size=6,
)  # fmt: skip


@settings(max_examples=60)
@given(PARTS, st.integers(1, 40))
def test_whatever_was_said_comes_back_whole_from_both_ways(parts: list[Part], size: int) -> None:
    parts = [THOUGHT, *parts]
    expected: list[Part] = []
    for part in (
        *(one for one in parts if "functionCall" not in one),
        *(one for one in parts if "functionCall" in one),
    ):
        before = expected[-1] if expected else {}
        if "text" in part and part.keys() == before.keys():
            expected[-1] = {**part, "text": before["text"] + part["text"]}
        else:
            expected.append(part)
    for answer in (whole(exchange(), message(*parts)), streamed(*parts, size=size)):
        assert sent_back(answer)[0]["parts"] == expected


@pytest.mark.parametrize(("reason", "finish"), FINISH.items())
def test_every_reason_to_stop(reason: str, finish: str) -> None:
    assert whole(exchange(), message(TEXT, reason=reason))["choices"][0]["finish_reason"] == finish
    assert streamed(TEXT, reason=reason)["choices"][0]["finish_reason"] == finish
    assert whole(exchange(), message(TEXT, reason="NEW"))["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("reason", sorted(BROKEN))
def test_answers_that_gemini_itself_cannot_read_are_failures(reason: str) -> None:
    with pytest.raises(UpstreamFailed, match=f"{reason}.*: odd call"):
        whole(exchange(), message(reason=reason, finishMessage="odd call"))
    with pytest.raises(UpstreamFailed):
        streamed(reason=reason)


def test_what_was_blocked_is_a_refusal() -> None:
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": USAGE}
    expected = {
        "role": "assistant", "content": "", "refusal": "The prompt was blocked (PROHIBITED_CONTENT).",
    }  # fmt: skip
    said = whole(exchange(), msgspec.json.encode(blocked))["choices"][0]
    assert (said["message"], said["finish_reason"]) == (expected, "content_filter")
    stream = b"data: %b\n\n" % msgspec.json.encode(blocked)
    assert assembled(exchange(streaming=True), stream)["choices"][0] == said
    assert whole(exchange(), message(reason="SAFETY"))["choices"][0]["message"]["refusal"].endswith("(SAFETY).")


def test_the_usage_of_both_is_found_without_parsing() -> None:
    made = exchange()
    assert made.answer is not None
    for found in (made.answer(message(TEXT)), chunks(exchange(streaming=True), b"".join(events(TEXT)))[-1]):
        assert usage.find(found) == usage.Usage(10, 7, 17)


def test_log_probabilities_and_sources() -> None:
    result = {
        "chosenCandidates": [{"token": "He", "logProbability": -0.5}],
        "topCandidates": [
            {"candidates": [{"token": "He", "logProbability": -0.5}, {"token": "Hi", "logProbability": -2}]}
        ],
    }
    grounding = {"webSearchQueries": ["x"]}
    said = whole(exchange(), message({"text": "He"}, logprobsResult=result, groundingMetadata=grounding))["choices"][0]
    assert [one["token"] for one in said["logprobs"]["content"][0]["top_logprobs"]] == ["He", "Hi"]
    assert said["message"]["extra_content"] == {"google": {"grounding_metadata": grounding}}
    assert config(logprobs=True, top_logprobs=2) == {"responseLogprobs": True, "logprobs": 2}


@pytest.mark.parametrize("kept", range(len(events(TEXT, CALL))))
def test_a_stream_that_ends_early_is_an_error_wherever_it_ends(kept: int) -> None:
    with pytest.raises(UpstreamProtocolError):
        chunks(exchange(streaming=True), b"".join(events(TEXT, CALL)[:kept]))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"<html>", b"{}", b'{"candidates":5}', b'{"choices":[]}', b"\xff"])
def test_answers_that_are_none(body: bytes) -> None:
    for task in (Task.CHAT, Task.COMPLETIONS, Task.EMBEDDINGS):
        with pytest.raises(UpstreamProtocolError):
            whole(exchange(task=task), body)


@pytest.mark.parametrize(
    ("code", "expected"),
    [(429, UpstreamRateLimited), (401, UpstreamUnauthorized), (400, UpstreamRejected), (500, UpstreamFailed),
     (None, UpstreamFailed)],
)  # fmt: skip
def test_an_error_in_mid_stream(code: int | None, expected: type[UpstreamError]) -> None:
    error = b'data: {"error":%b}\n\n' % msgspec.json.encode({"code": code, "message": "no", "status": "X"})
    with pytest.raises(expected):
        chunks(exchange(streaming=True), events(TEXT)[0] + error)


@settings(max_examples=60)
@given(st.binary(max_size=60), st.integers(0, 6))
def test_bytes_in_the_middle_of_a_stream_break_nothing_else(noise: bytes, at: int) -> None:
    out = events(TEXT, size=20)
    out.insert(at, noise + b"\n\n")
    try:
        chunks(exchange(streaming=True), b"".join(out))
    except UpstreamError as error:
        assert error.message  # noqa: PT017 - most noise is passed over, as framing demands


WORDS = [
    "text",
    "thought",
    "functionCall",
    "args",
    "name",
    "id",
    "inlineData",
    "mimeType",
    "thoughtSignature",
    "content",
    "parts",
    "finishReason",
    "logprobsResult",
    "chosenCandidates",
    "candidates",
    "promptFeedback",
]
ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=150)
@given(st.lists(st.dictionaries(st.text(max_size=2), ODD, max_size=2) | ODD, max_size=3), ODD)
def test_parts_of_any_shape_are_read_or_are_an_error(parts: list[Any], around: Any) -> None:
    for body in (message(*parts), msgspec.json.encode({"candidates": around}), msgspec.json.encode(around)):
        try:
            whole(exchange(), body)
        except UpstreamError as error:
            assert error.message  # noqa: PT017 - whatever it is, it is the provider's fault


@pytest.mark.parametrize("listed", [False, True])
def test_the_status_of_a_refusal_decides(listed: bool) -> None:
    body = b'{"error":{"code":400,"message":"Unknown name","status":"INVALID_ARGUMENT"}}'
    error = VERTEX.failure(400, b"[%b]\n" % body if listed else body, None)
    assert (type(error), error.message) == (UpstreamRejected, "Unknown name")
    error = VERTEX.failure(403, body, None)
    assert isinstance(error, UpstreamUnauthorized)
    assert "service account" in error.message


# ------------------------------------------------------------ what is sent


def test_the_least_request() -> None:
    made = exchange()
    assert (made.path, made.streaming, made.chunks) == (":generateContent", False, None)
    assert json.loads(made.body) == {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}
    made = exchange({"stream_options": {"include_usage": True}}, streaming=True)
    assert made.path == ":streamGenerateContent?alt=sse"
    assert json.loads(made.body) == sent()


def test_zeros_and_empty_values_survive() -> None:
    assert config(temperature=0, top_p=0, top_k=0, n=1, stop="", max_tokens=0, seed=0, presence_penalty=0) == {
        "temperature": 0, "topP": 0, "topK": 0, "stopSequences": [""], "maxOutputTokens": 0, "seed": 0,
        "presencePenalty": 0,
    }  # fmt: skip


def test_what_only_gemini_has_goes_on_as_it_came() -> None:
    safety = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    body = sent(safetySettings=safety, cachedContent="c", generationConfig={"mediaResolution": "LOW"}, temperature=1)
    assert (body["safetySettings"], body["cachedContent"]) == (safety, "c")
    assert body["generationConfig"] == {"temperature": 1, "mediaResolution": "LOW"}
    assert refused(InvalidRequest, generationConfig={"topP": 1}, top_p=1).param == "generationConfig"
    assert refused(InvalidRequest, generationConfig=5).param == "generationConfig"


def test_messages() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    address = {"type": "image_url", "image_url": {"url": "gs://bucket/a.JPG"}}
    audio = {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}}
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64,aGk=", "filename": "a.pdf"}}
    body = sent(
        messages=[
            {"role": "system", "content": "Be short."},
            {"role": "user", "content": [{"type": "text", "text": "See"}, image, address, audio, file]},
            {"role": "assistant", "content": "Yes."},
            {"role": "developer", "content": "Shorter."},
            HELLO,
        ]
    )
    assert body["systemInstruction"] == {"parts": [{"text": "Be short."}, {"text": "Shorter."}]}
    assert body["contents"] == [
        {
            "role": "user",
            "parts": [
                {"text": "See"},
                {"inlineData": {"mimeType": "image/png", "data": "iVBORw0KGgo="}},
                {"fileData": {"mimeType": "image/jpeg", "fileUri": "gs://bucket/a.JPG"}},
                {"inlineData": {"mimeType": "audio/wav", "data": "aGk="}},
                {"inlineData": {"mimeType": "application/pdf", "data": "aGk="}},
            ],
        },
        {"role": "model", "parts": [{"text": "Yes."}]},
        {"role": "user", "parts": [{"text": "Hello"}]},
    ]


@pytest.mark.parametrize(
    ("part", "kind", "at"),
    [
        ({"type": "image_url", "image_url": {"url": "https://h/a"}}, InvalidRequest,
         "messages[0].content[0].image_url"),
        ({"type": "image_url", "image_url": {"url": "https://h/a.png", "detail": "low"}}, Unsupported,
         "messages[0].content[0].image_url.detail"),
        ({"type": "hologram"}, Unsupported, "messages[0].content[0].type"),
    ],
)  # fmt: skip
def test_parts_that_gemini_cannot_be_sent(part: Part, kind: type[RequestError], at: str) -> None:
    assert refused(kind, messages=[{"role": "user", "content": [part]}]).param == at


def test_another_providers_signed_thoughts_are_left_out() -> None:
    thoughts = [
        {"type": "summary_text", "text": "a", "signature": "s"},
        {"type": "summary_encrypted_text", "data": "d"},
    ]
    content = [{"type": "reasoning", "summary": thoughts}, {"type": "text", "text": "Yes"}]
    body = sent(messages=[HELLO, {"role": "assistant", "content": content}, HELLO])
    assert body["contents"][1]["parts"] == [{"text": "Yes"}]


def test_tools_and_the_choice_among_them() -> None:
    tools = [WEATHER, CLOCK, {"googleSearch": {}}]
    body = sent(tools=tools, tool_choice="auto")
    assert body["tools"] == [
        {
            "functionDeclarations": [
                {"name": "weather", "description": "Now", "parameters": THEIR_CITY},
                {"name": "clock"},
            ]
        },
        {"googleSearch": {}},
    ]
    assert "toolConfig" not in body
    assert sent(tools=tools, tool_choice="required")["toolConfig"] == {"functionCallingConfig": {"mode": "ANY"}}
    assert sent(tools=tools, tool_choice="none")["toolConfig"] == {"functionCallingConfig": {"mode": "NONE"}}
    forced = sent(tools=tools, tool_choice={"type": "function", "function": {"name": "clock"}})["toolConfig"]
    assert forced == {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["clock"]}}
    allowed = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [CLOCK]}}
    assert sent(tools=[WEATHER, CLOCK], tool_choice=allowed)["tools"] == [{"functionDeclarations": [{"name": "clock"}]}]
    assert refused(Unsupported, tools=[{"type": "web_search"}]).param == "tools[0].type"


def test_the_form_of_the_answer() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": CITY, "strict": True}}
    assert config(response_format=wanted) == {"responseMimeType": "application/json", "responseSchema": THEIR_CITY}
    assert config(response_format={"type": "json_object"}) == {"responseMimeType": "application/json"}
    odd = {"type": "object", "patternProperties": {"x": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": odd}}
    assert config(response_format=wanted) == {"responseMimeType": "application/json", "responseJsonSchema": odd}
    assert "generationConfig" not in sent(response_format={"type": "text"})


@pytest.mark.parametrize(
    ("model", "effort", "expected"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "high", {"thinkingBudget": 24576}),
        ("gemini-3-pro", "low", {"thinkingLevel": "LOW"}),
    ],
)
def test_effort(model: str, effort: str, expected: Part) -> None:
    upstream = Upstream(Origin("https", "h", 443), model)
    made = exchange({"reasoning_effort": effort}, upstream=upstream)
    assert json.loads(made.body)["generationConfig"] == {"thinkingConfig": expected}


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("n", 2), ("logit_bias", {"5": 1}), ("store", True), ("service_tier", "flex"), ("verbosity", "low"),
        ("audio", {}), ("prediction", {}), ("web_search_options", {}), ("functions", []),
        ("parallel_tool_calls", False), ("reasoning_effort", "enormous"),
    ],
)  # fmt: skip
def test_what_gemini_cannot_be_told_is_refused_by_name_unless_it_is_ignored(field: str, given: Any) -> None:
    error = refused(Unsupported, **{field: given})
    assert error.param == field
    assert "ignore" in error.message
    assert json.loads(exchange({field: given}, ignore=frozenset({field})).body) == sent()


# ------------------------------------------------------------ completions and embeddings


def test_completions() -> None:
    made = exchange({"prompt": "Hi", "max_tokens": 3}, task=Task.COMPLETIONS)
    assert json.loads(made.body) == {
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 3},
    }  # fmt: skip
    answer = whole(made, message(THOUGHT, TEXT))
    assert answer["choices"] == [{"text": TEXT["text"], "index": 0, "logprobs": None, "finish_reason": "stop"}]
    for size in SIZES:
        assert streamed(THOUGHT, TEXT, size=size, task=Task.COMPLETIONS) == answer


def test_embeddings() -> None:
    fields = {"input": ["a", "b"], "dimensions": 2, "task_type": "RETRIEVAL_QUERY", "autoTruncate": False}
    made = exchange(fields, task=Task.EMBEDDINGS)
    assert made.path == ":predict"
    assert json.loads(made.body) == {
        "instances": [
            {"content": "a", "task_type": "RETRIEVAL_QUERY"},
            {"content": "b", "task_type": "RETRIEVAL_QUERY"},
        ],
        "parameters": {"autoTruncate": False, "outputDimensionality": 2},
    }
    vectors = [{"embeddings": {"values": [0.25, -1], "statistics": {"token_count": 3, "truncated": False}}}] * 2
    answer = whole(made, msgspec.json.encode({"predictions": vectors}))
    assert [one["embedding"] for one in answer["data"]] == [[0.25, -1], [0.25, -1]]
    assert answer["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
    packed = exchange({"encoding_format": "base64"}, task=Task.EMBEDDINGS)
    assert whole(packed, msgspec.json.encode({"predictions": vectors}))["data"][0]["embedding"] == "AACAPgAAgL8="


def test_embeddings_of_models_that_take_contents() -> None:
    upstream = Upstream(Origin("https", "h", 443), "gemini-embedding-2")
    made = exchange({"dimensions": 2}, task=Task.EMBEDDINGS, upstream=upstream)
    assert made.path == ":embedContent"
    assert json.loads(made.body) == {"content": {"parts": [{"text": "Hello"}]}, "outputDimensionality": 2}
    answer = whole(made, b'{"embedding":{"values":[1,2]},"usageMetadata":{"promptTokenCount":3}}')
    assert (answer["data"][0]["embedding"], answer["usage"]["prompt_tokens"]) == ([1, 2], 3)
    with pytest.raises(Unsupported) as caught:
        exchange({"input": ["a", "b"]}, task=Task.EMBEDDINGS, upstream=upstream)
    assert caught.value.param == "input"


@looped
async def test_a_stream_over_a_real_connection() -> None:
    place = "/v1/projects/p/locations/global/publishers/google/models/gemini-2.5-flash"
    upstream = Upstream(Origin("http", "h", 80), "gemini-2.5-flash", place)
    made = exchange(streaming=True, upstream=upstream)
    request, data = await called(made, b"".join(events(TEXT, CALL)), upstream=upstream, kind="text/event-stream")
    assert request.head.startswith(b"POST %b:streamGenerateContent?alt=sse HTTP/1.1\r\n" % place.encode())
    assert same(assembled(made, data)) == same(whole(exchange(), message(TEXT, CALL)))
