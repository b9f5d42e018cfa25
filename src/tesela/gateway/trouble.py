"""What has gone wrong so far in one invocation, and whether the same entity is asked again.

Made at the first failure.  Most invocations have none and never pay for it.
"""

import asyncio
from collections.abc import Callable

import msgspec

from tesela.errors import TeselaError, UpstreamUnauthorized
from tesela.serving import Retries, ServedEntity, Upstream
from tesela.telemetry.attempts import Attempted


class Trouble:
    """The attempts that failed, in their order.  `upstream` is what the next attempt calls instead of its entity's own,
    which has more time than is left; None for an entity's first attempt."""

    __slots__ = ("attempts", "deadline", "repeats", "upstream")

    def __init__(self) -> None:
        self.attempts: list[Attempted] = []
        self.repeats = 0
        self.deadline = 0.0
        self.upstream: Upstream | None = None

    def pause_s(
        self, error: TeselaError, entity: ServedEntity, began: float, now: float, draw: Callable[[], float]
    ) -> float | None:
        """How long to wait before the same entity is asked again; None when it is not.  All its attempts together have
        the total time of one."""
        limits = entity.upstream.timeouts
        retries = limits.retries
        if self.repeats >= retries.count or isinstance(error, UpstreamUnauthorized):
            return None
        if not self.repeats:
            self.deadline = began + limits.total_s
        pause = pause_s(retries, self.repeats, _asked(error), draw)
        if pause is None or now + pause >= self.deadline:
            return None
        self.repeats += 1
        left_s = self.deadline - now - pause
        # The path's head is kept with its time limits: it must be another one.
        self.upstream = msgspec.structs.replace(
            entity.upstream, timeouts=msgspec.structs.replace(limits, total_s=left_s), links={}
        )
        return pause

    def next_entity(self) -> None:
        self.repeats = 0
        self.upstream = None

    def lines(self, last: str = "") -> bytes:
        """The header line that tells the caller of all attempts; `last` is the entity that answers.  Empty for one."""
        told = [f"{one.entity}={one.outcome}" for one in self.attempts if one.error]
        if last:
            told.append(f"{last}=200")
        return b"x-tesela-attempts: %b\r\n" % ", ".join(told).encode() if len(told) > 1 else b""


def pause_s(retries: Retries, repeats: int, asked_s: int, draw: Callable[[], float]) -> float | None:
    """Any time up to a bound that doubles, so that callers who failed together do not come back together
    (https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/, "full jitter").

    Never less than what the provider asks for, and None when that is more than the longest pause.
    """
    if asked_s > retries.longest_s:
        return None
    bound = min(retries.longest_s, retries.pause_s * 2.0**repeats)
    return max(float(asked_s), draw() * bound)


def _asked(error: TeselaError) -> int:
    """Seconds of the provider's own Retry-After: what we tell callers when it gave no status is not its wish."""
    return error.retry_after_s or 0 if error.upstream_status is not None else 0


class Pause:
    """The wait before another attempt, as a handle: a caller that leaves ends it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, then: Callable[[], None]) -> None:
        self._timer = loop.call_later(seconds, then)

    def pause(self) -> None:
        """Nothing comes."""

    def resume(self) -> None:
        """Nothing was held back."""

    def cancel(self) -> None:
        self._timer.cancel()
