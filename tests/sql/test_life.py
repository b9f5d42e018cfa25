"""How many statements and results are kept, and for how long: without an engine, and with a clock of the test's."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.sql.test_calls import played

from tesela.errors import NotFound
from tesela.sql.calls.engine import Calls
from tesela.sql.calls.values import Owner, Reply
from tesela.sql.site import PlanSettings
from tesela.sql.statements import life as lives
from tesela.sql.statements.endpoints import Endpoints
from tesela.sql.statements.life import Statements
from tesela.sql.statements.request import Request
from tesela.sql.statements.setting import Setting

ANN = Owner("ann", "token")


class Engine:
    """A session that answers each statement with its rows."""

    catalog = "main"
    schema: Any = pa.schema([("s", pa.string())])

    def execute(self, *_: Any) -> "Engine":
        return self

    @property
    def types(self) -> tuple[str, ...]:
        return ("string",)

    def interrupt(self) -> None:
        """Nothing runs."""

    def batches(self) -> Any:
        yield pa.RecordBatch.from_pydict({"s": ["x" * 1000]})

    def close(self) -> None:
        """Nothing is open."""


class World:
    def __init__(self, folder: Path, results_bytes: int = 10**9) -> None:
        self.now = 1_000_000.0
        self.folder = folder

        async def send(*_: Any) -> Reply:
            return Reply(200, {}, b"{}")

        setting = Setting(
            folder, PlanSettings(str(folder)), lambda _: Endpoints(lambda _: (404, b"{}")), "", 8, 2, 3600.0,
            results_bytes,
        )  # fmt: skip
        self.statements = Statements(setting, Calls(send, None), lambda: self.now)

    async def run(self) -> str:
        session = Engine()
        asked = Request("SELECT 'x' AS s")
        made = self.statements.begin(ANN, asked, lambda: nullcontext(session), lambda: nullcontext(session))  # type: ignore[arg-type]
        await self.statements.wait(made.id, 10)
        self.now += 1
        return made.id

    def state(self, id: str) -> str:
        return self.statements.get("ann", id).state


@played
async def test_results_go_with_time_and_statements_later(tmp_path: Path) -> None:
    world = World(tmp_path)
    id = await world.run()
    assert world.state(id) == "SUCCEEDED"
    world.now += 3601
    world.statements.tidy()
    assert world.state(id) == "CLOSED"
    assert [file.name for file in (tmp_path / id).iterdir()] == ["statement.json"]
    world.now += lives.FORGET_S
    world.statements.tidy()
    with pytest.raises(NotFound):
        world.state(id)
    assert list(tmp_path.iterdir()) == []
    await world.statements.stop()


@played
async def test_the_oldest_results_make_room(tmp_path: Path) -> None:
    world = World(tmp_path, results_bytes=2500)
    ids = [await world.run() for _ in range(4)]
    world.statements.tidy()
    assert [world.state(id) for id in ids] == ["CLOSED", "CLOSED", "SUCCEEDED", "SUCCEEDED"]
    await world.statements.stop()


@played
async def test_what_was_there_is_found_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    id = await world.run()
    await world.statements.stop()
    (tmp_path / "half").mkdir()
    again = World(tmp_path)
    assert again.state(id) == "SUCCEEDED"
    assert sorted(file.name for file in tmp_path.iterdir()) == [id]
    await again.statements.stop()


@played
async def test_a_chunk_that_is_gone_is_said(tmp_path: Path) -> None:
    world = World(tmp_path)
    id = await world.run()
    found = world.statements.get("ann", id)
    assert world.statements.chunk(found, 0).is_file()
    for index in (1, -1):
        with pytest.raises(NotFound, match="run it again"):
            world.statements.chunk(found, index)
    world.statements.chunk(found, 0).unlink()
    with pytest.raises(NotFound, match="run it again"):
        world.statements.chunk(found, 0)
    await world.statements.stop()
