"""What a scripted model answers: in both forms the same, by rules and by name, and always the same bytes."""

import base64
import json
import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.errors import ConfigError
from tesela.providers.scripted import SCRIPTED, Play, play, script_from
from tesela.providers.scripted_text import count, tokens
from tesela.providers.scripted_traits import UNICODE
from tesela.wire.assemble import Assembler
from tesela.wire.sse import DONE, EventParser
from tesela.wire.tasks import PATH, Task
from tesela.wire.usage import find

CHAT, OLD, EMBED = PATH[Task.CHAT], PATH[Task.COMPLETIONS], PATH[Task.EMBEDDINGS]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 2}},
            "required": ["city", "days"],
        },
    },
}
OTHER = {"type": "function", "function": {"name": "other"}}
HELLO = [{"role": "user", "content": "Hello there"}]
CALLED = [
    {"role": "user", "content": "weather?"},
    {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather"}}]},
    {"role": "tool", "tool_call_id": "c1", "content": "rain"},
]


def ask(model: str = "m", config: Any = None, path: str = CHAT, attempt: int = 1, **fields: Any) -> Play:
    if path == CHAT:
        fields.setdefault("messages", HELLO)
    return play(script_from(config, model), json.dumps({"model": model, **fields}).encode(), path, attempt)


def body(played: Play) -> Any:
    return json.loads(b"".join(part for _, part in played.parts))


def chunks(played: Play) -> list[Any]:
    parser = EventParser()
    events = [event for _, part in played.parts for event in parser.feed(part)]
    assert parser.finish() == []
    return [event.data if event.data == DONE else json.loads(event.data) for event in events]


def message(played: Play) -> Any:
    assert played.status == 200, played
    return body(played)["choices"][0]["message"]


def said(model: str = "m", config: Any = None, **fields: Any) -> Any:
    return message(ask(model, config, **fields))["content"]


def test_the_provider_speaks_the_unified_form() -> None:
    assert SCRIPTED.name == "scripted"
    assert SCRIPTED.translations == {Task.CHAT: None, Task.COMPLETIONS: None, Task.EMBEDDINGS: None}


# -- answers ---------------------------------------------------------------------------------------------------------


def test_an_answer_in_openais_form() -> None:
    played = ask("echo")
    answer = body(played)
    assert played.status == 200
    assert dict(played.headers)["content-type"] == "application/json"
    assert dict(played.headers)["content-length"] == str(len(played.parts[0][1]))
    assert answer.pop("id").startswith("chatcmpl-")
    assert answer == {
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "echo",
        "system_fingerprint": "fp_scripted",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello there", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4},
    }


def test_a_model_without_a_script_is_polite_and_listens() -> None:
    assert said() == said()
    assert "Hello there" in said()
    assert said() != said(messages=[{"role": "user", "content": "Hello There"}])


def test_the_last_user_message_is_what_counts() -> None:
    turns = [{"role": "system", "content": "s"}, *HELLO, {"role": "assistant", "content": "x"}]
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    assert said("echo", messages=turns) == "Hello there"
    assert said("echo", messages=[*turns, {"role": "user", "content": parts}]) == "a"


def test_several_choices() -> None:
    answer = body(ask(config={"default": {"reply": ["a", "b"]}}, n=3))
    assert [choice["message"]["content"] for choice in answer["choices"]] == ["a", "b", "a"]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert answer["usage"]["completion_tokens"] == 3


def test_stop_and_limits() -> None:
    config = {"default": {"reply": "one, two, three"}}
    choice = body(ask(config=config, stop=["three", ", t"]))["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("one", "stop")
    cut = body(ask(config=config, max_tokens=3))
    assert (cut["choices"][0]["message"]["content"], cut["choices"][0]["finish_reason"]) == ("one, two", "length")
    assert cut["usage"]["completion_tokens"] == 3
    assert body(ask(config=config, max_completion_tokens=5))["choices"][0]["finish_reason"] == "stop"


def test_log_probabilities() -> None:
    asked: dict[str, Any] = {"logprobs": True, "top_logprobs": 2, "messages": [{"role": "user", "content": "a é"}]}
    found = body(ask("echo", **asked))["choices"][0]["logprobs"]["content"]
    assert [one["token"] for one in found] == ["a", " é"]
    assert found[1]["bytes"] == list(" é".encode())
    for one in found:
        assert -1 <= one["logprob"] <= 0
        assert one["top_logprobs"][0]["token"] == one["token"]
        assert one["top_logprobs"][0]["logprob"] > one["top_logprobs"][1]["logprob"]
    assert body(ask("echo", logprobs=True))["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []


def test_a_seed_is_taken() -> None:
    assert said("echo", seed=7, temperature=0, top_p=1) == "Hello there"


def test_reasoning_refusal_empty_and_no_usage() -> None:
    thought = body(ask("reasoning"))
    assert "Hello there" in thought["choices"][0]["message"]["reasoning_content"]
    usage = thought["usage"]
    assert 0 < usage["completion_tokens_details"]["reasoning_tokens"] < usage["completion_tokens"]
    refused = message(ask("refusal"))
    assert refused["content"] is None
    assert refused["refusal"]
    assert said("empty") == ""
    assert body(ask("empty"))["usage"]["completion_tokens"] == 0
    assert "usage" not in body(ask("no-usage"))
    assert find(ask("no-usage", stream=True, stream_options={"include_usage": True}).parts[-2][1]) is None


def test_long_answers() -> None:
    answer = body(ask("long-10000"))
    assert answer["usage"]["completion_tokens"] == 10_000
    assert answer["choices"][0]["message"]["content"].endswith(" w10000")


def test_unicode_arrives_whole_though_its_bytes_are_cut() -> None:
    played = ask("unicode")
    assert message(played)["content"] == UNICODE
    assert len(played.parts) == 2
    with pytest.raises(UnicodeDecodeError):
        played.parts[0][1].decode()
    streamed = ask("unicode", stream=True)
    pieces = [chunk["choices"][0]["delta"].get("content", "") for chunk in chunks(streamed)[:-1]]
    assert "".join(pieces) == UNICODE
    assert sum(b"data: " in part for _, part in streamed.parts) < len(streamed.parts)
    family = pieces.index(" \U0001f468")
    assert pieces[family + 1] == "\u200d"


# -- streams ---------------------------------------------------------------------------------------------------------

ASKED: list[tuple[str, dict[str, Any]]] = [
    ("echo", {}),
    ("m", {"n": 2, "logprobs": True, "top_logprobs": 3}),
    ("unicode", {"stop": "tab"}),
    ("reasoning", {"max_tokens": 12}),
    ("refusal", {"logprobs": True}),
    ("empty", {}),
    ("tool-call", {"tools": [WEATHER]}),
    ("tool-call+reasoning", {"tools": [WEATHER], "n": 2}),
    ("tool-call", {"tools": [WEATHER], "max_tokens": 4}),
    ("m", {"response_format": {"type": "json_object"}}),
    ("no-usage", {}),
]


@pytest.mark.parametrize(("model", "fields"), ASKED)
def test_a_stream_and_a_whole_answer_say_the_same(model: str, fields: dict[str, Any]) -> None:
    # The ids of calls come from the request, and `stream` is part of it.
    whole = forget(body(ask(model, **fields)))
    events = chunks(ask(model, **fields, stream=True, stream_options={"include_usage": True}))
    assert events[-1] == DONE
    assembler = Assembler(Task.CHAT)
    for event in events[:-1]:
        assembler.feed(json.dumps(event).encode())
    assert forget(json.loads(assembler.finish())) == whole


def forget(answer: Any) -> Any:
    """The answer without its ids."""
    del answer["id"]
    for choice in answer["choices"]:
        for call in choice["message"].get("tool_calls", ()):
            assert call.pop("id").startswith("call_")
    return answer


@pytest.mark.parametrize(
    ("config", "fields"),
    [({"default": {"reply": "a b é"}}, {"logprobs": 2}), (None, {"n": 2, "echo": True, "max_tokens": 3}), (None, {})],
)
def test_completions_in_both_forms(config: Any, fields: dict[str, Any]) -> None:
    prompts: dict[str, Any] = {"prompt": ["one", "two words"]}
    whole = body(ask(config=config, path=OLD, **prompts, **fields))
    events = chunks(
        ask(config=config, path=OLD, **prompts, **fields, stream=True, stream_options={"include_usage": True})
    )
    assembler = Assembler(Task.COMPLETIONS)
    for event in events[:-1]:
        assembler.feed(json.dumps(event).encode())
    assembled = json.loads(assembler.finish())
    del whole["id"], assembled["id"]
    assert assembled == whole


def test_usage_in_a_stream_only_when_asked_for() -> None:
    plain = chunks(ask("echo", stream=True))
    assert all("usage" not in chunk for chunk in plain[:-1])
    asked = chunks(ask("echo", stream=True, stream_options={"include_usage": True}))
    assert asked[-2]["choices"] == []
    assert asked[-2]["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}
    assert all(chunk["usage"] is None for chunk in asked[:-2])
    assert plain[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}


def test_choices_of_a_stream_come_in_turn() -> None:
    events = chunks(ask("echo", stream=True, n=2))[:-1]
    assert [event["choices"][0]["index"] for event in events] == [0, 1] * (len(events) // 2)


# -- tools and structured output -------------------------------------------------------------------------------------


def calls(*args: Any, **fields: Any) -> list[tuple[str, Any]]:
    found = message(ask(*args, **fields)).get("tool_calls", [])
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in found]


MADE = ("weather", {"city": "city", "days": 2})


@pytest.mark.parametrize(
    ("model", "choice", "made"),
    [
        ("m", None, []),
        ("m", "auto", []),
        ("m", "none", []),
        ("m", "required", [MADE]),
        ("m", {"type": "function", "function": {"name": "other"}}, [("other", {})]),
        ("tool-call", None, [MADE]),
        ("tool-call", "none", []),
        ("tool-call", {"type": "function", "function": {"name": "other"}}, [("other", {})]),
    ],
)
def test_tool_choice_is_obeyed(model: str, choice: Any, made: list[Any]) -> None:
    fields = {} if choice is None else {"tool_choice": choice}
    assert calls(model, tools=[WEATHER, OTHER], **fields) == made
    finish = body(ask(model, tools=[WEATHER, OTHER], **fields))["choices"][0]["finish_reason"]
    assert finish == ("tool_calls" if made else "stop")


def test_no_tools_no_calls() -> None:
    assert calls("tool-call") == []
    assert said("tool-call").startswith("Thank you")


def test_a_model_that_calls_tools_then_speaks() -> None:
    assert said("tool-call", tools=[WEATHER], messages=CALLED) == "The tool says: rain"


def test_rules_call_tools_once() -> None:
    rules: list[dict[str, Any]] = [
        {"when": {"contains": "weather"}, "tool_calls": [{"name": "weather", "arguments": {"city": "{last_user}"}}]},
        {"when": {"tool_result": "rain"}, "reply": "It is {tool_result}."},
    ]
    config = {"rules": rules}
    asked: dict[str, Any] = {"tools": [WEATHER], "messages": [{"role": "user", "content": "weather"}]}
    assert calls(config=config, **asked) == [("weather", {"city": "weather"})]
    assert said(config=config, tools=[WEATHER], messages=CALLED) == "It is rain."
    again = {"rules": [{**rules[0], "when": {"contains": "weather", "last_role": "tool"}}]}
    assert calls(config=again, tools=[WEATHER], messages=CALLED)[0][1] == {"city": "weather?"}


def test_parallel_calls_and_text_beside_them() -> None:
    config = {
        "default": {"reply": "I look.", "tool_calls": [{"name": "weather"}, {"name": "other", "arguments": "{x"}]}
    }
    found = message(ask(config=config, tools=[WEATHER, OTHER]))
    assert found["content"] == "I look."
    assert [call["function"]["name"] for call in found["tool_calls"]] == ["weather", "other"]
    assert found["tool_calls"][1]["function"]["arguments"] == "{x"
    assert len({call["id"] for call in found["tool_calls"]}) == 2
    one = message(ask(config=config, tools=[WEATHER, OTHER], parallel_tool_calls=False))
    assert len(one["tool_calls"]) == 1


def test_structured_output() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    wanted: dict[str, Any] = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert json.loads(said(response_format=wanted)) == {"n": 1}
    assert json.loads(said(response_format={"type": "json_object"}))["answer"].startswith("Thank you")
    assert said(response_format={"type": "text"}).startswith("Thank you")
    assert said("echo", response_format=wanted) == "Hello there"
    refused = ask(response_format={**wanted, "json_schema": {"name": "x", "schema": {"not": {}}}})
    assert refused.status == 400
    assert "'not'" in body(refused)["error"]["message"]


# -- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "fields", "holds"),
    [
        ({"contains": "llo"}, {}, True),
        ({"contains": "LLO"}, {}, False),
        ({"matches": "(?i)^h.*E$"}, {}, True),
        ({"matches": "^there"}, {}, False),
        ({"equals": "Hello there"}, {}, True),
        ({"equals": "Hello"}, {}, False),
        ({"system_contains": "pirate"}, {"messages": [{"role": "system", "content": "a pirate"}, *HELLO]}, True),
        ({"system_contains": "pirate"}, {}, False),
        ({"last_role": "user"}, {}, True),
        ({"last_role": "tool"}, {"messages": CALLED}, True),
        ({"tool_result": True}, {"messages": CALLED}, True),
        ({"tool_result": False}, {"messages": CALLED}, False),
        ({"tool_result": "rain"}, {"messages": CALLED}, True),
        ({"tool_result": "sun"}, {"messages": CALLED}, False),
        ({"tool_result": ""}, {}, False),
        ({"has_tools": True}, {"tools": [WEATHER]}, True),
        ({"has_tools": True}, {}, False),
        ({"stream": False}, {}, True),
        ({"stream": True}, {}, False),
        ({"attempt_at_most": 2}, {"attempt": 2}, True),
        ({"attempt_at_most": 2}, {"attempt": 3}, False),
        ({"attempt_above": 2}, {"attempt": 3}, True),
        ({"attempt_above": 2}, {"attempt": 2}, False),
        ({"every": 3}, {"attempt": 6}, True),
        ({"every": 3}, {"attempt": 5}, False),
        ({"contains": "Hello", "last_role": "tool"}, {}, False),
        ({}, {}, True),
    ],
)
def test_conditions(when: dict[str, Any], fields: dict[str, Any], holds: bool) -> None:
    config = {"rules": [{"when": when, "reply": "yes"}, {"reply": "no"}]}
    assert said(config=config, **fields) == ("yes" if holds else "no")


def test_the_first_rule_that_matches_wins_and_the_default_is_last() -> None:
    config = {
        "rules": [{"when": {"contains": "a"}, "reply": "first"}, {"when": {"contains": "ab"}, "reply": "second"}],
        "default": {"reply": "default"},
    }
    texts = [said(config=config, messages=[{"role": "user", "content": text}]) for text in ("ab", "b")]
    assert texts == ["first", "default"]


def test_templates_leave_other_braces_alone() -> None:
    template = '{last_user}|{n_messages}|{attempt}|{"json": {x}}'
    assert said(config={"default": {"reply": template}}, attempt=4) == 'Hello there|1|4|{"json": {x}}'
    filled = said(config={"default": {"json": {"a": ["{last_user}", 1, None]}}})
    assert json.loads(filled) == {"a": ["Hello there", 1, None]}


def test_rules_set_the_finish_reason_and_usage() -> None:
    config = {"default": {"reply": "x", "finish_reason": "content_filter", "usage": {"prompt_tokens": 1000}}}
    answer = body(ask(config=config))
    assert answer["choices"][0]["finish_reason"] == "content_filter"
    assert answer["usage"] == {"prompt_tokens": 1000, "completion_tokens": 1, "total_tokens": 1001}


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"rule": []}, "rule"),
        ({"rules": [{"reply": "x"}, {"when": {"contain": "a"}}]}, "rules[1].when"),
        ({"rules": [{"reply": 3}]}, "rules[0].reply"),
        ({"rules": [{"when": {"matches": "("}}]}, "rules[0].when.matches"),
        ({"rules": [{"reply": "x", "refusal": "y"}]}, "rules[0]"),
        ({"rules": [{"cut_after": 1, "stall_after": 1}]}, "rules[0]"),
        ({"rules": [{"error": 200}]}, "rules[0].error"),
        ({"rules": [{"error": {"status": 302}}]}, "rules[0].error"),
        ({"rules": [{"delay_s": -1}]}, "rules[0].delay_s"),
        ({"rules": [{"reply": []}]}, "rules[0].reply"),
        ({"rules": [{"embedding": [0, 0]}]}, "rules[0].embedding"),
        ({"default": {"tool_calls": [{"nam": "x"}]}}, "default.tool_calls[0]"),
        ({"dimensions": 0}, "dimensions"),
    ],
)
def test_a_wrong_script_says_where(config: Any, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        script_from(config, "my-model")
    assert told in caught.value.message
    assert "'my-model'" in caught.value.message


@pytest.mark.parametrize("model", ["error-200", "error-999", "echo+sow", "slow-9999999s", "long-99999999"])
def test_a_wrong_name_is_refused(model: str) -> None:
    with pytest.raises(ConfigError):
        script_from(None, model)


@pytest.mark.parametrize("model", ["gpt-4o", "slow-motion", "a+b", "error", "echoes"])
def test_other_names_are_just_names(model: str) -> None:
    assert body(ask(model))["model"] == model
    assert said(model).startswith("Thank you")


# -- faults ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "status", "kind"),
    [
        ("error-401", 401, "authentication_error"),
        ("error-429", 429, "rate_limit_error"),
        ("error-500", 500, "server_error"),
        ("error-422", 422, "invalid_request_error"),
    ],
)
@pytest.mark.parametrize("fields", [{}, {"stream": True}])
def test_errors(model: str, status: int, kind: str, fields: dict[str, Any]) -> None:
    played = ask(model, **fields)
    assert played.status == status
    assert body(played)["error"]["type"] == kind
    assert (dict(played.headers).get("retry-after") == "1") is (status == 429)


