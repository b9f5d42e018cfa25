"""When an engine that died may start again, as arithmetic.  Nothing here knows the time."""

from msgspec import Struct

FIRST_S = 0.1
LONGEST_S = 30.0
#: After this much health, earlier deaths are forgotten.
HEALTHY_S = 60.0
#: A death this soon after being ready, or before it, is an early one.
EARLY_S = 5.0
#: So many early deaths in a row, and the engine counts as failed: something is wrong that a restart does not mend.
EARLY_DEATHS = 5


class Tally(Struct, frozen=True):
    """Deaths in a row, and how many of the last ones were early."""

    deaths: int = 0
    early: int = 0

    @property
    def failed(self) -> bool:
        return self.early >= EARLY_DEATHS


def after_death(tally: Tally, ready_s: float) -> Tally:
    """Count a death that came `ready_s` after the engine was ready (0 when it never was)."""
    if ready_s >= HEALTHY_S:
        return Tally(deaths=1)
    return Tally(deaths=tally.deaths + 1, early=tally.early + 1 if ready_s < EARLY_S else 0)


def delay_s(tally: Tally) -> float:
    """Seconds to wait before the next start."""
    if tally.failed:
        return LONGEST_S
    return float(min(LONGEST_S, FIRST_S * 2.0 ** min(max(tally.deaths - 1, 0), 16)))
