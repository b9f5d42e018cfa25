"""The whole of `tesela verify`: finds endpoints to ask, makes the calls, then runs the installed clients."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence

from tesela.errors import UpstreamProtocolError
from tesela.verify import wire_calls
from tesela.verify.outcome import Outcome, Target, run
from tesela.verify.wire_http import call, decoded

CLIENTS_S = 1800.0
"""Seconds that all real clients together may take; their own retries are long."""


def find(host: str, access_token: str, chat: str, embeddings: str) -> Target:
    """The server, with the first ready endpoint of each task that was not named."""
    target = Target(host, access_token, chat, embeddings)
    if chat and embeddings:
        return target
    listed = decoded(call(target, "GET", "/api/2.0/serving-endpoints")).get("endpoints") or []
    ready = [one for one in listed if (one.get("state") or {}).get("ready") == "READY"]
    first: dict[str, str] = {}
    for one in ready:
        first.setdefault(one.get("task") or "", one["name"])
    return Target(
        host,
        access_token,
        chat or first.get("llm/v1/chat", ""),
        embeddings or first.get("llm/v1/embeddings", ""),
    )


def outcomes(target: Target) -> Iterator[Outcome]:
    """Every outcome as it is known: the calls first, the real clients after them."""
    yield from run(wire_calls.CALLS, target)
    yield from clients(target, sys.executable)


def clients(target: Target, python: str, *, modules: Sequence[str] = (), path: str = "") -> Iterator[Outcome]:
    """The real clients that the interpreter `python` can import, or those modules of ours.

    `path` is where `python` finds Tesela when it is not installed there.
    """
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("DATABRICKS_", "MLFLOW_"))}
    environ |= {
        "DATABRICKS_HOST": target.host,
        "DATABRICKS_TOKEN": target.access_token,
        "TESELA_VERIFY_CHAT": target.chat,
        "TESELA_VERIFY_EMBEDDINGS": target.embeddings,
        "NO_PROXY": ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1,localhost"))),
        "MLFLOW_ENABLE_TELEMETRY": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    if path:
        environ["PYTHONPATH"] = path
    done = subprocess.run(  # noqa: S603 - an interpreter that the caller chose
        [python, "-W", "ignore", "-m", "tesela.verify.clients", *modules],
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=CLIENTS_S,
        check=False,
    )
    for line in done.stdout.splitlines():
        if line.startswith('{"client"'):
            yield Outcome(**json.loads(line))
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise UpstreamProtocolError(f"the real clients could not be run with {python}: {last[0]}")
