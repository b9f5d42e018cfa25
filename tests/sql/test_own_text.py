"""What `register` reads of a statement before the server does, and how the server plans it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sql.engines import ENDPOINTS

from tesela.errors import InvalidRequest, StatementError
from tesela.sql import names
from tesela.sql.frames import Frames
from tesela.sql.functions import FUNCTIONS
from tesela.sql.plan_own import plan_own
from tesela.sql.site import Parameter, Plan, PlanSettings

SETTINGS = PlanSettings("/nowhere", (), {"default": "chat", "llm/v1/embeddings": "emb"}, engine="spark", remote=True)


def own(text: str, *parameters: Parameter) -> Plan:
    return plan_own(text, tag="t", endpoints=ENDPOINTS.get, parameters=parameters, settings=SETTINGS)


def test_the_names_are_those_of_the_functions() -> None:
    assert set(names.NAMES) == set(FUNCTIONS)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SELECT ai_query('e', s) FROM t", True),
        ("select AI_Gen (s) from t", True),
        ("SELECT 'it\\'s', ai_mask(s, array('a'))", True),
        ("SELECT /* ' */ ai_gen(s)", True),
        ("SELECT 1", False),
        ("SELECT 'ai_query(1)', \"ai_gen(2)\", `ai_mask(`", False),
        ("SELECT 1 -- ai_query('e', s)", False),
        ("SELECT /* ai_query('e',\n s) */ 1", False),
        ("SELECT my_ai_query(s), ai_queries(s), ai_query FROM t", False),
    ],
)
def test_whether_a_statement_may_call_one(text: str, found: bool) -> None:
    assert names.called(text) is found


# ------------------------------------------------------------- {frames}


class Frame:
    def createOrReplaceTempView(self, name: str) -> None:
        raise AssertionError("the session makes no view of it")


def test_frames_stand_for_tables_and_come_back() -> None:
    frames, one, other = Frames(), Frame(), Frame()
    text = frames.format("SELECT ai_gen({q}) FROM {one} a JOIN {other} b JOIN {one} c LIMIT {n}", one=one, other=other,
                         q="it's {x} \\", n=3)  # fmt: skip
    first, second = frames.found
    assert list(frames.found.values()) == [one, other]
    assert text == f"SELECT ai_gen('it\\'s {{x}} \\\\') FROM {first} a JOIN {second} b JOIN {first} c LIMIT 3"
    again = frames.marked(text)
    assert "{{x}}" in again
    assert again.format(**{first: "T", second: "U"}).endswith("FROM T a JOIN U b JOIN T c LIMIT 3")


@given(st.text())
def test_text_in_braces_is_one_literal(text: str) -> None:
    planned = own(Frames().format("SELECT ai_gen(s) AS a FROM t WHERE s = {x}", x=text))
    plain = own("SELECT ai_gen(s) AS a FROM t WHERE s = :x", Parameter("x", text))
    assert planned.sql == plain.sql


def test_words_and_what_cannot_stand_in_braces() -> None:
    assert Frames().format("{a} {b} {c} {d:.1f}", a=None, b=True, c=False, d=1.25) == "NULL TRUE FALSE 1.2"
    with pytest.raises(InvalidRequest, match="list"):
        Frames().format("{a}", a=[1])
    assert Frames().marked('{"a": 1}') == '{"a": 1}', "without frames nothing is formatted"


# ------------------------------------------------------------- plans


def test_what_the_session_may_touch_is_its_own_affair() -> None:
    planned = own("CREATE OR REPLACE TABLE a.b.c USING parquet AS SELECT ai_gen(s) AS x FROM parquet.`/data/in` t")
    assert "CREATE OR REPLACE TABLE a.b.c USING PARQUET" in planned.sql
    assert "parquet.`/data/in`" in planned.sql
    assert planned.kind == "write"
    assert not planned.before
    assert not planned.sources


def test_sorts_and_limits_go_below_calls() -> None:
    planned = own("SELECT i, ai_gen(s) r FROM t ORDER BY i LIMIT 5")
    assert planned.sql.index("LIMIT 5") > planned.sql.index(planned.sites[0].udf)
    assert "FROM (SELECT" in planned.sql


def test_without_a_call_the_text_stays() -> None:
    text = "SELECT  ai_query  FROM t -- as it is"
    assert own(text).sql == text
    assert own(text).sites == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SELECT ai_query('nowhere', s) FROM t", "'nowhere' does not exist (line 1, column 17)"),
        ("SELECT ai_gen(s) FROM read_files('/x')", "spark.read"),
        ("SELECT ai_gen(:s)", "no value"),
        ("CREATE VIEW v AS SELECT ai_gen(s) FROM t", "cannot be kept in a view"),
        ("OPTIMIZE t WHERE ai_gen(s) = 'x'", "this is not SQL that can be run here"),
        ("SELECT ai_gen(s FROM t", "does not parse"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, told: str) -> None:
    with pytest.raises(StatementError) as caught:
        own(text)
    assert told in caught.value.message
