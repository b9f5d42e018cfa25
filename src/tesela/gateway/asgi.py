"""The same gateway as a plain ASGI application, and the door that everything else comes through.

Every path needs a credential unless it is in the short public list; the check stands before the routing, so a handler
cannot forget it.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tesela import page
from tesela.errors import MethodNotAllowed, Unauthenticated
from tesela.gateway import doors, native
from tesela.gateway.invocation import Invocation
from tesela.gateway.invoke import Gateway
from tesela.gateway.limits import Limits
from tesela.gateway.refusal import boundary, error_body, error_lines
from tesela.snapshot import Credential

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Application:
    """Authenticates, then hands on: doors of the data plane to the gateway, the rest to `rest`.

    `public` says whether a path answers without a credential.
    """

    def __init__(self, gateway: Gateway, limits: Limits, rest: App, public: Callable[[str], bool]) -> None:
        self._gateway = gateway
        self._limits = limits
        self._rest = rest
        self._public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                names = {name for name, _ in message.get("headers", ())}
                if b"x-request-id" not in names:
                    known = scope.get("state", {}).get("request_id") or self._gateway.next_id()
                    named = (b"x-request-id", known.encode())
                    message = {**message, "headers": [*message.get("headers", ()), named]}
            await send(message)

        try:
            await self._serve(scope, receive, watched)
        except Exception as exc:
            request_id = self._gateway.next_id()
            error = boundary(exc, request_id)
            if started:
                raise
            body = error_body(error, request_id, doors.find(scope["raw_path"]))
            headers = [*headers_of(error_lines(error, request_id)), (b"content-length", b"%d" % len(body))]
            await send({"type": "http.response.start", "status": error.status, "headers": headers})
            await send({"type": "http.response.body", "body": body})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope["headers"])
        door = doors.find(scope["raw_path"])
        if door is not None and door.native is not None:
            door = native.enter(door._replace(query=scope["query_string"]), headers)
        elif scope["raw_path"].startswith(doors.GEMINI_MODELS):
            native.bear(headers, b"x-goog-api-key")
        if page.bear(headers, self._gateway.cookie):
            # Handlers pass the caller's token on, to whatever makes requests in their name.
            scope["headers"] = [*scope["headers"], (b"authorization", headers[b"authorization"])]
        credential: Credential | None = None
        try:
            credential = self._gateway.authenticate(headers.get(b"authorization"))
            length = headers.get(b"content-length", b"")
            if length.isdigit():
                self._limits.check(int(length))
            self._limits.check_encoding(headers.get(b"content-encoding"))
        except Unauthenticated:
            if not self._public(scope["path"]):
                raise
        if door is not None and scope["method"] != "POST":
            error = MethodNotAllowed(f"{scope['method']} is not possible on {scope['path']}: queries are sent by POST")
            error.allow = "POST"
            raise error
        if door is None:
            scope.setdefault("state", {}).update(credential=credential, request_id=self._gateway.next_id())
            await self._rest(scope, self._bounded(receive), send)
            return
        assert credential is not None  # noqa: S101 - no door is public
        body = await read(receive, self._limits)
        if body is None:
            return
        caller = AsgiCaller()
        invocation = self._gateway.begin(caller, door, credential, body)
        await caller.play(receive, send, invocation)

    def _bounded(self, receive: Receive) -> Receive:
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._limits.max_body:
                raise self._limits.too_large()
            return message

        return bounded


async def read(receive: Receive, limits: Limits) -> bytes | None:
    """The whole request body; None when the client left.  Raises TooLarge, and RequestTimeout never: the server's
    own clock ends a body that does not arrive."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        part = message.get("body", b"")
        size += len(part)
        if size > limits.max_body:
            raise limits.too_large()
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def headers_of(lines: bytes) -> list[tuple[bytes, bytes]]:
    """Header lines as ASGI has them."""
    out = []
    for line in lines.split(b"\r\n"):
        if line:
            name, _, content = line.partition(b": ")
            out.append((name, content))
    return out


HIGH_WATER = 64 * 1024
"""Bytes that may wait for a slow client before the upstream is told to pause."""


class AsgiCaller:
    """The caller of an invocation over ASGI: callbacks in, awaited messages out."""

    def __init__(self) -> None:
        self._messages: list[Message] = []
        self._wake = asyncio.Event()
        self._waiting = 0
        self._over = False
        self._paused = False
        self._invocation: Invocation | None = None

    def _put(self, message: Message) -> None:
        self._messages.append(message)
        self._waiting += len(message.get("body", b""))
        self._wake.set()
        # Looked at here and not where messages are sent: while one waits for the client, more keep coming.
        if self._waiting > HIGH_WATER and self._invocation is not None and not (self._paused or self._over):
            self._paused = True
            self._invocation.pause()

    def answer(self, status: int, lines: bytes, body: bytes) -> None:
        headers = [*headers_of(lines), (b"content-length", b"%d" % len(body))]
        self._over = True
        self._put({"type": "http.response.start", "status": status, "headers": headers})
        self._put({"type": "http.response.body", "body": body})

    def open(self, status: int, lines: bytes) -> None:
        self._put({"type": "http.response.start", "status": status, "headers": headers_of(lines)})

    def send(self, data: bytes) -> None:
        self._put({"type": "http.response.body", "body": data, "more_body": True})

    def close(self) -> None:
        self._over = True
        self._put({"type": "http.response.body", "body": b""})

    def abort(self) -> None:
        self._messages.append({"type": "abort"})
        self._over = True
        self._wake.set()

    async def play(self, receive: Receive, send: Send, invocation: Invocation | None) -> None:
        """Send what comes until the answer is over or the client has left."""
        self._invocation = invocation
        left = asyncio.ensure_future(_left(receive))
        waiting = asyncio.ensure_future(self._wake.wait())
        try:
            while True:
                await asyncio.wait((left, waiting), return_when=asyncio.FIRST_COMPLETED)
                if left.done():
                    return
                over = self._over
                self._wake.clear()
                messages, self._messages = self._messages, []
                for message in messages:
                    if message["type"] == "abort":
                        raise ConnectionAbortedError("the answer could not be completed")
                    await send(message)
                    self._waiting -= len(message.get("body", b""))
                if over:
                    return
                if self._paused and self._waiting <= HIGH_WATER and invocation is not None:
                    self._paused = False
                    invocation.resume()
                waiting = asyncio.ensure_future(self._wake.wait())
        finally:
            left.cancel()
            waiting.cancel()
            self._invocation = None
            if invocation is not None:
                invocation.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
