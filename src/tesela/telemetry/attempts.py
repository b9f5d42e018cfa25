"""One attempt of an invocation, as it is told: in the log now, and in the shape that a table can take."""

from collections.abc import Sequence

import msgspec


class Attempted(msgspec.Struct, frozen=True):
    """One call to one upstream that is over.

    `model` is the name that the provider knows, `started` in seconds since the epoch, `status` what the provider gave,
    or None when it gave none.  `error` is the class of the failure, empty when the call was answered.
    """

    entity: str
    model: str
    started: float
    duration_s: float
    status: int | None
    error: str = ""

    @property
    def outcome(self) -> str:
        """In one word: the provider's status; without one, or when that was no failure, the kind of the failure."""
        if self.status is None or (self.error and self.status < 400):
            return WORDS.get(self.error, "failed")
        return str(self.status)


def line(attempts: Sequence[Attempted]) -> str:
    """For the log: `first 503 after 12 ms, second 200 after 340 ms`."""
    return ", ".join(f"{one.entity} {one.outcome} after {one.duration_s * 1000:.0f} ms" for one in attempts)


WORDS = {
    "UpstreamTimeout": "timeout",
    "UpstreamUnavailable": "unavailable",
    "UpstreamProtocolError": "broken",
    "Cancelled": "cancelled",
}
"""Ends that may come without a status of the provider's."""
