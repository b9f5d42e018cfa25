"""Files and Delta tables in an S3 store: a server on loopback, reached with the keys of our server's environment."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from tests.sql.engines import ENDPOINTS, Calls, calls
from tests.sql.s3 import Store, s3_store
from tests.sql.served import Failed, scripted, serving

from tesela.errors import StatementError
from tesela.sql.engine import SailEngine
from tesela.sql.plan import plan
from tesela.sql.site import PlanSettings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
Run = Callable[[str], list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with s3_store() as one:
        one.put("/bucket")
        one.put("/other")
        for number, (ids, letters) in enumerate([([1, 2], ["a", "b"]), ([3], ["c"])]):
            sink = io.BytesIO()
            pyarrow.parquet.write_table(pa.table({"id": ids, "t": letters}), sink)
            one.put(f"/bucket/in/p/{number}.parquet", sink.getvalue())
        one.put("/bucket/in/c.csv", b"id,name\n1,Ana\n2,Ben\n")
        one.put("/bucket/in/j.json", b'{"a":1}\n{"a":2}\n')
        one.put("/bucket/in/t.txt", b"one\ntwo\n")
        one.put("/bucket/in/img/a%20b.png", b"\x89PNG")
        one.put("/bucket/in/empty.csv", b"")
        one.put("/bucket/secret/s.txt", b"secret\n")
        one.put("/other/s.txt", b"secret\n")
        yield one


@pytest.fixture(scope="module")
def engine(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SailEngine]:
    folder = tmp_path_factory.mktemp("engine")
    with pytest.MonkeyPatch.context() as environment:
        for name, value in store.environment.items():
            environment.setenv(name, value)
        one = SailEngine(PlanSettings(warehouse=str(folder)), folder / "sail.log", folder)
        one.start()
        yield one
        one.stop()


@pytest.fixture
def answering() -> Iterator[Calls]:
    with calls() as one:
        yield one


@pytest.fixture
def run(engine: SailEngine, answering: Calls, tmp_path: Path) -> Iterator[Run]:
    roots = ("s3://bucket/in", "s3://bucket/out/")
    settings = PlanSettings(warehouse=str(tmp_path / "w"), roots=roots, endpoints={"default": "chat"})
    session = engine.session("main", "default")
    count = 0

    def ran(text: str) -> list[tuple[Any, ...]]:
        nonlocal count
        count += 1
        planned = plan(
            text, tag=f"s{count}", endpoints=ENDPOINTS.get, settings=settings, catalog="main", schema="default"
        )
        result = session.execute(planned, answering.tickets(planned.sites), answering.url)
        return [tuple(row.values()) for batch in result.batches() for row in batch.to_pylist()]

    yield ran
    session.close()


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("SELECT * FROM read_files('s3://bucket/in/p', format => 'parquet') WHERE id > 2", [(3, "c")]),
        ("SELECT * FROM read_files('s3://bucket/in/p/*.parquet') ORDER BY id", [(1, "a"), (2, "b"), (3, "c")]),
        ("SELECT * FROM read_files('s3a://bucket/in/c.csv') ORDER BY id", [(1, "Ana"), (2, "Ben")]),
        ("SELECT id FROM read_files('s3://bucket/in/c.csv', schema => 'id STRING, n STRING')", [("1",), ("2",)]),
        ("SELECT * FROM read_files('s3://bucket/in/*.json') ORDER BY a", [(1,), (2,)]),
        ("SELECT * FROM read_files('s3://bucket/in/t.txt', format => 'text')", [("one",), ("two",)]),
        ("SELECT path, length FROM read_files('s3://bucket/in/img/*.png')", [("s3://bucket/in/img/a b.png", 4)]),
        ("SELECT * FROM parquet.`s3://bucket/in/p` ORDER BY id DESC LIMIT 1", [(3, "c")]),
        ("SELECT ai_gen(name) FROM read_files('s3://bucket/in/c.csv') WHERE id = 2", [("<Ben>",)]),
    ],
)  # fmt: skip
def test_files_are_read(run: Run, text: str, rows: list[tuple[Any, ...]]) -> None:
    assert run(text) == rows


@pytest.mark.parametrize(
    "path",
    [
        "s3://bucket/secret/s.txt", "s3://bucket/in/../secret/s.txt", "s3://bucket/in/{..,x}/secret/s.txt",
        "s3://bucket/in/%2e%2e/secret/s.txt", "s3://bucket/*/s.txt", "s3://other/s.txt", "s3://bucket/in2/s.txt",
        "s3://bucket@other/in/s.txt", "s3://*/in/s.txt", "s3://bucket/in?x=/../../secret/s.txt", "gs://bucket/in/s.txt",
        "https://bucket/in/s.txt",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "form", ["SELECT * FROM read_files('{}', format => 'text')", "SELECT * FROM text.`{}`", "DESCRIBE delta.`{}`",
             "INSERT INTO delta.`{}` SELECT 1", "CREATE TABLE delta.`{}` AS SELECT 1", "DELETE FROM delta.`{}`"],
)  # fmt: skip
def test_nothing_is_touched_outside_the_roots(run: Run, path: str, form: str) -> None:
    with pytest.raises(StatementError, match=r"is not below|has \.\.|has braces|has characters|begins with|by path"):
        run(form.format(path))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SELECT * FROM read_files('s3://bucket/in/p')", "the format of 's3://bucket/in/p' is not clear"),
        ("SELECT * FROM read_files('s3://bucket/in/none/*.csv')", "in it was found at 's3://bucket/in/none/*.csv'"),
        ("SELECT * FROM read_files('s3://bucket/in/none', format => 'text')", "no file with anything in it was found"),
        ("SELECT * FROM read_files('s3://bucket/in/none', format => 'csv', schema => 'a INT')", "no file with any"),
        ("SELECT * FROM read_files('s3://bucket/in/empty.csv')", "no file with anything in it was found"),
        ("SELECT * FROM delta.`s3://bucket/in/none`", "there is no Delta table at the path"),
        ("INSERT INTO delta.`s3://bucket/out/none` SELECT 1", "there is no Delta table at the path"),
        ("INSERT INTO parquet.`s3://bucket/out/x` SELECT 1", "files are not written by path"),
        ("INSERT INTO delta.`s3://bucket/out/*` SELECT 1", "files are not written by path"),
        ("CREATE OR REPLACE TABLE delta.`s3://bucket/out/x` (a INT)", "takes the new rows with it"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_an_error(run: Run, store: Store, text: str, told: str) -> None:
    with pytest.raises(StatementError) as caught:
        run(text)
    assert told in str(caught.value)
    assert store.keys("bucket", "out/none") == store.keys("bucket", "out/x") == []


def test_tables_are_made_changed_and_read(run: Run, answering: Calls, store: Store) -> None:
    table = "delta.`s3://bucket/out/t`"

    def refusing(*_: Any) -> Any:
        raise ValueError("the model said no")

    kept, answering.answer = answering.answer, refusing
    with pytest.raises(StatementError, match="the model said no"):
        run(f"CREATE TABLE {table} AS SELECT id AS i, ai_gen(concat('s', id)) AS a FROM range(3)")
    assert store.keys("bucket", "out/t/_delta_log") == []
    answering.answer = kept
    run(f"CREATE TABLE {table} AS SELECT id AS i, ai_gen(concat('s', id)) AS a FROM range(3)")
    assert run(f"SELECT * FROM {table} ORDER BY i") == [(0, "<s0>"), (1, "<s1>"), (2, "<s2>")]
    with pytest.raises(StatementError, match="already exists"):
        run(f"CREATE TABLE {table} AS SELECT 9 AS i")
    run(f"CREATE TABLE IF NOT EXISTS {table} AS SELECT 9 AS i")
    run(f"INSERT INTO {table} SELECT 5, ai_gen('five')")
    run(f"UPDATE {table} SET a = 'one' WHERE i = 1")
    run(f"DELETE FROM {table} WHERE i = 0")
    run(
        f"MERGE INTO {table} m USING (SELECT id AS i, ai_gen(concat('n', id)) AS a FROM range(2, 4)) n ON m.i = n.i "
        "WHEN MATCHED THEN UPDATE SET a = n.a WHEN NOT MATCHED THEN INSERT (i, a) VALUES (n.i, n.a)"
    )
    assert run(f"SELECT * FROM {table} ORDER BY i") == [(1, "one"), (2, "<n2>"), (3, "<n3>"), (5, "<five>")]
    assert run(f"SELECT count(*) FROM {table} VERSION AS OF 0") == [(3,)]
    answering.answer = refusing
    with pytest.raises(StatementError, match="the model said no"):
        run(f"CREATE OR REPLACE TABLE {table} AS SELECT ai_gen('x') AS b")
    answering.answer = kept
    assert run(f"SELECT count(*) FROM {table}") == [(4,)]
    run(f"CREATE OR REPLACE TABLE {table} AS SELECT ai_gen('x') AS b")
    assert run(f"SELECT * FROM {table}") == [("<x>",)]


def test_a_server_reaches_the_store_with_the_keys_of_its_environment(store: Store, tmp_path: Path) -> None:
    roots = {"roots": ["s3://bucket/in", "s3://bucket/served"]}
    with serving(tmp_path, scripted("echo"), environ=store.environment, sql=roots) as sql:
        text = (
            "CREATE TABLE delta.`s3://bucket/served/t` AS SELECT id, ai_query('echo', name) AS a "
            "FROM read_files('s3://bucket/in/*.csv')"
        )
        sql.run(text)
        assert len(sql.rows("SELECT * FROM delta.`s3://bucket/served/t` WHERE a IS NOT NULL")) == 2
        with pytest.raises(Failed, match="is not below a folder that statements may use"):
            sql.run("SELECT * FROM read_files('s3://bucket/secret/s.txt')")
        with pytest.raises(Failed) as caught:
            sql.run("SELECT * FROM read_files('s3://bucket/in/none.txt')")
    assert caught.value.error["error_class"] == "PATH_NOT_FOUND"
    secret = store.environment["AWS_SECRET_ACCESS_KEY"]
    written = [one for one in tmp_path.rglob("*") if one.suffix == ".log" or one.name.startswith("stderr-")]
    assert written
    assert not [one for one in written if secret in one.read_text("utf-8", "replace")]
