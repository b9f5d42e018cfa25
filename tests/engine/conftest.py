"""Real models, pulled once into a cache that outlives the run, and engines that are really started."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tesela.engine.ask import UnixConnection
from tesela.engine.models import Installed, engine_spec
from tesela.engine.placement import fill, place
from tesela.engine.pull import pull
from tesela.engine.spec import EngineSpec

CHAT_MODEL, EMBEDDINGS_MODEL = "smollm2-135m-instruct", "all-minilm-l6-v2"


class Engine:
    """A runner that was started by hand, and HTTP to it."""

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tesela.engine.runner"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(msgspec.json.encode(spec) + b"\n")
        self.process.stdin.flush()
        self.first: dict[str, Any] = json.loads(self.process.stdout.readline())

    def raw(self, method: str, path: str, body: Any = None, key: str | None = None) -> tuple[int, bytes]:
        connection = UnixConnection(self.spec.socket, 60)
        try:
            headers = {"Authorization": f"Bearer {self.spec.key if key is None else key}"}
            sent = body if isinstance(body, bytes) else json.dumps(body)
            connection.request(method, path, sent, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def post(self, path: str, body: Any) -> tuple[int, Any]:
        status, answer = self.raw("POST", path, body)
        return status, json.loads(answer)

    def stream(self, path: str, body: dict[str, Any]) -> list[Any]:
        status, answer = self.raw("POST", path, {**body, "stream": True})
        assert status == 200, answer
        events = [line.removeprefix(b"data: ") for line in answer.split(b"\n") if line.startswith(b"data: ")]
        assert events[-1] == b"[DONE]"
        return [json.loads(event) for event in events[:-1]]

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture(scope="session")
def models() -> dict[str, Installed]:
    home = Path(os.environ.get("TESELA_TEST_MODELS") or Path.home() / ".cache" / "tesela-tests")
    home.mkdir(parents=True, exist_ok=True)
    return {name: pull(home, name) for name in (CHAT_MODEL, EMBEDDINGS_MODEL)}


@pytest.fixture
def run_dir() -> Iterator[Path]:
    """Short: pytest's own temporary paths leave no room for a socket's name."""
    with tempfile.TemporaryDirectory(prefix="tesela-t") as path:
        yield Path(path)


@pytest.fixture(scope="session")
def started() -> Iterator[Callable[[EngineSpec], Engine]]:
    engines: list[Engine] = []
    with tempfile.TemporaryDirectory(prefix="tesela-t") as path:

        def start(spec: EngineSpec) -> Engine:
            engines.append(Engine(fill(place(spec, Path(path)), len(engines))))
            return engines[-1]

        yield start
        for engine in engines:
            engine.close()


@pytest.fixture(scope="session")
def chat(models: dict[str, Installed], started: Callable[[EngineSpec], Engine]) -> Engine:
    return started(engine_spec(models[CHAT_MODEL], context=1024))


@pytest.fixture(scope="session")
def embeddings(models: dict[str, Installed], started: Callable[[EngineSpec], Engine]) -> Engine:
    return started(engine_spec(models[EMBEDDINGS_MODEL]))
