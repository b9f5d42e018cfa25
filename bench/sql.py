"""What SQL reaches: `python -m bench.sql [NAME…]`.

One server with two workers' worth of machine, an upstream that answers late (`late.py`), statements through the
Statement Execution API as any client sends them.  For rates the ceiling is computed: the same requests, in the same
order, each with the very time that the upstream takes for it, by as many hands as there may be requests at once.
"""

import heapq
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit

from bench import machine
from bench.changes import Server
from bench.late import late_s
from bench.process import family, parents
from bench.run import ROOT

RESULTS = ROOT / "bench" / "results" / "sql"
STATEMENTS = "/api/2.0/sql/statements"
LOCAL_CHAT, LOCAL_EMBEDDINGS = "smollm2-135m-instruct", "all-minilm-l6-v2"
LIMIT_S = 600.0
RUNS = (
    (64, ("overhead", "64", "64 skewed", "resume", "stream", "embeddings", "similarity")),
    (256, ("256",)),
)
"""How many requests a statement may have under way, and what is measured on such a server."""


def configuration(port: int, concurrency: int) -> dict[str, Any]:
    config = {"custom_provider_url": f"http://127.0.0.1:{port}", "bearer_token_auth": {"token_plaintext": "k"}}
    model = {"name": "m", "provider": "custom", "task": "llm/v1/chat", "custom_provider_config": config}
    late = {"name": "late", "config": {"served_entities": [{"name": "m", "external_model": model}]}}
    return {"local_models": True, "sql": {"concurrency": concurrency}, "endpoints": [late]}


class Client:
    """Statements of one server, on a kept connection."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._connection = http.client.HTTPConnection(urlsplit(server.host).netloc, timeout=LIMIT_S)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        self._connection.request(
            method, path, json.dumps(body) if body is not None else None,
            {"Authorization": f"Bearer {self._server.token}"},
        )  # fmt: skip
        answer = self._connection.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
        assert answer.status == 200, found
        return found

    def run(self, text: str, **asked: Any) -> dict[str, Any]:
        """The answer of a statement that succeeded; polled until it has."""
        body = {"statement": text, "warehouse_id": "bench", "wait_timeout": "50s", **asked}
        found = self._ask("POST", STATEMENTS, body)
        pause = 0.01
        while found["status"]["state"] in ("PENDING", "RUNNING"):
            time.sleep(pause)
            pause = min(0.25, pause * 2)
            found = self._ask("GET", f"{STATEMENTS}/{found['statement_id']}")
        assert found["status"]["state"] == "SUCCEEDED", found["status"]
        return found


def took_s(found: dict[str, Any]) -> float:
    progress = found["progress"]
    return float(progress["ended_ms"] - progress["started_ms"]) / 1000


def ceiling_s(times: Sequence[float], hands: int) -> float:
    """Seconds that the requests take when a hand takes the next as soon as it is free."""
    free = [0.0] * hands
    for one in times:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def rate(client: Client, kind: str, rows: int, hands: int) -> dict[str, Any]:
    text = f"SELECT id, ai_query('late', '{kind} ' || id || ' {'x' * 200}') AS a FROM range({rows})"
    found = client.run(text, disposition="EXTERNAL_LINKS", format="ARROW_STREAM")
    assert found["manifest"]["total_row_count"] == rows
    best = ceiling_s([late_s(kind.encode(), str(number).encode()) for number in range(rows)], hands)
    took = took_s(found)
    return {"rows/s": round(rows / took), "ceiling": round(rows / best), "share": round(best / took, 3)}


def overhead(client: Client) -> dict[str, Any]:
    client.run("SELECT 1")
    times = []
    for _ in range(50):
        began = time.perf_counter()
        client.run("SELECT 1")
        times.append(time.perf_counter() - began)
    return {"median s": round(median(times), 4), "most s": round(max(times), 4)}


def stream(client: Client, server: Server) -> dict[str, Any]:
    peak, done = [0, 0], threading.Event()

    def watch() -> None:
        while not done.wait(0.05):
            found = memory(server.process.pid)
            peak[:] = [max(old, new) for old, new in zip(peak, found, strict=True)]

    watcher = threading.Thread(target=watch)
    watcher.start()
    rows = 1_000_000
    found = client.run(
        f"SELECT id, repeat(md5(CAST(id AS STRING)), 32) AS t FROM range({rows})",
        disposition="EXTERNAL_LINKS", format="ARROW_STREAM",
    )  # fmt: skip
    done.set()
    watcher.join()
    assert found["manifest"]["total_row_count"] == rows
    took = took_s(found)
    return {"s": round(took, 1), "MB/s": round(rows * 1024 / took / 1e6), "MB runner": peak[0], "MB engine": peak[1]}


def memory(root: int) -> tuple[int, int]:
    """Resident MB of the process that runs statements, and of the engine; what both have mapped counts once."""
    runner = engine = 0
    for pid in family(root, parents()):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            said = Path(f"/proc/{pid}/smaps_rollup").read_text()
            resident = int(said.split("\nPss:")[1].split()[0]) * 1024 // 10**6
        except OSError:
            continue
        if b"tesela.sqlrunner" in command:
            runner += resident
        elif b"tesela.sql.sail" in command:
            engine += resident
    return runner, engine


def resume(client: Client) -> dict[str, Any]:
    rows = 100_000
    text = f"SELECT id, ai_query('late', 'at-once ' || id) AS a FROM range({rows})"
    asked = {"answers": "keep", "disposition": "EXTERNAL_LINKS", "format": "ARROW_STREAM"}
    first = client.run(text, **asked)
    again = client.run(text, **asked)
    assert again["progress"]["kept"] == rows, again["progress"]
    return {"s first": round(took_s(first), 2), "s again": round(took_s(again), 2)}


def embeddings(client: Client, server: Server) -> dict[str, Any]:
    """A table against the engine's own batches of 64, asked for by as many connections as it has hands."""
    rows = 4096
    own = engine_s(server, [f"row {number}: the quick brown fox jumps over the lazy dog" for number in range(rows)])
    text = (
        f"SELECT ai_query('{LOCAL_EMBEDDINGS}', 'row ' || id || ': the quick brown fox jumps over the lazy dog') AS e "
        f"FROM range({rows})"
    )
    took = took_s(client.run(text, disposition="EXTERNAL_LINKS", format="ARROW_STREAM"))
    return {"rows/s": round(rows / took), "engine": round(rows / own), "share": round(own / took, 3)}


