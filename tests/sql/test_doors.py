"""The Statement Execution API over a whole server: what is asked, what is answered, and by whom it may be seen."""

import csv
import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tests.sql.served import STATEMENTS, Failed, Sql, Upstream, endpoint, scripted, serving

pytestmark = pytest.mark.slow

LINKS = {"disposition": "EXTERNAL_LINKS"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    one = Upstream()
    yield one
    one.close()


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Sql]:
    folder = tmp_path_factory.mktemp("sql")
    embedded = scripted("embedded", "embeddings")
    with serving(folder, endpoint("chat", upstream.url), scripted("echo"), embedded) as one:
        one.upstream = upstream
        yield one


@pytest.fixture
def other(sql: Sql) -> Sql:
    """Somebody else, who is no admin."""
    made = sql.served.run("tokens", "create", "--for", _user(sql))
    one = Sql(sql.served, made.stdout.split()[0])
    # Made beside the server, it counts within a second.
    _until(lambda: one.ask("GET", STATEMENTS)[0] == 200)
    return one


def _user(sql: Sql) -> str:
    name = f"user-{time.monotonic_ns()}@example.com"
    status, _, _ = sql.ask("POST", "/api/2.0/preview/scim/v2/Users", {"userName": name})
    assert status == 201
    return name


# ------------------------------------------------------------- what is answered


def test_values_are_strings_or_null(sql: Sql) -> None:
    found = sql.run(
        "SELECT 1 AS i, 'x' AS s, 1.5D AS d, CAST(2.50 AS DECIMAL(10,2)) AS n, true AS b, DATE'2024-02-29' AS day, "
        "TIMESTAMP'2024-02-29 12:00:00.5' AS t, array(1, 2) AS a, named_struct('k', 'v') AS st, X'00ff' AS bin, "
        "CAST(NULL AS INT) AS nothing"
    )
    assert found["result"]["data_array"] == [
        ["1", "x", "1.5", "2.50", "true", "2024-02-29", "2024-02-29T12:00:00.500Z", "[1,2]", '{"k":"v"}', "00ff", None]
    ]
    columns = {one["name"]: one for one in found["manifest"]["schema"]["columns"]}
    assert [columns[name]["type_name"] for name in ("i", "n", "a", "st", "t")] == [
        "INT", "DECIMAL", "ARRAY", "STRUCT", "TIMESTAMP",
    ]  # fmt: skip
    assert (columns["n"]["type_precision"], columns["n"]["type_scale"]) == (10, 2)
    assert columns["st"]["type_text"] == "STRUCT<k:STRING>"
    assert [columns["i"]["position"], columns["nothing"]["position"]] == [0, 10]


def test_ai_query_by_the_owner_of_the_statement(sql: Sql) -> None:
    assert sql.rows("SELECT ai_query('chat', 'q' || id) FROM range(3)") == [["<q0>"], ["<q1>"], ["<q2>"]]
    assert sql.rows("SELECT size(ai_query('embedded', 'text')) AS n") == [["384"]]


def test_parameters(sql: Sql) -> None:
    parameters = [
        {"name": "text", "value": "it's"}, {"name": "n", "value": "3", "type": "INT"}, {"name": "none", "type": "DATE"},
    ]  # fmt: skip
    assert sql.rows("SELECT :text AS a, :n + 1 AS b, :none AS c", parameters=parameters) == [["it's", "4", None]]
    with pytest.raises(Failed, match="missing"):
        sql.run("SELECT :missing")
    unnamed = [{"name": None, "value": "7", "type": "INT"}, {"value": "b"}]
    assert sql.rows("SELECT ? + 1 AS a, ? AS b", parameters=unnamed) == [["8", "b"]]


