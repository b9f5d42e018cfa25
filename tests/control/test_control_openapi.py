"""The schemas of requests say what the checks of `tesela.wire.check` hold requests to."""

from typing import Any

import jsonschema
import msgspec
import pytest

from tesela.control.openapi import describe
from tesela.errors import TeselaError
from tesela.wire import check
from tesela.wire.document import Document
from tesela.wire.tasks import Task

USER = [{"role": "user", "content": "x"}]
CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
LEAST: dict[Task, Any] = {
    Task.CHAT: {"messages": USER},
    Task.COMPLETIONS: {"prompt": "x"},
    Task.EMBEDDINGS: {"input": "x"},
}
CHECKS = {Task.CHAT: check.chat, Task.COMPLETIONS: check.completions, Task.EMBEDDINGS: check.embeddings}
NUMBERS: list[Any] = [-101, -3, -2, -1, 0, 0.5, 1, 2, 3, 5, 6, 20, 21, 2**31 - 1, 2**31, True, "1", None, [], {}]
WORDS: list[Any] = ["float", "base64", "x", None, 1, [], ["a"], ["a"] * 4, ["a"] * 5, [1], {}]


def schema_of(task: Task) -> Any:
    return describe("e", "", str(task), ["e"], "http://h")


def taken(task: Task, body: Any) -> bool:
    document: Document = {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in body.items()}
    try:
        CHECKS[task](document)
    except TeselaError:
        return False
    return True


def fits(task: Task, body: Any) -> bool:
    told = schema_of(task)
    post = next(iter(told["paths"].values()))["post"]
    schema = {**post["requestBody"]["content"]["application/json"]["schema"], "components": told["components"]}
    return jsonschema.Draft202012Validator(schema).is_valid(body)


@pytest.mark.parametrize("value", NUMBERS, ids=repr)
@pytest.mark.parametrize(
    ("task", "field"),
    [
        *((Task.CHAT, name) for name in ("max_tokens", "temperature", "top_p", "n", "seed", "presence_penalty")),
        *((Task.COMPLETIONS, name) for name in ("max_tokens", "temperature", "logprobs", "echo", "frequency_penalty")),
        (Task.EMBEDDINGS, "dimensions"),
    ],
)
def test_numbers(task: Task, field: str, value: Any) -> None:
    body = {**LEAST[task], field: value}
    assert fits(task, body) == taken(task, body)


@pytest.mark.parametrize("value", WORDS, ids=repr)
@pytest.mark.parametrize(("task", "field"), [(Task.CHAT, "stop"), (Task.EMBEDDINGS, "encoding_format")])
def test_words(task: Task, field: str, value: Any) -> None:
    body = {**LEAST[task], field: value}
    assert fits(task, body) == taken(task, body)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": []},
        {"messages": [{}]},
        {"messages": [{"role": "nobody", "content": "x"}]},
        {"messages": [*USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
        {"messages": [*USER, {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        {"messages": [{"role": "user", "content": 5}]},
        {"messages": USER, "tools": [TOOL], "tool_choice": "required"},
        {"messages": USER, "tools": [{"type": "function", "function": {}}]},
        {"messages": USER, "tools": [TOOL] * 33},
        {"messages": USER, "response_format": {"type": "json_object"}},
        {"messages": USER, "response_format": {"type": "yaml"}},
        {"messages": USER, "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}},
        {"messages": USER, "response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
    ],
    ids=repr,
)
def test_chats(body: Any) -> None:
    assert fits(Task.CHAT, body) == taken(Task.CHAT, body)


@pytest.mark.parametrize("task", list(Task), ids=str)
def test_every_field_has_a_word(task: Task) -> None:
    schemas = schema_of(task)["components"]["schemas"]
    (name,) = [one for one in schemas if one.endswith("Request")]
    assert [field for field, about in schemas[name]["properties"].items() if not about.get("description")] == []
