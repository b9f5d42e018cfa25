"""What is sent to Anthropic's Messages API for a request in the unified form, and what is refused before that."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tesela.errors import InvalidRequest, RequestError, Unsupported
from tesela.providers import anthropic
from tesela.providers.anthropic import ANTHROPIC
from tesela.providers.base import Call, Exchange
from tesela.serving import Origin, Upstream
from tesela.wire import document
from tesela.wire.tasks import Task

HELLO = {"role": "user", "content": "Hello"}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = {"type": "function", "function": {"name": "weather", "description": "Now", "parameters": CITY}}
CLOCK = {"type": "function", "function": {"name": "clock"}}


def exchange(
    fields: dict[str, Any], *, task: Task = Task.CHAT, streaming: bool = False, ignore: frozenset[str] = frozenset()
) -> Exchange:
    upstream = Upstream(Origin("https", "api.anthropic.com", 443), "claude-1", ignore=ignore)
    translate = ANTHROPIC.translations[task]
    assert translate is not None
    asked = document.decode(msgspec.json.encode({"model": "endpoint", **fields}))
    return translate(Call(task, asked, streaming, upstream, 5, "abc"))


def sent(*messages: Any, ignore: frozenset[str] = frozenset(), **fields: Any) -> Any:
    return json.loads(exchange({"messages": list(messages) or [HELLO], **fields}, ignore=ignore).body)


def completed(**fields: Any) -> Any:
    return json.loads(exchange(fields, task=Task.COMPLETIONS).body)


def refused(kind: type[RequestError], *messages: Any, **fields: Any) -> RequestError:
    with pytest.raises(kind) as caught:
        sent(*messages, **fields)
    return caught.value


def test_the_least_request() -> None:
    made = exchange({"messages": [HELLO]})
    assert made.path == "/v1/messages"
    assert made.headers == (("anthropic-version", "2023-06-01"),)
    assert json.loads(made.body) == {"model": "claude-1", "max_tokens": 8192, "messages": [HELLO]}
    assert (made.streaming, made.chunks) == (False, None)


def test_a_stream_is_asked_for_without_options() -> None:
    made = exchange({"messages": [HELLO], "stream": True, "stream_options": {"include_usage": True}}, streaming=True)
    assert json.loads(made.body)["stream"] is True
    assert "stream_options" not in json.loads(made.body)
    assert made.streaming
    assert made.chunks is not None


def test_zeros_and_empty_values_survive() -> None:
    body = sent(temperature=0, top_p=0, top_k=0, n=1, stop="", max_tokens=0)
    assert (body["temperature"], body["top_p"], body["top_k"], body["max_tokens"]) == (0, 0, 0, 0)
    assert body["stop_sequences"] == [""]
    assert "n" not in body


def test_limits_of_the_answer() -> None:
    assert sent(max_tokens=7)["max_tokens"] == 7
    assert sent(max_completion_tokens=7)["max_tokens"] == 7
    assert sent(max_tokens=7, max_completion_tokens=7)["max_tokens"] == 7
    assert refused(InvalidRequest, max_tokens=7, max_completion_tokens=8).param == "max_tokens"
    thinking = {"type": "enabled", "budget_tokens": 2000}
    assert sent(thinking=thinking)["max_tokens"] == 10192
    assert sent(thinking=thinking, max_tokens=3000)["max_tokens"] == 3000
    assert sent(stop=["a", "b"])["stop_sequences"] == ["a", "b"]
    assert refused(InvalidRequest, stop="a", stop_sequences=["b"]).param == "stop_sequences"


def test_fields_that_only_anthropic_has_are_forwarded() -> None:
    fields: dict[str, Any] = {
        "thinking": {"type": "adaptive"},
        "container": "c",
        "context_management": {"edits": []},
        "top_k": 5,
        "unheard_of": {"a": [None, 1]},
    }
    assert {name: sent(**fields)[name] for name in fields} == fields


def test_null_is_not_given() -> None:
    body = sent(n=None, seed=None, tools=None, tool_choice=None, response_format=None, stop=None, temperature=None)
    assert body == {"model": "claude-1", "max_tokens": 8192, "messages": [HELLO]}


NEUTRAL: dict[str, Any] = {
    "n": 1, "presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {}, "store": False, "logprobs": False,
    "top_logprobs": 0, "modalities": ["text"], "verbosity": "medium", "prompt_cache_key": "x",
    "prompt_cache_retention": "24h",
}  # fmt: skip


def test_what_asks_for_nothing_is_left_out() -> None:
    assert sent(**NEUTRAL) == sent()


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("n", 2), ("presence_penalty", 0.5), ("frequency_penalty", -1), ("logit_bias", {"5": 1}), ("seed", 0),
        ("logprobs", True), ("top_logprobs", 2), ("store", True), ("modalities", ["text", "audio"]),
        ("verbosity", "low"), ("audio", {"voice": "x"}), ("prediction", {}), ("web_search_options", {}),
        ("functions", []), ("function_call", "auto"), ("metadata", {"topic": "x"}), ("service_tier", "flex"),
    ],
)  # fmt: skip
def test_what_anthropic_cannot_be_told_is_refused_by_name_unless_it_is_ignored(field: str, given: Any) -> None:
    error = refused(Unsupported, **{field: given})
    assert error.param == field
    assert f"'{field}'" in error.message
    assert "ignore" in error.message
    assert sent(ignore=frozenset({field}), **{field: given}) == sent()


def test_a_refusal_says_what_can_be_done_about_it() -> None:
    named = refused(Unsupported, {"role": "user", "name": "Ann", "content": "x"})
    assert "list 'name' under `ignore`" in named.message
    assert sent({"role": "user", "name": "Ann", "content": "x"}, ignore=frozenset({"name"})) == sent(
        {"role": "user", "content": "x"}
    )
    spoken = refused(Unsupported, {"role": "user", "content": [{"type": "input_audio"}]})
    assert "ignore" not in spoken.message
    with pytest.raises(Unsupported) as caught:
        completed(prompt=["a", "b"])
    assert "ignore" not in caught.value.message


def test_what_anthropic_could_be_told_is_ignored_too_where_the_endpoint_says_so() -> None:
    assert "temperature" not in sent(ignore=frozenset({"temperature"}), temperature=0.5)


def test_who_asks() -> None:
    assert sent(user="u")["metadata"] == {"user_id": "u"}
    assert sent(safety_identifier="u")["metadata"] == {"user_id": "u"}
    assert sent(metadata={"user_id": "u"})["metadata"] == {"user_id": "u"}
    assert sent(user="u", metadata={"user_id": "u"})["metadata"] == {"user_id": "u"}
    assert "metadata" not in sent(metadata={})
    assert refused(InvalidRequest, user="u", metadata={"user_id": "v"}).param == "user"
    assert refused(InvalidRequest, user="u", safety_identifier="v").param == "user"


def test_tiers() -> None:
    assert sent(service_tier="auto")["service_tier"] == "auto"
    assert sent(service_tier="default")["service_tier"] == "standard_only"


# ------------------------------------------------------------ messages


def test_system_messages_at_the_beginning_are_the_system_prompt() -> None:
    body = sent({"role": "system", "content": "Be kind."}, HELLO)
    assert (body["system"], body["messages"]) == ("Be kind.", [HELLO])
    body = sent({"role": "system", "content": "A"}, {"role": "developer", "content": "B"}, HELLO)
    assert body["system"] == [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]
    cached = {"type": "text", "text": "Long", "cache_control": {"type": "ephemeral"}}
    assert sent({"role": "system", "content": [cached]}, HELLO)["system"] == [cached]
    assert "system" not in sent({"role": "system", "content": ""}, HELLO)
    error = refused(InvalidRequest, {"role": "system", "content": "A"}, HELLO, system="B")
    assert error.param == "system"
    assert sent(system="B")["system"] == "B"


def test_system_messages_in_the_middle_stay_there() -> None:
    late = {"role": "developer", "content": "From now on in verse."}
    body = sent(HELLO, {"role": "assistant", "content": "Hi"}, HELLO, late)
    assert body["messages"][3] == {"role": "system", "content": "From now on in verse."}
    assert "system" not in body


def test_images_as_data_and_as_address() -> None:
    data = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "auto"}}
    address = {"type": "image_url", "image_url": {"url": "https://e.com/a.png"}, "cache_control": {"type": "ephemeral"}}
    content = sent({"role": "user", "content": [{"type": "text", "text": "See"}, data, address]})["messages"][0]
    assert content["content"] == [
        {"type": "text", "text": "See"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
        {
            "type": "image",
            "source": {"type": "url", "url": "https://e.com/a.png"},
            "cache_control": {"type": "ephemeral"},
        },
    ]


def test_images_that_cannot_be_sent() -> None:
    def image(**told: Any) -> Any:
        return {"role": "user", "content": [{"type": "image_url", "image_url": told}]}

    assert refused(InvalidRequest, image(url="data:image/png,x")).param == "messages[0].content[0].image_url.url"
    assert refused(InvalidRequest, image()).param == "messages[0].content[0].image_url.url"
    close = image(url="https://e.com/a.png", detail="high")
    assert refused(Unsupported, close).param == "messages[0].content[0].image_url.detail"
    assert sent(close, ignore=frozenset({"detail"}))["messages"][0]["content"][0]["type"] == "image"


def test_files_and_parts_that_only_anthropic_has() -> None:
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE", "filename": "a.pdf"}}
    stored = {"type": "file", "file": {"file_id": "file_1"}}
    found = {"type": "search_result", "source": "s", "title": "t", "content": []}
    content = sent({"role": "user", "content": [file, stored, found]})["messages"][0]["content"]
    assert content[0] == {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"},
        "title": "a.pdf",
    }
    assert content[1] == {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
    assert content[2] == found


CALLS = [
    {"id": "t1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}},
    {"id": "t2", "type": "function", "function": {"name": "clock", "arguments": ""}},
]


def test_parallel_calls_and_their_results() -> None:
    body = sent(
        HELLO,
        {"role": "assistant", "content": "", "tool_calls": CALLS},
        {"role": "tool", "tool_call_id": "t1", "name": "weather", "content": "18 degrees"},
        {"role": "tool", "tool_call_id": "t2", "content": [{"type": "text", "text": "noon"}], "is_error": False},
        {"role": "user", "content": "Thanks"},
        tools=[WEATHER, CLOCK],
    )
    assert body["messages"][1] == {
        "role": "assistant",
        "content": [
            {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Paris"}},
            {"type": "tool_use", "id": "t2", "name": "clock", "input": {}},
        ],
    }
    assert body["messages"][2] == {
        "role": "user",
        "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": "18 degrees"},
            {
                "type": "tool_result",
                "tool_use_id": "t2",
                "content": [{"type": "text", "text": "noon"}],
                "is_error": False,
            },
        ],
    }
    assert body["messages"][3] == {"role": "user", "content": "Thanks"}
    assert body["tools"] == [
        {"name": "weather", "description": "Now", "input_schema": CITY},
        {"name": "clock", "input_schema": {"type": "object", "properties": {}}},
    ]


def test_text_before_calls_and_images_as_results() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://e.com/a.png"}}
    body = sent(
        HELLO,
        {"role": "assistant", "content": "Let me look.", "tool_calls": CALLS[:1], "refusal": None, "annotations": []},
        {"role": "tool", "tool_call_id": "t1", "content": [image]},
    )
    assert body["messages"][1]["content"][0] == {"type": "text", "text": "Let me look."}
    assert body["messages"][2]["content"][0]["content"][0]["source"]["type"] == "url"


def test_thoughts_go_back_as_they_came() -> None:
    content = [
        {
            "type": "reasoning",
            "summary": [
                {"type": "summary_text", "text": "Hm.", "signature": "s1"},
                {"type": "summary_encrypted_text", "data": "d1"},
                {"type": "summary_text", "text": "another provider's"},
            ],
        },
        {"type": "text", "text": "Well."},
    ]
    body = sent(HELLO, {"role": "assistant", "content": content, "tool_calls": CALLS[:1]})
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "s1"},
        {"type": "redacted_thinking", "data": "d1"},
        {"type": "text", "text": "Well."},
        {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Paris"}},
    ]


def test_a_refusal_of_the_assistant_is_what_it_said() -> None:
    body = sent(HELLO, {"role": "assistant", "content": None, "refusal": "No."}, HELLO)
    assert body["messages"][1]["content"] == [{"type": "text", "text": "No."}]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ("x", "messages[0]"),
        ({"content": "x"}, "messages[0].role"),
        ({"role": "function", "content": "x"}, "messages[0].role"),
        ({"role": "user"}, "messages[0].content"),
        ({"role": "user", "content": ["x"]}, "messages[0].content[0].type"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages[0].content[0].text"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "messages[0].content[0]"),
        ({"role": "user", "name": "Ann", "content": "x"}, "messages[0].name"),
        ({"role": "tool", "content": "x"}, "messages[0].tool_call_id"),
        ({"role": "assistant"}, "messages[0].content"),
        ({"role": "assistant", "tool_calls": [{"id": "a"}]}, "messages[0].tool_calls[0].function"),
        (
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{"}}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "[]"}}]},
            "messages[0].tool_calls[0].function.arguments",
        ),
        ({"role": "assistant", "content": [{"type": "reasoning"}]}, "messages[0].content[0].summary"),
        (
            {"role": "assistant", "content": [{"type": "reasoning", "summary": [{"type": "x"}]}]},
            "messages[0].content[0].summary[0].type",
        ),
    ],
)
def test_messages_that_are_wrong(message: Any, param: str) -> None:
    assert refused(RequestError, message).param == param


# ------------------------------------------------------------ tools and the form of the answer


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        ("auto", None, {"type": "auto"}),
        ("none", None, {"type": "none"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, True, None),
        ({"type": "function", "function": {"name": "clock"}}, None, {"type": "tool", "name": "clock"}),
        ({"type": "any"}, None, {"type": "any"}),
    ],
)
def test_the_choice_of_a_tool(choice: Any, parallel: Any, expected: Any) -> None:
    body = sent(tools=[WEATHER, CLOCK], tool_choice=choice, parallel_tool_calls=parallel)
    assert body.get("tool_choice") == expected
    assert len(body["tools"]) == 2


def test_a_choice_among_some_tools_sends_only_those() -> None:
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "clock"}}]}
    body = sent(tools=[WEATHER, CLOCK], tool_choice={"type": "allowed_tools", "allowed_tools": allowed})
    assert ([tool["name"] for tool in body["tools"]], body["tool_choice"]) == (["clock"], {"type": "any"})


def test_a_choice_without_tools() -> None:
    assert "tool_choice" not in sent(tool_choice="none", parallel_tool_calls=False)
    assert refused(InvalidRequest, tool_choice="required").param == "tool_choice"
    assert refused(InvalidRequest, tools=[CLOCK], tool_choice="sometimes").param == "tool_choice"
    assert refused(InvalidRequest, tools=[CLOCK], parallel_tool_calls="no").param == "parallel_tool_calls"


def test_tools_of_anthropic_and_more_about_ours() -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
    strict = {
        "type": "function",
        "function": {"name": "f", "strict": True, "parameters": CITY},
        "cache_control": {"type": "ephemeral"},
    }
    assert sent(tools=[search, strict])["tools"] == [
        search,
        {"name": "f", "input_schema": CITY, "cache_control": {"type": "ephemeral"}, "strict": True},
    ]


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ("x", "tools[0].type"),
        ({"type": "function"}, "tools[0].function"),
        ({"type": "function", "function": {}}, "tools[0].function.name"),
        ({"type": "function", "function": {"name": "f", "parameters": []}}, "tools[0].function.parameters"),
        ({"type": "custom", "custom": {"name": "f"}}, "tools[0].type"),
    ],
)
def test_tools_that_are_wrong(tool: Any, param: str) -> None:
    assert refused(RequestError, tools=[tool]).param == param


def test_a_schema_for_the_answer() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": CITY, "strict": True}}
    assert sent(response_format=wanted)["output_config"] == {"format": {"type": "json_schema", "schema": CITY}}
    wanted["json_schema"] = {"name": "place", "schema": CITY, "description": "A place"}
    assert sent(response_format=wanted)["output_config"]["format"]["schema"]["description"] == "A place"
    assert "output_config" not in sent(response_format={"type": "text"})
    assert refused(Unsupported, response_format={"type": "json_object"}).param == "response_format"
    assert refused(InvalidRequest, response_format={"type": "json_schema"}).param == "response_format"


def test_effort() -> None:
    assert sent(reasoning_effort="low")["output_config"] == {"effort": "low"}
    assert sent(reasoning_effort="low", output_config={"task_budget": 1})["output_config"] == {
        "task_budget": 1,
        "effort": "low",
    }
    assert sent(reasoning_effort="none")["thinking"] == {"type": "disabled"}
    error = refused(InvalidRequest, reasoning_effort="low", output_config={"effort": "high"})
    assert error.param == "output_config"


# ------------------------------------------------------------ completions


def test_a_prompt_is_what_the_user_says() -> None:
    body = completed(prompt="Once", max_tokens=5, temperature=0, stop=["\n"], echo=False, n=1)
    assert body == {
        "model": "claude-1",
        "max_tokens": 5,
        "messages": [{"role": "user", "content": "Once"}],
        "temperature": 0,
        "stop_sequences": ["\n"],
    }
    assert completed(prompt=["Once"])["messages"] == [{"role": "user", "content": "Once"}]


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": ["a", "b"]}, {"prompt": [1, 2]}, {"prompt": "a", "echo": True}, {"prompt": "a", "suffix": "b"},
        {"prompt": "a", "logprobs": 2}, {"prompt": "a", "best_of": 2}, {"prompt": "a", "n": 2},
        {"prompt": "a", "tools": [CLOCK]}, {"prompt": "a", "error_behavior": "truncate"},
    ],
)  # fmt: skip
def test_what_a_completion_cannot_be_asked(fields: dict[str, Any]) -> None:
    with pytest.raises(Unsupported) as caught:
        completed(**fields)
    assert caught.value.param == list(fields)[-1]


# ------------------------------------------------------------ anything at all


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KNOWN = sorted(anthropic.CHAT.translated | anthropic.CHAT.refused.keys() | {"thinking", "output_config"})
WORDS = [
    "role", "user", "assistant", "tool", "content", "type", "text", "reasoning", "summary", "function", "name", "id",
    "tool_calls", "allowed_tools", "tools", "mode", "auto", "json_schema", "schema", "arguments", "image_url", "url",
    "budget_tokens", "user_id", "refusal", "file", "tool_call_id",
]  # fmt: skip
SHAPED = st.recursive(
    JSON | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=10,
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system"])},
    optional={"content": SHAPED, "tool_calls": SHAPED, "refusal": SHAPED, "tool_call_id": SHAPED},
)


def made(fields: dict[str, Any]) -> Any:
    """The body that is sent, or the refusal."""
    try:
        return json.loads(exchange(fields).body)
    except RequestError as error:
        return error


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(KNOWN), SHAPED, max_size=5), st.lists(MESSAGE | SHAPED, max_size=3))
def test_any_request_is_translated_or_refused_and_nothing_else(fields: dict[str, Any], messages: list[Any]) -> None:
    found = made({**fields, "messages": messages})
    if isinstance(found, RequestError):
        assert found.status == 400
    else:
        assert found["model"] == "claude-1"
        assert isinstance(found["messages"], list)