@pytest.mark.parametrize("format", ["ARROW_STREAM", "JSON_ARRAY", "CSV"])
def test_links_to_chunks_in_each_format(sql: Sql, format: str) -> None:
    rows = 60_000
    text = f"SELECT id, if(id % 2 = 0, NULL, repeat('é\"', 200)) AS t FROM range({rows})"
    found = sql.run(text, format=format, **LINKS)
    manifest = found["manifest"]
    assert manifest["total_row_count"] == rows
    assert manifest["total_chunk_count"] == len(manifest["chunks"]) > 1
    assert sum(one["row_count"] for one in manifest["chunks"]) == rows
    first = found["result"]["external_links"][0]
    ids: list[int] = []
    link: dict[str, Any] | None = first
    while link is not None:
        assert link["row_offset"] == len(ids)
        path = link["external_link"].removeprefix(sql.served.host)
        status, data, _ = sql.ask("GET", path, token="")
        assert status == 200
        got = _ids(format, data, link["chunk_index"])
        assert len(got) == link["row_count"]
        ids += got
        following = link.get("next_chunk_internal_link")
        link = sql.ask("GET", following)[1]["external_links"][0] if following else None
    assert sorted(ids) == list(range(rows))


def _ids(format: str, data: Any, index: int) -> list[int]:
    if format == "ARROW_STREAM":
        return list(pa.ipc.open_stream(data).read_all().column("id").to_pylist())
    if format == "JSON_ARRAY":
        assert all(text is None or text == 'é"' * 200 for _, text in data)
        return [int(id) for id, _ in data]
    lines = list(csv.reader(io.StringIO(data.decode(), newline="")))
    if index == 0:
        assert lines.pop(0) == ["id", "t"]
    assert all(text in ("null", 'é"' * 200) for _, text in lines)
    return [int(id) for id, _ in lines]


def test_compressed_chunks(sql: Sql) -> None:
    found = sql.run("SELECT id FROM range(1000)", format="ARROW_STREAM", result_compression="LZ4_FRAME", **LINKS)
    assert found["manifest"]["result_compression"] == "LZ4_FRAME"
    path = found["result"]["external_links"][0]["external_link"].removeprefix(sql.served.host)
    data = sql.ask("GET", path, token="")[1]
    plain = pa.CompressedInputStream(pa.BufferReader(data), "lz4").read()
    assert pa.ipc.open_stream(plain).read_all().num_rows == 1000


def test_a_result_without_rows_says_what_its_columns_are(sql: Sql) -> None:
    found = sql.run("SELECT id, ai_query('chat', 'x' || id) AS a FROM range(0)")
    assert found["result"]["data_array"] == []
    assert [one["name"] for one in found["manifest"]["schema"]["columns"]] == ["id", "a"]
    linked = sql.run("SELECT id FROM range(0)", format="ARROW_STREAM", **LINKS)
    path = linked["result"]["external_links"][0]["external_link"].removeprefix(sql.served.host)
    assert pa.ipc.open_stream(sql.ask("GET", path, token="")[1]).read_all().schema.names == ["id"]


# ------------------------------------------------------------- limits


def test_a_row_limit_calls_no_more_than_it_shows(sql: Sql, upstream: Upstream) -> None:
    upstream.asked.clear()
    found = sql.run("SELECT id, ai_query('chat', 'limit ' || id) AS a FROM range(10000)", row_limit=3)
    assert len(found["result"]["data_array"]) == 3
    assert found["manifest"]["truncated"] is True
    assert len(upstream.asked) == 4, "one more tells that there are more"
    whole = sql.run("SELECT id FROM range(3)", row_limit=3)
    assert whole["manifest"]["truncated"] is False
    assert sql.run("SELECT id FROM range(100000)", row_limit=70000, **LINKS)["manifest"]["total_row_count"] == 70000


def test_a_byte_limit(sql: Sql) -> None:
    found = sql.run("SELECT repeat('x', 1000) AS t FROM range(10000)", byte_limit=100_000)
    assert found["manifest"]["truncated"] is True
    assert 50 <= found["manifest"]["total_row_count"] <= 110


def test_what_does_not_fit_inline_says_what_to_do(sql: Sql) -> None:
    with pytest.raises(Failed, match="EXTERNAL_LINKS"):
        sql.run("SELECT repeat('x', 1000) AS t FROM range(40000)")


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"statement": " "}, "statement"),
        ({"warehouse_id": ""}, "warehouse_id"),
        ({"format": "CSV"}, "format"),
        ({"format": "XML"}, "format"),
        ({"wait_timeout": "3s"}, "wait_timeout"),
        ({"wait_timeout": "51s"}, "wait_timeout"),
        ({"wait_timeout": "soon"}, "wait_timeout"),
        ({"row_limit": 0}, "row_limit"),
        ({"parameters": [{"name": 1, "value": "1"}]}, "parameters"),
        ({"disposition": "SOMEWHERE"}, "disposition"),
    ],
)
def test_what_cannot_be_asked_names_the_field(sql: Sql, asked: dict[str, Any], field: str) -> None:
    status, found, _ = sql.ask("POST", STATEMENTS, {"statement": "SELECT 1", "warehouse_id": "w", **asked})
    assert status == 400
    assert found["error_code"] == "INVALID_PARAMETER_VALUE"
    assert field in found["message"]


