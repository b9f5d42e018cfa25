"""The measurements, one function per question, and the rounds that interleave the systems.

A measurement reads the processor time of the gateway's processes before and after an order to the generator.
Nothing here knows which system it measures.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from msgspec import Struct

from bench.figures import in_turn
from bench.generator import Generator
from bench.orders import Closed, Figures, Loop, Order, Paced, Pairs, Report, Streams, Target
from bench.process import BenchError
from bench.systems import Ground, Running, System


class Settings(Struct, frozen=True):
    """How much is measured. Times are seconds of one system in one round."""

    rounds: int
    closed_s: float
    paced_s: float
    loop_chunks: int
    stream_chunks: int
    pairs: int
    pairs_s: float
    crowd_rounds: int
    starts: int
    connections: int = 32
    stream_gap_us: int = 10_000
    crowd: int = 1000
    crowd_chunks: int = 32
    crowd_gap_us: int = 100_000


# Many short turns beat few long ones: on a shared machine the seconds differ more than the systems do.
FULL = Settings(
    rounds=15,
    closed_s=0.8,
    paced_s=0.8,
    loop_chunks=800,
    stream_chunks=60,
    pairs=1000,
    pairs_s=2,
    crowd_rounds=2,
    starts=5,
)
QUICK = Settings(
    rounds=4,
    closed_s=0.5,
    paced_s=0.4,
    loop_chunks=500,
    stream_chunks=40,
    pairs=300,
    pairs_s=1,
    crowd_rounds=1,
    starts=2,
)

Say: TypeAlias = Callable[[str], None]


class Bench(Struct):
    """What a measurement needs at hand, and where the figures and the faults go."""

    ground: Ground
    settings: Settings
    generator: Generator
    direct: Mapping[str, Target]
    say: Say
    figures: dict[str, dict[str, list[Figures]]]
    faults: dict[str, Counter[str]]

    def keep(
        self,
        key: str,
        question: str,
        report: Report,
        extra: Mapping[str, float] | None = None,
    ) -> None:
        """File one report under its system and question."""
        self.figures.setdefault(key, {}).setdefault(question, []).append({**report.figures, **(extra or {})})
        for kind, count in report.faults.items():
            self.faults.setdefault(key, Counter())[f"{question}: {kind}"] += count


def _weigh(bench: Bench, running: Running, order: Order, unit: str) -> tuple[Report, Figures]:
    """Carry out an order and weigh the gateway meanwhile: µs of processor per `unit`, and its share of one core."""
    before, began = running.child.processor_ns(), time.monotonic_ns()
    report = bench.generator.run(order)
    spent, took = running.child.processor_ns() - before, time.monotonic_ns() - began
    count = report.figures.get(unit, 0)
    if not count:
        return report, {}
    seconds = report.figures.get("seconds", took / 1e9)
    return report, {
        "cpu_us": round(spent / 1000 / count, 2),
        "busy": round(spent / 1e9 / seconds, 3),
    }


def warm(bench: Bench, running: Running) -> None:
    """A third of a second of load that is not measured, so that connections exist and code is in the caches."""
    bench.generator.run(
        Closed(running.doors["whole"].target(), bench.settings.connections, 0.3 * running.system.stretch)
    )


def saturated(bench: Bench, running: Running) -> None:
    """Closed loop on all connections: requests/s on the gateway's core, and the processor time of one."""
    settings = bench.settings
    order = Closed(running.doors["whole"].target(), settings.connections, settings.closed_s * running.system.stretch)
    bench.keep(running.key, "whole", *_weigh(bench, running, order, "count"))


def moderate(bench: Bench, running: Running) -> None:
    """A fixed rate far from saturation: latency as callers see it, and processor time that includes waking up."""
    settings, rate = bench.settings, running.system.pace
    order = Paced(
        running.doors["whole"].target(),
        settings.connections,
        rate,
        int(rate * settings.paced_s),
    )
    bench.keep(running.key, "paced", *_weigh(bench, running, order, "count"))


def alone(bench: Bench, running: Running) -> None:
    """Concurrency 1: what the gateway adds to a direct call."""
    settings = bench.settings
    order = Pairs(
        bench.direct["whole"],
        running.doors["whole"].target(),
        settings.pairs,
        settings.pairs_s,
    )
    bench.keep(running.key, "alone", bench.generator.run(order))


