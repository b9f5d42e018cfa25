"""The head of an upstream's answer: what makes it one that cannot be used, and when to come back."""

import math
from collections.abc import Callable
from email.utils import mktime_tz, parsedate_tz

from tesela.errors import UpstreamProtocolError
from tesela.gateway.seams import Headers

STREAMS = (b"text/event-stream", b"application/vnd.amazon.eventstream")
"""Content types of answers that come in events."""
LONGEST_S = 86400
"""A day: what a provider asks for beyond that is a mistake."""
NOT_A_STREAM = "the provider was asked for a stream and did not answer with one"


def objection(status: int, headers: Headers, streaming: bool) -> UpstreamProtocolError | None:
    """What is wrong with an answer of a status below 400; None when nothing is."""
    if status >= 300:
        return UpstreamProtocolError(f"the provider answered with a redirect (status {status})")
    if streaming and not headers.get(b"content-type", b"").lower().startswith(STREAMS):
        return UpstreamProtocolError(NOT_A_STREAM)
    if headers.get(b"content-encoding", b"identity") != b"identity":
        return UpstreamProtocolError("the provider compressed its answer though it was asked not to")
    return None


def retry_after(headers: Headers, now: Callable[[], float]) -> int | None:
    """Whole seconds of a Retry-After header, which has them or a date (RFC 9110, section 10.2.3).

    Clients of ours read whole seconds and no date.  `now` gives the time in seconds since the epoch.
    """
    content = headers.get(b"retry-after", b"").strip()
    if content.isdigit():
        return min(int(content[:9]), LONGEST_S)
    found = parsedate_tz(content.decode("latin-1")) if content else None
    if found is None:
        return None
    try:
        # The oldest form of a date has no zone; it is always that of Greenwich.
        left = mktime_tz((*found[:9], found[9] or 0)) - now()
    except (OverflowError, ValueError):
        return None
    return min(max(0, math.ceil(left)), LONGEST_S)


def no_object(body: bytes) -> None:
    """Raises UpstreamProtocolError when the body of a whole answer is something else than a JSON object.

    Only its first byte is looked at: a login page and an empty body are told apart by that, and the rest passes as it
    came.
    """
    if not body.lstrip().startswith(b"{"):
        raise UpstreamProtocolError("the provider's answer is not a JSON object: is the address that of its API?")