# ------------------------------------------------------------- waiting and cancelling


def test_not_waiting(sql: Sql, upstream: Upstream) -> None:
    upstream.gate.clear()
    try:
        found = sql.begin("SELECT ai_query('chat', 'wait')", wait_timeout="0s")
        assert found["status"]["state"] in ("PENDING", "RUNNING")
        assert "result" not in found
    finally:
        upstream.gate.set()
    done = sql.wait(found)
    assert done["status"]["state"] == "SUCCEEDED"
    assert done["result"]["data_array"] == [["<wait>"]]
    assert done["progress"]["rows"] == 1
    assert done["progress"]["completion_tokens"] == 2


def test_waiting_that_ends_cancels_where_that_was_asked(sql: Sql, upstream: Upstream) -> None:
    upstream.gate.clear()
    try:
        began = time.monotonic()
        found = sql.begin("SELECT ai_query('chat', 'late')", wait_timeout="5s", on_wait_timeout="CANCEL")
        assert 4.5 < time.monotonic() - began < 20
        assert found["status"]["state"] == "CANCELED"
    finally:
        upstream.gate.set()


def test_cancel_stops_sending_and_leaves_no_table(sql: Sql, upstream: Upstream) -> None:
    upstream.asked.clear()
    upstream.gate.clear()
    try:
        text = "CREATE TABLE canceled AS SELECT id, ai_query('chat', 'cancel ' || id) AS a FROM range(2000)"
        found = sql.begin(text, wait_timeout="0s")
        _until(lambda: len(upstream.asked) >= 5)
        assert sql.ask("POST", f"{STATEMENTS}/{found['statement_id']}/cancel", {})[0] == 200
        done = sql.wait(found)
        assert done["status"]["state"] == "CANCELED"
        sent = len(upstream.asked)
    finally:
        upstream.gate.set()
    assert sent <= 64
    with pytest.raises(Failed, match=r"not found|not there|does not exist"):
        sql.run("SELECT * FROM canceled")
    upstream.asked.clear()
    assert sql.run(text)["result"]["data_array"] == [["2000", "2000"]]
    assert len(upstream.asked) == 2000 - sent, "what was answered is kept"


def test_a_statement_that_waits_for_its_turn_is_canceled_at_once(sql: Sql, upstream: Upstream) -> None:
    upstream.gate.clear()
    begun = []
    try:
        for number in range(9):
            begun.append(sql.begin(f"SELECT ai_query('chat', 'turn {number}')", wait_timeout="0s"))
        last = begun[-1]["statement_id"]
        assert sql.get(last)["status"]["state"] == "PENDING"
        sql.ask("POST", f"{STATEMENTS}/{last}/cancel", {})
        assert sql.get(last)["status"]["state"] == "CANCELED"
    finally:
        upstream.gate.set()
    for one in begun[:-1]:
        assert sql.wait(one)["status"]["state"] == "SUCCEEDED"


def _until(condition: Any, patience_s: float = 20.0) -> None:
    end = time.monotonic() + patience_s
    while not condition():
        assert time.monotonic() < end
        threading.Event().wait(0.01)


def test_closing_forgets_the_result(sql: Sql) -> None:
    found = sql.run("SELECT 1")
    path = f"{STATEMENTS}/{found['statement_id']}"
    assert sql.ask("DELETE", path)[0] == 200
    assert sql.get(found["statement_id"])["status"]["state"] == "CLOSED"
    status, gone, _ = sql.ask("GET", f"{path}/result/chunks/0")
    assert status == 404
    assert "run it again" in gone["message"]


