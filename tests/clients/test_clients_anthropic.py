"""What the translation for Anthropic sends and makes, read by Anthropic's own client and by OpenAI's.

Runs in the clients' environment; elsewhere there is nothing to test with.
"""

import importlib
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

openai_chat = pytest.importorskip("openai.types.chat", reason="the official clients live in their own environment")
pydantic = pytest.importorskip("pydantic")

HERE = Path(__file__).parent
TESELA = Path(os.environ.get("TESELA_BIN") or HERE.parents[1] / ".venv" / "bin" / "tesela")


@pytest.fixture(scope="module")
def examples() -> Any:
    command = [str(TESELA.with_name("python")), str(HERE / "anthropic_examples.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def anthropic() -> Any:
    """Anthropic's client, where it is installed."""
    return pytest.importorskip("anthropic", reason="Anthropic's client is not in this environment")


def plain(content: Any) -> bool:
    return content is None or isinstance(content, str)


def test_answers_are_chat_completions(examples: Any) -> None:
    """Strictly, but for the list of parts that OpenAI's own models never answer with."""
    assert examples["said"]
    for name, example in examples["said"].items():
        answer = example["answer"]
        if not plain(answer["choices"][0]["message"]["content"]):
            assert isinstance(openai_chat.ChatCompletion.construct(**answer).choices[0].message.content, list)
            answer["choices"][0]["message"]["content"] = None
        assert openai_chat.ChatCompletion.model_validate(answer).object == "chat.completion", name
        for chunk in example["chunks"]:
            for choice in chunk["choices"]:
                if not plain(choice["delta"].get("content")):
                    choice["delta"]["content"] = None
            openai_chat.ChatCompletionChunk.model_validate(chunk)


@pytest.mark.parametrize(
    ("task", "module"),
    [
        ("chat", "openai.types.chat.completion_create_params"),
        ("completions", "openai.types.completion_create_params"),
    ],
)
def test_every_field_of_the_openai_client_is_accounted_for(examples: Any, task: str, module: str) -> None:
    fields = importlib.import_module(module).CompletionCreateParamsBase.__annotations__
    assert set(fields) - set(examples["known"][task]) == set()


def test_requests_are_what_its_client_could_have_sent(anthropic: Any, examples: Any) -> None:
    types = importlib.import_module("anthropic.types.message_create_params")
    params = pydantic.TypeAdapter(types.MessageCreateParamsNonStreaming)
    assert examples["sent"]
    for body in examples["sent"].values():
        assert set(params.validate_python(body)) == set(body), "a field that its client does not have"
    del anthropic


class Says(BaseHTTPRequestHandler):
    """Answers with the example that a header names."""

    examples: Any = None

    def do_POST(self) -> None:
        streaming = json.loads(self.rfile.read(int(self.headers["content-length"]))).get("stream")
        example = self.examples["said"][self.headers["x-example"]]
        data = (example["stream"] if streaming else example["whole"]).encode()
        self.send_response(200)
        self.send_header("content-type", "text/event-stream" if streaming else "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def address(examples: Any) -> Iterator[str]:
    handler = type("SaysThese", (Says,), {"examples": examples})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_its_client_reads_the_answers_that_we_translate(anthropic: Any, examples: Any, address: str) -> None:
    """The fixtures are Anthropic's form: its client makes the same of a whole one and of a streamed one."""
    with anthropic.Anthropic(api_key="k", base_url=address, max_retries=0) as client:
        for name, example in examples["said"].items():
            asked: dict[str, Any] = {
                "model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}],
                "extra_headers": {"x-example": name},
            }  # fmt: skip
            whole = client.messages.create(**asked)
            with client.messages.stream(**asked) as stream:
                streamed = stream.get_final_message()
            assert [block.to_dict() for block in streamed.content] == [block.to_dict() for block in whole.content]
            if name != "an unknown block":
                anthropic.types.Message.model_validate(json.loads(example["whole"]))
