"""From whatever went wrong to the answer that says so."""

import logging
from collections.abc import Iterable

from tesela.errors import InternalError, TeselaError, UpstreamError
from tesela.gateway.doors import Door
from tesela.gateway.seams import Caller
from tesela.serving import Upstream
from tesela.wire import problem
from tesela.wire.native_forms import NATIVE_FORMS

MAX_NOTE = 2000
"""Characters of a provider's message that go to the log."""
MIN_KEY = 8
"""What is shorter is no key, and taking it out would spoil the message."""

_log = logging.getLogger("tesela.gateway")


def boundary(exc: Exception, request_id: str) -> TeselaError:
    """The one place where whatever went wrong becomes an error of the tree.  Faults of ours go to the log."""
    if isinstance(exc, TeselaError):
        return exc
    _log.error("request %s failed by a fault in Tesela", request_id, exc_info=exc)
    return InternalError(f"something broke inside Tesela; the server's log has it under request id {request_id}")


def note(error: TeselaError, request_id: str, endpoint: str, entity: str) -> None:
    """Say in the log that an upstream failed; what callers do wrong is theirs to know."""
    if isinstance(error, UpstreamError):
        where = f"endpoint {endpoint}, served entity {entity}"
        _log.warning("request %s: %s: %s %s", request_id, where, error.status, _line(error.message))


def _line(text: str) -> str:
    """As it is when it is one line.  Providers repeat what callers sent, who must not write lines into our log."""
    return text[:MAX_NOTE] if text.isprintable() else repr(text[:MAX_NOTE])


def without_keys(pieces: Iterable[bytes] | None, upstream: Upstream) -> bytes:
    """What a provider said when it refused, with our keys out of it: some repeat the header that they were sent."""
    said = b"".join(pieces or ())
    sent = [value for _, value in upstream.headers]
    if upstream.signer is not None and upstream.signer.session_token:
        # The one secret of a signer that is sent as it is.
        sent.append(upstream.signer.session_token)
    for value in sent:
        # Of `Bearer KEY` only the key is one.
        key = value.rpartition(" ")[2].encode()
        if len(key) >= MIN_KEY:
            said = said.replace(key, b"***")
    return said


def refuse(caller: Caller, error: TeselaError, request_id: str, door: Door, more: bytes = b"") -> None:
    """Answer with an error, in the shape that the clients at this door read; `more` are header lines."""
    caller.answer(error.status, error_lines(error, request_id) + more, error_body(error, request_id, door))


def error_body(error: TeselaError, request_id: str, door: Door | None) -> bytes:
    if door is None or door.native is None:
        return problem.body(error)
    return NATIVE_FORMS[door.native].failure(error, request_id)


def last_answer(error: TeselaError, request_id: str) -> bytes:
    """Header lines and body of the answer after which a connection closes."""
    body = problem.body(error)
    return b"%bcontent-length: %d\r\nconnection: close\r\n\r\n%b" % (error_lines(error, request_id), len(body), body)


def error_lines(error: TeselaError, request_id: str) -> bytes:
    lines = b"".join(b"%b: %b\r\n" % header for header in problem.headers(error))
    return lines + b"x-request-id: %b\r\n" % request_id.encode()
