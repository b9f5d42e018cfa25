"""The Statement Execution API, sessions and kept answers over HTTP, for callers whom the gateway's workers have let in.

What a worker says of the caller stands in headers, beside a secret that only the server's own processes know.
"""

import asyncio
import hmac
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

from msgspec import Struct
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp

from tesela.errors import InvalidRequest, PathNotFound, PermissionDenied, StatementError, TeselaError, TooLarge
from tesela.sql.calls.values import Owner
from tesela.sql.statements import links, request, shape
from tesela.sql.statements.life import Statements
from tesela.sql.statements.plans import Plans
from tesela.sql.statements.record import Record
from tesela.sql.statements.request import MOST_TEXT
from tesela.sql.statements.sessions import Sessions
from tesela.sql.statements.trouble import trouble_of
from tesela.wire import problem
from tesela.wire.document import decode, encode, value

BASE = "/api/2.0/sql"
MEDIA = {"ARROW_STREAM": "application/vnd.apache.arrow.stream", "JSON_ARRAY": "application/json", "CSV": "text/csv"}
MOST_BODY = MOST_TEXT + 1024 * 1024


class Caller(Struct, frozen=True):
    """Who asks, and the address by which they reached the server."""

    owner: Owner
    admin: bool
    base: str


class Stock(Struct, frozen=True):
    """The kept answers.  `size` gives (how many, bytes, when the oldest was kept in seconds since the epoch or None)
    of an owner, or of all for ""; `clear` removes them and gives how many there were."""

    size: Callable[[str], Awaitable[tuple[int, int, float | None]]]
    clear: Callable[[str], Awaitable[int]]
    max_bytes: int
    max_age_s: float


