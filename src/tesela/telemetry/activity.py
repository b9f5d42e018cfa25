"""What one worker remembers of each endpoint: the last requests, and figures for each minute of the last day.

No prompt and no answer is among it.  It is added to on every request, so that costs an append; figures are made of it a
few requests later.  All of it is bounded, and gone when the worker ends.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta

from tesela.wire.usage import Usage

RECENT = 200
"""Requests of one endpoint that are remembered one by one."""
ENDPOINTS = 500
"""Endpoints that are remembered; one more takes the place of the one that was asked longest ago."""
MINUTES = 1440
BUCKETS = 40_000
"""Minutes of all endpoints together: some 10 MB."""
BATCH = 64
"""Requests that may wait for being counted: few, so that counting them delays nobody by more than 0.1 ms."""
BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 60_000)
"""Upper ends of the classes that durations are counted in; the last class has none."""
CLASSES = len(BOUNDS_MS) + 1
SUMMED = ("requests", "failed", "cancelled", "prompt_tokens", "completion_tokens")
"""The figures of a minute that add up."""


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """One request that is over.  `ended` is in seconds since the epoch; 499 stands for a caller that left.

    `first_s` is the time to the first piece of a stream, None where nothing was streamed.
    """

    ended: float
    request_id: str
    entity: str
    principal_id: str
    principal: str
    status: int
    error: str
    duration_s: float
    first_s: float | None
    prompt_tokens: int
    completion_tokens: int
    streamed: bool


class Minute(msgspec.Struct, array_like=True):
    """Figures of one minute.  `classes` counts durations by `BOUNDS_MS`."""

    requests: int = 0
    failed: int = 0
    cancelled: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    classes: Annotated[list[int], Meta(min_length=CLASSES, max_length=CLASSES)] = msgspec.field(
        default_factory=lambda: [0] * CLASSES
    )

    def add(self, other: "Minute") -> None:
        for name in SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.classes = [one + more for one, more in zip(self.classes, other.classes, strict=True)]

    def percentile_ms(self, share: float) -> float | None:
        """The duration that this share of the requests (0 to 1) does not exceed, by its class; None of no request."""
        total = sum(self.classes)
        if not total:
            return None
        rest = share * total
        for at, count in enumerate(self.classes):
            if count and rest <= count:
                low = BOUNDS_MS[at - 1] if at else 0
                high = BOUNDS_MS[at] if at < len(BOUNDS_MS) else 2 * low
                return low + (high - low) * rest / count
            rest -= count
        return float(BOUNDS_MS[-1])


class Series(msgspec.Struct):
    """What is remembered of one endpoint; minutes are by their number since the epoch."""

    recent: list[Asked]
    minutes: dict[int, Minute]


Over = tuple[str, float, float, int, Usage | None, str, str, str, str, str, float | None, bool]
"""A request as it is handed over, with the endpoint's id first: a plain tuple, which costs a tenth of a struct.

`(endpoint, ended, duration_s, status, usage, request_id, entity, principal_id, principal, error, first_s, streamed)`
"""


class _Remembered:
    __slots__ = ("minutes", "recent")

    def __init__(self) -> None:
        self.recent: deque[Over] = deque(maxlen=RECENT)
        self.minutes: dict[int, Minute] = {}


class Activity:
    """What this worker remembers.  `changes` goes up with each request that is counted."""

    def __init__(self) -> None:
        self.changes = 0
        self._waiting: list[Over] = []
        self._known: dict[str, _Remembered] = {}
        self._buckets = 0

    def add(self, over: Over) -> None:
        waiting = self._waiting
        waiting.append(over)
        if len(waiting) >= BATCH:
            self.settle()

    def settle(self) -> None:
        """Count what waits."""
        waiting, self._waiting = self._waiting, []
        self.changes += len(waiting)
        # Neighbours are most often of one endpoint and one minute, which is looked up once then.
        last, begins = "", -1.0
        for over in waiting:
            endpoint, begin, status, usage = over[0], over[1] // 60, over[3], over[4]
            if endpoint != last or begin != begins:
                last, begins = endpoint, begin
                recent, minute = self._place(endpoint, int(begin))
                classes = minute.classes
            recent.append(over)
            minute.requests += 1
            if usage is not None:
                minute.prompt_tokens += usage.prompt_tokens
                minute.completion_tokens += usage.completion_tokens
            if status >= 400:
                if status == 499:
                    minute.cancelled += 1
                else:
                    minute.failed += 1
            classes[bisect_left(BOUNDS_MS, over[2] * 1000)] += 1

    def endpoints(self) -> list[str]:
        return list(self._known)

    def series(self, endpoint: str) -> Series | None:
        """A copy.  May be called from another thread: copying a list or a dict is one step to the interpreter."""
        known = self._known.get(endpoint)
        if known is None:
            return None
        return Series([_asked(one) for one in list(known.recent)], dict(known.minutes))

    def _place(self, endpoint: str, number: int) -> tuple[deque[Over], Minute]:
        known = self._known.get(endpoint)
        minute = known.minutes.get(number) if known is not None else None
        if known is None or minute is None:
            known, minute = self._fresh(endpoint, number)
        return known.recent, minute

    def _fresh(self, endpoint: str, number: int) -> tuple[_Remembered, Minute]:
        """A new minute of an endpoint, which is the latest asked one then."""
        known = self._known.pop(endpoint, None) or _Remembered()
        self._known[endpoint] = known
        old = [one for one in known.minutes if one <= number - MINUTES]
        for one in old:
            del known.minutes[one]
        minute = known.minutes[number] = Minute()
        self._buckets += 1 - len(old)
        while len(self._known) > ENDPOINTS or (self._buckets > BUCKETS and len(self._known) > 1):
            gone = self._known.pop(next(iter(self._known)))
            self._buckets -= len(gone.minutes)
        return known, minute


def merged(parts: Iterable[Series]) -> Series:
    """What several workers remember of one endpoint, the newest request first."""
    recent: list[Asked] = []
    minutes: dict[int, Minute] = {}
    for part in parts:
        recent += part.recent
        for number, minute in part.minutes.items():
            minutes.setdefault(number, Minute()).add(minute)
    recent.sort(key=lambda one: one.ended, reverse=True)
    return Series(recent, minutes)


def _asked(over: Over) -> Asked:
    _, ended, duration_s, status, usage, request_id, entity, principal_id, principal, error, first_s, streamed = over
    prompt, completion = (usage.prompt_tokens, usage.completion_tokens) if usage is not None else (0, 0)
    return Asked(
        ended, request_id, entity, principal_id, principal, status, error, duration_s, first_s, prompt, completion,
        streamed,
    )  # fmt: skip
