"""A worker's snapshot follows the store, and a store in trouble leaves it as it was."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tesela.bell import Bell
from tesela.config import load
from tesela.errors import StoreUnavailable
from tesela.follow import Follower
from tesela.records import SYSTEM
from tesela.snapshot_build import Built
from tesela.store import schema
from tesela.store.contents import read_contents
from tesela.store.store import Store
from tesela.told import ServerState, write_state

CONFIG = {
    "served_entities": [
        {"name": "m", "external_model": {"name": "echo", "provider": "scripted", "task": "llm/v1/chat"}}
    ]
}
PATIENCE_S = 10.0


def test_the_bell_goes_up_and_everybody_hears_it(tmp_path: Path) -> None:
    parent, worker = Bell(tmp_path, create=True), Bell(tmp_path)
    assert tuple(worker.hear()) == (0, 0, 1)
    worker.ring(7)
    parent.ring(5)
    assert parent.hear().version == 7
    parent.next_state()
    parent.well(False)
    assert tuple(worker.hear()) == (7, 1, 0)
    parent.well(True)
    assert worker.hear().well == 1
    parent.close()
    worker.close()


class World:
    """A store, a bell and a follower of both in a running loop."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.store = Store(home, key=bytes(32))
        schema.prepare(self.store.database)
        self.bell = Bell(home, create=True)
        self.store.database.announce = self.bell.ring
        self.state = ServerState(load(None, {}, {"home": str(home)}), {})
        self.published: list[Built] = []
        self.lost = 0
        self.gone: BaseException | None = None
        self.asked = 0
        self.held = threading.Event()
        self.held.set()

    def opened(self) -> Store:
        self.asked += 1
        if self.gone:
            raise self.gone
        self.held.wait(PATIENCE_S)
        return self.store

    def _lost(self) -> None:
        self.lost += 1

    def run(self, then: Callable[["World", Follower], Any]) -> None:
        async def main() -> None:
            loop = asyncio.get_running_loop()
            follower = Follower(
                loop, self.bell, self.home, self.opened, self.state, 0, read_contents(self.store),
                self.published.append, self._lost,
            )  # fmt: skip
            follower.start()
            try:
                await then(self, follower)
            finally:
                follower.stop()

        asyncio.run(main())

    def make(self, name: str) -> None:
        self.store.endpoints.create(SYSTEM, name, CONFIG, {}, ready=True)

    def names(self) -> set[str]:
        return set(self.published[-1].snapshot.endpoints) if self.published else set()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()
    world.bell.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


def test_what_changes_is_published(world: World) -> None:
    async def then(world: World, _follower: Follower) -> None:
        world.make("one")
        await until(lambda: world.names() == {"one"})
        world.make("two")
        await until(lambda: world.names() == {"one", "two"})

    world.run(then)


def test_nothing_is_read_while_nothing_changes(world: World) -> None:
    async def then(world: World, follower: Follower) -> None:
        for _ in range(20):
            follower.wake()
            follower.catch_up()
            await asyncio.sleep(0.005)

    world.run(then)
    # Once it may have been opened, for the first change.
    assert world.asked <= 1
    assert world.published == []


def test_catching_up_takes_over_before_the_next_step_of_the_loop(world: World) -> None:
    async def then(world: World, follower: Follower) -> None:
        world.make("one")
        follower.catch_up()
        assert world.names() == {"one"}

    world.run(then)


def test_a_store_that_is_gone_leaves_what_there_was_and_holds_nobody_up(world: World) -> None:
    async def then(world: World, follower: Follower) -> None:
        world.make("one")
        await until(lambda: world.names() == {"one"})
        world.gone = StoreUnavailable("gone")
        world.make("two")
        await until(lambda: follower.in_trouble)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(50):
            follower.catch_up()
        # Fifty refusals wait less than one would while the store is well.
        assert loop.time() - began < 0.1
        assert world.names() == {"one"}
        world.gone = None
        await until(lambda: world.names() == {"one", "two"})

    world.run(then)


def test_the_servers_own_state_is_taken_over_too(world: World, tmp_path: Path) -> None:
    async def then(world: World, _follower: Follower) -> None:
        file = tmp_path / "tesela.yaml"
        file.write_text("endpoints:\n- name: filed\n  config:\n    served_entities: " + str(CONFIG["served_entities"]))
        write_state(world.home, ServerState(load(file, {}, {}), {}))
        world.bell.next_state()
        await until(lambda: world.names() == {"filed"})

    world.run(then)


def test_a_state_that_changed_while_the_worker_started_is_taken_over(world: World, tmp_path: Path) -> None:
    file = tmp_path / "tesela.yaml"
    file.write_text("endpoints:\n- name: filed\n  config:\n    served_entities: " + str(CONFIG["served_entities"]))
    write_state(world.home, ServerState(load(file, {}, {}), {}))
    world.bell.next_state()

    async def then(world: World, _follower: Follower) -> None:
        await until(lambda: world.names() == {"filed"})

    world.run(then)


def test_a_store_that_takes_long_holds_up_one_refusal_and_no_more(world: World) -> None:
    async def then(world: World, follower: Follower) -> None:
        world.held.clear()
        world.make("one")
        await until(lambda: world.asked == 1)
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(50):
            follower.catch_up()
        assert loop.time() - began < 1.0
        world.held.set()
        await until(lambda: world.names() == {"one"})
        world.make("two")
        follower.catch_up()
        assert world.names() == {"one", "two"}

    world.run(then)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_that_ends_the_thread_is_told(world: World) -> None:
    async def then(world: World, _follower: Follower) -> None:
        world.gone = RuntimeError("a fault of ours")
        world.make("one")
        await until(lambda: world.lost == 1)

    world.run(then)


def test_a_follower_that_is_stopped_says_nothing_more(world: World) -> None:
    async def then(world: World, follower: Follower) -> None:
        follower.stop()
        world.make("one")
        follower.wake()

    world.run(then)
    for thread in threading.enumerate():
        if thread.name == "follower":
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
    assert world.published == []
    assert world.lost == 0