@pytest.mark.parametrize("path", [OLD, EMBED])
def test_errors_on_every_path(path: str) -> None:
    assert ask("error-503", path=path, prompt="x", input="x").status == 503


def test_an_error_of_a_rule() -> None:
    fault = {"status": 400, "message": "too long", "code": "context_length_exceeded", "param": "messages"}
    played = ask(config={"rules": [{"error": {**fault, "retry_after": 3}, "delay_s": 2}]})
    assert played.parts[0][0] == 2
    assert body(played)["error"] == {
        "message": "too long",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
    assert dict(played.headers)["retry-after"] == "3"


def test_flaky_models_fail_and_then_work() -> None:
    assert [ask("flaky-2", attempt=attempt).status for attempt in (1, 2, 3, 4)] == [503, 503, 200, 200]
    assert [ask("flaky+echo", attempt=attempt).status for attempt in (1, 2)] == [503, 200]


def test_streams_that_break_stall_and_fail() -> None:
    whole = ask("echo", stream=True)
    cut = ask("cut-after-2+echo", stream=True)
    assert cut.end == "cut"
    assert [chunk["choices"][0]["delta"] for chunk in chunks(cut)] == [
        chunk["choices"][0]["delta"] for chunk in chunks(whole)[:2]
    ]
    stall = ask("stall-after-3", stream=True)
    assert (stall.end, len(stall.parts)) == ("stall", 3)
    failed = ask("error-after-1", stream=True)
    assert failed.end == "end"
    first, error = chunks(failed)
    assert "choices" in first
    assert error["error"]["type"] == "server_error"
    assert ask("cut-after-0", stream=True).parts == ()


def test_whole_answers_that_break_stall_and_fail() -> None:
    cut = ask("cut-after-2")
    assert cut.end == "cut"
    assert len(cut.parts[0][1]) < int(dict(cut.headers)["content-length"])
    assert ask("stall-after-2").end == "stall"
    assert ask("stall-after-0").parts == ()
    assert ask("error-after-2").status == 500


def test_bad_json() -> None:
    with pytest.raises(json.JSONDecodeError):
        body(ask("bad-json"))
    with pytest.raises(json.JSONDecodeError):
        chunks(ask("bad-json", stream=True))


def test_pace() -> None:
    assert [wait for wait, _ in ask("slow-250ms+echo").parts] == [0.25]
    assert [wait for wait, _ in ask("slow+echo", stream=True).parts] == [1.0, 0, 0, 0, 0]
    assert [wait for wait, _ in ask("drip-20ms+slow-2s+echo", stream=True).parts] == [2.0, *[0.02] * 4]
    assert ask("drip-500ms+echo").parts[0][0] == 1.0
    inherited = {"delay_s": 0.5, "rules": [{"reply": "x"}, {"reply": "y", "delay_s": 0.1}]}
    assert ask(config=inherited).parts[0][0] == 0.5


# -- requests that make no sense -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "nobody", "content": "x"}]}, "messages[0].role"),
        ({"temperature": "hot"}, "temperature"),
        ({"stop": ["a"] * 9}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"include_usage": 1}}, "stream_options"),
    ],
)
def test_bad_requests_are_400_and_name_the_field(fields: dict[str, Any], param: str) -> None:
    played = ask(**fields)
    assert played.status == 400
    assert body(played)["error"]["param"] == param


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b'{"messages":' + b"[" * 100_000])
def test_bodies_that_are_no_requests(raw: bytes) -> None:
    assert play(script_from(None, "m"), raw, CHAT, 1).status == 400


