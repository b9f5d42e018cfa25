"""What the bench tells its load generator to do: one JSON line per order, one JSON line back."""

from typing import TypeAlias

from msgspec import Struct

Figures: TypeAlias = dict[str, float]


class Target(Struct, frozen=True):
    """Where to send which bytes. `request` is a whole HTTP request."""

    port: int
    request: bytes


class Closed(Struct, frozen=True, tag="closed"):
    """As fast as the answers come, on `connections` keep-alive connections, for `seconds`."""

    target: Target
    connections: int
    seconds: float


class Paced(Struct, frozen=True, tag="paced"):
    """`count` requests at `rate` per second. A latency counts from the moment the request was due."""

    target: Target
    connections: int
    rate: float
    count: int


class Pairs(Struct, frozen=True, tag="pairs"):
    """One request at a time, `direct` and `target` in turn, `count` of each, for at most `seconds`."""

    direct: Target
    target: Target
    count: int
    seconds: float


class Streams(Struct, frozen=True, tag="streams"):
    """`streams` streams of `chunks` chunks, `at_once` open at any time, begun evenly over the first `ramp_s`."""

    target: Target
    streams: int
    at_once: int
    chunks: int
    ramp_s: float
    limit_s: float


class Loop(Struct, frozen=True, tag="loop"):
    """`streams` streams at once, each of `chunks` chunks, one chunk of each under way (bench/loop.py)."""

    target: Target
    streams: int
    chunks: int


Order: TypeAlias = Closed | Paced | Pairs | Streams | Loop


class Report(Struct, frozen=True):
    """What came of an order. `faults` counts by kind and is empty when all is well."""

    figures: Figures
    faults: dict[str, int]