class Doors:
    def __init__(
        self, statements: Statements, sessions: Sessions, plans: Plans, stock: Stock, *, secret: str, key: bytes
    ) -> None:
        self._statements = statements
        self._plans = plans
        self._sessions = sessions
        self._stock = stock
        self._secret = secret.encode()
        self._key = key

    def application(self, more: list[Route]) -> ASGIApp:
        at = f"{BASE}/statements"
        routes = [
            *(Route(at + tail, self.execute, methods=["POST"]) for tail in ("", "/")),
            *(Route(at + tail, self.all, methods=["GET"]) for tail in ("", "/")),
            Route(at + "/{id}", self.get, methods=["GET"]),
            Route(at + "/{id}", self.close, methods=["DELETE"]),
            Route(at + "/{id}/cancel", self.cancel, methods=["POST"]),
            Route(at + "/{id}/result/chunks/{index:int}", self.chunk, methods=["GET"]),
            Route(links.PATH + "/{id}/{index:int}", self.fetch, methods=["GET"]),
            Route(f"{BASE}/sessions", self.open_session, methods=["POST"]),
            Route(f"{BASE}/sessions/{{id}}", self.close_session, methods=["DELETE"]),
            Route(f"{BASE}/plans", self.plan, methods=["POST"]),
            Route(f"{BASE}/plans/{{id}}", self.end_plan, methods=["DELETE"]),
            Route(f"{BASE}/answers", self.stock, methods=["GET"]),
            Route(f"{BASE}/answers", self.clear, methods=["DELETE"]),
        ]
        router = Router([*routes, *more], redirect_slashes=False)
        return ExceptionMiddleware(router, handlers={TeselaError: told, HTTPException: unknown})

    def caller(self, asked: Request) -> Caller:
        """Raises PermissionDenied for whoever is not a worker of this server."""
        said = asked.headers
        if not hmac.compare_digest(said.get("x-tesela-run", "").encode(), self._secret):
            raise PermissionDenied("SQL is asked through the gateway")
        name = unquote(said.get("x-tesela-name", ""))
        owner = Owner(said.get("x-tesela-principal", ""), said.get("x-tesela-bearer", ""), name)
        return Caller(owner, said.get("x-tesela-admin") == "true", said.get("x-tesela-base", ""))

    # ------------------------------------------------------------- statements

    async def execute(self, asked: Request) -> Response:
        caller = self.caller(asked)
        wanted = request.read(await body(asked))
        session = self._sessions.opened(caller.owner.id, wanted.session, wanted.catalog, wanted.schema)
        apart = self._sessions.apart(wanted.catalog, wanted.schema)
        made = self._statements.begin(caller.owner, wanted, session, apart)
        await self._statements.wait(made.id, wanted.wait_s)
        if wanted.cancel_late and wanted.wait_s and made.ended_ms is None:
            self._statements.cancel(caller.owner.id, made.id)
            await self._statements.wait(made.id, 10.0)
        return await self._answer(caller, made)

    async def all(self, asked: Request) -> Response:
        caller = self.caller(asked)
        everybody = caller.admin and asked.query_params.get("all") == "true"
        found = self._statements.of(caller.owner.id, admin=everybody)
        return json({"statements": [shape.listed(one) for one in found[:1000]]})

    async def get(self, asked: Request) -> Response:
        caller = self.caller(asked)
        found = self._statements.get(caller.owner.id, asked.path_params["id"], admin=caller.admin)
        return await self._answer(caller, found)

    async def cancel(self, asked: Request) -> Response:
        caller = self.caller(asked)
        self._statements.cancel(caller.owner.id, asked.path_params["id"], admin=caller.admin)
        return json({})

    async def close(self, asked: Request) -> Response:
        caller = self.caller(asked)
        self._statements.close(caller.owner.id, asked.path_params["id"], admin=caller.admin)
        return json({})

    async def chunk(self, asked: Request) -> Response:
        caller = self.caller(asked)
        found = self._statements.get(caller.owner.id, asked.path_params["id"], admin=caller.admin)
        return json(await self._part(caller, found, asked.path_params["index"]))

    async def fetch(self, asked: Request) -> Response:
        """A chunk by its link, for anybody who has that."""
        # The worker has said that it is one of this server; who asks stands in the link.
        if not hmac.compare_digest(asked.headers.get("x-tesela-run", "").encode(), self._secret):
            raise PermissionDenied("SQL is asked through the gateway")
        id, index = asked.path_params["id"], asked.path_params["index"]
        links.check(self._key, id, index, asked.url.query, time.time())
        found = self._statements.known(id)
        file = self._statements.chunk(found, index)
        assert found.manifest is not None  # noqa: S101 - it has a chunk
        return FileResponse(file, media_type=MEDIA[found.manifest.format], headers={"cache-control": "no-store"})

    async def _answer(self, caller: Caller, found: Record) -> Response:
        result = None
        if found.state == "SUCCEEDED" and found.manifest is not None and found.manifest.chunks:
            result = await self._part(caller, found, 0)
        return json(shape.statement(found, self._statements.progress(found.id), result))

    async def _part(self, caller: Caller, found: Record, index: int) -> dict[str, Any]:
        file = self._statements.chunk(found, index)
        if found.disposition == "INLINE":
            return shape.inline(found, index, await asyncio.to_thread(file.read_bytes))

        def link(at: int) -> tuple[str, int]:
            path, expires = links.link(self._key, found.id, at, time.time())
            return caller.base + path, expires

        return shape.external(found, index, link)

    # ------------------------------------------------------------- sessions

    async def open_session(self, asked: Request) -> Response:
        caller = self.caller(asked)
        wanted = decode(await body(asked))
        catalog, schema = value(wanted, "catalog") or "", value(wanted, "schema") or ""
        if not isinstance(catalog, str) or not isinstance(schema, str):
            raise InvalidRequest("catalog and schema are names")
        id = self._sessions.make(caller.owner.id, catalog, schema)
        return json({"session_id": id})

    async def close_session(self, asked: Request) -> Response:
        caller = self.caller(asked)
        id = asked.path_params["id"]
        self._sessions.check(caller.owner.id, id)
        self._statements.close_session(id)
        await asyncio.to_thread(self._sessions.close, caller.owner.id, id)
        return json({})

    # ------------------------------------------------------------- plans

    async def plan(self, asked: Request) -> Response:
        """A statement that is wrong is told as one that failed, like those that run here."""
        caller = self.caller(asked)
        sent = await body(asked)
        wanted, engine = request.read(sent), value(decode(sent), "engine")
        if engine not in (None, "spark", "sail"):
            raise InvalidRequest("engine: it is spark or sail", param="engine")
        try:
            looked = await asyncio.to_thread(self._plans.look, caller.owner, wanted, engine or "spark")
        except StatementError as exc:
            return json({"status": {"state": "FAILED", **shape.failure(trouble_of("", exc, None))}})
        return json(self._plans.begin(caller.owner, looked, wanted))

    async def end_plan(self, asked: Request) -> Response:
        self._plans.end(self.caller(asked).owner.id, asked.path_params["id"])
        return json({})

    # ------------------------------------------------------------- answers

    async def stock(self, asked: Request) -> Response:
        owner = self._whose(asked)
        count, size, oldest = await self._stock.size(owner)
        return json(
            {
                "answers": count,
                "bytes": size,
                "oldest_ms": None if oldest is None else int(oldest * 1000),
                "max_bytes": self._stock.max_bytes,
                "max_age_seconds": self._stock.max_age_s,
            }
        )

    async def clear(self, asked: Request) -> Response:
        return json({"removed": await self._stock.clear(self._whose(asked))})

    def _whose(self, asked: Request) -> str:
        """The owner whose answers are meant; "" for everybody's, which only an admin may."""
        caller = self.caller(asked)
        if asked.query_params.get("all") != "true":
            return caller.owner.id
        if not caller.admin:
            raise PermissionDenied("only an admin may see or clear everybody's answers")
        return ""


def json(content: Any) -> Response:
    return Response(encode(content), media_type="application/json")


async def body(asked: Request) -> bytes:
    out = bytearray()
    async for piece in asked.stream():
        out += piece
        if len(out) > MOST_BODY:
            raise TooLarge(f"the request body is larger than {MOST_BODY // 2**20} MiB")
    return bytes(out)


async def told(_asked: Request, exc: Exception) -> Response:
    if not isinstance(exc, TeselaError):
        raise exc
    response = Response(problem.body(exc), exc.status)
    for name, content in problem.headers(exc):
        response.headers[name.decode()] = content.decode()
    return response


async def unknown(asked: Request, exc: Exception) -> Response:
    if not isinstance(exc, HTTPException):
        raise exc
    return await told(asked, PathNotFound(f"there is nothing at {asked.method} {asked.url.path}"))
