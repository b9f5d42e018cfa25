"""The hot doors, taken inside uvicorn's own HTTP protocol.

A POST to a door of the data plane never becomes an ASGI scope: its head is looked at where the parser has it, its
answer is one write.  All else, and what arrives while another request is under way on the same connection, goes
uvicorn's usual way to the ASGI application, which has the same doors; a test holds both to the same bytes.
"""

import asyncio
import math
from typing import Any, cast

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from tesela import page
from tesela.errors import HeadTooLarge, InvalidRequest, RequestTimeout, TeselaError
from tesela.gateway import doors, glance, native, offers
from tesela.gateway.invoke import Gateway
from tesela.gateway.limits import Limits
from tesela.gateway.linger import forget, linger, may_answer
from tesela.gateway.refusal import last_answer
from tesela.gateway.turn import HotTurn, without_chunks
from tesela.snapshot import Credential, Snapshot

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
MAX_HEAD = 64 * 1024
"""Bytes of request line and headers; nginx takes 32 KiB, node 16 KiB.  OAuth tokens with many groups are long."""
HEAD_TOO_LARGE = f"the request line and headers are larger than {MAX_HEAD} bytes"


class HotProtocol(HttpToolsProtocol):
    """One client connection.  `hot_protocol` makes a subclass that knows its gateway."""

    gateway: Gateway
    limits: Limits
    hot = True

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        # The parser calls these containers themselves: no frame of ours for each header.
        self._found: dict[bytes, bytes] = {}
        self._urls: list[bytes] = []
        self.on_header = self._found.__setitem__  # type: ignore[method-assign, assignment]
        self.on_url = self._urls.append  # type: ignore[method-assign, assignment]
        super().__init__(config, server_state, app_state, _loop)
        self._turn: HotTurn | None = None
        self._busy_since = 0.0
        self._receiving = False
        self._in_head = False
        self._bodied = False
        self._beside = 0
        self._watch: asyncio.TimerHandle | None = None
        self._familiar = glance.Familiar()
        self._door = doors.Door(doors.Manners.OPENAI)
        self._who: bytes | None = None
        self._heads: dict[bytes, bytes] = {}
        self._said: bytes | None = None
        self._known: Credential | None = None
        self._known_in: Snapshot | None = None
        self._dates: list[tuple[bytes, bytes]] = []
        self._date_lines = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._busy_since = self.loop.time()
        self._watch = self.loop.call_later(self.limits.head_s, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_go()
        super().connection_lost(exc)

    def _let_go(self) -> None:
        """Whoever is still to answer on this connection is told that nobody hears it."""
        if self._watch is not None:
            self._watch.cancel()
        turn, self._turn = self._turn, None
        if turn is not None and not turn.response_complete:
            turn.lost()

    def _look(self) -> None:
        """One timer for a connection's whole life, instead of one set and cancelled for every request."""
        now = self.loop.time()
        limits = self.limits
        limit = limits.keep_alive_s
        if self._receiving:
            limit = limits.head_s if self._in_head else limits.receive_s
        idle = self.cycle is None or self.cycle.response_complete
        if self._receiving and self._busy_since + limit <= now:
            self._fail(RequestTimeout(f"the request did not arrive within {limit:g} s"))
        elif idle and not self._receiving and self._busy_since + limit <= now:
            # What the client has not read for so long it never will; a close would wait for it.
            (self.transport.abort if self.flow.write_paused else self.transport.close)()
        else:
            self._watch = self.loop.call_later(max(1.0, min(limit, self._busy_since + limit - now)), self._look)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.flow.pause_reading()  # Who does not read its answers gets no more: the next request waits.
        if self._turn is not None and self._turn.invocation is not None:
            self._turn.invocation.pause()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.pipeline:
            self.flow.resume_reading()
        if self._turn is not None and self._turn.invocation is not None:
            self._turn.invocation.resume()

    def send_400_response(self, msg: str) -> None:
        self._fail(InvalidRequest("the request is not valid HTTP/1.1"))

    def _fail(self, error: TeselaError) -> None:
        """Answer what is not a request, or not yet, and close.  In mid-answer there is nothing left to say."""
        if self.transport.is_closing():
            return
        if not may_answer(self.cycle, self._receiving and not self._in_head, bool(self.pipeline)):
            self.transport.close()
            return
        answer = last_answer(error, self.gateway.next_id())
        self.transport.write(b"".join((STATUS_LINE[error.status], self.date_lines(), answer)))
        self._let_go()
        forget(self.cycle)
        linger(self, self.transport, self.loop)

    def date_lines(self) -> bytes:
        """uvicorn's default headers, rendered once for each second that it renews them."""
        headers = self.server_state.default_headers
        if headers is not self._dates:
            self._dates = headers
            self._date_lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        return self._date_lines

    def data_received(self, data: bytes) -> None:
        idle = not self._receiving and (self.cycle is None or self.cycle.response_complete)
        if idle:
            body = self._familiar.body(data)
            if body is not None and len(body) <= self.limits.max_body:
                self._again(body)
                return
            turn = self._turn
            if len(data) > MAX_HEAD and not 0 <= data.find(b"\r\n\r\n") <= MAX_HEAD:
                self._fail(HeadTooLarge(HEAD_TOO_LARGE))
                return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.send_400_response("")
            return
        except httptools.HttpParserUpgrade as exc:
            self._decline(data[exc.args[0] :])
            return
        if idle and self._turn is not turn:
            self._learn(data)
        # The parser keeps what is not body, however long it gets: a head, trailers, what stands beside a chunk's size.
        self._beside = 0 if self._bodied or not self._receiving else self._beside + len(data)
        self._bodied = False
        if self._beside > MAX_HEAD:
            self._fail(HeadTooLarge(HEAD_TOO_LARGE))

    def _decline(self, rest: bytes) -> None:
        """Read a request that offers an upgrade again, without the offer."""
        old, self.parser = self.parser, httptools.HttpRequestParser(self)
        if old.get_method() == b"CONNECT":
            self._in_head = True  # Nothing was begun for it.
            self.send_400_response("")
            return
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        head = offers.without(old.get_method(), b"".join(self._urls), old.get_http_version(), self._found)
        self._receiving = self._in_head = False
        self.data_received(head + rest)

    def _learn(self, data: bytes) -> None:
        """Remember the head of a hot request that came in one piece and asked for nothing special."""
        turn = self._turn
        if turn is None or not turn.begun or not turn.keep_alive or b"expect" in self._heads:
            self._familiar.forget()
        elif self._familiar.learn(data):
            self._door, self._who = turn.door, self._heads.get(b"authorization")

    def _again(self, body: bytes) -> None:
        """A request with the head of the one before, in one piece: the parser never sees it."""
        self._unset_keepalive_if_required()
        self.cycle = self._turn = turn = HotTurn(self, self._door, keep_alive=True)  # type: ignore[assignment]
        turn.begun = True
        try:
            credential = self._credential(self._who)
        except TeselaError as error:
            turn.refuse(error)
            return
        turn.invocation = self.gateway.begin(turn, self._door, credential, body)

    def _credential(self, authorization: bytes | None) -> Credential:
        """Who is calling.  A client says the same on every request of a connection: it is looked up again only when
        it says something else, when the snapshot has changed, or when the token may have run out."""
        snapshot, known = self.gateway.snapshot, self._known
        if known is None or authorization != self._said or snapshot is not self._known_in:
            known = self._known = self.gateway.authenticate(authorization)
            self._said, self._known_in = authorization, self.gateway.snapshot
        elif known.expires_at != math.inf:
            return self.gateway.authenticate(authorization)
        return known

    def on_message_begin(self) -> None:
        self._found.clear()
        self._urls.clear()
        self._receiving = self._in_head = True
        self._beside = 0
        self._busy_since = self.loop.time()
        self._unset_keepalive_if_required()

    def on_headers_complete(self) -> None:
        self._in_head = False
        idle = self.cycle is None or self.cycle.response_complete
        parser = self.parser
        if parser.should_upgrade():
            return
        self.url = url = b"".join(self._urls)
        door = doors.find(url) if idle and self.hot and parser.get_method() == b"POST" else None
        if door is None:
            self._as_usual()
            return
        self._heads = headers = {name.lower(): content for name, content in self._found.items()}
        door = native.enter(door, headers)
        page.bear(headers, self.gateway.cookie)
        chunks = parser.get_http_version() >= "1.1"
        keep_alive = chunks and parser.should_keep_alive()
        self.cycle = self._turn = turn = HotTurn(self, door, keep_alive, chunks)  # type: ignore[assignment]
        try:
            turn.credential = self._credential(headers.get(b"authorization"))
            length = headers.get(b"content-length")
            if length is not None:
                self.limits.check(int(length))
            if b"content-encoding" in headers:
                self.limits.check_encoding(headers[b"content-encoding"])
        except TeselaError as error:
            turn.refuse(error)
            return
        if b"expect" in headers and headers[b"expect"].lower() == b"100-continue":
            self.transport.write(CONTINUE)

    def _as_usual(self) -> None:
        url = self.url
        super().on_message_begin()
        self.url = url
        for name, content in self._found.items():
            super().on_header(name, content)
        super().on_headers_complete()
        if self.cycle is not None and self.parser.get_http_version() < "1.1":
            without_chunks(self.cycle)

    def _current(self) -> HotTurn | None:
        """The turn whose request is being read; None while that is one of uvicorn's."""
        turn, cycle = self._turn, cast("object", self.cycle)
        return turn if turn is cycle else None

    def on_body(self, body: bytes) -> None:
        self._bodied = True
        turn = self._current()
        if turn is None:
            super().on_body(body)
        elif not turn.response_complete:
            turn.parts.append(body)
            turn.size += len(body)
            if turn.size > self.limits.max_body:
                turn.refuse(self.limits.too_large())

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._receiving = False
        turn = self._current()
        if turn is None or turn.begun:
            super().on_message_complete()
        elif not turn.response_complete:
            turn.begin()

    def on_response_complete(self) -> None:
        self._busy_since = self.loop.time()
        super().on_response_complete()

    def turn_over(self, turn: HotTurn) -> None:
        """The answer is on its way.  What uvicorn does after each of its own answers, without a timer."""
        self.server_state.total_requests += 1
        self._busy_since = self.loop.time()
        if not turn.keep_alive:
            linger(self, self.transport, self.loop) if self._receiving else self.transport.close()
        elif self.pipeline:
            super().on_response_complete()


def hot_protocol(gateway: Gateway, limits: Limits, *, hot: bool) -> type[HotProtocol]:
    """The protocol class to give to uvicorn.  With `hot` false every request takes the ASGI way."""
    return type("BoundHotProtocol", (HotProtocol,), {"gateway": gateway, "limits": limits, "hot": hot})
