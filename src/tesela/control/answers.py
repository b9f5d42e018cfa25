"""JSON in and out of the handlers, and errors in the shape that all clients read."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tesela.errors import InvalidRequest, MethodNotAllowed, PathNotFound, RequestTimeout, TeselaError, TooLarge
from tesela.wire import problem
from tesela.wire.document import Document, decode, encode

MAX_BYTES = 1024 * 1024
"""The largest body that a handler here reads.  Nothing that is written here comes near."""

Handler = Callable[[Request], Awaitable[Response]]


def json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(encode(value), status, headers, media_type="application/json")


async def body(request: Request) -> bytes:
    """The request's body.  Raises TooLarge, and RequestTimeout when the caller has left before its end."""
    out = bytearray()
    try:
        async for piece in request.stream():
            out += piece
            if len(out) > MAX_BYTES:
                raise TooLarge(f"the request body is larger than {MAX_BYTES // 1024} KiB")
    except ClientDisconnect as exc:
        raise RequestTimeout("the caller left before the request was complete") from exc
    return bytes(out)


async def document(request: Request) -> Document:
    """The request's body as a document; no body is an empty one.  Raises InvalidRequest and TooLarge."""
    data = await body(request)
    return decode(data) if data.strip() else {}


def told(error: TeselaError) -> Response:
    """An error as an answer."""
    response = Response(problem.body(error), error.status)
    for name, value in problem.headers(error):
        response.headers[name.decode()] = value.decode()
    return response


async def on_http_exception(request: Request, exc: Exception) -> Response:
    """What the router raises by itself: a path that nobody has, or a method that the path does not take."""
    if not isinstance(exc, HTTPException):
        raise exc
    path = request.url.path
    if exc.status_code == 405:
        response = told(MethodNotAllowed(f"{request.method} is not possible on {path}"))
        response.headers.update(exc.headers or {})
        return response
    if exc.status_code == 404:
        return told(PathNotFound(f"there is nothing at {request.method} {path}"))
    return told(InvalidRequest(exc.detail))
