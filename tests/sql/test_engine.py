"""Statements on Sail, with calls that answer over HTTP."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.sql.engines import ENDPOINTS, Calls, calls

from tesela.errors import EngineError, StatementError
from tesela.sql.engine import SailEngine
from tesela.sql.plan import plan
from tesela.sql.session import SparkConnectSession
from tesela.sql.site import PlanSettings

pytestmark = pytest.mark.slow
FOLDER = PlanSettings(warehouse="/nowhere", endpoints={"default": "chat", "llm/v1/embeddings": "emb"})


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SailEngine]:
    one = SailEngine(FOLDER, tmp_path_factory.mktemp("sail") / "sail.log")
    one.start()
    yield one
    one.stop()


@pytest.fixture
def session(engine: SailEngine) -> Iterator[SparkConnectSession]:
    one = engine.session("tesela", "default")
    yield one
    one.close()


def run(session: SparkConnectSession, answering: Calls, text: str, tag: str = "t") -> list[dict[str, object]]:
    planned = plan(text, tag=tag, endpoints=ENDPOINTS.get, settings=FOLDER, catalog="tesela", schema="default")
    result = session.execute(planned, answering.tickets(planned.sites), answering.url)
    return [row for batch in result.batches() for row in batch.to_pylist()]


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


def test_an_engine_that_dies_is_started_again(tmp_path: Path) -> None:
    engine = SailEngine(FOLDER, tmp_path / "sail.log")
    try:
        session = engine.session("tesela", "default")
        pid = engine.pid
        assert pid is not None
        with calls() as answering:
            assert run(session, answering, "SELECT 1 AS a") == [{"a": 1}]
            engine._process.kill()  # type: ignore[union-attr]
            with pytest.raises(EngineError, match="the SQL engine ended with status -9"):
                run(session, answering, "SELECT 2 AS a")
            again = engine.session("tesela", "default")
            assert run(again, answering, "SELECT 3 AS a") == [{"a": 3}]
            assert engine.pid != pid
    finally:
        engine.stop()
