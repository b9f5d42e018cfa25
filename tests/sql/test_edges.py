"""Rows and requests at their limits, over a whole server: none, NULL, long, of other types."""

from collections.abc import Iterator

import pytest
from tests.sql.served import Failed, Sql, Upstream, endpoint, scripted, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    one = Upstream()
    yield one
    one.close()


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Sql]:
    folder = tmp_path_factory.mktemp("sql")
    with serving(folder, endpoint("chat", upstream.url), scripted("embedded", "embeddings")) as one:
        yield one


def test_no_rows_no_calls(sql: Sql, upstream: Upstream) -> None:
    upstream.asked.clear()
    sql.run("CREATE TABLE none (id BIGINT, s STRING)")
    assert sql.rows("SELECT id, ai_query('chat', s) AS a FROM none") == []
    assert sql.rows("SELECT count(ai_query('chat', s)) AS n, max(ai_query('chat', s)) AS m FROM none") == [["0", None]]
    assert sql.rows("SELECT ai_query('embedded', s) AS e FROM none") == []
    sql.run("CREATE TABLE more AS SELECT id, ai_query('chat', s, failOnError => false) AS a FROM none")
    found = sql.run("SELECT * FROM more")
    assert [one["type_text"] for one in found["manifest"]["schema"]["columns"]] == [
        "BIGINT", "STRUCT<result:STRING,errorMessage:STRING>",
    ]  # fmt: skip
    assert found["manifest"]["total_row_count"] == 0
    assert not upstream.asked


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        ("ai_query('chat', CAST(NULL AS STRING))", None),
        ("ai_query('chat', NULL)", None),
        ("ai_query('chat', CAST(NULL AS STRING), failOnError => false).result", None),
        ("ai_query('chat', CAST(NULL AS STRING), failOnError => false).errorMessage", None),
        ("ai_query('embedded', CAST(NULL AS STRING))", None),
        ("ai_query('chat', NULL, returnType => 'INT')", None),
        ("ai_gen(NULL)", None),
        ("ai_classify(NULL, array('a', 'b'))", None),
        ("ai_extract(NULL, array('a', 'b'))", None),
        ("ai_similarity('a', NULL)", None),
        ("ai_translate(NULL, 'fr')", None),
    ],
)
def test_null_is_answered_with_null_and_no_call(sql: Sql, upstream: Upstream, call: str, answer: str | None) -> None:
    upstream.asked.clear()
    assert sql.rows(f"SELECT {call} AS a FROM range(2)") == [[answer]] * 2
    assert not upstream.asked


def test_a_long_prompt_arrives_whole(sql: Sql, upstream: Upstream) -> None:
    text = "é'\"\\ \n" * 25_000
    upstream.asked.clear()
    parameters = [{"name": "p", "value": text}]
    found = sql.rows(
        "SELECT ai_query('chat', :p) AS a, length(ai_query('chat', repeat('x', 100000))) AS n", parameters=parameters
    )
    assert found == [[f"<{text}>", "100002"]]
    assert set(upstream.asked) == {text, "x" * 100_000}


@pytest.mark.parametrize(
    ("value", "prompt"),
    [("5", "5"), ("1.50", "1.50"), ("true", "true"), ("DATE'2024-02-29'", "2024-02-29"),
     ("concat('a', 5)", "a5"), ("''", "")],
)  # fmt: skip
def test_other_types_become_text(sql: Sql, upstream: Upstream, value: str, prompt: str) -> None:
    upstream.asked.clear()
    assert sql.rows(f"SELECT ai_query('chat', {value}) AS a") == [[f"<{prompt}>"]]
    assert set(upstream.asked) == {prompt}


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("array('a')", "the text must be a STRING: write CAST(… AS STRING), or to_json(…) for structs and arrays"),
        ("map('a', 1)", "the text must be a STRING"),
        ("X'00'", "the text must be a STRING"),
        ("'x', files => X'00'", "files must be JPEG or PNG images, and this one is neither"),
        ("'x', files => 'y'", "files must be BINARY"),
    ],
)
def test_what_is_no_prompt_is_refused(sql: Sql, upstream: Upstream, value: str, told: str) -> None:
    upstream.asked.clear()
    with pytest.raises(Failed) as caught:
        sql.rows(f"SELECT ai_query('chat', {value}) AS a")
    assert told in caught.value.message
    assert caught.value.error["error_code"] == "BAD_REQUEST"
    assert not upstream.asked


def test_a_row_that_cannot_be_asked_fails_alone_where_that_is_wanted(sql: Sql, upstream: Upstream) -> None:
    upstream.asked.clear()
    found = sql.rows(
        "SELECT r.result, r.errorMessage FROM (SELECT ai_query('chat', s, files => f, failOnError => false) AS r "
        "FROM VALUES ('a', NULL), ('b', X'00'), (NULL, X'00') AS t(s, f))"
    )
    assert sorted(found, key=str) == sorted(
        [["<a>", None], [None, "files must be JPEG or PNG images, and this one is neither"], [None, None]], key=str
    )
    assert set(upstream.asked) == {"a"}


def test_an_answer_of_another_type_says_what_came(sql: Sql) -> None:
    with pytest.raises(Failed) as caught:
        sql.rows("SELECT ai_query('chat', 'five', returnType => 'INT') AS a")
    assert "<five>" in caught.value.message