def test_unknown_paths() -> None:
    assert ask(path="/images").status == 404


# -- embeddings ------------------------------------------------------------------------------------------------------


def vectors(*texts: str, **fields: Any) -> list[Any]:
    answer = body(ask(path=EMBED, input=list(texts), **fields))
    assert [one["index"] for one in answer["data"]] == list(range(len(texts)))
    return [one["embedding"] for one in answer["data"]]


def near(one: list[float], other: list[float]) -> float:
    return sum(left * right for left, right in zip(one, other, strict=True))


def test_embeddings_are_unit_vectors_and_words_bring_texts_together() -> None:
    cats, more_cats, order, ships = vectors(
        "the cat sat on the mat", "a cat sat on a mat", "mat the on sat cat the", "seven ships sail north tomorrow"
    )
    assert len(cats) == 384
    assert math.isclose(near(cats, cats), 1, abs_tol=1e-6)
    assert near(cats, more_cats) > 0.4 > 0.25 > abs(near(cats, ships))
    assert 0.7 < near(cats, order) < 0.999
    assert vectors("the cat sat on the mat")[0] == cats


def test_embeddings_in_base64_say_the_same() -> None:
    (numbers,) = vectors("a", dimensions=5)
    (packed,) = vectors("a", dimensions=5, encoding_format="base64")
    assert list(struct.unpack("<5f", base64.b64decode(packed))) == numbers


