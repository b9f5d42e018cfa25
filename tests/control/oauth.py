"""OAuth's part of the control plane over a real store: an ASGI scope in, messages out, the time in the test's hands."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlencode

import msgspec
from sqlalchemy import insert, update
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.routing import Router
from starlette.types import Message

from tesela import signed
from tesela.control import client_secrets, oidc
from tesela.control.answers import on_http_exception, told
from tesela.control.facts import Facts
from tesela.errors import TeselaError
from tesela.records import SYSTEM
from tesela.serving import Endpoint, EndpointConfig, ServingEndpoint
from tesela.snapshot import Credential, Grants, Principal, Snapshot
from tesela.store import schema
from tesela.store.store import Store
from tesela.store.tables import PRINCIPALS
from tesela.wire.tasks import Task

NOW = 1_800_000_000.0
WORKSPACE, ACCOUNT = 1234567890123456, "0b9e8f10-0000-4000-8000-00000000000a"
HOST = "http://tesela.test:8787"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"

ADMIN = Principal("5000000000000009", "admin@example.com", admin=True)
ROBOT = Principal("5000000000000001", "a1b2c3d4-0000-4000-8000-000000000001", "robot", kind="service_principal")
OTHER = Principal("5000000000000002", "a1b2c3d4-0000-4000-8000-000000000002", "other", kind="service_principal")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class World:
    """Two service principals, `robot` with a secret, and three endpoints, of which it may query the first two.

    The snapshot is as old as the last call of `refresh`, as it is in a worker that has not looked yet.
    """

    def __init__(self, home: Path) -> None:
        self.store = Store(home, key=bytes(range(32)))
        schema.create(self.store.database)
        with self.store.database.write() as connection:
            for one in (ADMIN, ROBOT, OTHER):
                row = {"id": one.id, "kind": one.kind, "name": one.name, "display_name": one.display_name}
                rest = {"active": True, "details": "{}", "created_s": NOW, "version": 1}
                connection.execute(insert(PRINCIPALS).values({**row, **rest}))
        self.now = NOW
        self.changes = 0
        self.secret, self.secret_info = self.store.client_secrets.create(SYSTEM, ROBOT.id)
        mine = frozenset({ROBOT.id})
        names = ("one", "two", "three")
        endpoints = {
            name: Endpoint(name, Task.CHAT, (), ServingEndpoint(name, EndpointConfig()), id=f"id-{name}")
            for name in names
        }
        self.snapshot = Snapshot(
            1,
            endpoints,
            {},
            {name: Grants(view=mine, query=mine) for name in names[:2]},
            {one.id: one for one in (ADMIN, ROBOT, OTHER)},
        )
        self.facts = Facts(
            snapshot=lambda: self.snapshot,
            store=lambda: self.store,
            now=lambda: self.now,
            workspace_id=WORKSPACE,
            account_id=ACCOUNT,
            changed=self._changed,
            surroundings=_nowhere,
        )

    def _changed(self) -> None:
        self.changes += 1

    def refresh(self) -> None:
        with self.store.database.read() as connection:
            keys, ids = self.store.signing.public_keys(connection), self.store.client_secrets.ids(connection)
        self.snapshot = msgspec.structs.replace(self.snapshot, keys=keys, client_secrets=ids)

    def deactivate(self, principal: Principal) -> None:
        with self.store.database.write() as connection:
            connection.execute(update(PRINCIPALS).where(PRINCIPALS.c.id == principal.id).values(active=False))

    def claims(self, access_token: str) -> signed.Claims:
        self.refresh()
        return signed.verify(access_token.encode(), self.snapshot.keys, str(WORKSPACE), self.now)

    def ask(
        self,
        form: Mapping[str, str] | bytes | str,
        *,
        path: str = "/oidc/v1/token",
        basic: tuple[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """A request for a token."""
        text = form if isinstance(form, (bytes, str)) else urlencode(form)
        sent = {"content-type": "application/x-www-form-urlencoded", **(headers or {})}
        if basic is not None:
            sent["authorization"] = "Basic " + b64encode(":".join(basic).encode()).decode()
        return self.call("POST", path, text if isinstance(text, bytes) else text.encode(), headers=sent)

    def token(self, **form: str) -> Any:
        """The answer to a good request for a token."""
        found = self.ask({"grant_type": "client_credentials", **form}, basic=(ROBOT.name, self.secret))
        assert found.status == 200, found.body
        return found.json()

    def exchange(self, assertion: str, *names: str, **form: str) -> Answer:
        more = {"assertion": assertion, "authorization_details": details(*names), **form}
        return self.ask({"grant_type": JWT_BEARER, **more})

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        principal: Principal | None = None,
    ) -> Answer:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {"host": "tesela.test:8787", **(headers or {})}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path.partition("?")[0]),
            "raw_path": path.partition("?")[0].encode(),
            "query_string": path.partition("?")[2].encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
            "server": ("127.0.0.1", 8787),
            "client": ("127.0.0.1", 1),
            "state": {} if principal is None else {"credential": Credential(principal)},
        }
        return asyncio.run(_drive(self.facts, scope, data))


def details(*names: str, **changes: Any) -> str:
    one = {"type": "workspace_permission", "object_type": "serving-endpoints", "actions": ["query_inference_endpoint"]}
    return json.dumps([{**one, "object_path": f"/serving-endpoints/id-{name}", **changes} for name in names])


def _nowhere() -> Any:
    raise AssertionError("OAuth asks nothing about endpoints that are still to be made")


async def _drive(facts: Facts, scope: dict[str, Any], data: bytes) -> Answer:
    messages: list[Message] = []
    pieces = [data[at : at + 65536] for at in range(0, len(data), 65536)] or [b""]

    async def receive() -> Message:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: Message) -> None:
        messages.append(message)

    async def on_error(_request: Any, exc: Exception) -> Any:
        assert isinstance(exc, TeselaError)
        return told(exc)

    router = Router([*oidc.routes(facts), *client_secrets.routes(facts)], redirect_slashes=False)
    handlers: dict[Any, Any] = {TeselaError: on_error, HTTPException: on_http_exception}
    app = ExceptionMiddleware(router, handlers=handlers)
    scope["app"] = app
    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    return Answer(messages[0]["status"], headers, b"".join(one.get("body", b"") for one in messages[1:]))
