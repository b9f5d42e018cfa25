"""A server whose statements run on Apache Spark (TESELA_SQL_REMOTE): its workers bring rows through the gateway."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.sql.served import Failed, Sql, Upstream, endpoint, scripted
from tests.sql.spark import SERVICES, spark_server
from tests.system.processes import Served

import tesela
from tesela.errors import StatementError
from tesela.sql import connect, register

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    one = Upstream()
    yield one
    one.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with spark_server(tmp_path_factory.mktemp("spark")) as one:
        yield one


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream, address: str) -> Iterator[Sql]:
    folder = tmp_path_factory.mktemp("remote")
    file = json.dumps({"endpoints": [endpoint("chat", upstream.url), scripted("embedded", "embeddings")]})
    with Served(
        folder / "server", file=file, environ={"TESELA_SQL_REMOTE": address, "PYTHONWARNINGS": "default"}
    ) as one:
        yield Sql(one)


def test_a_statement(sql: Sql) -> None:
    assert sql.rows("SELECT ai_query('chat', 'q' || id) AS a FROM range(3) ORDER BY id") == [
        ["<q0>"],
        ["<q1>"],
        ["<q2>"],
    ]
    assert sql.rows("SELECT size(ai_query('embedded', 'x')) AS n") == [["384"]]
    assert sql.process("tesela.sql.sail") is None


def test_no_row_is_paid_twice(sql: Sql, upstream: Upstream) -> None:
    upstream.asked.clear()
    sql.run("CREATE TABLE t AS SELECT id, ai_query('chat', 'r' || id) AS a FROM range(500)")
    assert sql.rows("SELECT count(a) FROM t") == [["500"]]
    assert upstream.asked.total() == 500
    sql.run("CREATE TABLE u AS SELECT id, ai_query('chat', 'r' || id) AS a FROM range(600)")
    assert upstream.asked.total() == 600
    assert sql.rows("SHOW TABLES LIKE 'u'") == [["default", "u", "false"]]


def test_an_error_and_a_cancel_reach_the_client(sql: Sql, upstream: Upstream) -> None:
    upstream.status = lambda prompt: 400 if prompt == "e7" else 200
    with pytest.raises(Failed, match="endpoint 'chat' answered with status 400"):
        sql.run("SELECT ai_query('chat', 'e' || id) FROM range(10)")
    upstream.status = lambda _: 200
    upstream.gate.clear()
    try:
        found = sql.begin("SELECT ai_query('chat', 'hold')", wait_timeout="0s")
        sql.ask("POST", f"/api/2.0/sql/statements/{found['statement_id']}/cancel", {})
        assert sql.wait(found)["status"]["state"] == "CANCELED"
    finally:
        upstream.gate.set()


def test_rows_without_a_ticket_are_refused(sql: Sql) -> None:
    assert sql.ask("POST", "/api/2.0/sql/batches", {}, token="")[0] == 400


def test_an_engine_that_is_not_there_is_said(tmp_path: Path, upstream: Upstream) -> None:
    file = json.dumps({"endpoints": [endpoint("chat", upstream.url)], "sql": {"remote": "sc://127.0.0.1:9"}})
    with (
        Served(tmp_path, file=file, environ={"PYTHONWARNINGS": "default"}) as served,
        pytest.raises(Failed, match="engine"),
    ):
        Sql(served).run("SELECT 1")


# ------------------------------------------------------------- a session of the user's own


@pytest.fixture
def own(sql: Sql, address: str) -> Iterator[Any]:
    from pyspark.sql.connect.session import SparkSession

    spark = SparkSession(connection=address)
    registered = register(spark, sql.served.host, sql.token)
    yield spark
    registered.close()
    spark.stop()


def test_a_users_own_session_understands_ai_query(own: Any, upstream: Upstream) -> None:
    upstream.asked.clear()
    own.createDataFrame([(1, "a"), (2, "b")], ["i", "s"]).createOrReplaceTempView("mine")
    frame = own.sql("SELECT i, ai_query('chat', s) AS a FROM mine ORDER BY i")
    assert [tuple(row) for row in frame.collect()] == [(1, "<a>"), (2, "<b>")]
    assert frame.count() == 2
    assert frame.filter("i = 2").collect()[0].a == "<b>"
    assert upstream.asked.total() == 2, "answers are kept"
    assert own.sql("SELECT 1 AS x").collect()[0].x == 1
    assert own.sql("SELECT :n AS x, ai_query('chat', :s) AS y", args={"n": 3, "s": "p"}).collect()[0].y == "<p>"


def test_frames_in_braces_and_tables_of_the_session(own: Any, upstream: Upstream) -> None:
    frame = own.createDataFrame([(1, "f1"), (2, None)], ["i", "s"])
    found = own.sql("SELECT i, ai_query('chat', s) AS a FROM {frame} WHERE i < {n} ORDER BY i", frame=frame, n=3)
    assert [row.a for row in found.collect()] == ["<f1>", None]
    upstream.asked.clear()
    own.sql("CREATE OR REPLACE TEMPORARY VIEW many AS SELECT id AS i, 'm' || id AS s FROM range(5000)")
    case = own.sql("SELECT CASE WHEN i = 3 THEN ai_query('chat', s) ELSE 'no' END AS a FROM many WHERE i < 10")
    assert [row.a for row in case.collect()].count("<m3>") == 1
    assert upstream.asked.total() == 1
    own.sql("SELECT ai_query('chat', s) AS a FROM many").head(1)
    assert upstream.asked.total() <= 1 + 2 * 256, "a batch for each of two tasks"
    own.sql("CREATE TABLE kept USING parquet AS SELECT ai_query('chat', s) AS a FROM many WHERE i < 4")
    assert own.sql("SELECT count(a) AS n FROM kept").collect()[0].n == 4
    own.sql("EXPLAIN SELECT ai_query('chat', 'never' || i) FROM many").collect()
    assert "never1" not in upstream.asked


def test_what_is_wrong_is_said_before_anything_runs(own: Any) -> None:
    with pytest.raises(StatementError, match="'nowhere' does not exist"):
        own.sql("SELECT ai_query('nowhere', 'x')")


def test_an_answer_as_a_frame_of_spark(sql: Sql, own: Any) -> None:
    with connect(sql.served.host, sql.token) as connection:
        frame = connection.sql("SELECT id, ai_query('chat', 'f' || id) AS a FROM range(2)").spark(own)
        assert sorted(tuple(row) for row in frame.collect()) == [(0, "<f0>"), (1, "<f1>")]


CLASSIC = """
import sys
sys.path.append(sys.argv[1])
sys.path.append(sys.argv[2])
from pyspark.sql import SparkSession
import tesela.sql
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
tesela.sql.register(spark, sys.argv[3], sys.argv[4]).close()
tesela.sql.register(spark, sys.argv[3], sys.argv[4])
frame = spark.createDataFrame([("f",)], ["s"])
assert spark.sql("SELECT ai_query('chat', s) AS a FROM {frame}", frame=frame).collect()[0].a == "<f>"
print([row.a for row in spark.sql("SELECT ai_query('chat', 'c' || id) AS a FROM range(2) ORDER BY id").collect()])
"""


def test_a_session_without_spark_connect(sql: Sql, address: str, tmp_path: Path) -> None:
    """Apache Spark in the user's process; our package comes from the environment of these tests."""
    python = SERVICES / "bin" / "python"
    places = [str(Path(tesela.__file__).parents[1]), next(one for one in sys.path if one.endswith("site-packages"))]
    done = subprocess.run(
        [python, "-c", CLASSIC, *places, sql.served.host, sql.token], cwd=tmp_path, capture_output=True, text=True,
        timeout=120, check=False, env={**os.environ, "PYSPARK_PYTHON": str(python)},
    )  # fmt: skip
    assert done.stdout.strip().endswith("['<c0>', '<c1>']"), done.stderr[-3000:]
