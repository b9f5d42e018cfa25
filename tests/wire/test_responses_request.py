"""A Responses request becomes the chat request that asks for the same, or is refused by name."""

import json
from typing import Any

import pytest

from tesela.errors import InvalidRequest, RequestError, Unsupported
from tesela.wire.document import decode
from tesela.wire.responses import echo, to_chat
from tesela.wire.responses_request import REFUSED, TAKEN


def chat(**fields: Any) -> dict[str, Any]:
    document = decode(json.dumps({"model": "m", "input": "hi", **fields}).encode())
    before = dict(document)
    made = to_chat(document)
    assert document == before
    return {name: json.loads(bytes(content)) for name, content in made.items()}


FLAT = {"type": "function", "name": "look", "description": "Looks.", "parameters": {"type": "object"}, "strict": True}
NESTED = {"type": "function", "function": {key: content for key, content in FLAT.items() if key != "type"}}
CALL = {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"}
CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "seen"}


def test_the_smallest_request() -> None:
    assert chat() == {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def test_instructions_come_first() -> None:
    assert chat(instructions="Be short.")["messages"][0] == {"role": "system", "content": "Be short."}


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ([{"role": "user", "content": "a"}], [{"role": "user", "content": "a"}]),
        ([{"type": "message", "role": "developer", "content": "a"}], [{"role": "system", "content": "a"}]),
        ([{"role": "user", "content": [{"type": "input_text", "text": "a"}]}], [{"role": "user", "content": "a"}]),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "what?"},
                        {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
                    ],
                }
            ],
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "what?"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA==", "detail": "low"}},
                    ],
                }
            ],
        ),
        (
            [
                {
                    "type": "message",
                    "id": "msg_1",
                    "status": "completed",
                    "role": "assistant",
                    "content": [
                        {"type": "output_text", "text": "a", "annotations": []},
                        {"type": "output_text", "text": "b", "annotations": []},
                    ],
                }
            ],
            [{"role": "assistant", "content": "ab"}],
        ),
        (
            [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
            [{"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}],
        ),
        (
            [{"role": "user", "content": [{"type": "input_file", "file_data": "data:…", "filename": "a.pdf"}]}],
            [{"role": "user", "content": [{"type": "file", "file": {"file_data": "data:…", "filename": "a.pdf"}}]}],
        ),
        (
            [{"role": "user", "content": "q"}, {"type": "reasoning", "summary": [], "id": "rs_1"}, CALL, OUTPUT],
            [
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": None, "tool_calls": [CHAT_CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": "seen"},
            ],
        ),
        (
            [{"role": "assistant", "content": "I look."}, CALL, OUTPUT],
            [
                {"role": "assistant", "content": "I look.", "tool_calls": [CHAT_CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": "seen"},
            ],
        ),
        (
            [CALL, {"role": "assistant", "content": "I look."}, OUTPUT],
            [
                {"role": "assistant", "content": "I look.", "tool_calls": [CHAT_CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": "seen"},
            ],
        ),
    ],
)
def test_items_become_messages(items: list[Any], messages: list[Any]) -> None:
    assert chat(input=items)["messages"] == messages


def test_a_call_that_comes_twice_is_one_call() -> None:
    """ChatDatabricks sends a call as a content block and again from the message's tool calls."""
    assert chat(input=[CALL, {**CALL, "id": "fc_c1"}, OUTPUT])["messages"][0]["tool_calls"] == [CHAT_CALL]


def test_parallel_calls_share_one_turn() -> None:
    second = {**CALL, "call_id": "c2"}
    turns = chat(input=[CALL, second, OUTPUT, {**OUTPUT, "call_id": "c2"}])["messages"]
    assert [turn["role"] for turn in turns] == ["assistant", "tool", "tool"]
    assert [call["id"] for call in turns[0]["tool_calls"]] == ["c1", "c2"]


def test_fields_are_translated() -> None:
    made = chat(
        max_output_tokens=0,
        temperature=0,
        top_p=0.5,
        user="",
        seed=7,
        reasoning={"effort": "low", "summary": "auto"},
        text={"verbosity": "low", "format": {"type": "json_object"}},
        store=True,
        metadata={"a": "b"},
        truncation="disabled",
        background=False,
        previous_response_id=None,
        a_new_field={"x": 1},
    )
    del made["messages"]
    assert made == {
        "model": "m",
        "max_tokens": 0,
        "temperature": 0,
        "top_p": 0.5,
        "user": "",
        "seed": 7,
        "reasoning_effort": "low",
        "verbosity": "low",
        "response_format": {"type": "json_object"},
        "a_new_field": {"x": 1},
    }


def test_a_stream_asks_for_its_usage() -> None:
    made = chat(stream=True, stream_options={"include_obfuscation": False})
    assert made["stream"] is True
    assert made["stream_options"] == {"include_usage": True}
    assert "stream_options" not in chat(stream=False)


def test_json_schema() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    made = chat(text={"format": {"type": "json_schema", "name": "n", "schema": schema, "strict": True}})
    assert made["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": schema, "strict": True},
    }


@pytest.mark.parametrize("tool", [FLAT, NESTED])
def test_tools_of_both_forms(tool: dict[str, Any]) -> None:
    made = chat(tools=[tool], parallel_tool_calls=False)
    assert made["tools"] == [NESTED]
    assert made["parallel_tool_calls"] is False
    assert "tool_choice" not in made


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("none", "none"),
        ("auto", "auto"),
        ("required", "required"),
        ({"type": "function", "name": "look"}, {"type": "function", "function": {"name": "look"}}),
    ],
)
def test_tool_choice(given: Any, made: Any) -> None:
    assert chat(tools=[FLAT], tool_choice=given)["tool_choice"] == made


def test_allowed_tools_shorten_the_list() -> None:
    other = {**FLAT, "name": "other"}
    allowed = {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "look"}]}
    made = chat(tools=[FLAT, other], tool_choice=allowed)
    assert made["tools"] == [NESTED]
    assert made["tool_choice"] == "required"


