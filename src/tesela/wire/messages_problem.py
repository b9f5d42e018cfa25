"""Errors in the shape of Anthropic's API: https://platform.claude.com/docs/en/api/errors.

The status is the same as at every other door; the type is Anthropic's word for it.
"""

from typing import Any

from tesela.errors import TeselaError
from tesela.wire.document import encode


def _event(error: TeselaError) -> dict[str, Any]:
    kind = TYPES.get(error.status) or ("api_error" if error.status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": error.message}}


def failure(error: TeselaError, request_id: str) -> bytes:
    """The body of an error answer."""
    return encode({**_event(error), "request_id": request_id})


def failure_event(error: TeselaError) -> bytes:
    """The data of the event that ends a stream that failed after its first byte."""
    return encode(_event(error))


TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
