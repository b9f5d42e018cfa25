"""Rows called are the rows needed: counted on the engines themselves, which judge the answers too."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.sql.engines import ENDPOINTS, Calls, calls
from tests.sql.spark import spark_server

from tesela.sql.engine import RemoteEngine, SailEngine
from tesela.sql.plan import plan
from tesela.sql.site import PlanSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
DEFAULTS = {"default": "chat", "llm/v1/embeddings": "emb"}
VIEW = "CREATE OR REPLACE TEMPORARY VIEW t AS SELECT id AS i, concat('s', id) AS s FROM range(20000)"

CASES: list[tuple[str, int]] = [
    ("SELECT ai_gen(s) FROM t", 20_000),
    ("SELECT ai_gen(s) FROM t LIMIT 5", 5),
    ("SELECT i, ai_gen(s) r FROM t ORDER BY i DESC LIMIT 5", 5),
    ("SELECT i, ai_gen(s) r FROM t ORDER BY 1 LIMIT 5 OFFSET 3", 5),
    ("SELECT -i AS i, ai_gen(s) r FROM t WHERE i > 9 ORDER BY i LIMIT 5", 5),
    ("SELECT * FROM (SELECT i, ai_gen(s) r FROM t) ORDER BY i LIMIT 5", 5),
    ("SELECT * FROM (SELECT *, ai_gen(s) r FROM t) d WHERE d.i < 100 ORDER BY d.i DESC LIMIT 5", 5),
    ("WITH d AS (SELECT i, ai_gen(s) r FROM t) SELECT r FROM d ORDER BY i LIMIT 5", 5),
    ("SELECT a.i, ai_gen(b.s) r FROM t a JOIN t b ON a.i = b.i WHERE a.i > 3 ORDER BY b.i LIMIT 5", 5),
    ("SELECT i, ai_gen(s) r FROM t WHERE i < 10", 10),
    ("SELECT * FROM (SELECT i, ai_gen(s) r FROM t) WHERE i < 10", 10),
    ("SELECT count(*) FROM (SELECT ai_gen(s) FROM t)", 0),
    ("SELECT CASE WHEN i = 3 THEN ai_gen(s) ELSE 'no' END r FROM t WHERE i < 10", 1),
    ("SELECT if(i < 3, ai_gen(s), s) r FROM t WHERE i < 10", 3),
    ("SELECT coalesce(if(i < 5, 'k', NULL), ai_gen(s)) r FROM t WHERE i < 10", 5),
    ("SELECT count(*) FROM t WHERE i < 19990 OR ai_gen(s) = '<s19995>'", 10),
    ("SELECT count(*) FROM t WHERE i < 10 AND ai_gen(s) = '<s3>'", 10),
    ("SELECT sum(length(ai_gen(s))) FILTER (WHERE i < 3) r FROM t WHERE i < 10", 3),
    ("SELECT ai_gen(s) r, count(*) c FROM t WHERE i < 10 GROUP BY ai_gen(s)", 10),
    ("SELECT ai_gen(s) r, count(*) c FROM t WHERE i < 10 GROUP BY 1 ORDER BY r", 10),
    ("SELECT max(ai_gen(s)) r FROM t WHERE i < 10", 10),
    ("SELECT ai_gen(ai_fix_grammar(s)) r FROM t WHERE i < 10", 20),
    ("SELECT a.i FROM t a JOIN t b ON a.i = b.i AND ai_gen(a.s) = concat('<', b.s, '>') WHERE a.i < 10", 10),
    ("SELECT exists(SELECT 1 FROM t WHERE i < 3 AND ai_gen(s) = '<s1>') r", 3),
    ("SELECT ai_gen(s) r FROM t WHERE i < 3 UNION ALL SELECT s FROM t WHERE i < 2", 3),
    ("SELECT ai_gen(s) r FROM t WHERE 1 = 0", 0),
    ("EXPLAIN SELECT ai_gen('constant') FROM t", 0),
    ("EXPLAIN SELECT ai_gen(s) FROM t ORDER BY i LIMIT 5", 0),
]  # fmt: skip
"""A statement over 20,000 rows, and how many calls it makes."""

ON_SPARK = {
    "SELECT i, ai_gen(s) r FROM t ORDER BY 1 LIMIT 5 OFFSET 3": 8,
    "SELECT a.i, ai_gen(b.s) r FROM t a JOIN t b ON a.i = b.i WHERE a.i > 3 ORDER BY b.i LIMIT 5": 10,
}
"""Where Spark's own planner takes the call below an OFFSET, or below the last step of a sort over two partitions."""

CONSTANT = [
    "SELECT ai_gen('constant') r FROM t",
    "SELECT ai_gen(concat('con', 'stant')) r FROM t WHERE i < 100",
    "SELECT DISTINCT ai_gen('constant') r FROM t",
]


class Side:
    """One engine with a session that has the rows."""

    def __init__(self, engine: SailEngine | RemoteEngine, settings: PlanSettings) -> None:
        self.settings = settings
        self.session = engine.session("tesela", "default")
        self.count = 0

    def run(self, text: str, answering: Calls) -> list[dict[str, Any]]:
        self.count += 1
        planned = plan(
            text, tag=f"t{self.count}", endpoints=ENDPOINTS.get, settings=self.settings, catalog="c", schema="s"
        )
        result = self.session.execute(planned, answering.tickets(planned.sites), answering.url)
        return [row for batch in result.batches() for row in batch.to_pylist()]


@pytest.fixture(scope="module", params=["sail", "spark"])
def side(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    folder = tmp_path_factory.mktemp(request.param)
    engine: SailEngine | RemoteEngine
    if request.param == "sail":
        settings = PlanSettings(warehouse=str(folder), endpoints=DEFAULTS)
        engine = SailEngine(settings, folder / "sail.log", folder)
        yield from _opened(engine, settings)
        engine.stop()
    else:
        settings = PlanSettings(warehouse=str(folder), endpoints=DEFAULTS, engine="spark", remote=True)
        with spark_server(folder) as address:
            yield from _opened(RemoteEngine(settings, address), settings)


def _opened(engine: SailEngine | RemoteEngine, settings: PlanSettings) -> Iterator[Side]:
    side = Side(engine, settings)
    with calls() as answering:
        side.run(VIEW, answering)
    yield side
    side.session.close()


@pytest.mark.parametrize(("text", "count"), CASES, ids=[text for text, _ in CASES])
def test_rows_called(side: Side, text: str, count: int) -> None:
    with calls() as answering:
        side.run(text, answering)
        wanted = ON_SPARK.get(text, count) if side.settings.remote else count
        assert len(set(answering.rows)) == wanted


@pytest.mark.parametrize("text", CONSTANT)
def test_a_constant_is_asked_for_once_in_a_batch(side: Side, text: str) -> None:
    with calls() as answering:
        rows = side.run(text, answering)
        assert {row["r"] for row in rows} == {"<constant>"}
        assert set(answering.rows) == {("ai_gen", ("constant",))}
        assert len(answering.rows) == answering.batches


def test_a_filter_on_answers_asks_no_more_than_batches(side: Side) -> None:
    """LIMIT 3 over a condition that a model decides: rows are asked a batch at a time, not all."""
    with calls() as answering:
        assert len(side.run("SELECT s FROM t WHERE ai_gen(s) LIKE '%9%' LIMIT 3", answering)) == 3
        assert len(answering.rows) <= (10_000 if side.settings.remote else 8192)
