"""Tools for a model that has none: what it is held to, what it reads, and its JSON as tool calls."""

import json
from typing import Any

import msgspec
import pytest

from tesela.errors import InvalidRequest, Unsupported, UpstreamProtocolError
from tesela.providers.base import Call, Exchange
from tesela.providers.local import LOCAL
from tesela.serving import Capabilities, Origin, Upstream
from tesela.wire import document
from tesela.wire.assemble import Assembler
from tesela.wire.sse import Event
from tesela.wire.tasks import Task

ASK = {"role": "user", "content": "What is the weather in Paris?"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Now", "parameters": CITY}}
CLOCK = {"type": "function", "function": {"name": "clock"}}
NAMED = {"type": "function", "function": {"name": "clock"}}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
CALLED = {"role": "assistant", "content": None, "tool_calls": [CALL]}


def exchange(can: Capabilities | None = None, **fields: Any) -> Exchange:
    upstream = Upstream(Origin(unix="/nowhere"), "tiny", capabilities=can or Capabilities(tools=False, system="Help."))
    asked = {"messages": [ASK], "tools": [WEATHER, CLOCK], **fields}
    translate = LOCAL.translations[Task.CHAT]
    assert translate is not None
    return translate(Call(Task.CHAT, document.decode(msgspec.json.encode(asked)), False, upstream, 5, "abc"))


def sent(can: Capabilities | None = None, **fields: Any) -> Any:
    return json.loads(exchange(can, **fields).body)


def variants(**fields: Any) -> Any:
    return sent(**fields)["response_format"]["json_schema"]["schema"]["anyOf"]


def stream(made: Exchange, text: str, size: int, finish: str = "stop") -> list[Any]:
    """What becomes of a text that the model writes in pieces of this size."""
    assert made.chunks is not None
    out: list[bytes] = []
    begin = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": None}}]}
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    middle = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
    for event in [begin, *middle, end]:
        out += made.chunks.feed(Event(b"", msgspec.json.encode(event)))
    return [json.loads(chunk) for chunk in out + made.chunks.finish()]


def whole(chunks: list[Any]) -> Any:
    assembler = Assembler(Task.CHAT)
    for chunk in chunks:
        assembler.feed(msgspec.json.encode(chunk))
    return json.loads(assembler.finish())["choices"][0]


def test_the_model_is_held_to_a_call_or_a_reply() -> None:
    weather, clock, reply = variants()
    assert weather["properties"] == {"name": {"const": "weather"}, "arguments": {**CITY, "additionalProperties": False}}
    assert list(weather["properties"]) == weather["required"] == ["name", "arguments"]
    assert clock["properties"]["arguments"] == {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }
    assert reply["properties"] == {"reply": {"type": "string"}}


def test_a_forced_call_leaves_no_reply() -> None:
    assert [one["properties"]["name"]["const"] for one in variants(tool_choice="required")] == ["weather", "clock"]
    assert [one["properties"]["name"]["const"] for one in variants(tool_choice=NAMED)] == ["clock"]
    assert "reply" not in sent(tool_choice="required")["messages"][0]["content"]


def test_none_asks_for_nothing() -> None:
    body = sent(tool_choice="none")
    assert "response_format" not in body
    assert body["messages"] == [{"role": "system", "content": "Help."}, ASK]


def test_the_functions_stand_in_the_system_message() -> None:
    text = sent()["messages"][0]["content"]
    assert text.startswith("Help. Answer with JSON.")
    assert '{"name":"weather","description":"Now","parameters":{"type":"object"' in text
    own = sent(messages=[{"role": "system", "content": "Mine."}, ASK])["messages"]
    assert (len(own), own[0]["content"][:24]) == (2, "Mine. Answer with JSON.\n")
    bare = sent(Capabilities(tools=False))["messages"]
    assert (len(bare), bare[0]["role"]) == (2, "system")
    assert "tools" not in sent()
    assert "tool_choice" not in sent()


def test_references_within_a_schema_are_moved_with_it() -> None:
    parameters = {
        "type": "object",
        "properties": {"p": {"$ref": "#/$defs/P"}, "self": {"$ref": "#"}},
        "$defs": {"P": {"type": "string"}},
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    moved = variants(tools=[CLOCK, tool])[1]["properties"]["arguments"]
    assert moved["properties"]["p"]["$ref"] == "#/anyOf/1/properties/arguments/$defs/P"
    assert moved["properties"]["self"]["$ref"] == "#/anyOf/1/properties/arguments"


def test_a_reply_takes_the_response_format() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": CITY}}
    assert variants(response_format=wanted)[2]["properties"]["reply"] == CITY
    assert variants(response_format={"type": "json_object"})[2]["properties"]["reply"] == {"type": "object"}
    for size in (1, 3, 100):
        text = '{"reply": {"city": "Par\\"is"}}'
        choice = whole(stream(exchange(response_format=wanted), text, size))
        assert json.loads(choice["message"]["content"]) == {"city": 'Par"is'}
        assert choice["finish_reason"] == "stop"


def test_calls_and_results_are_told_as_text() -> None:
    other = {**CALL, "id": "c2", "function": {"name": "clock", "arguments": ""}}
    messages = [
        ASK,
        {**CALLED, "content": "Let me see.", "tool_calls": [CALL, other]},
        {"role": "tool", "tool_call_id": "c1", "content": "18 degrees"},
        {"role": "tool", "tool_call_id": "c2", "content": [{"type": "text", "text": "noon"}]},
        {"role": "assistant", "content": "Warm."},
        ASK,
    ]
    assert sent(messages=messages)["messages"][1:] == [
        ASK,
        {"role": "assistant", "content": 'Let me see.\nweather({"city": "Paris"})\nclock({})'},
        {"role": "user", "content": "Result of weather: 18 degrees\nResult of clock: noon"},
        {"role": "assistant", "content": "Warm."},
        ASK,
    ]


def test_after_a_result_the_model_answers_in_words_unless_a_call_is_forced() -> None:
    messages = [ASK, CALLED, {"role": "tool", "tool_call_id": "c1", "content": "18 degrees"}]
    free = sent(messages=messages, stop=["x"], logprobs=True)
    assert "response_format" not in free
    assert free["stop"] == ["x"]
    assert free["messages"][0]["content"] == "Help."
    assert "response_format" in sent(messages=messages, tool_choice="required")


def test_tools_of_the_engine_s_own() -> None:
    can = Capabilities()
    messages = [ASK, CALLED, {"role": "tool", "tool_call_id": "c1", "content": "18"}]
    body = sent(can, messages=messages)
    assert body["messages"] == messages
    assert body["tools"] == [WEATHER, CLOCK]
    assert "response_format" not in body
    forced = sent(can, tool_choice="required")
    assert "tools" not in forced
    assert "response_format" in forced


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_call_as_deltas(size: int) -> None:
    arguments = '{\n "city": "Pa\\"r\\u0069s 😀}",\n "n": [1, {"a": {}}]}'
    text = f'{{ "name": "weather", "arguments": {arguments} }}'
    out = stream(exchange(tool_choice="required"), text, size)
    first = out[0]["choices"][0]["delta"]
    assert first == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"index": 0, "id": "call_abc0", "type": "function", "function": {"name": "weather", "arguments": ""}}
        ],
    }
    assert all("role" not in chunk["choices"][0]["delta"] for chunk in out[1:-1])
    assert whole(out) == {
        "index": 0,
        "message": {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_abc0", "type": "function", "function": {"name": "weather", "arguments": arguments}}
            ],
        },
        "logprobs": None,
        "finish_reason": "tool_calls",
    }


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_a_reply_as_deltas(size: int) -> None:
    out = stream(exchange(), '{"reply":"It is \\ud83d\\ude00 \\"warm\\"\\n"}', size)
    assert out[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    choice = whole(out)
    assert choice["message"] == {"role": "assistant", "content": 'It is 😀 "warm"\n'}
    assert choice["finish_reason"] == "stop"


def test_a_reply_arrives_while_it_is_written() -> None:
    deltas = [chunk["choices"][0]["delta"] for chunk in stream(exchange(), '{"reply": "abc"}', 1)[:-1]]
    assert [delta["content"] for delta in deltas if delta.get("content")] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "text", ["", '{"na', '{"name": "weather", "argu', '{"name": "weather", "arguments": {"city": "P', '{"reply": "a']
)
def test_an_answer_that_a_limit_cut(text: str) -> None:
    choice = whole(stream(exchange(), text, 4, "length"))
    assert choice["finish_reason"] == "length"
    assert choice["message"]["role"] == "assistant"


