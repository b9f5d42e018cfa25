"""Handlers over a real store with some people in it: a request in, an answer out, as anyone of them."""

import asyncio
import json
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import unquote

from starlette.routing import Route
from tests.store.people import ADMIN, populate, principal

from tesela.control import Application, Facts
from tesela.serving import Endpoint
from tesela.snapshot import Credential, Snapshot
from tesela.store import schema
from tesela.store.database import FILE
from tesela.store.store import Store

KEY = bytes(range(32))


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json()["error_code"])


@cache
def _populated() -> bytes:
    """A store's file as a first start leaves it, with the people; made once, since it takes a tenth of a second."""
    with TemporaryDirectory() as folder:
        store = Store(Path(folder), key=KEY)
        schema.create(store.database)
        populate(store)
        store.close()
        return (Path(folder) / FILE).read_bytes()


class Desk:
    """`endpoints` are those of the snapshot; `changes` counts how often the workers were told to look."""

    def __init__(self, home: Path, *parts: Callable[[Facts], Sequence[Route]]) -> None:
        (home / FILE).write_bytes(_populated())
        self.store = Store(home, key=KEY)
        self.changes = 0
        self.endpoints: dict[str, Endpoint] = {}
        facts = Facts(
            snapshot=lambda: Snapshot(1, self.endpoints, {}),
            now=lambda: 1_800_000_000.0,
            workspace_id=1,
            account_id="a",
            changed=self._changed,
            store=lambda: self.store,
        )
        self._app = Application(facts, [one for part in parts for one in part(facts)])

    def _changed(self) -> None:
        self.changes += 1

    def call(self, method: str, path: str, body: object = None, by: str = ADMIN, *, cut: bool = False) -> Answer:
        """`cut`: the caller leaves after the body, which was not to end there."""
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        where, _, query = path.partition("?")
        scope: dict[str, Any] = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(where),
            "raw_path": where.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"tesela.test")],
            "server": ("127.0.0.1", 8787),
            "client": ("127.0.0.9", 1),
            "state": {"credential": Credential(principal(self.store, by)), "request_id": "r1"},
        }
        return asyncio.run(self._drive(scope, data, cut))

    async def _drive(self, scope: dict[str, Any], data: bytes, cut: bool) -> Answer:
        pieces = [data]
        messages: list[Any] = []

        async def receive() -> dict[str, Any]:
            if not pieces:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": pieces.pop(), "more_body": cut}

        async def send(message: Any) -> None:
            messages.append(message)

        await self._app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        return Answer(messages[0]["status"], headers, b"".join(one.get("body", b"") for one in messages[1:]))
