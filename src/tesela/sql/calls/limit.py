"""How many requests of a statement are under way at once, as arithmetic.

Up to `most`, which is what was asked for.  An endpoint that says "too many" halves the limit, at most once for all the
requests that were under way then; each round of answers without that adds one back (additive increase, multiplicative
decrease: https://www.rfc-editor.org/rfc/rfc5681#section-3.1).
"""

from msgspec import Struct

LEAST = 1


class Limit(Struct):
    """`now` is the limit in force; `ignore` says how many more answers to requests that were sent before it was halved
    are still to come; `good` counts answers since the last change."""

    most: int
    now: int
    ignore: int = 0
    good: int = 0


def of(most: int) -> Limit:
    return Limit(most, most)


def answered(limit: Limit) -> None:
    """A request was answered, well or with an error of its own."""
    limit.ignore = max(0, limit.ignore - 1)
    if limit.now < limit.most:
        limit.good += 1
        if limit.good >= limit.now:
            limit.now, limit.good = limit.now + 1, 0


def refused(limit: Limit, under_way: int) -> None:
    """A request was refused for load, while `under_way` others are out."""
    if limit.ignore:
        limit.ignore -= 1
        return
    limit.now, limit.good, limit.ignore = max(LEAST, limit.now // 2), 0, under_way
