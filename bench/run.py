"""One run: upstreams up, systems up, rounds, everything down, results in one dict."""

import contextlib
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from bench import engine, machine, measure, nginx, rivals
from bench.figures import middle, ratios
from bench.generator import Generator
from bench.orders import Figures
from bench.process import BenchError, Child, await_answer, free_port
from bench.systems import SYSTEMS, Door, Ground, Running

ROOT = Path(__file__).resolve().parent.parent
# The two systems whose ratio shows what the harness itself cannot tell apart.
TWINS = ("nginx", "nginx-again")
# The system that hands bytes on, beside which a translation's cost is seen.
PLAIN = "tesela"
# What is compared with nginx, round by round: (question, figure).
COMPARED = (
    ("whole", "cpu_us"),
    ("paced", "cpu_us"),
    ("loop", "cpu_us"),
    ("stream", "cpu_us"),
    ("alone", "added_p99_us"),
)


def raise_file_limit() -> int:
    """Allow as many open files as the machine lets us; children inherit it. Gives the limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 65_536
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted < 5000:
        raise BenchError(f"1,000 streams need 5,000 open files and the hard limit is {wanted}: raise `ulimit -Hn`")
    return wanted


def cores() -> tuple[int | None, int | None]:
    """The core of the gateway and the core of everything else; None when there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return (available[0], available[1]) if len(available) > 1 else (None, None)


def run(keys: Sequence[str], settings: measure.Settings, say: measure.Say, *, with_engine: bool) -> dict[str, Any]:
    """Measure the systems named in `keys`. Raises `BenchError` when the bench itself cannot work."""
    files = raise_file_limit()
    for key in keys:
        if key in rivals.INSTALLERS:
            say(f"installing {key} if it is not there")
            rivals.INSTALLERS[key](ROOT)
    engine_figures: dict[str, Any] = {}
    engine_broken = ""
    began, load_before = datetime.now(UTC), machine.load()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tesela-bench-")))
        bench = _foundations(stack, folder, files, settings, say)
        measure.direct(bench)
        running, broken, folders = {}, {}, {}
        for key in keys:
            folders[key] = folder / key
            folders[key].mkdir()
            say(f"starting {SYSTEMS[key].label}")
            try:
                running[key] = Running(key, SYSTEMS[key], bench.ground, folders[key])
            except BenchError as exc:
                broken[key] = str(exc)
                continue
            stack.callback(running[key].child.end)
        versions = {key: SYSTEMS[key].version(bench.ground) for key in running}
        broken |= measure.rounds(bench, running)
        for system in running.values():
            system.child.end()
        say("start-up and memory at rest")
        standing = {key: SYSTEMS[key] for key in running if key not in broken and not SYSTEMS[key].translated}
        measure.starts(bench, standing, folders)
        if with_engine:
            try:
                engine_figures = engine.measure(ROOT, folder, max(2, settings.rounds // 3), say)
            except BenchError as exc:
                engine_broken = str(exc)
    systems = {}
    for key in keys:
        gathered = measure.gather(bench, key)
        systems[key] = {
            "label": SYSTEMS[key].label,
            "version": versions.get(key, ""),
            "pace": SYSTEMS[key].pace,
            "streams": SYSTEMS[key].streams,
            "broken": broken.get(key, ""),
            "median": {question: middle(rounds) for question, rounds in gathered["rounds"].items()},
            **gathered,
        }
    return {
        "format": 1,
        "date": began.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": machine.commit(ROOT),
        "took_s": round((datetime.now(UTC) - began).total_seconds()),
        "machine": {
            **machine.facts(),
            "load_before": load_before,
            "load_after": machine.load(),
        },
        "settings": {name: getattr(settings, name) for name in settings.__struct_fields__},
        "direct": {question: middle(rounds) for question, rounds in bench.figures.get("direct", {}).items()},
        "systems": systems,
        "engine": engine_figures,
        "engine_broken": engine_broken,
        "against_nginx": {key: compared(bench.figures, key) for key in keys if key != TWINS[0]},
        "translation": {key: costs(bench.figures, key) for key in keys if SYSTEMS[key].translated},
    }


def costs(figures: dict[str, dict[str, list[Figures]]], key: str) -> dict[str, float]:
    """µs that a translation takes beyond the pass-through, by question: the median of the rounds' differences."""
    found = {}
    for question in ("whole", "loop"):
        ours = [f["cpu_us"] for f in figures.get(key, {}).get(question, []) if "cpu_us" in f]
        theirs = [f["cpu_us"] for f in figures.get(PLAIN, {}).get(question, []) if "cpu_us" in f]
        if ours and len(ours) == len(theirs):
            found[question] = round(median(one - other for one, other in zip(ours, theirs, strict=True)), 2)
    return found


def compared(figures: dict[str, dict[str, list[Figures]]], key: str) -> dict[str, dict[str, float]]:
    """Ratios of a system to nginx in the same round, for every figure that is compared."""
    found = {}
    for question, figure in COMPARED:
        ours = [f[figure] for f in figures.get(key, {}).get(question, []) if figure in f]
        theirs = [f[figure] for f in figures.get(TWINS[0], {}).get(question, []) if figure in f]
        if ours and len(ours) == len(theirs):
            found[f"{question}.{figure}"] = ratios(ours, theirs)
    return found


def _foundations(
    stack: contextlib.ExitStack,
    folder: Path,
    files: int,
    settings: measure.Settings,
    say: measure.Say,
) -> measure.Bench:
    """Both upstreams and the generator, on the core that is not the gateway's."""
    gateway_core, other_core = cores()
    whole_port, stream_port = free_port(), free_port()
    command = nginx.canned_command(folder / "canned", whole_port, files=files)
    canned = stack.enter_context(Child(command, core=other_core, log=folder / "canned.log"))
    command = [sys.executable, "-m", "bench.upstream", str(stream_port)]
    scripted = stack.enter_context(Child(command, core=other_core, log=folder / "upstream.log", cwd=ROOT))
    generator = Generator(other_core, folder / "load.log", ROOT)
    stack.callback(generator.child.end)
    shape = (settings.stream_chunks, settings.stream_gap_us)
    direct = {
        "whole": Door(whole_port, "/v1/chat/completions", {}, "upstream-model").target(),
        "stream": Door(stream_port, "/v1/chat/completions", {}, "upstream-model").target(shape),
    }
    await_answer(canned, whole_port, direct["whole"].request, limit_s=10)
    await_answer(scripted, stream_port, direct["stream"].request, limit_s=10)
    upstreams = {"whole": whole_port, "stream": stream_port, "loop": generator.port}
    ground = Ground(upstreams, gateway_core, ROOT, files)
    return measure.Bench(ground, settings, generator, direct, say, {}, {})