# ------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("SELEC 1", "(line 1, column"),
        ("SELECT 1;\nSELECT 2", "line"),
        ("SELECT ai_query('nowhere', 'x')", "endpoint 'nowhere' does not exist (line 1, column 17)"),
        ("SELECT * FROM absent", "absent"),
        ("SELECT ai_query('chat', id, modelParameters => named_struct('max_tokens', id)) FROM range(2)", "constant"),
        ("SELECT * FROM read_files('/etc/passwd', format => 'text')", "root"),
    ],
)
def test_a_statement_that_is_wrong_fails_before_anything_is_sent(
    sql: Sql, upstream: Upstream, text: str, told: str
) -> None:
    upstream.asked.clear()
    with pytest.raises(Failed) as caught:
        sql.run(text)
    assert caught.value.state == "FAILED"
    assert told in caught.value.message
    assert not upstream.asked


def test_an_endpoints_error_fails_the_statement_and_leaves_no_table(sql: Sql, upstream: Upstream) -> None:
    upstream.status = lambda prompt: 400 if prompt == "bad 7" else 200
    try:
        with pytest.raises(Failed) as caught:
            sql.run("CREATE TABLE broken AS SELECT ai_query('chat', 'bad ' || id) AS a FROM range(10)")
        assert "endpoint 'chat' answered with status 400" in caught.value.message
        assert caught.value.error["error_class"] == "AI_FUNCTION_HTTP_REQUEST_ERROR"
        with pytest.raises(Failed):
            sql.run("SELECT * FROM broken")
        text = "SELECT ai_query('chat', 'bad ' || id, failOnError => false) AS a FROM range(6, 9)"
        found = [json.loads(str(row[0])) for row in sql.rows(text)]
        assert [one["result"] for one in found] == ["<bad 6>", None, "<bad 8>"]
        assert "status 400" in found[1]["errorMessage"]
    finally:
        upstream.status = lambda _: 200


def test_null_asks_nothing(sql: Sql, upstream: Upstream) -> None:
    upstream.asked.clear()
    assert sql.rows("SELECT ai_query('chat', CAST(NULL AS STRING)) AS a FROM range(3)") == [[None]] * 3
    assert not upstream.asked


def test_a_prompt_of_100_000_characters(sql: Sql) -> None:
    found = sql.rows("SELECT length(ai_query('chat', repeat('é', 100000))) AS n")
    assert found == [["100002"]]


# ------------------------------------------------------------- two people


