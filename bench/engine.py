"""The local engine through Tesela against the bare engines: tokens/s of chat, texts/s of embeddings.

The bare sides have the same model files and the same settings. Nothing is pinned here: an engine wants all cores.
"""

import contextlib
import http.client
import json
import os
import re
import select
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias

import yaml
from msgspec import Struct

from bench.figures import in_turn, ratios
from bench.process import BenchError, Child, free_port
from bench.systems import first_token
from bench.texts import batch, text

CHAT_MODEL, EMBEDDINGS_MODEL = "smollm2-135m-instruct", "all-minilm-l6-v2"
TOKENS = 64
TEXTS = 32
_COMPLETION_TOKENS = re.compile(rb'"completion_tokens": ?(\d+)')
_START_LIMIT_S = 90


# Units per second of so many requests, so many at once, numbered from here.
Side: TypeAlias = Callable[[int, int, int], float]


class Face(Struct, frozen=True):
    """A server to ask: its port, what comes before `/chat/completions`, and headers."""

    port: int
    prefix: str
    headers: Mapping[str, str]

    def ask(self, path: str, body: Mapping[str, Any]) -> bytes:
        """One POST, the answer read whole. Raises `BenchError` unless it is a 200."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        try:
            headers = {"Content-Type": "application/json", **self.headers}
            line.request("POST", f"{self.prefix}/{path}", json.dumps(body), headers)
            answer = line.getresponse()
            data = answer.read()
        finally:
            line.close()
        if answer.status != 200:
            raise BenchError(f"{path}: status {answer.status}: {data[:300].decode(errors='replace')}")
        return data


def _chat(face: Face, number: int) -> int:
    """One streamed answer; gives its number of tokens."""
    body = {
        "model": CHAT_MODEL,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": f"Write a long story. {text(number)}"},
        ],
        "temperature": 0,
        "max_tokens": TOKENS,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    counts = _COMPLETION_TOKENS.findall(face.ask("chat/completions", body))
    if not counts:
        raise BenchError("a streamed answer without its usage")
    return int(counts[-1])


def _embed(face: Face, number: int) -> int:
    """One request of embeddings, as the official client asks for them; gives its number of texts."""
    body = {"model": EMBEDDINGS_MODEL, "input": batch(number, TEXTS), "encoding_format": "base64"}
    answer = json.loads(face.ask("embeddings", body))
    if len(answer["data"]) != TEXTS:
        raise BenchError(f"{len(answer['data'])} vectors for {TEXTS} texts")
    return TEXTS


def _rate(one: Callable[[Face, int], int], face: Face, requests: int, at_once: int, first: int) -> float:
    """Units per second of `requests` requests, `at_once` at any time.

    `first` numbers the requests: no prompt comes twice in a run, so none is answered from a server's prompt cache.
    """
    with ThreadPoolExecutor(at_once) as pool:
        began = time.perf_counter()
        done = sum(pool.map(lambda number: one(face, number), range(first, first + requests)))
        return done / (time.perf_counter() - began)


def _bare_onnx_rate(child: Child, requests: int) -> float:
    stdin, stdout = child.pipes()
    stdin.write(b"%d %d\n" % (requests, TEXTS))
    stdin.flush()
    if not select.select([stdout], [], [], 120)[0]:
        raise BenchError("the bare onnxruntime gave no answer within 120 s")
    line = stdout.readline()
    if not line:
        raise BenchError(f"the bare onnxruntime ended: {child.tail()}")
    return requests * TEXTS / float(line)


def measure(root: Path, folder: Path, rounds: int, say: Callable[[str], None]) -> dict[str, Any]:
    """All lines of the engine's table. Raises `BenchError` when a part cannot be had."""
    from tesela.engine.models import engine_spec
    from tesela.engine.pull import pull

    home = root / ".bench" / "home"
    say("models of the local engine, fetched if they are not there")
    cores = os.cpu_count() or 1
    chat, vectors = (engine_spec(pull(home, name)) for name in (CHAT_MODEL, EMBEDDINGS_MODEL))
    threads, batch_threads = chat.threads or max(1, cores // 2), chat.batch_threads or cores
    with contextlib.ExitStack() as stack:
        python, bare_port, port = sys.executable, free_port(), free_port()
        numbers = [str(n) for n in (bare_port, chat.slots, chat.context, threads, batch_threads)]
        command = [python, "-m", "bench.bare_llama", chat.model, *numbers]
        stack.enter_context(Child(command, core=None, log=folder / "bare-llama.log", cwd=root))
        context, width = str(vectors.context), str(vectors.batch_threads or cores)
        command = [python, "-m", "bench.bare_onnx", vectors.model, vectors.tokenizer, context, width]
        onnx = stack.enter_context(Child(command, core=None, log=folder / "bare-onnx.log", cwd=root, piped=True))
        config = folder / "engine.yaml"
        config.write_text(yaml.safe_dump({"local_models": True}))
        serve = [str(Path(python).with_name("tesela")), "serve", "--config", str(config), "--host", "127.0.0.1"]
        env = {**os.environ, "TESELA_HOME": str(home)}
        command = [*serve, "--port", str(port), "--workers", "1"]
        tesela = stack.enter_context(Child(command, core=None, log=folder / "engine.log", env=env, cwd=folder))
        bare = Face(bare_port, "/v1", {})
        through = Face(port, "/serving-endpoints", {"Authorization": f"Bearer {first_token(home / 'token', tesela)}"})
        for one, face in ((_chat, bare), (_chat, through), (_embed, through)):
            _await(one, face, tesela)
        _bare_onnx_rate(onnx, 2)
        say(f"local engine, {rounds} rounds")
        chats = _sides(_chat, bare, through)
        embeds = {"bare": lambda *_: _bare_onnx_rate(onnx, 20), "tesela": _sides(_embed, through, through)["tesela"]}
        return {
            "chat, one stream, tokens/s": _compare(rounds, chats, 2, 1),
            "chat, four streams, tokens/s": _compare(rounds, chats, 8, 4),
            f"embeddings, one request of {TEXTS} texts at a time, texts/s": _compare(rounds, embeds, 20, 1),
            f"embeddings, four requests of {TEXTS} texts at once, texts/s": _compare(rounds, embeds, 20, 4),
        }


def _sides(one: Callable[[Face, int], int], bare: Face, through: Face) -> dict[str, Side]:
    return {"bare": partial(_rate, one, bare), "tesela": partial(_rate, one, through)}


def _await(one: Callable[[Face, int], int], face: Face, tesela: Child) -> None:
    """Ask until it answers: engines take a moment to load. The last refusal is the message when they do not."""
    deadline = time.monotonic() + _START_LIMIT_S
    while True:
        try:
            one(face, 0)
        except (OSError, http.client.HTTPException, BenchError) as exc:
            if not tesela.alive() or time.monotonic() > deadline:
                raise BenchError(f"no answer from a local engine: {exc}; {tesela.tail()}") from exc
            time.sleep(0.1)
        else:
            return


def _compare(rounds: int, sides: Mapping[str, Side], requests: int, at_once: int) -> dict[str, Any]:
    """Both sides in turn, round after round; the ratio is the median of the rounds' ratios."""
    found: dict[str, list[float]] = {"bare": [], "tesela": []}
    for turn in range(rounds):
        for side in in_turn(list(sides), turn):
            found[side].append(round(sides[side](requests, at_once, turn * requests), 2))
    ratio = ratios(found["tesela"], found["bare"])
    return {
        "bare": median(found["bare"]),
        "tesela": median(found["tesela"]),
        "ratio": ratio["median"],
        "low": ratio["low"],
        "high": ratio["high"],
        "rounds": found,
    }
