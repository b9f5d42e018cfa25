"""Drives the control plane as a server does: an ASGI scope in, messages out."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

import msgspec
import pytest

from tesela.addresses import EngineAddress
from tesela.config import load
from tesela.control import PUBLIC, Application, Facts
from tesela.records import SYSTEM
from tesela.snapshot import Credential, Level, Snapshot
from tesela.snapshot_build import build
from tesela.store import schema
from tesela.store.contents import read_contents
from tesela.store.store import Store
from tesela.wire.tasks import Task

KEY = "sk-this-must-never-be-shown"
FILE = f"""
endpoints:
  - name: gpt
    description: ours
    tags: [{{key: team, value: x}}]
    ai_gateway: {{fallback_config: {{enabled: true}}}}
    config:
      served_entities:
        - external_model:
            name: gpt-4.1
            provider: openai
            task: llm/v1/chat
            openai_config: {{openai_api_key_plaintext: {KEY}}}
        - name: second
          external_model:
            name: other
            provider: custom
            task: llm/v1/chat
            custom_provider_config:
              custom_provider_url: http://127.0.0.1:9/v1
              api_key_auth: {{key: x-key, value: "env:SECRET"}}
      traffic_config:
        routes:
          - {{served_model_name: gpt-4-1, traffic_percentage: 100}}
          - {{served_model_name: second, traffic_percentage: 0}}
local_models: true
emulate: databricks
"""


PLANNED = {"big": frozenset({Task.CHAT, Task.COMPLETIONS})}
"""A model that could be started, and is not."""


class Engine(msgspec.Struct):
    status: str
    message: str = ""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class World:
    """A control plane over a real store, with the time and the engines' states in the test's hands."""

    def __init__(self, home: Path) -> None:
        self.store = Store(home, key=bytes(32))
        schema.prepare(self.store.database)
        self.admin = self.store.identities.first_admin()
        file = home / "tesela.yaml"
        file.write_text(FILE)
        self.config = load(file, {"SECRET": KEY}, {})
        self.addresses = {
            "tiny": EngineAddress("tiny", frozenset({Task.CHAT, Task.COMPLETIONS}), "/x.sock", KEY, size="135M"),
            "mini": EngineAddress("mini", frozenset({Task.EMBEDDINGS}), "/y.sock", KEY, dimensions=384),
        }
        self.engines = {"tiny": Engine("ready"), "mini": Engine("ready")}
        self.now = 1_800_000_000.0
        self.changes = 0
        self.wrong: str | None = None
        self.principal = self.admin
        self.contents = read_contents(self.store)
        self.built = build(self.config, self.addresses, self.contents)
        where = self.contents.workspace
        self.facts = Facts(
            snapshot=lambda: self.snapshot,
            store=lambda: self.store,
            now=lambda: self.now,
            workspace_id=where.id,
            account_id=where.account_id,
            created_ms=1_700_000_000_000,
            file="tesela.yaml",
            engine_states=lambda: self.engines,
            health=lambda: self.wrong,
            changed=self._changed,
            logs=home / "logs",
            surroundings=lambda: msgspec.structs.replace(self.built.around, planned=PLANNED),
        )

    @property
    def snapshot(self) -> Snapshot:
        return self.built.snapshot

    def _changed(self) -> None:
        """What a worker does when it hears of a change."""
        self.changes += 1
        self.contents = read_contents(self.store, self.contents)
        self.built = build(self.config, self.addresses, self.contents)

    def somebody(self, *endpoints: str, level: Level = "CAN_QUERY") -> None:
        """From here on someone calls who is no admin and may query these endpoints."""
        name = "somebody@example.com"
        known = self.store.identities.find("user", name) or self.store.identities.create(
            SYSTEM, "user", name, "Somebody"
        )
        for endpoint in endpoints:
            self.store.permissions.merge(SYSTEM, self.snapshot.endpoints[endpoint].id, {known.id: level})
        self._changed()
        self.principal = self.snapshot.principals[known.id]

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        headers: dict[str, str] | None = None,
        anonymous: bool = False,
        trust_forwarded: bool = False,
    ) -> Answer:
        facts = msgspec.structs.replace(self.facts, trust_forwarded=trust_forwarded)
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        sent = {"host": "tesela.test:8787", **(headers or {})}
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path.partition("?")[0]),
            "raw_path": path.partition("?")[0].encode(),
            "query_string": path.partition("?")[2].encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "server": ("127.0.0.1", 8787),
            "client": ("127.0.0.1", 1),
            "state": {} if anonymous else {"credential": Credential(self.principal)},
        }
        return asyncio.run(_drive(Application(facts), scope, data))


async def _drive(app: Application, scope: dict[str, Any], data: bytes) -> Answer:
    pieces = [data[i : i + 65536] for i in range(0, len(data), 65536)] or [b""]
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not pieces:
            return {"type": "http.disconnect"}
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message: Any) -> None:
        messages.append(message)

    await app(scope, receive, send)
    start = messages[0]
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], headers, b"".join(one.get("body", b"") for one in messages[1:]))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()


@pytest.fixture
def key() -> str:
    """The secret that stands in every place where a secret can stand."""
    return KEY


@pytest.fixture
def public() -> frozenset[str]:
    return PUBLIC


Call = Callable[..., Answer]
