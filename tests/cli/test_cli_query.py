"""`tesela query` as a process, against prepared answers."""

import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tesela.client.remote import connect

CHAT = "/serving-endpoints/chat/invocations"
EMBED = "/serving-endpoints/embed/invocations"


def chunk(text: str) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]}


@pytest.fixture
def chat(server: Any) -> Any:
    server.endpoint("chat")
    server.stream(
        CHAT,
        chunk("Hel"),
        chunk("lo \u2028 😀"),
        {"choices": [], "usage": {"total_tokens": 3}},
    )
    return server


def test_streams_the_text_and_ends_the_line(tesela: Any, chat: Any) -> None:
    done = tesela("query", "chat", "Say hello.")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == "Hello \u2028 😀\n"
    method, path, headers, body = chat.asked[-1]
    assert (method, path) == ("POST", CHAT)
    assert headers["Authorization"].startswith("Bearer dapi")
    assert body == {
        "messages": [{"role": "user", "content": "Say hello."}],
        "stream": True,
    }


def test_flags_become_fields(tesela: Any, chat: Any) -> None:
    tesela(
        "query",
        "chat",
        "hi",
        "--system",
        "Be brief.",
        "--temperature",
        "0",
        "--max-tokens",
        "5",
    )
    body = chat.asked[-1][3]
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["temperature"], body["max_tokens"]) == (0, 5)


@pytest.mark.parametrize(
    ("prompt", "stdin", "sent"),
    [
        (["-"], b"from input\n", "from input"),
        ([], b"from input\n", "from input"),
        (["Summarise:"], "naïve text\n".encode(), "Summarise:\n\nnaïve text"),
        (["Only this."], b"", "Only this."),
    ],
)
def test_the_prompt_comes_from_the_argument_and_the_input(
    tesela: Any, chat: Any, prompt: list[str], stdin: bytes, sent: str
) -> None:
    assert tesela("query", "chat", *prompt, stdin=stdin).returncode == 0
    assert chat.asked[-1][3]["messages"][-1]["content"] == sent


@pytest.mark.parametrize("stdin", [b"", b" \n", b"\xff\xfe"])
def test_without_a_usable_prompt_nothing_is_sent(tesela: Any, chat: Any, stdin: bytes) -> None:
    done = tesela("query", "chat", stdin=stdin)
    assert done.returncode == 2
    assert b"prompt" in done.stderr or b"UTF-8" in done.stderr
    assert chat.asked == []


def test_an_image_travels_as_a_data_url(tesela: Any, chat: Any, tmp_path: Path) -> None:
    picture = tmp_path / "dot.png"
    picture.write_bytes(b"\x89PNG")
    assert tesela("query", "chat", "What is this?", "--image", str(picture)).returncode == 0
    parts = chat.asked[-1][3]["messages"][0]["content"]
    assert parts == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
    ]


def test_json_prints_the_whole_answer(tesela: Any, server: Any) -> None:
    server.endpoint("chat")
    answer = {
        "choices": [{"message": {"role": "assistant", "content": "é"}}],
        "unheard_of": 1,
    }
    server.answer("POST", CHAT, answer)
    done = tesela("query", "chat", "hi", "--json")
    assert json.loads(done.stdout) == answer
    assert "stream" not in server.asked[-1][3]


def test_a_completions_endpoint_gets_a_prompt(tesela: Any, server: Any) -> None:
    server.endpoint("chat", "llm/v1/completions")
    server.stream(CHAT, {"choices": [{"index": 0, "text": "upon a time"}]})
    assert tesela("query", "chat", "Once").stdout == b"upon a time\n"
    assert server.asked[-1][3] == {"prompt": "Once", "stream": True}


def test_reasoning_parts_are_left_out(tesela: Any, server: Any) -> None:
    server.endpoint("chat")
    parts = [{"type": "reasoning", "summary": []}, {"type": "text", "text": "42"}]
    server.stream(CHAT, {"choices": [{"delta": {"content": parts}}]})
    assert tesela("query", "chat", "hi").stdout == b"42\n"


def test_a_vector_is_whole_when_piped(tesela: Any, server: Any) -> None:
    server.endpoint("embed", "llm/v1/embeddings")
    server.answer("POST", EMBED, {"data": [{"embedding": [0.5, -0.25, 1.0]}]})
    assert json.loads(tesela("query", "embed", "a tile").stdout) == [0.5, -0.25, 1.0]
    assert server.asked[-1][3] == {"input": "a tile"}


def test_a_vector_is_a_preview_on_a_terminal(tesela: Any, server: Any) -> None:
    server.endpoint("embed", "llm/v1/embeddings")
    server.answer("POST", EMBED, {"data": [{"embedding": [0.5] * 384}]})
    shown = on_terminal(tesela, "query", "embed", "a tile")
    assert shown.startswith("[0.5000, 0.5000, 0.5000, 0.5000, …] 384 dimensions")