def test_statements_are_their_owners(sql: Sql, other: Sql) -> None:
    found = sql.run("SELECT 'secret' AS s", **LINKS, format="ARROW_STREAM")
    path = f"{STATEMENTS}/{found['statement_id']}"
    for method, at in (("GET", path), ("POST", path + "/cancel"), ("DELETE", path), ("GET", path + "/result/chunks/0")):
        status, body, _ = other.ask(method, at)
        assert (status, body["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    mine = other.run("SELECT 1")
    assert [one["statement_id"] for one in other.ask("GET", STATEMENTS)[1]["statements"]] == [mine["statement_id"]]
    assert sql.get(mine["statement_id"])["status"]["state"] == "SUCCEEDED", "an admin may look"


def test_nothing_answers_without_a_credential(sql: Sql) -> None:
    for method, path in (
        ("POST", STATEMENTS), ("GET", STATEMENTS), ("GET", f"{STATEMENTS}/x"), ("POST", "/api/2.0/sql/sessions"),
        ("GET", "/api/2.0/sql/answers"), ("GET", "/api/2.0/sql/warehouses"), ("POST", "/sql/1.0/warehouses/w"),
    ):  # fmt: skip
        assert sql.ask(method, path, {}, token="")[0] == 401, path
    assert sql.ask("POST", "/api/2.0/sql/batches", {}, token="")[0] == 400


def test_links_are_signed(sql: Sql) -> None:
    found = sql.run("SELECT 1", **LINKS)
    link = found["result"]["external_links"][0]["external_link"].removeprefix(sql.served.host)
    assert sql.ask("GET", link, token="")[0] == 200
    expires = link.partition("expires=")[2].partition("&")[0]
    for wrong in (
        link[:-1] + ("0" if link[-1] != "0" else "1"),
        link.replace(expires, str(int(expires) + 1)),
        link.partition("?")[0],
        link.replace("/0?", "/1?"),
    ):
        status, body, _ = sql.ask("GET", wrong, token="")
        assert status == 403
        assert "link" in body["message"]


def test_who_may_not_query_an_endpoint_may_not_by_sql(sql: Sql, other: Sql, upstream: Upstream) -> None:
    who = other.ask("GET", "/api/2.0/preview/scim/v2/Me")[1]["userName"]
    made = {**endpoint("private", upstream.url)}
    assert sql.ask("POST", "/api/2.0/serving-endpoints", made)[0] == 200
    upstream.asked.clear()
    with pytest.raises(Failed):
        other.run("SELECT ai_query('private', 'x')")
    assert not upstream.asked
    id = sql.ask("GET", "/api/2.0/serving-endpoints/private")[1]["id"]
    given = {"access_control_list": [{"user_name": who, "permission_level": "CAN_QUERY"}]}
    assert sql.ask("PATCH", f"/api/2.0/permissions/serving-endpoints/{id}", given)[0] == 200
    assert other.rows("SELECT ai_query('private', 'x') AS a") == [["<x>"]]


def test_kept_answers_are_seen_and_cleared_by_their_owner(sql: Sql, other: Sql, upstream: Upstream) -> None:
    given = {"access_control_list": [{"group_name": "users", "permission_level": "CAN_QUERY"}]}
    assert sql.ask("PATCH", "/api/2.0/permissions/serving-endpoints/chat", given)[0] == 200
    text = "SELECT ai_query('chat', 'keep ' || id) AS a FROM range(5)"
    upstream.asked.clear()
    sql.run(text, answers="keep")
    other.run(text, answers="keep")
    assert upstream.asked.total() == 10, "nobody is given what somebody else paid for"
    assert other.ask("GET", "/api/2.0/sql/answers")[1]["answers"] == 5
    assert other.ask("GET", "/api/2.0/sql/answers?all=true")[0] == 403
    assert sql.ask("GET", "/api/2.0/sql/answers?all=true")[1]["answers"] >= 10
    sql.run(text, answers="keep")
    assert upstream.asked.total() == 10
    sql.run(text, answers="again")
    assert upstream.asked.total() == 15
    assert other.ask("DELETE", "/api/2.0/sql/answers")[1] == {"removed": 5}
    assert other.ask("GET", "/api/2.0/sql/answers")[1]["answers"] == 0


# ------------------------------------------------------------- sessions, warehouses


def test_a_session_has_its_views_and_its_end(sql: Sql, other: Sql) -> None:
    status, made, _ = sql.ask("POST", "/api/2.0/sql/sessions", {"warehouse_id": "w"})
    assert status == 200
    session = made["session_id"]
    sql.run("CREATE TEMPORARY VIEW here AS SELECT 7 AS x", session_id=session)
    assert sql.rows("SELECT x FROM here", session_id=session) == [["7"]]
    with pytest.raises(Failed):
        sql.run("SELECT x FROM here")
    asked = {"statement": "SELECT x FROM here", "warehouse_id": "w", "session_id": session}
    assert other.ask("POST", STATEMENTS, asked)[0] == 404
    assert other.ask("DELETE", f"/api/2.0/sql/sessions/{session}")[0] == 404
    assert sql.ask("DELETE", f"/api/2.0/sql/sessions/{session}")[0] == 200
    assert sql.ask("POST", STATEMENTS, asked)[0] == 404


def test_warehouses(sql: Sql) -> None:
    listed = sql.ask("GET", "/api/2.0/sql/warehouses")[1]["warehouses"]
    assert [one["id"] for one in listed] == ["tesela"]
    one = sql.ask("GET", "/api/2.0/sql/warehouses/0123abcd")[1]
    assert (one["id"], one["state"]) == ("0123abcd", "RUNNING")
    assert one["odbc_params"]["path"] == "/sql/1.0/warehouses/0123abcd"
    assert f"http://127.0.0.1:{one['odbc_params']['port']}" == sql.served.host


def test_tables_stay(sql: Sql, tmp_path: Path) -> None:
    sql.run("CREATE TABLE kept AS SELECT id, ai_query('echo', 'v' || id) AS a FROM range(3)")
    sql.run("INSERT INTO kept SELECT 9, 'nine'")
    assert sorted(sql.rows("SELECT id, a FROM main.default.kept")) == [
        ["0", "v0"], ["1", "v1"], ["2", "v2"], ["9", "nine"],
    ]  # fmt: skip
    sql.run("DROP TABLE kept")
    with pytest.raises(Failed):
        sql.run("SELECT * FROM kept")