def test_a_limit_behind_the_end_of_the_call_did_not_cut_it() -> None:
    choice = whole(stream(exchange(), '{"name": "clock", "arguments": {}}\n', 4, "length"))
    assert choice["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_stop_strings_are_looked_for_in_the_reply_not_in_the_json(size: int) -> None:
    made = exchange(stop=["\n", "STOP"])
    assert "stop" not in json.loads(made.body)
    choice = whole(stream(made, '{\n"reply": "one STOP two"}', size))
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one ", "stop")
    choice = whole(stream(exchange(stop=["STOP"]), '{"reply": "one STO"}', size))
    assert choice["message"]["content"] == "one STO"


def test_an_engine_that_leaves_the_form_is_an_error() -> None:
    with pytest.raises(UpstreamProtocolError):
        stream(exchange(), "Sure! Here is", 5)


def test_choices_are_read_apart() -> None:
    made = exchange(n=2)
    assert made.chunks is not None
    out: list[bytes] = []
    texts = ['{"reply": "a"}', '{"name": "clock", "arguments": {}}']
    for at in range(0, max(map(len, texts)), 3):
        for index, text in enumerate(texts):
            event = {"choices": [{"index": index, "delta": {"content": text[at : at + 3]}}]}
            out += made.chunks.feed(Event(b"", msgspec.json.encode(event)))
    for index in (0, 1):
        event = {"choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]}
        out += made.chunks.feed(Event(b"", msgspec.json.encode(event)))
    assembler = Assembler(Task.CHAT)
    for chunk in out:
        assembler.feed(chunk)
    one, two = json.loads(assembler.finish())["choices"]
    assert (one["message"]["content"], one["finish_reason"]) == ("a", "stop")
    assert (two["message"]["tool_calls"][0]["id"], two["finish_reason"]) == ("call_abc1", "tool_calls")


def strict(keyword: dict[str, Any], *, on: bool = True) -> Any:
    parameters = {"type": "object", "properties": {"not": {"type": "array", **keyword}}}
    return {"type": "function", "function": {"name": "f", "strict": on, "parameters": parameters}}


def test_what_cannot_be_followed_strictly_is_refused_by_name() -> None:
    with pytest.raises(Unsupported, match="uniqueItems") as caught:
        sent(tools=[strict({"uniqueItems": True})])
    assert caught.value.param == "tools[0].function.parameters.properties.not"
    sent(tools=[strict({"uniqueItems": True}, on=False)])
    sent(tools=[strict({"enum": [{"not": 1}]})])
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"not": {}}}}
    with pytest.raises(Unsupported, match="'not'"):
        sent(response_format=wanted)


