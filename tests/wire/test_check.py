"""What is wrong with a request is refused with the name of the field."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.errors import InvalidRequest, RequestError, Unsupported
from tesela.wire import check, document

HI = {"role": "user", "content": "hi"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
OTHER = {"type": "function", "function": {"name": "g"}}
CALLED = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "5"}


def doc(**fields: Any) -> document.Document:
    return document.decode(msgspec.json.encode(fields))


def chat(**fields: Any) -> Any:
    return check.chat(doc(**{"messages": [HI], **fields}))


def test_the_least_request() -> None:
    asked = chat()
    assert asked.messages[0].content == "hi"
    assert (asked.n, asked.max_tokens, asked.stop, asked.choice, asked.format) == (1, None, [], "none", None)
    assert (asked.logprobs, asked.top_logprobs, asked.tools) == (False, 0, [])


def test_null_is_not_given() -> None:
    names = [name for name in check.CHAT if name != "messages"]
    assert chat(**dict.fromkeys(names)) == chat()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": {}}, "messages"),
        ({"messages": [1]}, "messages[0]"),
        ({"messages": [HI, {"content": "x"}]}, "messages[1]"),
        ({"messages": [{"role": "zzz", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "function", "content": "x", "name": "f"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "assistant", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "x", "contnet": 1}]}, "messages[0].contnet"),
        ({"messages": [{"role": "user", "content": "x", "audio": {}}]}, "messages[0].audio"),
        ({"messages": [HI, {**CALLED, "role": "user"}]}, "messages[1].tool_calls"),
        ({"messages": [HI, {**CALLED, "tool_calls": [{"id": "x"}]}]}, "messages[1].tool_calls[0]"),
        ({"messages": [HI, RESULT]}, "messages[1].tool_call_id"),
        ({"messages": [HI, CALLED, {"role": "tool", "content": "5"}]}, "messages[2].tool_call_id"),
        ({"messages": [HI, CALLED, {**RESULT, "tool_call_id": "c2"}]}, "messages[2].tool_call_id"),
        ({"messages": [{**HI, "tool_call_id": "c1"}]}, "messages[0].tool_call_id"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.01}, "top_p"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"n": 0}, "n"),
        ({"n": 1.5}, "n"),
        ({"seed": "7"}, "seed"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a", ""]}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": -5}, "max_tokens"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
        ({"logprobs": 3}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": -1}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": False, "top_logprobs": 0}, "top_logprobs"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"logit_bias": {"5": 101}}, "logit_bias"),
        ({"logit_bias": [[5, 1]]}, "logit_bias"),
        ({"parallel_tool_calls": "yes"}, "parallel_tool_calls"),
        ({"response_format": "json"}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "response_format.json_schema"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "f", "parameters": 1}}]}, "tools[0].function.parameters"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": 1}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "h"}}}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": 5}}, "tool_choice"),
    ],
)
def test_wrong_chat_fields_are_named(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        chat(**fields)
    assert caught.value.param == param
    assert param.split(".")[0].split("[")[0] in caught.value.message


def test_too_many_tools_and_the_limit_in_the_sentence() -> None:
    tools = [{"type": "function", "function": {"name": f"f{i}"}} for i in range(33)]
    assert len(chat(tools=tools[:32]).tools) == 32
    with pytest.raises(InvalidRequest, match="33 functions; at most 32"):
        chat(tools=tools)


def test_a_tool_that_is_no_function_is_unsupported() -> None:
    with pytest.raises(Unsupported) as caught:
        chat(tools=[{"type": "custom", "custom": {"name": "x"}}])
    assert caught.value.param == "tools[0].type"


@pytest.mark.parametrize(
    ("choice", "mode", "names"),
    [
        (None, "auto", ["f", "g"]),
        ("auto", "auto", ["f", "g"]),
        ("none", "none", []),
        ("required", "required", ["f", "g"]),
        ({"type": "function", "function": {"name": "g"}}, "required", ["g"]),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "function", "function": {"name": "f"}}]},
            },
            "auto",
            ["f"],
        ),
    ],
)
def test_tool_choice(choice: Any, mode: str, names: list[str]) -> None:
    asked = chat(tools=[TOOL, OTHER], tool_choice=choice)
    assert (asked.choice, [tool.function.name for tool in asked.tools]) == (mode, names)


def test_no_tools_with_a_choice_that_asks_for_none() -> None:
    assert chat(tool_choice="none") == chat(tool_choice="auto") == chat(tools=[])


def test_an_answer_can_be_sent_back_as_clients_dump_it() -> None:
    extras: dict[str, Any] = {
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "reasoning_content": "hm",
    }
    asked = chat(messages=[HI, {**CALLED, **extras}, RESULT, {"role": "assistant", "content": "", **extras}])
    assert asked.messages[1].tool_calls[0].function.name == "f"


def test_values_at_their_bounds() -> None:
    asked = chat(
        temperature=0, top_p=1, seed=0, n=1, stop=["a", "b", "c", "d"], max_tokens=1, max_completion_tokens=1,
        logprobs=True, top_logprobs=20, logit_bias={"5": -100}, response_format={"type": "text"},
    )  # fmt: skip
    assert (asked.max_tokens, asked.stop, asked.top_logprobs) == (1, ["a", "b", "c", "d"], 20)
    assert chat(temperature=2, stop="x").stop == ["x"]


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [("a", ["a"]), (["a", "b"], ["a", "b"]), ([5, 6], [[5, 6]]), ([[5], [6, 7]], [[5], [6, 7]])],
)
def test_prompts(prompt: Any, prompts: Any) -> None:
    asked = check.completions(doc(prompt=prompt, max_tokens=0, logprobs=0))
    assert (asked.prompts, asked.max_tokens, asked.logprobs) == (prompts, 0, 0)


@pytest.mark.parametrize("prompt", [None, "", [], [""], ["a", ""], ["a", [5]], [[]], [-1], [True], 5, {}, [["a"]]])
def test_wrong_prompts(prompt: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check.completions(doc(prompt=prompt))
    assert caught.value.param == "prompt"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"best_of": 2}, "best_of"),
        ({"best_of": 1, "n": 2}, "best_of"),
        ({"echo": 1}, "echo"),
    ],
)
def test_wrong_completions_fields(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        check.completions(doc(prompt="a", **fields))
    assert (caught.value.param, caught.value.status) == (param, 400)


def test_best_of_as_many_as_are_wanted() -> None:
    assert check.completions(doc(prompt="a", n=2, best_of=2)).n == 2


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": [1, 2]}, "input"),
        ({"input": [[1, 2]]}, "input"),
        ({"input": ["a", None]}, "input"),
        ({"input": {"a": 1}}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
        ({"instruction": 5}, "instruction"),
    ],
)
def test_wrong_embeddings_fields(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(RequestError) as caught:
        check.embeddings(doc(**{"input": "a", **fields}))
    assert caught.value.param == param


def test_embeddings_take_an_empty_text() -> None:
    assert check.embeddings(doc(input="")).inputs == [""]
    assert check.embeddings(doc(input=["a", ""], encoding_format="base64")).encoding_format == "base64"


json: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "function", "name", "tool_calls", "text", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*check.CHAT, *check.COMPLETIONS, *check.EMBEDDINGS]), json, max_size=4))
def test_whatever_is_sent_is_taken_or_refused_with_a_name(fields: dict[str, Any]) -> None:
    refused = [_refusal(function, doc(**fields)) for function in (check.chat, check.completions, check.embeddings)]
    assert all(error.param and error.status == 400 for error in refused if error is not None)


def _refusal(function: Any, fields: document.Document) -> RequestError | None:
    try:
        function(fields)
    except RequestError as error:
        return error
    return None
