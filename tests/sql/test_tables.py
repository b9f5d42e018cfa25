"""What a statement may be and touch: everything else is an error with its place, before the engine hears of it."""

from pathlib import Path

import pytest
from tests.sql.engines import ENDPOINTS

from tesela.errors import StatementError
from tesela.sql.plan import plan
from tesela.sql.site import Plan, PlanSettings


def planned(folder: Path, text: str, **more: str) -> Plan:
    settings = PlanSettings(warehouse=str(folder), roots=tuple(more.values()), endpoints={"default": "chat"})
    return plan(text, tag="t", endpoints=ENDPOINTS.get, settings=settings, catalog="tesela", schema="default")


HOSTILE = [
    "SELECT * FROM text.`/etc/passwd`",
    "SELECT * FROM TEXT.`file:///etc/passwd`",
    "SELECT * FROM `text`.`/etc/../etc/passwd`",
    "SELECT * FROM csv.`/etc/*`",
    "SELECT * FROM delta.`s3://other/x`",
    "SELECT * FROM delta.`http://x/y`",
    "SELECT * FROM read_files('/etc/passwd', format => 'text')",
    "SELECT * FROM read_files(concat('/etc', '/passwd'), format => 'text')",
    "SELECT (SELECT max(value) FROM text.`/etc/passwd`)",
    "WITH a AS (SELECT * FROM text.`/etc/passwd`) SELECT * FROM a",
    "INSERT INTO text.`/tmp/x` SELECT 1",
    "CREATE TABLE delta.`/tmp/x` AS SELECT 1",
    "CREATE TABLE x USING parquet AS SELECT 1",
    "CREATE TABLE x LOCATION '/tmp/x' AS SELECT 1",
    "CREATE TABLE `../../x` AS SELECT 1",
    "CREATE TABLE `..`.x AS SELECT 1",
    "CREATE TEMPORARY VIEW v USING text OPTIONS (path '/etc/passwd')",
    "CREATE VIEW v AS SELECT 1",
    "CREATE FUNCTION f AS 'x'",
    "INSERT OVERWRITE DIRECTORY '/tmp/x' SELECT 1",
    "COPY INTO x FROM '/etc/passwd' FILEFORMAT = CSV",
    "LOAD DATA INPATH '/etc/passwd' INTO TABLE x",
    "ADD JAR '/x.jar'",
    "SET spark.x = 1",
    "SELECT reflect('java.lang.Runtime', 'getRuntime')",
    "SELECT java_method('java.lang.Math', 'abs', 1)",
    "SELECT TRANSFORM(a) USING 'cat' AS (b) FROM VALUES (1) AS t(a)",
    "SELECT * FROM identifier('text.`/etc/passwd`')",
    "SELECT * FROM no_such_function(1)",
    "EXECUTE IMMEDIATE 'SELECT 1'",
    "EXPLAIN ANALYZE SELECT ai_gen('x')",
    "SELECT 1; SELECT 2",
    "SELECT * FROM x.y",
    "DROP SCHEMA default",
    "SELECT * FROM t@v3",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_breaks_out_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(StatementError):
        planned(tmp_path, text)


def test_a_link_is_no_way_out(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "out").symlink_to("/etc")
    for path in ("in/out/passwd", "in/*", "in"):
        with pytest.raises(StatementError, match=r"below a folder|out of the roots"):
            planned(tmp_path, f"SELECT * FROM text.`{tmp_path}/{path}`")


def test_a_link_to_a_folder_with_a_link_is_no_way_out(tmp_path: Path) -> None:
    (tmp_path / "read").mkdir()
    (tmp_path / "beside" / "deep").mkdir(parents=True)
    (tmp_path / "read" / "inside").symlink_to(tmp_path / "beside")
    (tmp_path / "beside" / "round").symlink_to(tmp_path)
    assert planned(tmp_path, f"SELECT * FROM text.`{tmp_path}/read`").sql
    (tmp_path / "beside" / "deep" / "out").symlink_to("/etc")
    for path in ("read", "read/*", "read/inside"):
        with pytest.raises(StatementError, match=r"leads through a link out of the roots, to /etc"):
            planned(tmp_path, f"SELECT * FROM text.`{tmp_path}/{path}`")


def test_links_that_lead_nowhere_or_to_themselves_end_the_look(tmp_path: Path) -> None:
    (tmp_path / "read").mkdir()
    (tmp_path / "read" / "self").symlink_to("self")
    (tmp_path / "read" / "nowhere").symlink_to(tmp_path / "nowhere")
    assert planned(tmp_path, f"SELECT * FROM text.`{tmp_path}/read`").sql


def test_roots_are_read(tmp_path: Path) -> None:
    inside, other = tmp_path / "inside", tmp_path / "other"
    inside.mkdir()
    other.mkdir()
    one = planned(inside, f"SELECT * FROM read_files('{other}/*.csv')", root=str(other))
    assert one.sources[0].paths == (f"{other}/*.csv",)
    assert one.sources[0].options == {"header": "true", "inferSchema": "true"}
    s3 = planned(inside, "SELECT * FROM parquet.`s3://bucket/data/x`", root="s3://bucket/data")
    assert "parquet.`s3://bucket/data/x`" in s3.sql
    with pytest.raises(StatementError, match="is not below"):
        planned(inside, "SELECT * FROM parquet.`s3://bucket/data2/x`", root="s3://bucket/data")


def test_names_are_folders_of_the_warehouse(tmp_path: Path) -> None:
    (tmp_path / "tesela" / "default" / "a" / "_delta_log").mkdir(parents=True)
    path = f"{tmp_path.resolve()}/tesela/default/a"
    assert planned(tmp_path, "SELECT * FROM a").sql == f"SELECT * FROM delta.`{path}` AS `a`"
    assert planned(tmp_path, "SELECT default.a.x FROM `TESELA`.default.a").sql.startswith("SELECT a.x FROM delta.`")
    made = planned(tmp_path, "CREATE TABLE b AS SELECT 1 AS x")
    assert made.sql == f"CREATE TABLE tesela_t_table USING DELTA LOCATION '{path[:-1]}b' AS SELECT 1 AS x"
    assert (made.folders, made.kind) == ((f"{path[:-1]}b",), "write")
    with pytest.raises(StatementError, match="exists"):
        planned(tmp_path, "CREATE TABLE a AS SELECT 1")
    dropped = planned(tmp_path, "DROP TABLE a").local
    assert dropped is not None
    assert dropped.arguments == {"folder": path}
    with pytest.raises(StatementError, match="does not exist"):
        planned(tmp_path, "DROP TABLE b")
