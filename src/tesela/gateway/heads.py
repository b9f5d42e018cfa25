"""The head of an upstream's answer: what makes it one that cannot be used, and when to come back."""

from tesela.errors import UpstreamProtocolError
from tesela.gateway.seams import Headers

STREAMS = (b"text/event-stream", b"application/vnd.amazon.eventstream")
"""Content types of answers that come in events."""
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


def retry_after(headers: Headers) -> int | None:
    """Whole seconds of a Retry-After header (RFC 9110, section 10.2.3).  A date is left out: few send one."""
    content = headers.get(b"retry-after", b"").strip()
    return min(int(content[:9]), 86400) if content.isdigit() else None


def no_object(body: bytes) -> None:
    """Raises UpstreamProtocolError when the body of a whole answer is something else than a JSON object.

    Only its first byte is looked at: a login page and an empty body are told apart by that, and the rest passes as it
    came.
    """
    if not body.lstrip().startswith(b"{"):
        raise UpstreamProtocolError("the provider's answer is not a JSON object: is the address that of its API?")
