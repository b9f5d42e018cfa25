"""`tesela.sql.register`: AI functions in a session that the user already has, here one of Sail's; and the plans'
own paths."""

import http.client
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
from tests.sql.served import Sql, Upstream, endpoint, serving

import tesela.sql
from tesela.errors import InvalidRequest, StatementError
from tesela.sql.engine import connected

pytestmark = pytest.mark.slow
PLANS = "/api/2.0/sql/plans"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    one = Upstream()
    yield one
    one.close()


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Sql]:
    with serving(tmp_path_factory.mktemp("own"), endpoint("chat", upstream.url)) as one:
        yield one


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    """A Sail of somebody else's, of which the server knows nothing."""
    from pysail.spark import SparkConnectServer

    engine = SparkConnectServer("127.0.0.1", 0)
    engine.start(background=True)
    _, port = engine.listening_address
    one = connected(f"sc://127.0.0.1:{port}")
    yield one
    one.stop()
    engine.stop()


@pytest.fixture
def own(sql: Sql, session: Any, upstream: Upstream) -> Iterator[Any]:
    upstream.asked.clear()
    with tesela.sql.register(session, sql.served.host, sql.token):
        yield session
    assert "sql" not in session.__dict__, "the session is as it was"


def test_frames_are_computed_when_they_are_wanted_and_paid_for_once(own: Any, upstream: Upstream) -> None:
    frame = own.sql("SELECT id, ai_query('chat', 'q' || id) AS a FROM range(3)")
    assert not upstream.asked
    assert sorted(row.a for row in frame.collect()) == ["<q0>", "<q1>", "<q2>"]
    assert [row.a for row in frame.filter("id = 1").collect()] == ["<q1>"]
    assert upstream.asked.total() == 3


def test_it_can_be_registered_again(own: Any, sql: Sql) -> None:
    with tesela.sql.register(own, sql.served.host, sql.token, answers="off"):
        assert own.sql("SELECT ai_query('chat', 'twice') AS a").collect()[0].a == "<twice>"
    assert "sql" not in own.__dict__
    tesela.sql.register(own, sql.served.host, sql.token).close()


def test_parameters_and_frames_of_the_session(own: Any, upstream: Upstream) -> None:
    assert own.sql("SELECT ai_query('chat', :s) AS a, :n AS n", args={"s": "p", "n": 3}).collect()[0].n == 3
    assert own.sql("SELECT ai_query('chat', ?) AS a", args=["it's"]).collect()[0].a == "<it's>"
    with pytest.raises(InvalidRequest, match="set"):
        own.sql("SELECT ai_query('chat', :s)", args={"s": {1}})
    with pytest.raises(InvalidRequest, match="args is a str"):
        own.sql("SELECT ai_query('chat', :s)", args="s")


def test_other_statements_are_the_sessions(own: Any, sql: Sql, upstream: Upstream) -> None:
    assert own.sql("SELECT 'ai_query(1)' AS x").collect()[0].x == "ai_query(1)"
    assert own.sql("SELECT :n AS x", args={"n": 1}).collect()[0].x == 1
    own.sql("CREATE OR REPLACE TEMPORARY VIEW v AS SELECT 5 AS x")
    assert own.sql("SELECT ai_query('chat', 'v' || x) AS a FROM v").collect()[0].a == "<v5>"


def test_explaining_asks_nothing(own: Any, upstream: Upstream) -> None:
    own.sql("EXPLAIN SELECT ai_query('chat', 'e' || id) FROM range(9)").collect()
    assert not upstream.asked


def test_what_is_wrong_is_said_before_anything_is_asked(own: Any, upstream: Upstream) -> None:
    with pytest.raises(StatementError) as caught:
        own.sql("SELECT ai_query('nowhere', 'x')")
    assert caught.value.message.startswith("endpoint 'nowhere' does not exist (line 1, column 17)")
    assert caught.value.position == (1, 17)
    assert not upstream.asked


