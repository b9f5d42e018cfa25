"""An endpoint's figures in the text of OpenMetrics: only what is measured here.

Requests are those that the answering worker has counted since it started, under its own label, so that the sum over
workers is right.  Names are those of a workspace where they mean the same.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from tesela.control.answers import Handler
from tesela.control.facts import CountFacts, EngineFacts, Facts, credential
from tesela.control.logs import engines
from tesela.control.serving_find import find

MEDIA_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class Metric(NamedTuple):
    """One family: its samples are (labels, value)."""

    name: str
    kind: str
    help: str
    samples: list[tuple[dict[str, str], float]]


class Engine(msgspec.Struct, frozen=True):
    """What is known of an engine's process.  `cpu_s` is None where the system does not tell."""

    entity: str
    rss_bytes: int
    slots: int
    restarts: int
    cpu_s: float | None


def handler_of(facts: Facts) -> Handler:
    async def handler(request: Request) -> Response:
        name = request.path_params["name"]
        found = await run_in_threadpool(find, facts, credential(request).principal, name)
        states, behind = facts.engine_states(), engines(found)
        running = [_engine(served, states[engine]) for served, engine in behind.items() if engine in states]
        families = [
            *_requests(name, facts.counts(), list(behind)),
            _breakers(name, facts.breakers(name)),
            *_engines(name, running, _memory_bytes()),
        ]
        return Response(text(families), media_type=MEDIA_TYPE)

    return handler


def text(families: list[Metric]) -> str:
    """https://prometheus.io/docs/specs/om/open_metrics_spec/"""
    return "".join(_family(one) for one in families if one.samples) + "# EOF\n"


def labels(endpoint: str, entity: str) -> dict[str, str]:
    return {"endpoint_name": endpoint, "served_entity": entity}


def _family(metric: Metric) -> str:
    suffix = "_total" if metric.kind == "counter" else ""
    lines = [f"# TYPE {metric.name} {metric.kind}", f"# HELP {metric.name} {metric.help}"]
    for where, value in metric.samples:
        shown = ",".join(f'{key}="{_escaped(word)}"' for key, word in where.items())
        lines.append(f"{metric.name}{suffix}{{{shown}}} {round(value, 3) if value % 1 else int(value)}")
    return "\n".join(lines) + "\n"


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _requests(name: str, counts: Mapping[tuple[str, str, str], CountFacts], served: list[str]) -> Iterator[Metric]:
    sums = {entity: dict.fromkeys(COUNTED, 0) for entity in served}
    for (endpoint, entity, _), counted in counts.items():
        if endpoint == name:
            mine = sums.setdefault(entity, dict.fromkeys(COUNTED, 0))
            for field in COUNTED:
                mine[field] += getattr(counted, field)
    worker = str(os.getpid())
    for field, (metric, help) in COUNTED.items():
        samples = [({**labels(name, entity), "worker": worker}, float(mine[field])) for entity, mine in sums.items()]
        yield Metric(metric, "counter", help, samples)


def _breakers(name: str, opened: Mapping[str, bool]) -> Metric:
    worker = str(os.getpid())
    samples = [({**labels(name, entity), "worker": worker}, float(one)) for entity, one in opened.items()]
    return Metric("upstream_breaker_open", "gauge", "1 while calls are kept from an upstream that failed.", samples)


def _engines(name: str, running: list[Engine], memory_bytes: int) -> Iterator[Metric]:
    def gauge(metric: str, kind: str, help: str, values: list[tuple[str, float]]) -> Metric:
        samples = [(labels(name, who), one) for who, one in values]
        return Metric(metric, kind, help, samples)

    share = [(one.entity, 100 * one.rss_bytes / memory_bytes) for one in running] if memory_bytes else []
    yield gauge("mem_usage_percentage", "gauge", "Share of this machine's memory that the engine holds.", share)
    resident = [(one.entity, float(one.rss_bytes)) for one in running]
    yield gauge("mem_usage_bytes", "gauge", "Memory that the engine holds.", resident)
    used = [(one.entity, one.cpu_s) for one in running if one.cpu_s is not None]
    yield gauge("cpu_usage_seconds", "counter", "Processor time of the engine's process since it started.", used)
    slots = [(one.entity, float(one.slots)) for one in running if one.slots]
    yield gauge("provisioned_concurrent_requests", "gauge", "Requests that the engine works on at once.", slots)
    restarts = [(one.entity, float(one.restarts)) for one in running]
    yield gauge("engine_restarts", "counter", "Times that the engine had to be started again.", restarts)


def _engine(entity: str, state: EngineFacts) -> Engine:
    known = getattr(state, "facts", {})
    slots = known.get("slots") if isinstance(known, Mapping) else None
    return Engine(
        entity,
        getattr(state, "rss_bytes", 0),
        slots if isinstance(slots, int) else 0,
        getattr(state, "restarts", 0),
        _cpu_s(getattr(state, "pid", None)),
    )


def _cpu_s(pid: int | None) -> float | None:
    """Seconds of processor that a process has used, its ended children included; None where Linux is not there."""
    if pid is None:
        return None
    try:
        # proc(5): the name is in brackets and may hold anything; user and system time are the 12th to 15th after it.
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return sum(int(one) for one in fields[11:15]) / os.sysconf("SC_CLK_TCK")


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if "SC_PHYS_PAGES" in os.sysconf_names else 0


COUNTED: dict[str, tuple[str, str]] = {
    "requests": ("request_count", "Requests that were answered, whatever the answer."),
    "failed": ("request_failed_count", "Requests that were answered with an error."),
    "cancelled": ("request_cancelled_count", "Requests whose caller left before the end."),
    "prompt_tokens": ("prompt_tokens", "Tokens that were read."),
    "completion_tokens": ("completion_tokens", "Tokens that were written."),
}
"""What is counted: the field of a count, and the name and the help of its metric."""
