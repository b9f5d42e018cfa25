"""How many requests of a statement are under way at once, as arithmetic.

From `FIRST` up to `most`, which is what was asked for: twice as many with each round of answers, until answers take
much longer than they did, or an endpoint says "too many".  That halves the limit, at most once for all the requests
that were under way then; answers that take longer lessen it in proportion, because beyond what an endpoint does at once
more requests only wait there.  Each round without either adds one (additive increase, multiplicative decrease:
https://www.rfc-editor.org/rfc/rfc5681#section-3.1; by delay: https://www.rfc-editor.org/rfc/rfc9438 and TCP Vegas).
"""

from msgspec import Struct

LEAST = 1
FIRST = 8
TOLERANCE = 6.0
"""Answers may take so many times as long as the quickest rounds did.  With less, answers whose times differ a lot by
themselves (lognormal, sigma 1) are taken for waiting now and then: 83 % of the ceiling were reached with 3."""


class Limit(Struct):
    """`now` is the limit in force; `ignore` says how many more answers to requests that were sent before it was
    lessened are still to come.  A round is `now` answers: `good` is how many of it have come, `took_s` the seconds that
    they took; `best_s` is what an answer takes in quick rounds, 0 while none is known.  `starting` until it was
    lessened or has reached `most`."""

    most: int
    now: int
    ignore: int = 0
    good: int = 0
    took_s: float = 0.0
    best_s: float = 0.0
    starting: bool = True


def of(most: int) -> Limit:
    return Limit(most, min(most, FIRST))


def answered(limit: Limit, took_s: float = 0.0) -> None:
    """A request was answered, well or with an error of its own."""
    if limit.ignore:
        limit.ignore -= 1
        return
    limit.good += 1
    limit.took_s += took_s
    if limit.good < limit.now:
        return
    mean = limit.took_s / limit.good
    limit.good, limit.took_s = 0, 0.0
    if not limit.best_s:
        limit.best_s = mean
    elif mean < limit.best_s:
        # Half way: a round of few answers may be quick by chance.
        limit.best_s = (limit.best_s + mean) / 2
    elif limit.now == LEAST and mean > TOLERANCE * limit.best_s:
        # Nothing waits for anything else, so the endpoint has become slower: this is what an answer takes now.
        limit.best_s, limit.starting = mean, True
    if limit.best_s and mean > TOLERANCE * limit.best_s:
        less = int(limit.now * max(0.5, TOLERANCE * limit.best_s / mean))
        limit.ignore, limit.starting = limit.now, False
        limit.now = max(LEAST, less)
    elif limit.now < limit.most:
        limit.now = min(limit.most, limit.now * 2 if limit.starting else limit.now + 1)
    else:
        limit.starting = False
        if mean > limit.best_s:
            # Nothing more is added, so this is what answers take; the first rounds had few of them.
            limit.best_s += (mean - limit.best_s) / 10


def refused(limit: Limit, under_way: int) -> None:
    """A request was refused for load, while `under_way` others are out."""
    if limit.ignore:
        limit.ignore -= 1
        return
    limit.now, limit.ignore, limit.starting = max(LEAST, limit.now // 2), under_way, False
    limit.good, limit.took_s = 0, 0.0
