"""What a statement that cannot run is told: the exact sentence, with its place, the error's class and its SQLSTATE."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.sql.engines import ENDPOINTS, calls

from tesela.errors import StatementError
from tesela.sql.engine import SailEngine
from tesela.sql.plan import plan
from tesela.sql.sailwords import words
from tesela.sql.site import Plan, PlanSettings

CONSTANT, ARGUMENT = "DATATYPE_MISMATCH.NON_FOLDABLE_INPUT", "AI_FUNCTION_INVALID_ARGUMENT"
DENIED, FEATURE = "PERMISSION_DENIED", "UNSUPPORTED_FEATURE"

PLANNED = [
    ("SELECT ai_query(name, 'x') FROM t",
     ("endpoint of ai_query must be a constant, not name (line 1, column 17): write the name of an endpoint, "
      "as in ai_query('my-endpoint', request)"), CONSTANT, "42K09"),
    ("SELECT\n  ai_query('chat', 'x', returnType => name) FROM t",
     ("returnType of ai_query must be a constant, not name (line 2, column 39): write returnType => "
      "'STRUCT<label: STRING>'"), CONSTANT, "42K09"),
    ("SELECT ai_query('chat', 'x', failOnError => i > 1) FROM t",
     "failOnError of ai_query must be a constant, not i > 1 (line 1, column 45): write failOnError => false",
     CONSTANT, "42K09"),
    ("SELECT ai_query('chat', 'x', failOnError => 'maybe')",
     "failOnError of ai_query must be true or false (line 1, column 45)", ARGUMENT, "22023"),
    ("SELECT ai_query(5, 'x')",
     ("endpoint of ai_query must be a string that is not empty (line 1, column 17): write the name of an endpoint, "
      "as in ai_query('my-endpoint', request)"), ARGUMENT, "22023"),
    ("SELECT ai_query('chat', 'x', modelParameters => 'x')",
     "modelParameters must be a struct (line 1, column 49): write named_struct('max_tokens', 100, 'temperature', 0.7)",
     "AI_FUNCTION_INVALID_MODEL_PARAMETERS", "22023"),
    ("SELECT ai_query('chat', 'x', modelParameters => named_struct('stream', true))",
     "modelParameters cannot set 'stream' (line 1, column 49): an answer comes as one value",
     "AI_FUNCTION_INVALID_MODEL_PARAMETERS", "22023"),
    ("SELECT ai_summarize('x', 'many')",
     "max_words of ai_summarize must be a whole number, and not below 0 (line 1, column 26): 0 sets no limit",
     "AI_FUNCTION_INVALID_MAX_WORDS", "22032"),
    ("SELECT ai_classify('x', array())", "labels of ai_classify must have 2 to 20 entries, not 0 (line 1, column 25)",
     ARGUMENT, "22023"),
    ("SELECT ai_query('nope', 'x')",
     "endpoint 'nope' does not exist (line 1, column 17): see GET /api/2.0/serving-endpoints",
     "AI_FUNCTION_HTTP_REQUEST_ERROR", "08000"),
    ("SELECT * FROM read_files('/elsewhere/x.csv')",
     ("the path '/elsewhere/x.csv' is not below a folder that statements may use (line 1, column 15): they are /w, "
      "s3://bucket/in (the server's setting is sql.roots)"), DENIED, "42501"),
    ("SELECT * FROM read_files('s3://bucket/inner/x.csv')",
     ("the path 's3://bucket/inner/x.csv' is not below a folder that statements may use (line 1, column 15): they are "
      "/w, s3://bucket/in (the server's setting is sql.roots)"), DENIED, "42501"),
    ("SELECT * FROM read_files('../x.csv')",
     "the path '../x.csv' has .. in it (line 1, column 15): name the place itself", DENIED, "42501"),
    ("SELECT * FROM read_files('s3://bucket/in/../x.csv')",
     "the path 's3://bucket/in/../x.csv' has .. in it (line 1, column 15): name the place itself", DENIED, "42501"),
    ("SELECT * FROM read_files('s3://bucket/in/{..,a}/x.csv')",
     ("the path 's3://bucket/in/{..,a}/x.csv' has braces, which match several paths (line 1, column 15): read them one "
      "by one"), DENIED, "42501"),
    ("SELECT * FROM read_files(concat('a', name), format => 'csv')",
     "path of read_files must be a constant, not CONCAT('a', name) (line 1, column 26)", CONSTANT, "42K09"),
    ("SELECT * FROM read_files()", "read_files needs a path (line 1, column 15): write read_files('folder/*.csv')",
     "WRONG_NUM_ARGS.WITHOUT_SUGGESTION", "42605"),
    ("SELECT * FROM read_files('x.csv', nosuch => 1)", "read_files has no option 'nosuch' here (line 1, column 15)",
     FEATURE, "0A000"),
    ("SET TIME ZONE 'UTC'",
     "SET is not run here (line 1, column 1): settings of a session are fixed: SQL is Databricks', times are UTC",
     FEATURE, "0A000"),
    ("\n  OPTIMIZE t",
     "OPTIMIZE is not run here (line 2, column 3): tables are made anew with CREATE OR REPLACE TABLE … AS SELECT",
     FEATURE, "0A000"),
    ("CREATE TEMP VIEW v AS SELECT ai_gen('x') a",
     "ai_gen cannot be kept in a view (line 1, column 30): CREATE TABLE … AS keeps its answers", FEATURE, "0A000"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "told", "error_class", "state"), PLANNED, ids=[one[0] for one in PLANNED])
def test_before_the_engine_hears_of_it(text: str, told: str, error_class: str, state: str) -> None:
    settings = PlanSettings(warehouse="/w", roots=("s3://bucket/in",), endpoints={"default": "chat"})
    with pytest.raises(StatementError) as caught:
        plan(text, tag="t", endpoints=ENDPOINTS.get, settings=settings, catalog="main", schema="default")
    assert (str(caught.value), caught.value.error_class, caught.value.sql_state) == (told, error_class, state)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            "format => 'csv', nullValue => 'NA'",
            "nullValue is not heeded by this engine (line 1, column 15): write nullif",
        ),
        ("format => 'csv', encoding => 'latin1'", "encoding is not heeded by this engine"),
        ("format => 'csv', encoding => 'UTF-8'", ""),
        ("format => 'csv', mode => 'PERMISSIVE'", "mode is not heeded by this engine"),
        ("format => 'csv', mode => 'FAILFAST', multiLine => true, lineSep => ';'", ""),
        ("format => 'json', multiLine => true", "multiLine is not heeded by this engine"),
        ("format => 'json', multiLine => false", ""),
        ("format => 'csv', recursiveFileLookup => false", "recursiveFileLookup is not heeded by this engine"),
        ("format => 'orc'", "orc is not read by this engine"),
    ],
)
def test_what_sail_does_not_heed_is_refused_and_goes_to_spark(options: str, told: str) -> None:
    text = f"SELECT * FROM read_files('x', {options})"

    def planned(settings: PlanSettings) -> Plan:
        return plan(text, tag="t", endpoints=ENDPOINTS.get, settings=settings, catalog="main", schema="default")

    assert planned(PlanSettings(warehouse="/w", engine="spark", remote=True)).sources
    if not told:
        assert planned(PlanSettings(warehouse="/w")).sources
        return
    with pytest.raises(StatementError) as caught:
        planned(PlanSettings(warehouse="/w"))
    assert str(caught.value).startswith(told)
    assert caught.value.error_class == FEATURE


ON_SAIL = [
    ("SELECT * FROM read_files('none.csv')", "no file was found at '{w}/none.csv'", "PATH_NOT_FOUND", "42K03"),
    ("SELECT * FROM parquet.`none`", "no file was found at '{w}/none'", "PATH_NOT_FOUND", "42K03"),
    ("SELECT * FROM read_files('none/*.txt', schema => 'a INT', format => 'json')",
     "no file was found at '{w}/none/*.txt'", "PATH_NOT_FOUND", "42K03"),
    ("SELECT * FROM delta.`in`", "there is no Delta table at the path", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
    ("SELECT * FROM nosuch", "the table or view nosuch does not exist", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
    ("TRUNCATE TABLE nosuch", "the table or view nosuch does not exist", "TABLE_OR_VIEW_NOT_FOUND", "42P01"),
    ("SELECT ai_gen(a.nosuch) FROM range(2) a", "the column a.nosuch does not exist",
     "UNRESOLVED_COLUMN.WITHOUT_SUGGESTION", "42703"),
    ("SELECT id FROM range(2) JOIN range(3) ON true", "the column id is in more than one table: say of which",
     "AMBIGUOUS_REFERENCE", "42704"),
    ("SELECT nosuch(1)", "the function nosuch does not exist", "UNRESOLVED_ROUTINE", "42883"),
    ("SELECT 1 / 0", "divide by zero: try_divide gives NULL instead", "DIVIDE_BY_ZERO", "22012"),
    ("SELECT CAST('x' AS INT)", "Cannot cast string 'x' to value of Int32 type", "CAST_INVALID_INPUT", "22018"),
    ("INSERT INTO t VALUES (1)", "the rows to insert have 1 columns, the table has 2", "INSERT_COLUMN_ARITY_MISMATCH",
     "21S01"),
    ("INSERT INTO t VALUES ('abc', 'x')", "Cannot cast string 'abc' to value of Int64 type", "CAST_INVALID_INPUT",
     "22018"),
    ("UPDATE t SET nosuch = 1", "the column nosuch does not exist", "UNRESOLVED_COLUMN.WITHOUT_SUGGESTION", "42703"),
    ("SELECT (SELECT id FROM range(2))", "Scalar subquery returned more than one row", "SCALAR_SUBQUERY_TOO_MANY_ROWS",
     "21000"),
    ("SELECT 1 UNION SELECT 1, 2",
     "UNION queries have different number of columns: left has 1 columns whereas right has 2 columns",
     "NUM_COLUMNS_MISMATCH", "42826"),
]  # fmt: skip
Run = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("warehouse").resolve()
    (folder / "in").mkdir()
    (folder / "in" / "c.csv").write_text("id\n1\n")
    return folder


@pytest.fixture(scope="module")
def run(warehouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("engine")
    settings = PlanSettings(warehouse=str(warehouse), endpoints={"default": "chat"})
    engine = SailEngine(settings, folder / "sail.log", folder)
    session = engine.session("main", "default")
    count = 0

    with calls() as answering:

        def ran(text: str) -> list[tuple[Any, ...]]:
            nonlocal count
            count += 1
            planned = plan(
                text, tag=f"r{count}", endpoints=ENDPOINTS.get, settings=settings, catalog="main", schema="default"
            )
            result = session.execute(planned, answering.tickets(planned.sites), answering.url)
            return [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()]

        ran("CREATE TABLE t (id BIGINT, s STRING)")
        yield ran
    session.close()
    engine.stop()


@pytest.mark.slow
@pytest.mark.parametrize(("text", "told", "error_class", "state"), ON_SAIL, ids=[one[0] for one in ON_SAIL])
def test_what_sail_finds(run: Run, warehouse: Path, text: str, told: str, error_class: str, state: str) -> None:
    with pytest.raises(StatementError) as caught:
        run(text)
    found = str(caught.value), caught.value.error_class, caught.value.sql_state
    assert found == (told.replace("{w}", str(warehouse)), error_class, state)


@pytest.mark.slow
def test_a_table_is_emptied_and_its_rows_stay_in_older_states(run: Run) -> None:
    run("CREATE TABLE full AS SELECT id FROM range(3)")
    run("TRUNCATE TABLE full")
    assert run("SELECT count(*) FROM full") == [(0,)]
    assert run("SELECT count(*) FROM full VERSION AS OF 0") == [(3,)]
    with pytest.raises(StatementError, match="TRUNCATE statements are not run here"):
        run("TRUNCATE TABLE full PARTITION (id = 1)")


def test_what_nobody_knows_is_told_as_it_came() -> None:
    assert words("something else went wrong") is None
