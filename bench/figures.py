"""Arithmetic of the bench: percentiles, medians over rounds, paired ratios.

Pure functions over numbers; nothing here measures anything.
"""

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import TypeVar

T = TypeVar("T")


def percentile(ordered: Sequence[float], share: float) -> float:
    """Nearest-rank percentile of values already in ascending order; `share` is in (0, 1]. NaN when there are none."""
    if not ordered:
        return math.nan
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def summary(values_ns: list[int]) -> dict[str, float]:
    """Count, p50, p99 and maximum of durations in nanoseconds, as microseconds; only the count when there are none.

    Sorts in place.
    """
    if not values_ns:
        return {"count": 0}
    values_ns.sort()
    return {
        "count": len(values_ns),
        "p50_us": round(percentile(values_ns, 0.50) / 1000, 1),
        "p99_us": round(percentile(values_ns, 0.99) / 1000, 1),
        "max_us": round(percentile(values_ns, 1.0) / 1000, 1),
    }


def middle(rounds: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The median over rounds of every figure that all rounds have."""
    if not rounds:
        return {}
    shared = [key for key in rounds[0] if all(key in figures for figures in rounds)]
    return {key: round(median(figures[key] for figures in rounds), 3) for key in shared}


def ratios(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Ratio of two systems, round by round, so that a slow minute of the machine falls on both sides.

    Gives the median, the smallest and the largest ratio.
    """
    pairs = sorted(a / b for a, b in zip(ours, theirs, strict=True) if b > 0)
    if not pairs:
        return {}
    return {
        "median": round(median(pairs), 3),
        "low": round(pairs[0], 3),
        "high": round(pairs[-1], 3),
    }


def in_turn(items: Sequence[T], turn: int) -> list[T]:
    """The order of one round: rotated by one every second round, and turned round in between.

    Whoever goes first meets another machine than whoever goes last; over the rounds everybody is both.
    """
    if not items:
        return []
    shift = (turn // 2) % len(items)
    order = [*items[shift:], *items[:shift]]
    return order[::-1] if turn % 2 else order
