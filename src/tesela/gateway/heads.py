"""The head of an upstream's answer: what makes it one that cannot be used, and when to come back."""

import math
import re
from collections.abc import Callable
from email.utils import mktime_tz, parsedate_tz

from tesela.errors import TeselaError, UpstreamError, UpstreamProtocolError
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


def name_request(error: TeselaError, headers: Headers | None) -> None:
    """Add what the provider called this request, where it said so: its support finds the request by that."""
    if not headers or not isinstance(error, UpstreamError):
        return
    for name in REQUEST_IDS:
        found = headers.get(name, b"")
        # It goes into a sentence: whatever is no plain word stays out.
        if found and len(found) <= 128 and _PLAIN.match(found):
            if found.decode() not in error.message:
                error.message += f" (the provider's request {found.decode()})"
            return


REQUEST_IDS = (
    b"request-id",  # https://platform.claude.com/docs/en/api/errors
    b"x-amzn-requestid",  # https://docs.aws.amazon.com/bedrock/latest/APIReference/CommonErrors.html
    b"apim-request-id",
    b"x-request-id",  # https://platform.openai.com/docs/api-reference/debugging-requests
    b"x-debug-trace-id",
)
_PLAIN = re.compile(rb"^[\w.:=/+-]+\Z")


def no_object(body: bytes) -> None:
    """Raises UpstreamProtocolError when the body of a whole answer is something else than a JSON object.

    Only its first byte is looked at: a login page and an empty body are told apart by that, and the rest passes as it
    came.
    """
    if not body.lstrip().startswith(b"{"):
        raise UpstreamProtocolError("the provider's answer is not a JSON object: is the address that of its API?")