def relayed(bench: Bench, running: Running) -> None:
    """Streams in a closed loop: chunks/s on the gateway's core, and the processor time of one."""
    settings = bench.settings
    chunks = max(10, int(settings.loop_chunks * running.system.loop_share))
    order = Loop(running.doors["loop"].target((chunks, 0)), settings.connections, chunks)
    bench.keep(running.key, "loop", *_weigh(bench, running, order, "chunks"))


def flowing(bench: Bench, running: Running) -> None:
    """Paced streams side by side: how late a chunk arrives, and processor time that includes waking up."""
    settings, count = bench.settings, running.system.streams
    shape = (settings.stream_chunks, settings.stream_gap_us)
    length_s = shape[0] * shape[1] / 1e6
    ramp_s = settings.stream_gap_us / 1e6
    order = Streams(
        running.doors["stream"].target(shape),
        count,
        count,
        shape[0],
        ramp_s,
        length_s * 10 + 10,
    )
    bench.keep(running.key, "stream", *_weigh(bench, running, order, "chunks"))


def crowd(bench: Bench, running: Running) -> None:
    """A thousand streams open at the same time, each followed for completeness and order."""
    settings = bench.settings
    shape = (settings.crowd_chunks, settings.crowd_gap_us)
    order = Streams(
        running.doors["stream"].target(shape),
        settings.crowd,
        settings.crowd,
        shape[0],
        1.0,
        90,
    )
    report, extra = _weigh(bench, running, order, "chunks")
    bench.keep(running.key, "crowd", report, {**extra, **running.child.resident()})


def starts(bench: Bench, systems: Mapping[str, System], folders: Mapping[str, Path]) -> None:
    """Start each system again and again, in turn: seconds to the first served answer, and memory at rest."""
    for turn in range(bench.settings.starts):
        for key in in_turn(list(systems), turn):
            running = Running(key, systems[key], bench.ground, folders[key])
            with running.child:
                # Memory settles when the first answer's garbage is gone.
                time.sleep(0.3)
                figures = {
                    "start_s": round(running.start_s, 4),
                    **running.child.resident(),
                }
            bench.keep(key, "start", Report(figures, {}))


TRANSLATED = (saturated, relayed)
"""What is measured of the translations: what they cost beside the pass-through, and nothing that they share with it."""
ROUND: tuple[Callable[[Bench, Running], None], ...] = (saturated, moderate, alone, relayed, flowing)


def rounds(bench: Bench, running: Mapping[str, Running]) -> dict[str, str]:
    """All rounds over all systems. A system that breaks is left out from there on; gives what broke, by system."""
    broken: dict[str, str] = {}
    plan: list[tuple[int, tuple[Callable[[Bench, Running], None], ...]]] = [
        (turn, ROUND) for turn in range(bench.settings.rounds)
    ]
    plan += [(turn, (crowd,)) for turn in range(bench.settings.crowd_rounds)]
    for turn, measurements in plan:
        names = ", ".join(measurement.__name__ for measurement in measurements)
        bench.say(f"round {turn + 1}: {names}")
        for key in in_turn([key for key in running if key not in broken], turn):
            if running[key].system.translated and not set(measurements) & set(TRANSLATED):
                continue
            try:
                warm(bench, running[key])
                for measurement in measurements:
                    if not running[key].system.translated or measurement in TRANSLATED:
                        measurement(bench, running[key])
            except BenchError as exc:
                broken[key] = str(exc)
            if not running[key].child.alive():
                broken[key] = f"ended while it was measured: {running[key].child.tail()}"
    return broken


def direct(bench: Bench) -> None:
    """The harness without a gateway: what the generator and the upstreams can do on their own."""
    settings = bench.settings
    for _ in range(settings.rounds):
        bench.keep(
            "direct",
            "whole",
            bench.generator.run(Closed(bench.direct["whole"], settings.connections, settings.closed_s)),
        )
    shape = (settings.stream_chunks, settings.stream_gap_us)
    limit_s = shape[0] * shape[1] / 1e6 * 10 + 10
    order = Streams(
        bench.direct["stream"],
        100,
        100,
        shape[0],
        settings.stream_gap_us / 1e6,
        limit_s,
    )
    bench.keep("direct", "stream", bench.generator.run(order))


def gather(bench: Bench, key: str) -> dict[str, Any]:
    """Everything measured of one system: the rounds as they were."""
    return {
        "rounds": bench.figures.get(key, {}),
        "faults": dict(bench.faults.get(key, {})),
    }
