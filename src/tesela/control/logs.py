"""What an engine printed, for those who manage an endpoint that it serves."""

import os
import re
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tesela.control.answers import Handler, json
from tesela.control.facts import Facts, credential
from tesela.control.serving_find import Found, Own, find, require_manage
from tesela.control.serving_view import engine_of
from tesela.errors import NotFound
from tesela.snapshot import Principal

TAIL_BYTES = 64 * 1024
_FILE = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")


def logs(facts: Facts) -> Handler:
    """The last 64 KiB of what the served entity's engine printed."""
    return _handler(facts, "")


def build_logs(facts: Facts) -> Handler:
    """The same: a model is not built here, and its engine tells how it was loaded."""
    return _handler(facts, "nothing is built here; this is what the engine printed, from loading the model on:\n\n")


def _handler(facts: Facts, before: str) -> Handler:
    def work(principal: Principal, name: str, served: str) -> str:
        found = find(facts, principal, name)
        require_manage(found, principal, name)
        engine = engines(found).get(served)
        if engine is None:
            raise NotFound(f"endpoint {name!r} has no served entity {served[:128]!r}")
        if not engine:
            return f"{served} is an external model: its provider has its logs."
        return before + _tail(facts.logs, engine)

    async def handler(request: Request) -> Response:
        at = request.path_params
        told = await run_in_threadpool(work, credential(request).principal, at["name"], at["served"])
        return json({"logs": told})

    return handler


def engines(found: Found) -> dict[str, str]:
    """The engine behind each served entity, those of a pending configuration included; empty for an external model."""
    if isinstance(found, Own):
        return {one.name: one.admission for one in found.endpoint.entities}
    out: dict[str, str] = {}
    for config in (found.endpoint.pending, found.endpoint.active):
        for entity in (config or {}).get("served_entities", ()):
            out[entity["name"]] = engine_of(entity)
    return out


def _tail(folder: Path | None, engine: str) -> str:
    if folder is None or not _FILE.match(engine):
        return f"the output of {engine} is not kept here."
    try:
        with (folder / f"{engine}.log").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - TAIL_BYTES))
            data = file.read(TAIL_BYTES)
    except OSError:
        return f"{engine} has printed nothing yet, or runs elsewhere."
    if size > TAIL_BYTES:
        # Begin with a whole line.
        data = data.partition(b"\n")[2]
    return data.decode(errors="replace")