def test_a_choice_without_tools_is_not_sent() -> None:
    """Clients send `auto` without tools; chat servers refuse that."""
    assert "tool_choice" not in chat(tool_choice="auto", tools=[])
    assert "tools" not in chat(tools=[])


@pytest.mark.parametrize(
    "fields", [{"include": ["message.output_text.logprobs"], "top_logprobs": 2}, {"top_logprobs": 2}]
)
def test_logprobs(fields: dict[str, Any]) -> None:
    made = chat(**fields)
    assert made["logprobs"] is True
    assert made["top_logprobs"] == 2


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        *(({name: "x"}, name) for name in REFUSED),
        ({"truncation": "auto"}, "truncation"),
        ({"tools": [FLAT, {"type": "web_search"}]}, "tools[1].type"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp"}]}}, "tool_choice.tools"),
        ({"include": ["web_search_call.results"]}, "include"),
        ({"reasoning": {"summary": "detailed"}}, "reasoning.summary"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"type": "computer_call"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_video"}]}]}, "input[0].content[0].type"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f"}]}]},
            "input[0].content[0].file_id",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_file", "file_url": "http://x"}]}]},
            "input[0].content[0].file_url",
        ),
        ({"input": [CALL, {**OUTPUT, "output": [{"type": "input_image", "image_url": "x"}]}]}, "input[1].output"),
    ],
)
def test_what_chat_cannot_do_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Unsupported) as caught:
        chat(**fields)
    assert caught.value.param == param
    assert param.split("[")[0].split(".")[-1] in caught.value.message or "chat" in caught.value.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": 1}, "input"),
        ({"input": []}, "input"),
        ({"input": ["a"]}, "input[0]"),
        ({"input": [{"role": "nobody", "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": ["user"], "content": "a"}]}, "input[0].role"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{**CALL, "arguments": {}}]}, "input[0].arguments"),
        ({"input": [OUTPUT]}, "input[0]"),
        ({"input": [CALL, {**OUTPUT, "output": 1}]}, "input[1].output"),
        ({"instructions": ["a"]}, "instructions"),
        ({"messages": []}, "messages"),
        ({"n": 2}, "n"),
        ({"tools": {}}, "tools"),
        ({"tools": ["look"]}, "tools[0]"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tool_choice": "sometimes"}, "tool_choice"),
        ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tools": [FLAT], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "x"}]}}, "tool_choice"),  # noqa: E501
        ({"text": "json"}, "text"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format"),
        ({"top_logprobs": "2"}, "top_logprobs"),
        ({"include": "all"}, "include"),
        ({"store": "no"}, "store"),
        ({"stream": "yes"}, "stream"),
        ({"truncation": "some"}, "truncation"),
        ({"metadata": []}, "metadata"),
    ],
)  # fmt: skip
def test_malformed_requests_name_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        chat(**fields)
    assert caught.value.param == param


def test_every_field_of_the_api_is_accounted_for() -> None:
    """The fields of the API as OpenAI's client knows them; the rest of them mean the same in chat."""
    same_in_chat = {
        "model", "stream", "temperature", "top_p", "user", "service_tier", "prompt_cache_key", "safety_identifier",
        "prompt_cache_options", "prompt_cache_retention", "access_programs", "image",
    }  # fmt: skip
    api = TAKEN | same_in_chat
    sent = {name: {"x": 1} for name in same_in_chat - {"model", "stream"}}
    assert set(chat(**sent)) - {"messages"} == set(sent) | {"model"}
    assert not same_in_chat & TAKEN
    assert len(api) == len(TAKEN) + len(same_in_chat)


def test_the_echo_shows_what_was_asked() -> None:
    request = {
        "model": "m", "input": "x", "instructions": "Be short.", "tools": [NESTED], "tool_choice": "required",
        "parallel_tool_calls": False, "temperature": 0, "max_output_tokens": 9, "metadata": {"a": "b"},
        "text": {"verbosity": "low"}, "reasoning": {"effort": "low"}, "top_logprobs": 1, "store": True,
    }  # fmt: skip
    found = echo(decode(json.dumps(request).encode()))
    assert found.model == "m"
    assert found.logprobs
    assert found.fields["tools"] == [FLAT]
    assert found.fields["text"] == {"verbosity": "low", "format": {"type": "text"}}
    assert found.fields["reasoning"] == {"effort": "low", "summary": None}
    assert found.fields["temperature"] == 0
    assert found.fields["top_p"] is None
    for name in ("instructions", "tool_choice", "parallel_tool_calls", "max_output_tokens", "metadata", "top_logprobs"):
        assert found.fields[name] == request[name]


def test_errors_are_the_callers() -> None:
    with pytest.raises(RequestError) as caught:
        chat(previous_response_id="resp_1")
    assert caught.value.status == 400
    assert "'input'" in caught.value.message
