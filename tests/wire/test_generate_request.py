"""generateContent requests as chat requests: both sides as literals, every field accounted for."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.errors import InvalidRequest, RequestError, Unsupported
from tesela.wire import generate_request
from tesela.wire.document import decode
from tesela.wire.generate_schema import json_schema

HELLO = [{"role": "user", "parts": [{"text": "Hi"}]}]
WEATHER = {"name": "weather", "description": "Tells it.", "parameters": {
    "type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"],
}}  # fmt: skip
CHAT_WEATHER = {"type": "function", "function": {
    "name": "weather", "description": "Tells it.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}}  # fmt: skip


def chat(*, streaming: bool = False, **body: Any) -> Any:
    body.setdefault("contents", HELLO)
    found = generate_request.to_chat(decode(json.dumps(body).encode()), streaming)
    return {name: json.loads(bytes(content)) for name, content in found.items()}


def messages(*contents: Any, **body: Any) -> Any:
    return chat(contents=list(contents), **body)["messages"]


def refused(**body: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        chat(**body)
    assert caught.value.param is not None or "same of every" in caught.value.message
    return caught.value


def test_the_least() -> None:
    assert chat() == {"messages": [{"role": "user", "content": "Hi"}]}
    assert chat(streaming=True) == {
        "messages": [{"role": "user", "content": "Hi"}], "stream": True, "stream_options": {"include_usage": True},
    }  # fmt: skip


def test_every_setting() -> None:
    config = {
        "temperature": 0, "topP": 0, "topK": 3.0, "candidateCount": 1, "maxOutputTokens": 9, "stopSequences": ["", "x"],
        "seed": 0, "presencePenalty": 0.5, "frequencyPenalty": -0.5, "responseLogprobs": True, "logprobs": 2,
        "responseModalities": ["TEXT"], "mediaResolution": "MEDIA_RESOLUTION_UNSPECIFIED", "audioTimestamp": False,
    }  # fmt: skip
    found = chat(generationConfig=config)
    del found["messages"]
    assert found == {
        "temperature": 0, "top_p": 0, "top_k": 3, "n": 1, "max_tokens": 9, "stop": ["", "x"], "seed": 0,
        "presence_penalty": 0.5, "frequency_penalty": -0.5, "logprobs": True, "top_logprobs": 2,
    }  # fmt: skip
    assert type(found["top_k"]) is int


def test_snake_case_is_read_as_camel_case() -> None:
    body: dict[str, Any] = {
        "system_instruction": {"parts": [{"text": "Be short."}]},
        "generation_config": {"max_output_tokens": 5, "thinking_config": {"thinking_budget": 100}},
        "tools": [{"function_declarations": [WEATHER]}],
        "tool_config": {"function_calling_config": {"mode": "ANY", "allowed_function_names": ["weather"]}},
        "safety_settings": [{"category": "X", "threshold": "BLOCK_NONE"}],
    }
    found = chat(**body)
    assert found["messages"][0] == {"role": "system", "content": "Be short."}
    assert (found["max_tokens"], found["reasoning_effort"]) == (5, "low")
    assert found["tools"] == [CHAT_WEATHER]
    assert found["tool_choice"] == {"type": "function", "function": {"name": "weather"}}


def test_a_field_that_nobody_knows_goes_on() -> None:
    assert chat(newField={"a": 1})["newField"] == {"a": 1}


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ({"text": ""}, ""),
        ({"inlineData": {"mimeType": "image/png", "data": "iVBO"}},
         [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}]),
        ({"inline_data": {"mime_type": "image/png", "data": "a-_b"}},
         [{"type": "image_url", "image_url": {"url": "data:image/png;base64,a+/b"}}]),
        ({"inlineData": {"mimeType": "application/pdf", "data": "JVBE", "displayName": "a.pdf"}},
         [{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}}]),
        ({"inlineData": {"mimeType": "audio/wav", "data": "UklG"}},
         [{"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}]),
        ({"inlineData": {"mimeType": "text/plain", "data": "w6k="}}, "é"),
        ({"fileData": {"mimeType": "image/jpeg", "fileUri": "https://x.test/a.jpg"}},
         [{"type": "image_url", "image_url": {"url": "https://x.test/a.jpg"}}]),
    ],
)  # fmt: skip
def test_parts_of_a_user(part: Any, said: Any) -> None:
    assert messages({"parts": [part]}) == [{"role": "user", "content": said}]


def test_calls_and_results_find_each_other_with_and_without_ids() -> None:
    found = messages(
        HELLO[0],
        {"role": "model", "parts": [
            {"text": "Let me see."},
            {"functionCall": {"name": "weather", "args": {"city": "Rome"}}, "thoughtSignature": "c2ln"},
            {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}},
            {"functionCall": {"id": "mine", "name": "time"}},
        ]},
        {"role": "user", "parts": [
            {"functionResponse": {"name": "weather", "response": {"output": "hot"}}},
            {"functionResponse": {"name": "weather", "response": {"result": {"t": 3}}}},
            {"functionResponse": {"id": "mine", "name": "time", "response": {"output": 7}}},
            {"text": "Go on."},
        ]},
    )  # fmt: skip
    assert found[1] == {
        "role": "assistant", "content": "Let me see.", "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Rome"}'},
             "extra_content": {"google": {"thought_signature": "c2ln"}}},
            {"id": "call_2", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Oslo"}'}},
            {"id": "mine", "type": "function", "function": {"name": "time", "arguments": "{}"}},
        ],
    }  # fmt: skip
    assert found[2:] == [
        {"role": "tool", "tool_call_id": "call_1", "content": "hot"},
        {"role": "tool", "tool_call_id": "call_2", "content": '{"result":{"t":3}}'},
        {"role": "tool", "tool_call_id": "mine", "content": '{"output":7}'},
        {"role": "user", "content": "Go on."},
    ]


def test_thoughts_go_back_with_their_signature_and_stay_away_without() -> None:
    parts = [{"text": "Hm.", "thought": True}, {"text": "Hm?", "thought": True, "thoughtSignature": "s"}, {"text": "A"}]
    assert messages({"role": "model", "parts": parts})[0]["content"] == [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm?", "signature": "s"}]},
        {"type": "text", "text": "A"},
    ]
    signed = messages({"role": "model", "parts": [{"text": "A", "thoughtSignature": "t"}]})[0]
    assert signed == {"role": "assistant", "content": "A", "extra_content": {"google": {"thought_signature": "t"}}}
    empty = messages({"role": "model", "parts": [{"text": "A"}, {"text": "", "thoughtSignature": "t"}]})[0]
    assert empty == signed


@pytest.mark.parametrize(
    ("calling", "choice"),
    [
        ({}, None),
        ({"mode": "AUTO"}, None),
        ({"mode": "VALIDATED"}, None),
        ({"mode": "ANY"}, "required"),
        ({"mode": "NONE"}, "none"),
        ({"mode": "any", "allowedFunctionNames": ["weather"]}, {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_the_choice_of_a_function(calling: Any, choice: Any) -> None:
    tools = [{"functionDeclarations": [WEATHER, {"name": "time"}]}]
    found = chat(tools=tools, toolConfig={"functionCallingConfig": calling})
    assert found.get("tool_choice") == choice
    names = [tool["function"]["name"] for tool in found["tools"]]
    assert names == (["weather"] if "allowedFunctionNames" in calling else ["weather", "time"])
    assert found["tools"][-1]["function"].get("parameters") is not None


def test_structured_output() -> None:
    asked = {"responseMimeType": "application/json"}
    assert chat(generationConfig=asked)["response_format"] == {"type": "json_object"}
    for word, schema in (("responseSchema", {"type": "INTEGER"}), ("responseJsonSchema", {"type": "integer"}),
                         ("_responseJsonSchema", {"type": "integer"})):  # fmt: skip
        form = chat(generationConfig={**asked, word: schema})["response_format"]
        assert form["json_schema"] == {"name": "answer", "schema": {"type": "integer"}, "strict": True}
    assert "response_format" not in chat(generationConfig={"responseMimeType": "text/plain"})


OPEN = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
CLOSED = {**OPEN, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (OPEN, False),
        (CLOSED, True),
        ({**CLOSED, "required": []}, False),
        ({"type": ["object", "null"]}, False),
        ({"type": "array", "items": OPEN}, False),
        ({"type": "array", "items": CLOSED}, True),
        ({"anyOf": [CLOSED, OPEN]}, False),
        ({"$ref": "#/$defs/x", "$defs": {"x": OPEN}}, False),
        ({**CLOSED, "properties": {"a": {"type": "string", "enum": ["object"]}}}, True),
        ({**CLOSED, "properties": {"a": OPEN}}, False),
    ],
)
def test_only_a_schema_that_openai_takes_strictly_is_strict(schema: Any, strict: bool) -> None:
    asked = {"responseMimeType": "application/json", "responseJsonSchema": schema}
    assert chat(generationConfig=asked)["response_format"]["json_schema"]["strict"] is strict


def test_a_schema_of_googles_own_is_not_asked_for_strictly() -> None:
    schema = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}, "required": ["a"]}
    asked = {"responseMimeType": "application/json", "responseSchema": schema}
    assert chat(generationConfig=asked)["response_format"]["json_schema"]["strict"] is False


def test_properties_without_a_place_in_the_order_keep_their_own() -> None:
    names = [f"p{number}" for number in range(20)]
    found = json_schema({"properties": {name: {} for name in names}, "propertyOrdering": ["p7"]}, "s")
    assert list(found["properties"]) == ["p7", *(name for name in names if name != "p7")]


def test_schemas_of_googles_become_json_schemas() -> None:
    given_one = {
        "type": "OBJECT", "propertyOrdering": ["b", "a"], "required": ["a"], "title": "T",
        "properties": {
            "a": {"type": "ARRAY", "items": {"type": "STRING", "enum": ["x"], "nullable": True}, "minItems": "1"},
            "b": {"anyOf": [{"type": "NUMBER", "minimum": 0}], "nullable": True, "example": 1},
            "property_ordering": {"type": "BOOLEAN", "description": "a name of the caller's own"},
        },
    }  # fmt: skip
    found = json_schema(given_one, "s")
    assert found == {
        "type": "object", "required": ["a"], "title": "T",
        "properties": {
            "b": {"anyOf": [{"type": "number", "minimum": 0}, {"type": "null"}], "examples": [1]},
            "a": {"type": "array", "items": {"type": ["string", "null"], "enum": ["x", None]}, "minItems": 1},
            "property_ordering": {"type": "boolean", "description": "a name of the caller's own"},
        },
    }  # fmt: skip
    assert list(found["properties"]) == ["b", "a", "property_ordering"]


@pytest.mark.parametrize(
    ("thinking", "effort"),
    [({}, None), ({"thinkingBudget": 0}, None), ({"thinkingBudget": -1}, None), ({"thinkingBudget": 1024}, "low"),
     ({"thinkingBudget": 8000}, "medium"), ({"thinkingBudget": 30000}, "high"), ({"thinkingLevel": "HIGH"}, "high"),
     ({"thinkingLevel": "minimal", "includeThoughts": True}, "minimal")],
)  # fmt: skip
def test_how_much_to_think(thinking: Any, effort: str | None) -> None:
    assert chat(generationConfig={"thinkingConfig": thinking}).get("reasoning_effort") == effort


def test_who_wants_to_see_thoughts() -> None:
    def wants(**body: Any) -> bool:
        return generate_request.shows_thoughts(decode(json.dumps(body).encode()))

    assert wants(generationConfig={"thinkingConfig": {"includeThoughts": True}})
    assert wants(generation_config={"thinking_config": {"include_thoughts": True}})
    assert not wants(generationConfig={"thinkingConfig": {"includeThoughts": False}})
    assert not wants(generationConfig=7)
    assert not wants()


@pytest.mark.parametrize(
    ("body", "kind", "param"),
    [
        ({"contents": []}, InvalidRequest, "contents"),
        ({"contents": "Hi"}, InvalidRequest, "contents"),
        ({"contents": ["Hi"]}, InvalidRequest, "contents[0]"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "a"}]}]}, InvalidRequest, "contents[0].role"),
        ({"contents": [{"role": [], "parts": [{"text": "a"}]}]}, InvalidRequest, "contents[0].role"),
        ({"contents": [{"parts": []}]}, InvalidRequest, "contents[0].parts"),
        ({"contents": [{"parts": [{"text": 7}]}]}, InvalidRequest, "contents[0].parts[0].text"),
        ({"contents": [{"parts": [{}]}]}, Unsupported, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"executableCode": {}}]}]}, Unsupported, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "video/mp4", "data": "AA=="}}]}]}, Unsupported,
         "contents[0].parts[0].inlineData.mimeType"),
        ({"contents": [{"parts": [{"inlineData": {"mimeType": "text/plain", "data": "!"}}]}]}, InvalidRequest,
         "contents[0].parts[0].inlineData.data"),
        ({"contents": [{"parts": [{"inlineData": {"data": "AA=="}}]}]}, InvalidRequest,
         "contents[0].parts[0].inlineData"),
        ({"contents": [{"parts": [{"fileData": {"fileUri": "gs://b/a.png", "mimeType": "image/png"}}]}]}, Unsupported,
         "contents[0].parts[0].fileData.fileUri"),
        ({"contents": [{"parts": [{"fileData": {"fileUri": "https://a.test/b", "mimeType": "video/mp4"}}]}]},
         Unsupported, "contents[0].parts[0].fileData.mimeType"),
        ({"contents": [{"parts": [{"functionResponse": {"name": "f", "response": {}}}]}]}, InvalidRequest,
         "contents[0].parts[0].functionResponse.name"),
        ({"contents": [{"role": "model", "parts": [{"functionCall": {"name": "f", "args": "x"}}]}]}, InvalidRequest,
         "contents[0].parts[0].functionCall.args"),
        ({"systemInstruction": {"parts": [{"inlineData": {}}]}}, InvalidRequest, "systemInstruction.parts[0]"),
        ({"systemInstruction": {}}, InvalidRequest, "systemInstruction.parts"),
        ({"tools": [{"googleSearch": {}}]}, Unsupported, "tools[0].googleSearch"),
        ({"tools": [{"functionDeclarations": [{}]}]}, InvalidRequest, "tools[0].functionDeclarations[0].name"),
        ({"tools": [{"functionDeclarations": [{"name": "f", "behavior": "NON_BLOCKING"}]}]}, Unsupported,
         "tools[0].functionDeclarations[0].behavior"),
        ({"tools": [{"functionDeclarations": [{"name": "f", "parameters": {}, "parametersJsonSchema": {}}]}]},
         InvalidRequest, "tools[0].functionDeclarations[0].parametersJsonSchema"),
        ({"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}}, InvalidRequest,
         "toolConfig.functionCallingConfig.mode"),
        ({"tools": [{"functionDeclarations": [WEATHER]}],
          "toolConfig": {"functionCallingConfig": {"allowedFunctionNames": ["other"]}}}, InvalidRequest,
         "toolConfig.functionCallingConfig.allowedFunctionNames"),
        ({"toolConfig": {"retrievalConfig": {"latLng": {}}}}, Unsupported, "toolConfig.retrievalConfig"),
        ({"safetySettings": [{"threshold": "BLOCK_LOW_AND_ABOVE"}]}, Unsupported, "safetySettings[0].threshold"),
        ({"cachedContent": "cachedContents/1"}, Unsupported, "cachedContent"),
        ({"generationConfig": {"speechConfig": {"a": 1}}}, Unsupported, "generationConfig.speechConfig"),
        ({"generationConfig": {"mediaResolution": "MEDIA_RESOLUTION_LOW"}}, Unsupported,
         "generationConfig.mediaResolution"),
        ({"generationConfig": {"responseModalities": ["IMAGE"]}}, Unsupported, "generationConfig.responseModalities"),
        ({"generationConfig": {"responseMimeType": "text/x.enum"}}, Unsupported, "generationConfig.responseMimeType"),
        ({"generationConfig": {"responseSchema": {"type": "STRING"}}}, InvalidRequest,
         "generationConfig.responseMimeType"),
        ({"generationConfig": {"thinkingConfig": {"thinkingLevel": "EXTREME"}}}, InvalidRequest,
         "generationConfig.thinkingConfig.thinkingLevel"),
        ({"generationConfig": {"thinkingConfig": {"thinkingBudget": 1.5}}}, InvalidRequest,
         "generationConfig.thinkingConfig.thinkingBudget"),
        ({"messages": []}, InvalidRequest, "messages"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_refused_by_its_path(body: Any, kind: type[RequestError], param: str) -> None:
    error = refused(**body)
    assert (type(error), error.param) == (kind, param)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["parts", "text", "role", "functionCall", "functionResponse", "name", "args", "inlineData"]),
        inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.fixed_dictionaries({"contents": JSON}, optional={
    "tools": JSON, "toolConfig": JSON, "generationConfig": JSON, "systemInstruction": JSON, "safetySettings": JSON,
}))  # fmt: skip
def test_any_request_is_read_or_refused(body: dict[str, Any]) -> None:
    document = decode(json.dumps(body).encode())
    before = dict(document)
    with contextlib.suppress(RequestError):
        generate_request.to_chat(document, streaming=False)
    assert document == before
