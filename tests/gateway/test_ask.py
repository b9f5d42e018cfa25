"""What a request asks for: every refusal with the field that it names, through both kinds of doors."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import ADMIN, endpoint, entity, snapshot

from tesela.errors import InvalidRequest, NotFound, PermissionDenied, RequestError, Unsupported
from tesela.gateway.ask import MAX_USAGE_CONTEXT, Question, read, with_finish_reason
from tesela.gateway.doors import Door, Manners
from tesela.snapshot import Credential, Grants, Principal
from tesela.wire.tasks import Task

CHAT = frozenset({Task.CHAT})
SNAPSHOT = snapshot(
    endpoint("chat", entity("a", tasks=CHAT), entity("b", 0, tasks=CHAT)),
    endpoint("both", entity("c", tasks=frozenset({Task.CHAT, Task.COMPLETIONS}))),
    endpoint("embed", entity("d", tasks=frozenset({Task.EMBEDDINGS}))),
    endpoint("native", entity("e", tasks=frozenset({Task.CHAT, Task.RESPONSES}))),
    grants={"chat": Grants(query=frozenset({"2"}))},
)
SOMEBODY = Principal("2", "somebody@example.com")
MESSAGES = [{"role": "user", "content": "Hi"}]


def openai(task: Task = Task.CHAT) -> Door:
    return Door(Manners.OPENAI, task)


def named(endpoint: str = "chat", served: str | None = None) -> Door:
    return Door(Manners.DATABRICKS, None, endpoint, served)


def ask(door: Door, given: Any, principal: Principal = ADMIN) -> Question:
    return read(
        SNAPSHOT, door, Credential(principal), given if isinstance(given, bytes) else json.dumps(given).encode()
    )


def fields(question: Question) -> dict[str, Any]:
    return {name: json.loads(bytes(raw)) for name, raw in question.document.items()}


def test_what_an_openai_request_asks() -> None:
    question = ask(openai(), {"model": "chat", "messages": MESSAGES, "unheard_of": {"x": 1}})
    assert (question.endpoint.name, question.task, question.streaming, question.show_usage) == (
        "chat", Task.CHAT, False, False,
    )  # fmt: skip
    assert question.entities is None
    assert fields(question)["unheard_of"] == {"x": 1}


def test_what_an_invocation_asks() -> None:
    question = ask(named(), {"messages": MESSAGES, "model": "something else", "stream": True})
    assert (question.endpoint.name, question.task, question.streaming) == ("chat", Task.CHAT, True)
    served = ask(named("chat", "b"), {"messages": MESSAGES})
    assert [one.name for one in served.entities or ()] == ["b"]


@pytest.mark.parametrize("door", [openai(), named()])
@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (None, False), ({}, False), ({"include_usage": None}, False), ({"include_usage": False}, False),
        ({"include_usage": True}, True), ({"include_usage": True, "x": 1}, True),
    ],
)  # fmt: skip
def test_usage_is_shown_when_asked_for(door: Door, options: Any, shown: bool) -> None:
    question = ask(door, {"model": "chat", "messages": MESSAGES, "stream": True, "stream_options": options})
    assert question.show_usage is shown


@pytest.mark.parametrize(
    ("given", "task"),
    [
        ({"messages": MESSAGES}, Task.CHAT),
        ({"prompt": "x"}, Task.COMPLETIONS),
        ({"prompt": ""}, Task.COMPLETIONS),
        ({"prompt": "x", "messages": MESSAGES}, Task.CHAT),
        ({"prompt": ["a", "b"]}, Task.COMPLETIONS),
        ({"prompt": [1, 2]}, Task.COMPLETIONS),
    ],
)
def test_an_invocation_has_the_task_of_its_field(given: Any, task: Task) -> None:
    assert ask(named("both"), given).task is task


@pytest.mark.parametrize("door", [openai(Task.EMBEDDINGS), named("embed")])
@pytest.mark.parametrize("given", ["x", "", ["a", "b"], [[1, 2]], []])
def test_embeddings_never_stream(door: Door, given: Any) -> None:
    question = ask(door, {"model": "embed", "input": given, "stream": True})
    assert (question.task, question.streaming) == (Task.EMBEDDINGS, False)


def test_responses_over_a_chat_model_and_over_one_that_has_them() -> None:
    over = ask(openai(Task.RESPONSES), {"model": "chat", "input": "Hi"})
    assert (over.task, over.echo is not None) == (Task.CHAT, True)
    assert fields(over)["messages"] == [{"role": "user", "content": "Hi"}]
    native = ask(openai(Task.RESPONSES), {"model": "native", "input": "Hi"})
    assert (native.task, native.echo) == (Task.RESPONSES, None)
    assert ask(named(), {"input": "Hi"}).echo is not None


BOTH = [pytest.param(openai(), id="openai"), pytest.param(named(), id="invocations")]


@pytest.mark.parametrize("door", BOTH)
@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options"),
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": "Hi"}, "messages"),
        ({"messages": {}}, "messages"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": [1]}, "temperature"),
        ({"top_p": "x"}, "top_p"),
        ({"max_tokens": "10"}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"n": "2"}, "n"),
        ({"n": True}, "n"),
        ({"stop": 5}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"stop": {"a": 1}}, "stop"),
        ({"tools": {}}, "tools"),
        ({"tools": "x"}, "tools"),
        ({"response_format": "json"}, "response_format"),
        ({"model": 5}, "model"),
        ({"prompt": 5}, "prompt"),
        ({"input": {}}, "input"),
        ({"extra_params": "x"}, "extra_params"),
        ({"extra_params": [1]}, "extra_params"),
        ({"extra_params": {"temperature": "1"}, "temperature": 0}, "temperature"),
        ({"extra_params": {"stream": "true"}}, "stream"),
        ({"extra_params": {"stream_options": '{"include_usage":true}'}}, "stream_options"),
        ({"extra_params": {"model": "other"}, "model": "chat"}, "model"),
        ({"usage_context": {"a": "x" * MAX_USAGE_CONTEXT}}, "usage_context"),
    ],
    ids=lambda value: json.dumps(value)[:50] if isinstance(value, dict) else None,
)
def test_the_field_at_fault_is_named(door: Door, more: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        ask(door, {"model": "chat", "messages": MESSAGES, **more})
    assert caught.value.param == param
    assert repr(param) in caught.value.message


@pytest.mark.parametrize("field", ["temperature", "top_p", "max_tokens", "n", "stop", "tools", "stream"])
def test_null_is_as_good_as_nothing(field: str) -> None:
    for door in (openai(), named()):
        assert ask(door, {"model": "chat", "messages": MESSAGES, field: None}).streaming is False


@pytest.mark.parametrize("value", [0, 0.0, -1, 1e308, 2])
def test_numbers_are_the_providers_to_judge(value: float) -> None:
    assert fields(ask(openai(), {"model": "chat", "messages": MESSAGES, "temperature": value}))["temperature"] == value


@pytest.mark.parametrize("given", [{"messages": MESSAGES}, {"messages": MESSAGES, "model": None}, {"model": ""}])
def test_an_openai_request_names_its_endpoint(given: Any) -> None:
    with pytest.raises(InvalidRequest, match="'model' is missing") as caught:
        ask(openai(), given)
    assert caught.value.param == "model"


def test_an_unknown_endpoint() -> None:
    with pytest.raises(NotFound, match="'nope' does not exist") as caught:
        ask(openai(), {"model": "nope", "messages": MESSAGES})
    assert (caught.value.param, caught.value.reason) == ("model", "model_not_found")
    with pytest.raises(NotFound) as caught:
        ask(named("nope"), {"messages": MESSAGES})
    assert caught.value.param is None
    with pytest.raises(NotFound, match="has no served entity 'z'; it has 'a', 'b'"):
        ask(named("chat", "z"), {"messages": MESSAGES})


def test_a_name_of_any_length_gives_a_sentence_that_can_be_read() -> None:
    for door, body in ((openai(), {"model": "x" * 1_000_000}), (named("x" * 60_000), {"messages": MESSAGES})):
        with pytest.raises(NotFound) as caught:
            ask(door, body)
        assert len(caught.value.message) < 1000


def test_who_may_query() -> None:
    assert ask(openai(), {"model": "chat", "messages": MESSAGES}, SOMEBODY).endpoint.name == "chat"
    for door in (openai(Task.EMBEDDINGS), named("embed"), named("embed", "d"), named("embed", "z")):
        with pytest.raises(PermissionDenied, match=r"somebody@example\.com may not query endpoint 'embed'"):
            ask(door, {"model": "embed", "input": "x"}, SOMEBODY)


@pytest.mark.parametrize(
    ("door", "given"),
    [
        (openai(Task.EMBEDDINGS), {"model": "chat", "input": "x"}),
        (openai(Task.COMPLETIONS), {"model": "chat", "prompt": "x"}),
        (openai(Task.CHAT), {"model": "embed", "messages": MESSAGES}),
        (openai(Task.RESPONSES), {"model": "embed", "input": "x"}),
    ],
)
def test_another_task_at_an_openai_door(door: Door, given: Any) -> None:
    with pytest.raises(Unsupported, match=f"endpoint '{given['model']}' does not serve {door.task}; it serves llm/v1/"):
        ask(door, given)


@pytest.mark.parametrize(
    ("name", "given", "param", "says"),
    [
        ("chat", {"prompt": "x"}, "prompt", "'prompt' is not for endpoint 'chat'"),
        ("embed", {"messages": MESSAGES}, "messages", "takes 'input'"),
        ("embed", {"prompt": "x"}, "prompt", "takes 'input'"),
        ("chat", {"dataframe_split": {}}, "dataframe_split", "'dataframe_split' is not for"),
        ("chat", {"instances": []}, "instances", "'instances' is not for"),
        ("chat", {}, None, "has no 'messages'"),
        ("both", {}, None, "has no 'messages' or 'prompt'"),
        ("both", {"prompt": None}, "prompt", "'prompt' is missing"),
        ("embed", {"input": None}, "input", "'input' is missing"),
    ],
)
def test_another_task_at_an_invocation_door(name: str, given: Any, param: str | None, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says) as caught:
        ask(named(name), given)
    assert caught.value.param == param


@pytest.mark.parametrize("door", BOTH)
def test_extra_params_are_fields_of_the_call_and_the_rest_is_not(door: Door) -> None:
    given = {
        "model": "chat",
        "messages": MESSAGES,
        "client_request_id": "abc",
        "usage_context": {"project": "x"},
        "extra_params": {
            "top_k": "3", "min_p": "0.05", "flag": "true", "nothing": "null", "word": "high", "list": "[1, 2]",
            "quoted": '"5"', "empty": "", "number": 7, "object": {"a": [1]}, "version": "1.2.3", "nan": "NaN",
        },
    }  # fmt: skip
    question = ask(door, given)
    found = fields(question)
    assert not {"extra_params", "client_request_id", "usage_context"} & found.keys()
    del found["model"], found["messages"]
    assert found == {
        "top_k": 3, "min_p": 0.05, "flag": True, "nothing": None, "word": "high", "list": [1, 2],
        "quoted": "5", "empty": "", "number": 7, "object": {"a": [1]}, "version": "1.2.3", "nan": "NaN",
    }  # fmt: skip
    assert "extra_params" not in fields(ask(door, {**given, "extra_params": None}))


def test_a_usage_context_has_room_for_what_databricks_allows() -> None:
    text = "x" * (MAX_USAGE_CONTEXT - len(b'{"a":""}'))
    body = json.dumps({"messages": MESSAGES, "usage_context": {"a": text}}, separators=(",", ":")).encode()
    # Taken, and not told to the provider.
    assert "usage_context" not in fields(ask(named(), body))


@pytest.mark.parametrize("door", BOTH)
@pytest.mark.parametrize("value", ["[" * 100_000, '{"a":' * 100_000, "[" * 900 + "]" * 900, "\ud83d\ude00", "\x00"])
def test_any_string_may_stand_in_extra_params(door: Door, value: str) -> None:
    question = ask(door, {"model": "chat", "messages": MESSAGES, "extra_params": {"x": value}})
    assert "x" in question.document


def test_depth_is_refused_and_never_a_fault_of_ours() -> None:
    outcomes = set()
    for depth in [*range(1, 400, 50), *range(400, 1100), 5000]:
        deep = b"[" * depth + b"]" * depth
        for field in (b"x", b"messages", b"tools", b"response_format", b"extra_params", b"stream_options"):
            try:
                ask(openai(), b'{"model":"chat","messages":[{}],"%b":%b}' % (field, deep))
                outcomes.add("taken")
            except InvalidRequest:
                outcomes.add("refused")
    assert outcomes == {"taken", "refused"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "model", "messages", "prompt", "input", "stream", "stream_options", "temperature", "n", "stop", "tools",
        "response_format", "extra_params", "usage_context", "client_request_id", "instances", "x",
    ]
)  # fmt: skip
DOORS = st.sampled_from([*map(openai, Task), named(), named("both"), named("embed"), named("chat", "b"), named("no")])


@given(DOORS, st.dictionaries(FIELDS, JSON | st.sampled_from(["chat", "embed", [{}], {"a": "1"}, True]), max_size=6))
@settings(max_examples=400)
def test_any_body_is_understood_or_refused(door: Door, given: Any) -> None:
    try:
        question = ask(door, given)
    except RequestError:
        return
    assert question.task in (question.entities or question.endpoint.entities)[0].tasks
    for raw in question.document.values():
        json.loads(bytes(raw))


# ------------------------------------------------------------ finishReason


def without_twins(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: without_twins(v) for k, v in value.items() if k != "finishReason"}
    return [without_twins(one) for one in value] if isinstance(value, list) else value


def twinned(value: Any) -> bool:
    """Every finish reason that is a string or null has its twin beside it."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key == "finish_reason" and (one is None or isinstance(one, str)) and value.get("finishReason", 0) != one:
                return False
        return all(map(twinned, value.values()))
    return all(map(twinned, value)) if isinstance(value, list) else True