def similarity(client: Client, server: Server) -> dict[str, Any]:
    """Pairs of texts, against the engine's own batches of as many texts."""
    rows = 2048
    texts = [f"{word} {number}: the quick brown fox jumps" for number in range(rows) for word in ("left", "right")]
    own = engine_s(server, texts)
    text = (
        "SELECT ai_similarity('left ' || id || ': the quick brown fox jumps', "
        f"'right ' || id || ': the quick brown fox jumps') AS s FROM range({rows})"
    )
    took = took_s(client.run(text, disposition="EXTERNAL_LINKS", format="ARROW_STREAM"))
    return {"rows/s": round(rows / took), "engine": round(rows / own), "share": round(own / took, 3)}


def engine_s(server: Server, texts: Sequence[str]) -> float:
    """Seconds for these texts, 64 in a request, on four connections."""
    began = time.perf_counter()
    parts = [texts[at : at + 64] for at in range(0, len(texts), 64)]

    def ask(share: Sequence[Sequence[str]]) -> None:
        connection = http.client.HTTPConnection(urlsplit(server.host).netloc, timeout=LIMIT_S)
        for part in share:
            body = json.dumps({"input": part})
            connection.request(
                "POST", f"/serving-endpoints/{LOCAL_EMBEDDINGS}/invocations", body,
                {"Authorization": f"Bearer {server.token}", "Content-Type": "application/json"},
            )  # fmt: skip
            answer = connection.getresponse()
            answer.read()
            assert answer.status == 200

    threads = [threading.Thread(target=ask, args=(parts[at::4],)) for at in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def measures(client: Client, server: Server) -> dict[str, Callable[[], dict[str, Any]]]:
    return {
        "overhead": lambda: overhead(client),
        "64": lambda: rate(client, "steady", 51_200, 64),
        "64 skewed": lambda: rate(client, "skewed", 51_200, 64),
        "256": lambda: rate(client, "steady", 102_400, 256),
        "resume": lambda: resume(client),
        "stream": lambda: stream(client, server),
        "embeddings": lambda: embeddings(client, server),
        "similarity": lambda: similarity(client, server),
    }


def main() -> None:
    """All of it is kept in bench/results/sql/; single measures are only shown."""
    wanted = sys.argv[1:]
    before = machine.load()[0]
    found: dict[str, dict[str, Any]] = {}
    upstream = subprocess.Popen([sys.executable, "-m", "bench.late"], stdout=subprocess.PIPE, text=True)
    assert upstream.stdout is not None
    port = int(upstream.stdout.readline())
    try:
        for hands, names in (
            (64, ("overhead", "64", "64 skewed", "resume", "stream", "embeddings", "similarity")),
            (256, ("256",)),
        ):
            with tempfile.TemporaryDirectory() as folder:
                if wanted and not set(wanted) & set(names):
                    continue
                with Server(Path(folder), configuration(port, hands), 1) as server:
                    client = Client(server)
                    client.run("SELECT 1")
                    table = measures(client, server)
                    for name in names:
                        if not wanted or name in wanted:
                            found[name] = table[name]()
                            print(f"{name}: {found[name]}", flush=True)
    finally:
        upstream.terminate()
        upstream.wait()
    if not wanted:
        keep(found, before)


def keep(found: dict[str, dict[str, Any]], before: float) -> None:
    facts = machine.facts()
    date = datetime.now(UTC)
    results = {"date": date.isoformat(), "machine": facts, "load before": before, "found": found}
    name = machine.short_name(str(facts["cpu"]), int(str(facts["cores"])))
    path = RESULTS / f"{date:%Y-%m-%dT%H%M}-{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")
    print(f"results: {path.relative_to(ROOT)}; python -m bench table brings the README up to date")


if __name__ == "__main__":
    main()
