"""Statements around tables, on Sail: what is there, where one is, and replacing a table whole or not at all."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.sql.engines import ENDPOINTS, Calls, calls

from tesela.errors import StatementError
from tesela.sql.engine import SailEngine
from tesela.sql.plan import plan
from tesela.sql.session import SparkConnectSession
from tesela.sql.site import PlanSettings

DEFAULTS = {"default": "chat", "llm/v1/embeddings": "emb"}
Run = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SailEngine]:
    folder = tmp_path_factory.mktemp("engine")
    one = SailEngine(PlanSettings(warehouse=str(folder / "unused")), folder / "sail.log", folder)
    yield one
    one.stop()


@pytest.fixture
def answering() -> Iterator[Calls]:
    with calls() as one:
        yield one


@pytest.fixture
def session(engine: SailEngine) -> Iterator[SparkConnectSession]:
    one = engine.session("main", "default")
    yield one
    one.close()


@pytest.fixture
def run(session: SparkConnectSession, answering: Calls, tmp_path: Path) -> Run:
    settings = PlanSettings(warehouse=str(tmp_path / "w"), endpoints=DEFAULTS)
    count = 0

    def ran(text: str) -> list[tuple[Any, ...]]:
        nonlocal count
        count += 1
        planned = plan(
            text, tag=f"c{count}", endpoints=ENDPOINTS.get, settings=settings, catalog=session.catalog,
            schema=session.schema, user="ann@example.com",
        )  # fmt: skip
        result = session.execute(planned, answering.tickets(planned.sites), answering.url)
        return [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()]

    return ran


@pytest.mark.slow
def test_catalogs_schemas_and_tables(run: Run) -> None:
    assert run("SHOW CATALOGS") == [("main",)]
    assert run("SHOW TABLES") == []
    run("CREATE TABLE one AS SELECT 1 AS a")
    assert run("SHOW COLUMNS IN one") == run("SHOW COLUMNS FROM one IN `default`") == [("a",)]
    assert run("SHOW COLUMNS IN main.default.one;") == [("a",)]
    run("CREATE SCHEMA other")
    with pytest.raises(StatementError, match="exists: write IF NOT EXISTS"):
        run("CREATE SCHEMA other")
    run("CREATE DATABASE IF NOT EXISTS other;")
    run("USE other")
    assert run("SELECT current_catalog(), current_schema(), upper(current_database()), current_user()") == [
        ("main", "other", "OTHER", "ann@example.com")
    ]
    run("CREATE TABLE two AS SELECT 2 AS b")
    run("CREATE TABLE elsewhere.s.three AS SELECT 3 AS c")
    assert run("SHOW SCHEMAS") == [("default",), ("other",)]
    assert run("SHOW DATABASES LIKE 'o*'") == [("other",)]
    assert run("SHOW CATALOGS") == [("elsewhere",), ("main",)]
    assert run("SHOW TABLES") == [("other", "two", "false")]
    assert run("SHOW TABLES IN main.default LIKE 'o%|x'") == [("default", "one", "false")]
    assert run("SHOW TABLES FROM `elsewhere`.`s`") == [("s", "three", "false")]
    run("USE CATALOG elsewhere")
    assert run("SELECT current_catalog(), current_schema()") == [("elsewhere", "default")]
    run("USE main.default")
    assert run("SELECT a FROM one") == [(1,)]
    with pytest.raises(StatementError, match="has tables: write CASCADE"):
        run("DROP SCHEMA other")
    run("DROP SCHEMA other CASCADE")
    run("DROP SCHEMA IF EXISTS other")
    with pytest.raises(StatementError, match="does not exist"):
        run("DROP SCHEMA other")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "told", "place"),
    [
        ("SHOW GRANTS", "SHOW is there for", (1, 6)),
        ("SHOW TABLES IN a LIKE x", "'x' is not understood", (1, 23)),
        ("USE ../x", "a name is missing", (1, 5)),
        ("USE a; USE b", "';' is not understood", (1, 6)),
        ("CREATE SCHEMA x LOCATION '/tmp/x'", "'LOCATION' is not understood", (1, 17)),
        ("CREATE SCHEMA `../../x`", "a name is missing", (1, 15)),
        ("DROP SCHEMA a.b.c", "named by catalog and schema", (1, 1)),
        ("SHOW COLUMNS", "says of which table", None),
        ("SHOW COLUMNS IN nosuch.t", "does not exist", None),
        ("SHOW COLUMNS IN t x", "'x' is not understood", (1, 19)),
        ("SHOW COLUMNS IN a.b IN d", "named twice", None),
        ("SHOW COLUMNS IN a.b.c.d", "named by catalog, schema and name", None),
        ("SET x = 1", "not run here", None),
        ("ALTER TABLE x ADD COLUMN y INT", "not run here", None),
    ],
)
def test_what_is_not_run_here_says_so(run: Run, text: str, told: str, place: tuple[int, int] | None) -> None:
    with pytest.raises(StatementError, match=told) as caught:
        run(text)
    if place is not None:
        assert caught.value.position == place


@pytest.mark.slow
def test_replacing_a_table_is_whole_or_not_at_all(run: Run, answering: Calls) -> None:
    run("CREATE OR REPLACE TABLE r AS SELECT 1 AS a")
    run("CREATE OR REPLACE TABLE r AS SELECT ai_gen('x') AS b, 2 AS c")
    assert run("SELECT b, c FROM r") == [("<x>", 2)]

    def refusing(*_: Any) -> Any:
        raise ValueError("the model said no")

    answering.answer = refusing
    with pytest.raises(StatementError, match="the model said no"):
        run("CREATE OR REPLACE TABLE r AS SELECT ai_gen('y') AS d FROM range(3)")
    assert run("SELECT b, c FROM r") == [("<x>", 2)]
    with pytest.raises(StatementError, match="AS SELECT"):
        run("CREATE OR REPLACE TABLE r (z INT)")


@pytest.mark.slow
def test_changing_rows(run: Run) -> None:
    run("CREATE TABLE m AS SELECT id AS i, concat('s', id) AS s FROM range(4)")
    run("UPDATE m SET s = ai_gen(s) WHERE i = 1")
    run("DELETE FROM m WHERE i = 0")
    run(
        "MERGE INTO m USING (SELECT id AS i, ai_gen(concat('n', id)) AS s FROM range(3, 6)) n ON m.i = n.i "
        "WHEN MATCHED THEN UPDATE SET s = n.s WHEN NOT MATCHED THEN INSERT (i, s) VALUES (n.i, n.s)"
    )
    assert run("SELECT * FROM m ORDER BY i") == [(1, "<s1>"), (2, "s2"), (3, "<n3>"), (4, "<n4>"), (5, "<n5>")]
    assert run("SELECT count(*) FROM m VERSION AS OF 0") == [(4,)]
    run("CREATE TABLE strict (a INT NOT NULL, b STRING)")
    run("INSERT INTO strict SELECT 1, ai_gen('z')")
    assert run("SELECT * FROM strict") == [(1, "<z>")]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SELECT ai_gen(s) FROM t", True),
        ("CREATE TABLE x AS SELECT upper(ai_gen(s)) AS a FROM t WHERE i > 3 LIMIT 5", True),
        ("SELECT s FROM t WHERE ai_gen(s) = 'x'", False),
        ("SELECT max(ai_gen(s)) FROM t", False),
        ("SELECT ai_gen(s) FROM t GROUP BY 1", False),
        ("SELECT * FROM (SELECT ai_gen(s) FROM t)", False),
        ("SELECT s FROM t", False),
    ],
)
def test_how_many_rows_are_to_be_called_is_known_where_a_count_tells(text: str, told: bool, tmp_path: Path) -> None:
    planned = plan(
        text, tag="p", endpoints=ENDPOINTS.get, settings=PlanSettings(str(tmp_path), endpoints=DEFAULTS), catalog="c",
        schema="s",
    )  # fmt: skip
    assert bool(planned.rows) is told
