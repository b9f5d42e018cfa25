"""What a fallback adds beyond the failed attempt: `python -m bench.fallback`.

One server, and one process that plays all upstreams: `good` answers at once, `failing` and `busy` at once with 500 and
429, and at the port of `gone` nobody listens.  Each round asks, in turn and on kept connections: the good model through
the gateway, the bad one straight (the failed attempt), and an endpoint that tries the bad one first and falls back on
the good one.  What the fallback added is the third less the first two; straight calls have no gateway in them, so its
share of the failed attempt counts as added too.
"""

import asyncio
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.changes import Server
from bench.upstream import body_end

ROUNDS = 1000
LIMIT_S = 30.0
ANSWER = {
    "id": "x", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello " * 100}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
}  # fmt: skip
REFUSAL = {"error": {"message": "no"}}
KINDS = {"good": (200, ANSWER), "failing": (500, REFUSAL), "busy": (429, REFUSAL)}
ASKED = {"messages": [{"role": "user", "content": "Hi"}]}
BAD = {"failing": "failing=500, good=200", "busy": "busy=429, good=200", "gone": "gone=unavailable, good=200"}
"""The bad ones, and what the header says of a call that fell back from them."""
WARMING = 20
NEVER, AT_ONCE = {"failures": 0}, {"failures": 1, "open": 3600}
"""Breakers."""


class Upstream(asyncio.Protocol):
    """Answers by the first part of the path."""

    def __init__(self) -> None:
        self._read = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._read += data
        while (end := body_end(self._read)) >= 0:
            status, told = KINDS[self._read.split(b"/", 2)[1].decode()]
            self._read = self._read[end:]
            body = json.dumps(told).encode()
            head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
            self._transport.write(head.encode() + body)


async def play() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def configuration(port: int, breaker: dict[str, Any]) -> dict[str, Any]:
    def served(kind: str) -> dict[str, Any]:
        # Nobody may listen on port 9 of loopback (discard, RFC 863) of a machine that is measured on.
        base = f"http://127.0.0.1:{9 if kind == 'gone' else port}/{kind}"
        config = {"custom_provider_url": base, "bearer_token_auth": {"token_plaintext": "k"}}
        model = {"name": "m", "provider": "custom", "task": "llm/v1/chat", "custom_provider_config": config}
        return {"name": kind, "external_model": model}

    def pair(bad: str) -> dict[str, Any]:
        routes = [{"served_model_name": bad, "traffic_percentage": 100}]
        traffic = {"routes": [*routes, {"served_model_name": "good", "traffic_percentage": 0}]}
        config = {"served_entities": [served(bad), served("good")], "traffic_config": traffic}
        return {"name": f"pair-{bad}", "config": config, "ai_gateway": {"fallback_config": {"enabled": True}}}

    good = {"name": "good", "config": {"served_entities": [served("good")]}}
    return {"breaker": breaker, "endpoints": [good, *map(pair, BAD)]}


class Calls:
    """Timed calls on one kept connection."""

    def __init__(self, address: str, token: str = "") -> None:
        self._connection = http.client.HTTPConnection(address, timeout=LIMIT_S)
        self._headers = {"Authorization": f"Bearer {token}"}

    def took_s(self, path: str, status: int, attempts: str | None) -> float:
        began = time.perf_counter()
        self._connection.request("POST", path, json.dumps(ASKED), self._headers)
        answer = self._connection.getresponse()
        answer.read()
        took = time.perf_counter() - began
        assert answer.status == status, answer.status
        assert answer.headers["x-tesela-attempts"] == attempts, answer.headers["x-tesela-attempts"]
        return took


def refused_s() -> float:
    """A connection that nobody takes."""
    began = time.perf_counter()
    try:
        http.client.HTTPConnection("127.0.0.1", 9, timeout=LIMIT_S).connect()
    except ConnectionRefusedError:
        return time.perf_counter() - began
    raise AssertionError("somebody listens on port 9")


def measure(port: int, breaker: dict[str, Any]) -> dict[str, list[float]]:
    """Seconds that were added, by kind of failure; and seconds for the good one, as `good`."""
    # An open breaker makes no attempt that could fail; a 429 opens none.
    opened = breaker is AT_ONCE
    kinds = [kind for kind in BAD if not (opened and kind == "busy")]
    found: dict[str, list[float]] = {name: [] for name in ("good", *kinds)}
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder), configuration(port, breaker), 1, quiet=True) as server,
    ):
        through, straight = Calls(urlsplit(server.host).netloc, server.token), Calls(f"127.0.0.1:{port}")
        if opened:
            for kind in kinds:
                through.took_s(f"/serving-endpoints/pair-{kind}/invocations", 200, BAD[kind])
        for number in range(-WARMING, ROUNDS):
            took = {"good": through.took_s("/serving-endpoints/good/invocations", 200, None)}
            for kind in kinds:
                alone = refused_s() if kind == "gone" else straight.took_s(f"/{kind}/x", KINDS[kind][0], None)
                path = f"/serving-endpoints/pair-{kind}/invocations"
                both = through.took_s(path, 200, None if opened else BAD[kind])
                took[kind] = both - took["good"] - (0.0 if opened else alone)
            if number >= 0:
                for name, seconds in took.items():
                    found[name].append(seconds)
    return found


def main() -> None:
    player = subprocess.Popen([sys.executable, "-m", "bench.fallback", "play"], stdout=subprocess.PIPE, text=True)
    try:
        assert player.stdout is not None
        port = int(player.stdout.readline())
        tell("", measure(port, NEVER))
        tell(", its breaker open", measure(port, AT_ONCE))
    finally:
        player.terminate()
        player.wait(LIMIT_S)


def tell(where: str, found: dict[str, list[float]]) -> None:
    for name, values in found.items():
        ordered = sorted(values)
        text = "through the gateway, no failure" if name == "good" else f"added by a fallback, {name}{where}"
        shown = [statistics.median(ordered), ordered[len(ordered) * 99 // 100]]
        print(f"{text}: median {shown[0] * 1000:.3f} ms, 99 % {shown[1] * 1000:.3f} ms")


if __name__ == "__main__":
    asyncio.run(play()) if sys.argv[1:] == ["play"] else main()
