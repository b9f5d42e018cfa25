"""Errors in the shape of Google's APIs: https://cloud.google.com/apis/design/errors.

The status is the same as at every other door; the word beside it is one of google.rpc.Code
(https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto).
"""

from typing import Any

from tesela.errors import TeselaError
from tesela.wire.document import encode


def failure(error: TeselaError, request_id: str) -> bytes:
    """The body of an error answer."""
    told = _told(error)
    told["details"] = [{"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": request_id}]
    return encode({"error": told})


def failure_event(error: TeselaError) -> bytes:
    """The data of the event that ends a stream that failed after its first byte."""
    return encode({"error": _told(error)})


def _told(error: TeselaError) -> dict[str, Any]:
    word = CODES.get(error.status) or ("INTERNAL" if error.status >= 500 else "INVALID_ARGUMENT")
    return {"code": error.status, "message": error.message, "status": word}


CODES = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
