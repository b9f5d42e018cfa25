"""The real chat engine: the behaviour that the gateway's provider builds on.  One that changes upstream fails here."""

import json
import os
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

pytestmark = pytest.mark.slow

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
HELLO = [{"role": "user", "content": "Say hi."}]
SCHEMA = {
    "type": "object",
    "properties": {"mood": {"enum": ["good", "bad"]}},
    "required": ["mood"],
    "additionalProperties": False,
}


def _text(events: list[Any], index: int = 0) -> str:
    choices = [choice for event in events if event for choice in event["choices"] if choice["index"] == index]
    return "".join(choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices)


def test_says_what_it_is(chat: Any) -> None:
    assert chat.first["ready"] is True
    assert chat.first["pid"] == chat.process.pid
    facts = chat.first["facts"]
    assert (facts["context"], facts["slots"], facts["architecture"]) == (1024, 5, "llama")
    assert facts["parameters"] == 134_515_008


def test_listens_on_its_socket_only(chat: Any) -> None:
    inodes = set()
    for entry in (f"/proc/{chat.process.pid}/net/tcp", f"/proc/{chat.process.pid}/net/tcp6"):
        with open(entry) as rows:
            inodes |= {row.split()[9] for row in rows.readlines()[1:] if row.split()[3] == "0A"}
    held = {os.readlink(f"/proc/{chat.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{chat.process.pid}/fd")}
    assert not {f"socket:[{inode}]" for inode in inodes} & held
    assert chat.raw("GET", "/health", key="")[0] == 200
    for path in (CHAT, COMPLETIONS, "/tokenize"):
        assert chat.raw("POST", path, {"messages": HELLO, "prompt": "a", "content": "a"}, key="wrong")[0] == 401


def test_the_same_seed_gives_the_same_answer(chat: Any) -> None:
    body = {"messages": HELLO, "max_tokens": 12, "temperature": 1.0}
    first, again, other = (_text(chat.stream(CHAT, {**body, "seed": seed})) for seed in (5, 5, 6))
    assert first == again != other


def test_several_choices_have_a_usage_each(chat: Any) -> None:
    body = {"messages": HELLO, "max_tokens": 3, "n": 5, "seed": 1, "stream_options": {"include_usage": True}}
    events = chat.stream(CHAT, body)
    usages = [event["usage"] for event in events if "usage" in event]
    assert [usage["completion_tokens"] for usage in usages] == [3] * 5
    assert {event["choices"][0]["index"] for event in events if event["choices"]} == set(range(5))
    status, answer = chat.post(CHAT, {**body, "n": 6, "stream": True})
    assert status == 400
    assert "1 <= value <= 5" in answer["error"]["message"]


def test_completions_of_two_prompts_begin_with_null(chat: Any) -> None:
    events = chat.stream(COMPLETIONS, {"prompt": ["The sky", "A"], "n": 2, "max_tokens": 2})
    assert events[0] is None
    assert {event["choices"][0]["index"] for event in events[1:]} == set(range(4))


def test_more_than_the_context_is_a_400_before_the_stream(chat: Any) -> None:
    body = {"messages": [{"role": "user", "content": "word " * 2000}], "stream": True}
    status, answer = chat.post(CHAT, body)
    assert status == 400
    error = answer["error"]
    assert error["type"] == "exceed_context_size_error"
    assert error["n_ctx"] == 1024 < error["n_prompt_tokens"]


@pytest.mark.parametrize("format_", [{"json_schema": SCHEMA}, None])
def test_a_schema_is_obeyed(chat: Any, format_: Any) -> None:
    given = format_ or {"response_format": {"type": "json_schema", "json_schema": {"name": "m", "schema": SCHEMA}}}
    text = _text(chat.stream(CHAT, {"messages": HELLO, "max_tokens": 60, "temperature": 0, **given}))
    assert json.loads(text)["mood"] in ("good", "bad")


def test_limits_have_an_order(chat: Any) -> None:
    def count(**limits: int) -> int:
        body = {"messages": HELLO, "temperature": 0, "ignore_eos": True, "stream_options": {"include_usage": True}}
        return int(chat.stream(CHAT, {**body, **limits})[-1]["usage"]["completion_tokens"])

    assert count(max_tokens=2, max_completion_tokens=4) == 4
    assert count(max_tokens=2, max_completion_tokens=4, n_predict=6) == 6
    assert count(max_tokens=0) == 1


def test_log_probabilities_have_the_chat_shape_everywhere(chat: Any) -> None:
    body = {"messages": HELLO, "max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 2}
    chunk = chat.stream(CHAT, body)[1]
    (entry,) = chunk["choices"][0]["logprobs"]["content"]
    assert set(entry) == {"id", "token", "bytes", "logprob", "top_logprobs"}
    assert len(entry["top_logprobs"]) == 2
    chunk = chat.stream(COMPLETIONS, {"prompt": "The", "max_tokens": 1, "temperature": 0, "logprobs": 2})[0]
    assert len(chunk["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 2


def test_many_streams_at_once_are_whole_and_health_answers(chat: Any) -> None:
    body = {"messages": HELLO, "max_tokens": 4, "temperature": 0, "ignore_eos": True}
    with ThreadPoolExecutor(20) as pool:
        answers = [pool.submit(chat.stream, CHAT, body) for _ in range(20)]
        assert chat.raw("GET", "/health")[0] == 200
        assert len({_text(answer.result()) for answer in answers}) <= 2


def test_a_caller_that_leaves_frees_the_slot(chat: Any) -> None:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    connection.connect(chat.spec.socket)
    body = json.dumps({"messages": HELLO, "max_tokens": 900, "ignore_eos": True, "stream": True}).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {chat.spec.key}\r\n"
    connection.sendall(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert connection.recv(4096).startswith(b"HTTP/1.1 200")

    def busy() -> bool:
        return b"llamacpp:requests_processing 1" in chat.raw("GET", "/metrics")[1]

    assert busy()
    connection.close()
    waiting = threading.Event()
    for _ in range(100):
        if not busy():
            return
        waiting.wait(0.05)
    pytest.fail("the slot is still busy five seconds after its caller left")