def test_a_run_that_failed_can_be_run_again(own: Any, upstream: Upstream) -> None:
    frame = own.sql("SELECT ai_query('chat', 'r' || id) AS a FROM range(5)")
    upstream.status = lambda prompt: 400 if prompt == "r3" else 200
    try:
        with pytest.raises(Exception, match="endpoint 'chat' answered with status 400"):
            frame.collect()
    finally:
        upstream.status = lambda _: 200
    assert len(frame.collect()) == 5


def test_closing_ends_the_calls(sql: Sql, session: Any) -> None:
    registered = tesela.sql.register(session, sql.served.host, sql.token)
    frame = session.sql("SELECT ai_query('chat', 'gone') AS a")
    registered.close()
    with pytest.raises(Exception, match="run it again"):
        frame.collect()


# ------------------------------------------------------------- the paths


def plan(sql: Sql, text: str, **more: Any) -> dict[str, Any]:
    status, found, _ = sql.ask("POST", PLANS, {"statement": text, "warehouse_id": "w", **more})
    assert status == 200, found
    return dict(found)


def test_plans_are_their_owners(sql: Sql) -> None:
    found = plan(sql, "SELECT ai_query('chat', s) AS a FROM t")
    assert found["sites"][0]["arguments"] == 1
    assert sql.ask("POST", PLANS, {"statement": "SELECT 1", "warehouse_id": "w"}, token="")[0] == 401
    assert sql.ask("DELETE", f"{PLANS}/{found['id']}x")[0] == 404
    assert sql.ask("DELETE", f"{PLANS}/{found['id']}")[0] == 200
    assert sql.ask("DELETE", f"{PLANS}/{found['id']}")[0] == 404
    assert plan(sql, "SELECT 1")["id"] == "", "nothing is open where nothing is asked"
    assert sql.ask("POST", PLANS, {"statement": "SELECT 1", "warehouse_id": "w", "engine": "x"})[0] == 400


def rows(*texts: str) -> bytes:
    batch = pa.RecordBatch.from_pydict({"a0": list(texts)})
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def test_an_engine_that_leaves_has_no_more_asked_for(sql: Sql, upstream: Upstream) -> None:
    """An interrupted job: what was sent is answered and kept, what was not is not sent."""
    ticket = plan(sql, "SELECT ai_query('chat', s) AS a FROM t")["sites"][0]["ticket"]
    upstream.asked.clear()
    upstream.gate.clear()
    try:
        connection = http.client.HTTPConnection(urlsplit(sql.served.host).netloc, timeout=30)
        many = rows(*(f"left {at}" for at in range(1000)))
        connection.request("POST", "/api/2.0/sql/batches", many, {"x-tesela-ticket": ticket})
        end = time.monotonic() + 10.0
        while not upstream.asked:
            assert time.monotonic() < end
            threading.Event().wait(0.01)
        connection.close()
        # The server's processes see the end of a connection before they answer what comes after it.
        for _ in range(5):
            assert sql.ask("GET", "/api/2.0/sql/answers")[0] == 200
    finally:
        upstream.gate.set()
    assert len(answer(sql, ticket, "after")) == 1
    assert upstream.asked.total() < 100


def answer(sql: Sql, ticket: str, *texts: str) -> list[str]:
    connection = http.client.HTTPConnection(urlsplit(sql.served.host).netloc, timeout=30)
    try:
        connection.request("POST", "/api/2.0/sql/batches", rows(*texts), {"x-tesela-ticket": ticket})
        response = connection.getresponse()
        assert response.status == 200
        return list(pa.ipc.open_stream(response.read()).read_all().column(0).to_pylist())
    finally:
        connection.close()


def test_where_the_server_keeps_nothing_of_a_session(own: Any, sql: Sql, tmp_path: Path) -> None:
    """A write by the session's own engine."""
    place = tmp_path / "out"
    own.sql(
        f"CREATE TABLE mine USING parquet LOCATION '{place}' AS SELECT ai_query('chat', 'w' || id) AS a FROM range(2)"
    )
    assert sorted(row.a for row in own.sql("SELECT a FROM mine").collect()) == ["<w0>", "<w1>"]
    assert place.is_dir()