HOSTILE = st.sampled_from(
    [
        '"finish_reason"',
        '"finish_reason":"stop"',
        "\\",
        '"',
        '\\"finish_reason\\":null',
        "finish_reason",
        ":",
        "null",
        "",
    ]
) | st.text(st.characters(codec="utf-8"), max_size=6)
ANSWERS = st.recursive(
    st.none() | st.integers(-9, 9) | HOSTILE,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(HOSTILE, inner, max_size=3)
        | st.fixed_dictionaries({"finish_reason": HOSTILE | st.none() | inner, "z": inner})
        | st.fixed_dictionaries({"a": HOSTILE, "finish_reason": HOSTILE | st.none()})
    ),
    max_leaves=12,
)


@given(ANSWERS, st.booleans(), st.sampled_from([None, 1]))
@settings(max_examples=600)
def test_answers_stay_equal_but_for_the_added_twins(answer: Any, ascii_only: bool, indent: int | None) -> None:
    body = json.dumps(answer, ensure_ascii=ascii_only, indent=indent).encode()
    changed = json.loads(with_finish_reason(body))
    assert without_twins(changed) == answer
    assert twinned(changed)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"finish_reason":"stop"}', b'{"finish_reason":"stop","finishReason":"stop"}'),
        (b'{"finish_reason" : null }', b'{"finish_reason" : null,"finishReason" : null }'),
        (b'{"finish_reason":"a\\"b\\\\","z":1}', b'{"finish_reason":"a\\"b\\\\","finishReason":"a\\"b\\\\","z":1}'),
        (b'{"finish_reason":5}', b'{"finish_reason":5}'),
        (b"no JSON at all", b"no JSON at all"),
        (b'{"finish_reason"', b'{"finish_reason"'),
        (b'{"finish_reason":', b'{"finish_reason":'),
        (b'{"finish_reason":"st', b'{"finish_reason":"st'),
        (b"", b""),
    ],
)
def test_twins(body: bytes, expected: bytes) -> None:
    assert with_finish_reason(body) == expected
