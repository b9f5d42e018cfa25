"""Statements on Sail, with calls that answer over HTTP."""

import gc
import socket
import stat
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.sql.engines import ENDPOINTS, Calls, calls

from tesela.errors import EngineError, StatementCanceled, StatementError
from tesela.sql.engine import SailEngine, environment
from tesela.sql.plan import plan
from tesela.sql.sail import CONNECTIONS
from tesela.sql.session import Rows, SparkConnectSession
from tesela.sql.site import PlanSettings

pytestmark = pytest.mark.slow
FOLDER = PlanSettings(warehouse="/nowhere", endpoints={"default": "chat", "llm/v1/embeddings": "emb"})


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SailEngine]:
    folder = tmp_path_factory.mktemp("sail")
    one = SailEngine(FOLDER, folder / "sail.log", folder)
    one.start()
    yield one
    one.stop()


@pytest.fixture
def session(engine: SailEngine) -> Iterator[SparkConnectSession]:
    one = engine.session("tesela", "default")
    yield one
    one.close()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[SailEngine]:
    """An engine that a test may break."""
    one = SailEngine(FOLDER, tmp_path / "sail.log", tmp_path)
    yield one
    one.stop()


def run(session: SparkConnectSession, answering: Calls, text: str, tag: str = "t") -> list[dict[str, object]]:
    result = begun(session, answering, text, tag)
    return [row for batch in result.batches() for row in batch.to_pylist()]


def begun(session: SparkConnectSession, answering: Calls, text: str, tag: str = "t") -> Rows:
    planned = plan(text, tag=tag, endpoints=ENDPOINTS.get, settings=FOLDER, catalog="tesela", schema="default")
    return session.execute(planned, answering.tickets(planned.sites), answering.url)


def test_rows_are_answered_in_order(session: SparkConnectSession) -> None:
    with calls() as answering:
        rows = run(session, answering, "SELECT id, ai_gen(concat('s', id)) AS a FROM range(20000) ORDER BY id")
        assert [row["a"] for row in rows] == [f"<s{at}>" for at in range(20_000)]
        assert len(answering.rows) == 20_000
        assert answering.batches < 40


def test_what_a_call_says_is_what_fails_the_statement(session: SparkConnectSession) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("the endpoint said: no\nway")

    with calls(refuse) as answering, pytest.raises(StatementError) as raised:
        run(session, answering, "SELECT ai_gen(concat('s', id)) FROM range(10)")
    assert raised.value.message == "the endpoint said: no way"


def test_explaining_asks_nothing(session: SparkConnectSession) -> None:
    with calls() as answering:
        run(session, answering, "EXPLAIN SELECT ai_gen('constant') FROM range(10)")
        assert answering.rows == []


def test_an_interrupt_ends_a_statement_and_not_the_others(engine: SailEngine, session: SparkConnectSession) -> None:
    other = engine.session("tesela", "default")
    with calls() as answering:
        result = begun(session, answering, "SELECT repeat('x', 1000) AS t FROM range(1000000000)")
        rows = result.batches()
        next(rows)
        result.interrupt()
        with pytest.raises(StatementCanceled):
            list(rows)
        assert run(other, answering, "SELECT 1 AS a") == [{"a": 1}]
        assert run(session, answering, "SELECT 2 AS a") == [{"a": 2}]
    other.close()


def test_sessions_work_beside_each_other_and_beside_one_that_does_not_read(engine: SailEngine) -> None:
    sessions = [engine.session("tesela", "default") for _ in range(9)]
    with calls() as answering, ThreadPoolExecutor(8) as pool:
        still = begun(sessions[0], answering, "SELECT repeat('x', 1000) AS t FROM range(200000)").batches()
        first = next(still).num_rows

        def one(at: int) -> tuple[int, set[object]]:
            told = run(
                sessions[at], answering, f"SELECT id, ai_gen(concat('{at}-', id)) AS a FROM range(2000)", f"t{at}"
            )
            long = run(sessions[at], answering, "SELECT repeat('y', 1000) AS t FROM range(5000)")
            return len(long), {row["a"] for row in told}

        for at, (long, told) in enumerate(pool.map(one, range(1, 9), timeout=60), 1):
            assert long == 5000
            assert told == {f"<{at}-{id}>" for id in range(2000)}
        assert first + sum(batch.num_rows for batch in still) == 200_000
    for each in sessions:
        each.close()


def test_a_session_that_closes_leaves_the_others(engine: SailEngine, session: SparkConnectSession) -> None:
    with calls() as answering:
        other = engine.session("tesela", "default")
        run(other, answering, "SELECT 1")
        other.close()
        assert run(session, answering, "SELECT 2 AS a") == [{"a": 2}]


