"""The snippets of the query panel run as they are, and send what the browser would have sent.

Vitest writes them from a table of requests (web/tests/query.test.ts); an upstream of our own records what arrives.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
WEB = REPOSITORY / "web"
NODE = shutil.which("node") or ""
CASES = (
    "plain", "quotes", "stream", "tools", "format", "other", "turns", "picture", "words", "prompts", "vectors",
)  # fmt: skip
CLIENTS = ("openai", "databricks", "mlflow", "langchain")
ADDED = {"model", "stream_options", "encoding_format", "n"}
"""Fields that a client adds by itself: they ask for what would come in any case."""

pytestmark = pytest.mark.skipif(
    not (NODE and (WEB / "node_modules").exists()), reason="the pages' packages are missing"
)


class Upstream(BaseHTTPRequestHandler):
    """Answers every request in OpenAI's form, and keeps its body."""

    bodies: list[Any] = []  # noqa: RUF012 - of this one server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.bodies.append(body)
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        about = {"id": "x", "created": 1, "model": "m"}
        if "input" in body:
            count = len(body["input"]) if isinstance(body["input"], list) else 1
            data = [{"object": "embedding", "index": at, "embedding": [0.5, 0.25]} for at in range(count)]
            self._send("application/json", {"object": "list", "data": data, **about, "usage": usage})
        elif "prompt" in body:
            choice = {"index": 0, "text": "recorded", "finish_reason": "stop", "logprobs": None}
            self._send("application/json", {"object": "text_completion", "choices": [choice], **about, "usage": usage})
        elif body.get("stream"):
            delta = {"index": 0, "delta": {"role": "assistant", "content": "recorded"}, "finish_reason": None}
            end = {"index": 0, "delta": {}, "finish_reason": "stop"}
            chunk = {"object": "chat.completion.chunk", **about}
            events = [
                {**chunk, "choices": [delta]},
                {**chunk, "choices": [end]},
                {**chunk, "choices": [], "usage": usage},
            ]
            self._send(
                "text/event-stream", "".join(f"data: {json.dumps(one)}\n\n" for one in events) + "data: [DONE]\n\n"
            )
        else:
            message = {"role": "assistant", "content": '{"x": "recorded"}'}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            self._send("application/json", {"object": "chat.completion", "choices": [choice], **about, "usage": usage})

    def _send(self, kind: str, body: Any) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture(scope="module")
def snippets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("snippets")
    done = subprocess.run(
        [NODE, str(WEB / "node_modules/vitest/vitest.mjs"), "run", "tests/query.test.ts", "-t", "are written"],
        cwd=WEB, env=os.environ | {"TESELA_SNIPPETS": str(folder)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.stem for path in folder.glob("*.json")} == set(CASES)
    return folder


@pytest.fixture(scope="module")
def recorded(running: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server whose endpoints are all on the recording upstream."""
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    lines = ["endpoints:"]
    tasks = (("echo", "chat"), ("polite", "chat"), ("words", "completions"), ("vectors", "embeddings"))
    for name, task in tasks:
        where = f"custom_provider_config: {{custom_provider_url: 'http://127.0.0.1:{upstream.server_port}/v1'}}"
        model = f"{{name: m, provider: custom, task: llm/v1/{task}, {where}}}"
        lines.append(f"  - {{name: {name}, config: {{served_entities: [{{name: {name}, external_model: {model}}}]}}}}")
    with running(tmp_path_factory.mktemp("recorded"), "\n".join(lines) + "\n") as started:
        yield started
    upstream.shutdown()
    upstream.server_close()


def run(recorded: Any, folder: Path, command: list[str]) -> tuple[str, list[Any]]:
    """What a snippet printed, and what it sent."""
    del Upstream.bodies[:]
    environ = {name: one for name, one in os.environ.items() if not name.startswith(("DATABRICKS_", "MLFLOW_"))}
    environ |= {"DATABRICKS_HOST": recorded.host, "DATABRICKS_TOKEN": recorded.access_token}
    environ |= {"PYTHONIOENCODING": "utf-8", "MLFLOW_DISABLE_TELEMETRY": "true", "NO_PROXY": "127.0.0.1,localhost"}
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode(), list(Upstream.bodies)


def essence(body: Any) -> Any:
    """A body without what clients add by themselves."""
    return {name: one for name, one in body.items() if name not in ADDED and (name, one) != ("stream", False)}


def asked(snippets: Path, case: str) -> Any:
    return json.loads((snippets / f"{case}.json").read_text("utf-8"))["body"]


@pytest.mark.parametrize("case", CASES)
def test_curl(recorded: Any, snippets: Path, case: str) -> None:
    shown, bodies = run(recorded, snippets, ["bash", f"{case}.sh"])
    assert "recorded" in shown or "embedding" in shown
    assert [{name: one for name, one in body.items() if name not in ADDED} for body in bodies] == [
        asked(snippets, case)
    ]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("case", CASES)
def test_python(recorded: Any, snippets: Path, case: str, client: str) -> None:
    file = snippets / f"{case}-{client}.py"
    if not file.exists():
        assert client == "langchain", "the others can say all"
        assert case in ("words", "prompts"), "only completions cannot be said"
        return
    shown, bodies = run(recorded, snippets, [sys.executable, "-W", "ignore", file.name])
    assert "recorded" in shown or "0.25" in shown
    assert len(bodies) == 1
    sent = essence(bodies[0])
    wanted = asked(snippets, case)
    if client == "langchain" and case == "vectors":
        assert [text for body in bodies for text in body["input"]] == wanted["input"]
    else:
        assert sent == wanted


@pytest.mark.parametrize("case", ["quotes", "format", "other", "words", "prompts", "vectors"])
def test_sql(recorded: Any, snippets: Path, case: str) -> None:
    """By our own command line, which is in the server's environment."""
    tesela = REPOSITORY / ".venv" / "bin" / "tesela"
    shown, bodies = run(recorded, snippets, [str(tesela), "sql", "-f", f"{case}.sql"])
    wanted = asked(snippets, case)
    assert "recorded" in shown or "0.25" in shown
    if case == "vectors":
        sent = [
            text for body in bodies for text in (body["input"] if isinstance(body["input"], list) else [body["input"]])
        ]
        assert sorted(sent) == sorted(wanted["input"])
        return
    if case == "prompts":
        assert sorted(body["prompt"] for body in bodies) == sorted(wanted["prompt"])
        assert {body["max_tokens"] for body in bodies} == {wanted["max_tokens"]}
        return
    assert len(bodies) == 1
    if case == "words":
        assert bodies[0]["prompt"] == wanted["prompt"]
    else:
        assert bodies[0]["messages"][-1] == wanted["messages"][-1]
    for name in ("max_tokens", "temperature", "seed", "stop", "top_k"):
        assert bodies[0].get(name) == wanted.get(name)
