"""Circuit breakers, as arithmetic.

A breaker is a few numbers.  Nothing here knows about time except through `now`, so a test can make a minute pass by
adding sixty.

    closed      calls go.  A failure begins a window; when enough of the calls that end in it fail, the breaker opens
    open        nothing goes, for `open_s`
    half-open   after that one call goes at a time, as a probe: answered, it closes the breaker; failed, it opens again
"""

import msgspec


class Terms(msgspec.Struct, frozen=True):
    """When a breaker opens: `failures` within `window_s` seconds, when they are at least `rate` of the calls that ended
    since the first of them; 0 failures for never.  `open_s` is how long nothing goes then."""

    failures: int = 5
    rate: float = 0.5
    window_s: float = 30.0
    open_s: float = 10.0


class Breaker(msgspec.Struct):
    """`opened` is the time since which it has not been closed.  `probing` is the time until which the one probe's
    place is taken: a probe that is lost gives it up by that."""

    began: float = 0.0
    calls: int = 0
    failures: int = 0
    opened: float | None = None
    until: float = 0.0
    probing: float | None = None


SOON_S = 1.0
"""When to come back while a probe is under way: it may be answered at any moment."""


def wait_s(breaker: Breaker, *, now: float) -> float:
    """Seconds until a call may go; 0.0 when one may now."""
    if breaker.opened is None:
        return 0.0
    if breaker.probing is not None and breaker.probing > now:
        return SOON_S
    return max(0.0, breaker.until - now)


def enter(breaker: Breaker, *, now: float, lease_s: float) -> bool:
    """Begin a call that may go.  Whether it is a probe, whose end must be told."""
    if breaker.opened is None:
        return False
    breaker.probing = now + lease_s
    return True


def leave(breaker: Breaker) -> None:
    """A probe ended and says nothing of the upstream: the next call may be one."""
    breaker.probing = None


def failed(breaker: Breaker, terms: Terms, *, now: float, probe: bool) -> bool:
    """A call failed.  Whether the breaker is open by that, and was not before."""
    if breaker.opened is not None:
        if probe:
            breaker.probing, breaker.until = None, now + terms.open_s
        return False
    if not breaker.calls or now - breaker.began > terms.window_s:
        breaker.began, breaker.calls, breaker.failures = now, 0, 0
    breaker.calls += 1
    breaker.failures += 1
    if not terms.failures or breaker.failures < terms.failures or breaker.failures < terms.rate * breaker.calls:
        return False
    breaker.opened, breaker.until = now, now + terms.open_s
    return True


def answered(breaker: Breaker, terms: Terms, *, now: float, probe: bool) -> bool:
    """A call was answered.  Whether the breaker is closed by that, and was not before."""
    if breaker.opened is None:
        if breaker.calls and now - breaker.began > terms.window_s:
            breaker.calls = breaker.failures = 0
        elif breaker.calls:
            breaker.calls += 1
        return False
    if not probe:
        # It was sent before the breaker opened, and says nothing of how the upstream is now.
        return False
    breaker.opened = breaker.probing = None
    breaker.calls = breaker.failures = 0
    return True


def forgettable(breaker: Breaker, terms: Terms, *, now: float) -> bool:
    """Whether it is as good as a new one."""
    return breaker.opened is None and (not breaker.calls or now - breaker.began > terms.window_s)
