"""Messages requests as chat requests: what each field becomes, and what is refused by name."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.errors import InvalidRequest, RequestError, Unsupported
from tesela.wire.document import decode
from tesela.wire.messages import to_chat

HELLO = {"role": "user", "content": "Hi"}
X = {"type": "text", "text": "x"}
FILE = {"type": "image", "source": {"type": "file", "file_id": "f"}}
TOOL = {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}


def chat(**fields: Any) -> dict[str, Any]:
    asked = {"model": "m", "max_tokens": 9, "messages": [HELLO], **fields}
    made = to_chat(decode(json.dumps(asked).encode()))
    return {name: json.loads(bytes(found)) for name, found in made.items()}


def turns(*messages: Any, **fields: Any) -> list[Any]:
    found: list[Any] = chat(messages=list(messages), **fields)["messages"]
    return found


def user(*blocks: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def test_the_least() -> None:
    assert chat() == {"model": "m", "max_tokens": 9, "messages": [HELLO]}


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"temperature": 0, "top_p": 0.5, "top_k": 3}, {"temperature": 0, "top_p": 0.5, "top_k": 3}),
        ({"stop_sequences": ["a", ""]}, {"stop": ["a", ""]}),
        ({"metadata": {"user_id": "u"}}, {"user": "u"}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"service_tier": "standard_only"}, {"service_tier": "default"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"reasoning_effort": "low"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 20000}}, {"reasoning_effort": "high"}),
        ({"thinking": {"type": "adaptive"}}, {}),
        ({"speed": "standard"}, {}),
        ({"thinking": {"type": "disabled"}}, {}),
        ({"output_config": {"effort": "medium"}}, {"reasoning_effort": "medium"}),
        ({"cache_control": {"type": "ephemeral"}}, {}),
        ({"something_new": [1]}, {"something_new": [1]}),
        ({"tool_choice": {"type": "auto"}}, {}),
    ],
)
def test_fields(given: dict[str, Any], made: dict[str, Any]) -> None:
    assert chat(**given) == {**chat(), **made}


def test_tools() -> None:
    made = chat(tools=[{**TOOL, "cache_control": {"type": "ephemeral"}}], tool_choice={"type": "any"})
    function = {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}
    assert made["tools"] == [{"type": "function", "function": function}]
    assert made["tool_choice"] == "required"
    made = chat(tools=[TOOL], tool_choice={"type": "tool", "name": "look", "disable_parallel_tool_use": True})
    assert made["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert made["parallel_tool_calls"] is False
    assert chat(tools=[TOOL], tool_choice={"type": "none"})["tool_choice"] == "none"


def test_a_schema_for_the_answer() -> None:
    schema = {"type": "object", "properties": {}}
    made = chat(output_config={"format": {"type": "json_schema", "schema": schema}})
    assert made["response_format"]["json_schema"]["schema"] == schema


def test_the_system_prompt_is_the_first_message() -> None:
    blocks = [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "B"}]
    assert turns(HELLO, system="Be short.") == [{"role": "system", "content": "Be short."}, HELLO]
    assert turns(HELLO, system=blocks)[0] == {"role": "system", "content": "A\n\nB"}
    assert turns(HELLO, system="") == [HELLO]


def test_images_and_documents() -> None:
    png = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    far = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    pdf = {
        "type": "document",
        "title": "a.pdf",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "BB"},
    }
    text = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Long."}}
    assert turns(user({"type": "text", "text": "See"}, png, far, pdf, text))[0]["content"] == [
        {"type": "text", "text": "See"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,BB"}},
        {"type": "text", "text": "Long."},
    ]


def test_calls_and_their_results() -> None:
    uses = [{"type": "tool_use", "id": f"t{i}", "name": "look", "input": {"a": i}} for i in (1, 2)]
    image = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    made = turns(
        HELLO,
        {"role": "assistant", "content": [{"type": "text", "text": "Well."}, *uses]},
        user(
            {"type": "tool_result", "tool_use_id": "t1", "content": "18"},
            {"type": "tool_result", "tool_use_id": "t2", "is_error": True, "content": [X, image]},
            {"type": "text", "text": "Go on"},
        ),
    )  # fmt: skip
    assert made[1]["content"] == "Well."
    assert [call["function"] for call in made[1]["tool_calls"]] == [
        {"name": "look", "arguments": '{"a":1}'},
        {"name": "look", "arguments": '{"a":2}'},
    ]
    assert made[2:4] == [
        {"role": "tool", "tool_call_id": "t1", "content": "18"},
        {"role": "tool", "tool_call_id": "t2", "content": "Error: x"},
    ]
    assert [part["type"] for part in made[4]["content"]] == ["image_url", "text"]


def test_a_call_alone_has_no_text() -> None:
    use = {"type": "tool_use", "id": "t", "name": "look", "input": {}}
    assert turns(HELLO, {"role": "assistant", "content": [use]})[1]["content"] is None


def test_thoughts_go_back_to_whoever_signed_them() -> None:
    blocks = [
        {"type": "thinking", "thinking": "Hm.", "signature": ""},
        {"type": "thinking", "thinking": "So.", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "text", "text": "Well."},
    ]
    made = turns(HELLO, {"role": "assistant", "content": blocks})[1]["content"]
    assert [part["summary"][0] for part in made[:2]] == [
        {"type": "summary_text", "text": "So.", "signature": "s"},
        {"type": "summary_encrypted_text", "data": "d"},
    ]
    assert made[2:] == [{"type": "text", "text": "Well."}]


@pytest.mark.parametrize(
    ("fields", "kind", "param"),
    [
        ({"max_tokens": None}, InvalidRequest, "max_tokens"),
        ({"messages": "x"}, InvalidRequest, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, InvalidRequest, "messages[0].role"),
        ({"messages": [user({"text": "x"})]}, InvalidRequest, "messages[0].content[0].type"),
        ({"messages": [user({"type": "text"})]}, InvalidRequest, "messages[0].content[0].text"),
        ({"messages": [user({"type": "image"})]}, InvalidRequest, "messages[0].content[0].source"),
        ({"messages": [user({"type": "search_result"})]}, Unsupported, "messages[0].content[0]"),
        ({"messages": [user(FILE)]}, Unsupported, "messages[0].content[0].source.type"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, Unsupported, "tools[0].type"),
        ({"tools": [{"name": "x"}]}, InvalidRequest, "tools[0].input_schema"),
        ({"tools": [{**TOOL, "allowed_callers": ["x"]}]}, Unsupported, "tools[0].allowed_callers"),
        ({"tool_choice": {"type": "any"}}, InvalidRequest, "tool_choice"),
        ({"tool_choice": {"type": "x"}}, InvalidRequest, "tool_choice.type"),
        ({"mcp_servers": [{}]}, Unsupported, "mcp_servers"),
        ({"speed": "fast"}, Unsupported, "speed"),
        ({"stop": ["x"]}, InvalidRequest, "stop"),
        ({"thinking": {"type": "enabled"}}, InvalidRequest, "thinking.budget_tokens"),
        ({"output_config": {"format": {"type": "x"}}}, InvalidRequest, "output_config.format"),
        ({"system": [{"type": "image"}]}, InvalidRequest, "system[0].type"),
    ],
)  # fmt: skip
def test_what_cannot_be_said_is_named(fields: dict[str, Any], kind: type[RequestError], param: str) -> None:
    with pytest.raises(kind) as caught:
        chat(**fields)
    assert caught.value.param == param


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x", "user", "text", "tool_use", "image"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "role", "content", "text", "source", "name", "input", "id"]), inner)
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(
    ("messages", "system", "tools", "tool_choice", "thinking", "metadata", "output_config", "stop_sequences"), JSON
)))  # fmt: skip
def test_whatever_is_sent_is_translated_or_refused(fields: dict[str, Any]) -> None:
    try:
        made = chat(**fields)
    except RequestError as error:
        named = error.param
    else:
        named = made["messages"][0]["role"] if made["messages"] else "nobody"
    assert named