def nested(depth: int) -> Any:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def test_schemas_that_would_stop_the_engine_for_everybody() -> None:
    for schema, text in (
        ({"enum": ["x"] * 501}, "501 properties and 'enum' values; at most 500"),
        ({"anyOf": [{"enum": ["x"] * 300}] * 2}, "600 properties"),
        ({"type": "object", "properties": {f"p{i}": {} for i in range(501)}}, "501 properties"),
        ({"const": "x" * 70000}, "at most 65536"),
        (nested(101), "nested too deeply"),
        (nested(400), "nested too deeply"),
    ):
        wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
        with pytest.raises(InvalidRequest, match=text) as caught:
            sent(response_format=wanted)
        assert caught.value.param == "response_format"
        with pytest.raises(InvalidRequest, match=text):
            sent(tools=[{"type": "function", "function": {"name": "f", "parameters": schema}}])


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "strin"}}}},
         "response_format.json_schema.schema.type"),
        ({"tools": [WEATHER, {"type": "function", "function": {"name": "f", "parameters": {"items": 5}}}]},
         "tools[1].function.parameters.items"),
        ({"tools": [WEATHER, {"type": "function", "function": {"name": "f", "parameters": {"items": 5}}}],
          "tool_choice": {"type": "function", "function": {"name": "f"}}},
         "tools[1].function.parameters.items"),
    ],
)  # fmt: skip
def test_a_wrong_schema_is_refused_with_its_field(fields: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        sent(**fields)
    assert caught.value.param == param


def test_arguments_are_an_object_whose_properties_may_be_anything() -> None:
    parameters = {"description": "x", "properties": {"a": True}}
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    call, _ = variants(tools=[tool])
    assert isinstance(call["properties"]["arguments"]["properties"]["a"]["type"], list)
    bare = {"type": "function", "function": {"name": "f", "parameters": {"description": "x"}}}
    call, _ = variants(tools=[bare])
    assert call["properties"]["arguments"] == {"description": "x", "type": "object"}