@pytest.mark.parametrize("text", ["", "\0", "é", "a" * 10_000])
def test_every_text_has_a_direction(text: str) -> None:
    (one,) = vectors(text, dimensions=1)
    assert abs(one[0]) == 1


def test_embeddings_by_rule() -> None:
    config = {"rules": [{"when": {"equals": "north"}, "embedding": [0, 2]}], "default": {"embedding": [3, 4]}}
    north, other = vectors("north", "south", config=config)
    assert north == [0, 1]
    assert other == pytest.approx([0.6, 0.8])
    assert ask(path=EMBED, input="north", dimensions=3, config=config).status == 400


def test_embeddings_usage_and_refusals() -> None:
    assert body(ask(path=EMBED, input=["a b", "c"]))["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert ask(path=EMBED, input="a", stream=True).status == 400
    assert ask(path=EMBED, input="a", dimensions=10**9).status == 400
    assert "usage" not in body(ask("no-usage", path=EMBED, input="a"))


# -- completions -----------------------------------------------------------------------------------------------------


def test_completions() -> None:
    answer = body(ask("echo", path=OLD, prompt=["one", "two"], n=2))
    assert answer["object"] == "text_completion"
    assert [choice["text"] for choice in answer["choices"]] == ["one", "one", "two", "two"]
    echoed = body(ask("echo", path=OLD, prompt="a b", echo=True, max_tokens=0, logprobs=1))
    assert echoed["choices"][0]["text"] == "a b"
    assert echoed["choices"][0]["logprobs"]["text_offset"] == [0, 1]
    assert echoed["usage"]["completion_tokens"] == 0


# -- properties ------------------------------------------------------------------------------------------------------


@given(st.text())
def test_tokens_join_to_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text
    assert len(tokens(text)) == count(text)


@given(st.text(max_size=30).filter(lambda text: text.isprintable()), st.booleans())
def test_the_same_request_gets_the_same_bytes(text: str, stream: bool) -> None:
    asked: dict[str, Any] = {"messages": [{"role": "user", "content": text}], "stream": stream}
    assert ask("echo", **asked) == ask("echo", **asked)


@given(st.binary(max_size=60), st.sampled_from([CHAT, OLD, EMBED]))
def test_no_body_breaks_it(raw: bytes, path: str) -> None:
    assert play(script_from(None, "echo"), raw, path, 1).status in (200, 400)