def test_a_session_that_is_closed_is_gone(engine: SailEngine) -> None:
    """A server makes one for each statement, for months."""

    def alive() -> int:
        gc.collect()
        return sum(type(one).__name__ == "SparkSession" for one in gc.get_objects())

    before = alive()
    with calls() as answering:
        for number in range(5):
            one = engine.session("tesela", "default")
            run(one, answering, "SELECT 1", f"closed{number}")
            one.close()
            del one
    assert alive() == before


def test_an_engine_never_listens_for_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAIL_MODE", "local-cluster")
    assert environment()["SAIL_MODE"] == "local"


def listening(pid: int) -> list[int]:
    """The ports on which a process listens, found as any user could find them."""
    inodes = set()
    for one in Path(f"/proc/{pid}/fd").iterdir():
        where = one.readlink().name
        if where.startswith("socket:["):
            inodes.add(where.removeprefix("socket:[").rstrip("]"))
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return [int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and row[9] in inodes]


@pytest.mark.skipif(sys.platform != "linux", reason="the port is closed on Linux alone")
def test_nobody_can_connect_to_the_port(engine: SailEngine, session: SparkConnectSession) -> None:
    with calls() as answering:
        run(session, answering, "SELECT 1")
    assert engine.pid is not None
    (port,) = listening(engine.pid)
    for source in ("127.0.0.1", "127.0.0.2"):
        with socket.socket() as stranger:
            stranger.bind((source, 0))
            stranger.settimeout(0.3)
            with pytest.raises(TimeoutError):
                stranger.connect(("127.0.0.1", port))


@pytest.mark.skipif(sys.platform != "linux", reason="the port is closed on Linux alone")
def test_the_way_in_is_this_users_alone_and_the_port_is_told_to_nobody(own: SailEngine, tmp_path: Path) -> None:
    own.start()
    assert own.pid is not None
    (port,) = listening(own.pid)
    (door,) = tmp_path.glob("*.sock")
    assert stat.S_IMODE(door.stat().st_mode) == 0o600
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    assert str(port) not in (tmp_path / "sail.log").read_text()
    assert str(port) not in Path(f"/proc/{own.pid}/cmdline").read_text()
    own.stop()
    assert not door.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="the port is closed on Linux alone")
def test_a_session_keeps_its_way_when_no_other_is_left(own: SailEngine, tmp_path: Path) -> None:
    session = own.session("tesela", "default")
    with calls() as answering:
        assert run(session, answering, "SELECT 1 AS a") == [{"a": 1}]
        (door,) = tmp_path.glob("*.sock")
        visit(door, CONNECTIONS - 1)
        assert turned_away(door)
        assert run(session, answering, "SELECT 2 AS a") == [{"a": 2}]
        assert run(own.session("tesela", "default"), answering, "SELECT 3 AS a") == [{"a": 3}]


@pytest.mark.skipif(sys.platform != "linux", reason="the port is closed on Linux alone")
def test_an_engine_to_which_no_way_is_left_is_started_again(own: SailEngine, tmp_path: Path) -> None:
    own.start()
    pid, process = own.pid, own._process
    assert process is not None
    (door,) = tmp_path.glob("*.sock")
    visit(door, CONNECTIONS)
    assert process.wait(20) == 1
    with own._changed:
        assert own._changed.wait_for(lambda: process in own._ends, 20)
        assert "no connection to the engine is left" in own._ends[process]
    with calls() as answering:
        assert run(own.session("tesela", "default"), answering, "SELECT 3 AS a") == [{"a": 3}]
    assert own.pid != pid


def visit(door: Path, times: int) -> None:
    """Use connections up.  Each greets, as Sail does."""
    for _ in range(times):
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(door))
            assert one.recv(1)


def turned_away(door: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as one:
        one.settimeout(5)
        try:
            one.connect(str(door))
            return one.recv(1) == b""
        except (ConnectionRefusedError, ConnectionResetError):
            return True


def test_an_engine_that_dies_is_started_again(own: SailEngine) -> None:
    session = own.session("tesela", "default")
    pid = own.pid
    assert pid is not None
    with calls() as answering:
        assert run(session, answering, "SELECT 1 AS a") == [{"a": 1}]
        own._process.kill()  # type: ignore[union-attr]
        with pytest.raises(EngineError, match="the SQL engine ended with status -9"):
            run(session, answering, "SELECT 2 AS a")
        again = own.session("tesela", "default")
        assert run(again, answering, "SELECT 3 AS a") == [{"a": 3}]
        assert own.pid != pid
