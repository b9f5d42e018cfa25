"""Pending configurations become active when their engines are ready, and say why when they cannot."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection

from tesela.addresses import EngineAddress
from tesela.bell import Bell
from tesela.config import load
from tesela.engine.spec import EngineSpec, EngineState
from tesela.errors import EngineError, StoreUnavailable
from tesela.records import SYSTEM, StoredEndpoint
from tesela.steward import ENGINES_MAX, Steward
from tesela.store import schema
from tesela.store.contents import read_contents
from tesela.store.database import Database, home_url
from tesela.store.store import Store
from tesela.told import ServerState, read_state
from tesela.wire.tasks import Task

PATIENCE_S = 10.0
CHAT = frozenset({Task.CHAT})


def config(model: str, **more: Any) -> dict[str, Any]:
    return {"served_entities": [{"name": "m", "entity_name": model, **more}]}


class Engines:
    """A supervisor whose engines become what the test says."""

    def __init__(self) -> None:
        self.now: dict[str, EngineState] = {}
        self.removed: list[str] = []

    async def add(self, spec: EngineSpec) -> None:
        self.now[spec.name] = EngineState(name=spec.name, status="starting", since=0.0)

    async def remove(self, name: str) -> None:
        self.removed.append(name)
        del self.now[name]

    def states(self) -> list[EngineState]:
        return list(self.now.values())

    def become(self, name: str, status: Any, message: str = "") -> None:
        self.now[name] = msgspec.structs.replace(self.now[name], status=status, message=message)


class World:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.store = Store(home, key=bytes(32))
        schema.prepare(self.store.database)
        self.engines = Engines()
        self.bell = Bell(home, create=True)
        self.planned: list[tuple[str, str, int | None]] = []
        self.notes: list[str] = []
        self.state = ServerState(
            load(None, {}, {"home": str(home)}), {"here": EngineAddress("here", CHAT, "/here.sock")}
        )
        self.engines.now["here"] = EngineState(name="here", status="ready", since=0.0)

    def plan(
        self, _config: object, model: str, name: str, _run_dir: Path, _progress: object, slots: int | None
    ) -> tuple[EngineSpec, EngineAddress]:
        self.planned.append((model, name, slots))
        if model == "broken":
            raise RuntimeError("a fault of ours")
        if model == "nowhere":
            raise EngineError("the model 'nowhere' could not be fetched")
        return EngineSpec(name=name, kind="llama"), EngineAddress(name, CHAT, f"/{name}.sock")

    def run(self, then: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            steward = Steward(
                self.store, read_contents(self.store), self.state, self.bell, self.home, self.engines,
                self.notes.append, self.plan,
            )  # fmt: skip
            running = asyncio.create_task(steward.run())
            try:
                await then()
                assert not running.done(), running
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)

        asyncio.run(main())

    def get(self, name: str) -> StoredEndpoint:
        found = self.store.endpoints.get(name)
        assert found is not None
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()
    world.bell.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.01)


def test_an_engine_that_runs_already_serves_at_once(world: World) -> None:
    async def then() -> None:
        world.store.endpoints.create(SYSTEM, "e", config("here"), {}, ready=False)
        await until(lambda: world.get("e").update_state == "NOT_UPDATING")
        assert world.get("e").active == config("here")
        assert world.planned == []

    world.run(then)


def test_a_new_engine_is_waited_for(world: World) -> None:
    async def then() -> None:
        world.store.endpoints.create(SYSTEM, "e", config("big", workload_size="Medium"), {}, ready=False)
        await until(lambda: "big.s8" in world.engines.now)
        assert world.planned == [("big", "big.s8", 8)]
        assert world.get("e").update_state == "IN_PROGRESS"
        assert read_state(world.home).engines["big.s8"].socket == "/big.s8.sock"
        world.engines.become("big.s8", "ready")
        await until(lambda: world.get("e").active is not None)
        await until(lambda: world.bell.hear().version >= world.get("e").version)

    world.run(then)


def test_an_engine_that_nobody_names_any_more_is_ended(world: World) -> None:
    async def then() -> None:
        for name in ("e", "f"):
            world.store.endpoints.create(SYSTEM, name, config("big"), {}, ready=False)
        await until(lambda: "big" in world.engines.now)
        world.engines.become("big", "ready")
        await until(lambda: world.get("f").active is not None)
        world.store.endpoints.delete(SYSTEM, "e")
        world.store.endpoints.update_config(SYSTEM, "f", config("here"), ready=False)
        await until(lambda: world.engines.removed == ["big"])
        assert set(read_state(world.home).engines) == {"here"}
        assert [one[0] for one in world.planned] == ["big"]

    world.run(then)


def test_a_model_that_cannot_be_had_fails_the_update_and_leaves_the_old_one(world: World) -> None:
    async def then() -> None:
        world.store.endpoints.create(SYSTEM, "e", config("here"), {}, ready=True)
        world.store.endpoints.update_config(SYSTEM, "e", config("nowhere"), ready=False)
        await until(lambda: world.get("e").update_state == "UPDATE_FAILED")
        assert "could not be fetched" in world.get("e").update_message
        assert world.get("e").active == config("here")
        # It can be asked for again, and is tried again.
        world.store.endpoints.update_config(SYSTEM, "e", config("nowhere"), ready=False)
        await until(lambda: world.get("e").update_state == "UPDATE_FAILED")

    world.run(then)
    assert len(world.planned) == 2


def test_a_fault_of_ours_fails_the_update_too(world: World, caplog: pytest.LogCaptureFixture) -> None:
    async def then() -> None:
        world.store.endpoints.create(SYSTEM, "e", config("broken"), {}, ready=False)
        await until(lambda: world.get("e").update_state == "UPDATE_FAILED")
        assert "something broke inside Tesela" in world.get("e").update_message

    world.run(then)
    assert "a fault of ours" in caplog.text


def test_no_more_engines_than_a_machine_may_have(world: World) -> None:
    async def then() -> None:
        for i in range(ENGINES_MAX + 1):
            world.store.endpoints.create(SYSTEM, f"e{i:02}", config(f"model{i}"), {}, ready=False)
        await until(lambda: world.get(f"e{ENGINES_MAX:02}").update_state == "UPDATE_FAILED")
        assert "as many as there may be" in world.get(f"e{ENGINES_MAX:02}").update_message
        # The last one is refused while engines of the others may still be on their way.
        await until(lambda: len(world.engines.now) == ENGINES_MAX + 1)

    world.run(then)
    assert len(world.engines.now) == ENGINES_MAX + 1


def test_a_configuration_that_cannot_be_read_stops_nothing_else(world: World) -> None:
    async def then() -> None:
        world.store.endpoints.create(SYSTEM, "a", {"served_entities": 7}, {}, ready=False)
        world.store.endpoints.create(SYSTEM, "e", config("here"), {}, ready=False)
        await until(lambda: world.get("e").active is not None)

    world.run(then)


def test_a_state_that_cannot_be_written_is_written_later(world: World) -> None:
    (world.home / "state").mkdir()
    (world.home / "state" / "in the way").touch()

    async def then() -> None:
        world.store.endpoints.create(SYSTEM, "e", config("big"), {}, ready=False)
        await until(lambda: len(world.notes) == 1)
        (world.home / "state" / "in the way").unlink()
        (world.home / "state").rmdir()
        await until(lambda: (world.home / "state").is_file())
        assert "big" in read_state(world.home).engines
        await until(lambda: world.bell.hear().state == 1)

    world.run(then)
    assert "cannot be written" in world.notes[0]


def test_an_engine_that_fails_says_why(world: World) -> None:
    async def then() -> None:
        world.store.endpoints.create(SYSTEM, "e", config("big"), {}, ready=False)
        await until(lambda: "big" in world.engines.now)
        world.engines.become("big", "failed", "died of SIGKILL")
        await until(lambda: world.get("e").update_state == "UPDATE_FAILED")
        assert "died of SIGKILL" in world.get("e").update_message

    world.run(then)


class Leaving(Database):
    """A database that the test takes away and brings back."""

    away = False
    asked = 0

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self.asked += 1
        if self.away:
            raise StoreUnavailable("the database does not answer")
        with super().read() as connection:
            yield connection


def test_a_store_that_is_gone_is_told_once_and_looked_for_again(world: World) -> None:
    database = Leaving(home_url(world.home))
    world.store.database.close()
    world.store.database = database

    async def then() -> None:
        database.away = True
        await until(lambda: world.bell.hear().well == 0)
        asked = database.asked
        await until(lambda: database.asked >= asked + 3)
        database.away = False
        await until(lambda: world.bell.hear().well == 1)

    world.run(then)
    assert world.notes == ["the database does not answer", "the database answers again"]