def test_an_embeddings_endpoint_refuses_what_it_has_no_place_for(tesela: Any, server: Any) -> None:
    server.endpoint("embed", "llm/v1/embeddings")
    done = tesela("query", "embed", "a tile", "--system", "x", "--max-tokens", "3")
    assert done.returncode == 1
    assert b"--max-tokens, --system" in done.stderr
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            401,
            {"error_code": "UNAUTHENTICATED", "message": "who is this?"},
            ["who is this?", "DATABRICKS_TOKEN"],
        ),
        (
            404,
            {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such thing"},
            ["tesela endpoints list"],
        ),
        (
            429,
            {"error_code": "REQUEST_LIMIT_EXCEEDED", "message": "slow down"},
            ["slow down", "later"],
        ),
        (500, {"error": {"message": "in OpenAI's form"}}, ["in OpenAI's form"]),
        (502, "<html>", ["502"]),
    ],
)
def test_a_refusal_is_one_sentence(tesela: Any, server: Any, status: int, body: Any, words: list[str]) -> None:
    server.endpoint("chat")
    server.answer("POST", CHAT, body, status)
    done = tesela("query", "chat", "hi")
    assert done.returncode == 1
    assert done.stdout == b""
    text = done.stderr.decode()
    assert text.count("\n") == 1
    assert text.startswith("tesela: ")
    assert all(word in text for word in words)


def test_a_server_that_is_not_there(make_tesela: Any) -> None:
    # Port 9 (discard) of loopback: nothing listens there.
    done = make_tesela(DATABRICKS_HOST="http://127.0.0.1:9", DATABRICKS_TOKEN="x")("query", "chat", "hi")
    assert done.returncode == 1
    assert done.stderr.decode() == (
        "tesela: cannot reach http://127.0.0.1:9 (connection refused): is `tesela serve` running?\n"
    )


def test_something_that_is_not_a_serving_host(tesela: Any, server: Any) -> None:
    server.answers["GET", "/api/2.0/serving-endpoints/chat"] = (
        200,
        [b"<html>hello</html>"],
    )
    done = tesela("query", "chat", "hi")
    assert done.returncode == 1
    assert b"not JSON" in done.stderr


def test_a_failure_in_the_middle_keeps_what_came(tesela: Any, server: Any) -> None:
    server.endpoint("chat")
    server.stream(CHAT, chunk("Hel"), {"error": {"message": "the model stopped"}}, done=False)
    done = tesela("query", "chat", "hi")
    assert (done.returncode, done.stdout) == (1, b"Hel\n")
    assert done.stderr == b"tesela: the answer broke off: the model stopped\n"


def test_an_answer_that_just_stops_is_a_failure(tesela: Any, server: Any) -> None:
    server.endpoint("chat")
    server.stream(CHAT, chunk("Hel"), done=False)
    done = tesela("query", "chat", "hi")
    assert (done.returncode, done.stdout) == (1, b"Hel\n")
    assert b"before its end" in done.stderr


def test_the_local_server_needs_no_flags(make_tesela: Any, chat: Any, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text("dapi-kept\n", encoding="utf-8")
    port = chat.host.rpartition(":")[2]
    done = make_tesela(TESELA_PORT=port)("query", "chat", "hi")
    assert done.returncode == 0, done.stderr
    assert chat.asked[-1][2]["Authorization"] == "Bearer dapi-kept"


def test_the_running_server_is_found_by_the_address_it_left(make_tesela: Any, chat: Any, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text("dapi-kept\n", encoding="utf-8")
    (tmp_path / "home" / "address").write_text(chat.host + "\n", encoding="utf-8")
    assert make_tesela()("query", "chat", "hi").returncode == 0


def test_the_kept_token_goes_to_no_other_machine(make_tesela: Any, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "token").write_text("dapi-kept\n", encoding="utf-8")
    done = make_tesela(DATABRICKS_HOST="https://workspace.invalid")("query", "chat", "hi")
    assert done.returncode == 2
    assert b"no access token for https://workspace.invalid" in done.stderr


def endless(server: Any) -> Iterator[bytes]:
    yield b'data: {"choices":[{"delta":{"content":"first"}}]}\n\n'
    server.released.wait()


def test_control_c_ends_it_with_130(tesela: Any, server: Any) -> None:
    server.endpoint("chat")
    server.answers["POST", CHAT] = 200, endless(server)
    process = tesela.start(
        "query",
        "chat",
        "hi",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.read(5) == b"first"
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert (rest, errors.strip()) == (b"\n", b"")


def test_a_reader_that_leaves_is_no_drama(tesela: Any, server: Any) -> None:
    server.endpoint("chat")
    server.stream(CHAT, *[chunk("x" * 1000)] * 200)
    process = tesela.start(
        "query",
        "chat",
        "hi",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=30) == 1
    assert errors == b""


def on_terminal(tesela: Any, *arguments: str) -> str:
    """What the command shows when its output is a terminal."""
    ours, theirs = pty.openpty()
    process = tesela.start(*arguments, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break  # the other side of a pseudo-terminal is closed
        if not piece:
            break
        shown += piece
    os.close(ours)
    process.wait(timeout=30)
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1:8787", "http://127.0.0.1:8787"),
        ("localhost:8787/", "http://localhost:8787"),
        ("LOCALHOST", "http://LOCALHOST"),
        ("[::1]:8787", "http://[::1]:8787"),
        ("https://127.0.0.1:8787", "https://127.0.0.1:8787"),
        ("my-workspace.example.com", "https://my-workspace.example.com"),
        ("127.0.0.1.example.com", "https://127.0.0.1.example.com"),
        ("http://far:80/", "http://far:80"),
    ],
)
def test_an_address_without_a_scheme(host: str, url: str) -> None:
    assert connect(host, "dapi0", {}).host == url


def test_a_server_of_this_machine_is_found_without_a_scheme(tesela: Any, chat: Any) -> None:
    done = tesela("query", "chat", "hi", "--host", chat.host.removeprefix("http://"))
    assert done.returncode == 0, done.stderr
    assert len(chat.asked) == 2
