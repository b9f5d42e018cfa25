"""Which answers are asked for again, and after how long.  Pure."""

from collections.abc import Callable, Mapping

from msgspec import Struct

REPEATED = frozenset({408, 429, 500, 502, 503, 504})
"""Others from 400 on say that the request itself is wrong, and stay so."""
LOADED = frozenset({429, 503})
"""What says that less should be sent."""
NO_CONNECTION = 0
"""Stands for a status where there was no answer at all."""


class Patience(Struct, frozen=True):
    """`attempts` in all; the pauses between them are up to `first_s`, twice that, and so on, up to `longest_s`, and at
    least what the endpoint asks for, which is believed up to `most_asked_s`."""

    attempts: int = 8
    first_s: float = 0.5
    longest_s: float = 30.0
    most_asked_s: float = 300.0


def pause(
    status: int, headers: Mapping[bytes, bytes], made: int, patience: Patience, draw: Callable[[], float]
) -> float | None:
    """Seconds before the next attempt after `made` of them, the last answered with this status; None for no more.

    `draw` gives a number uniform in [0, 1).  "Full jitter":
    https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
    """
    if made >= patience.attempts or (status != NO_CONNECTION and status not in REPEATED):
        return None
    asked = headers.get(b"retry-after", b"").strip()
    least = min(float(asked), patience.most_asked_s) if asked.isdigit() else 0.0
    return least + draw() * min(patience.longest_s, patience.first_s * 2.0 ** (made - 1))
