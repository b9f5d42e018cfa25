"""SQL by the official clients: the Databricks SDK's statement execution, and the SQL connector in its three ways."""

import datetime
import decimal
import io
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

QUERY = "SELECT ai_query('echo', 'Hello ' || name) AS a FROM VALUES ('Ana'), ('Ben') AS t(name)"
TYPES = (
    "SELECT 1 AS i, CAST(2 AS BIGINT) AS l, 1.5D AS d, CAST(2.50 AS DECIMAL(10,2)) AS n, 'x' AS s, true AS b, "
    "DATE'2024-02-29' AS day, TIMESTAMP'2024-02-29 12:00:00' AS t, X'00ff' AS bin, array(1, 2) AS a, "
    "CAST(NULL AS STRING) AS nothing"
)
DAY = datetime.date(2024, 2, 29)


# ------------------------------------------------------------- the SDK


def test_the_sdk_runs_a_statement(workspace: Any) -> None:
    warehouse = next(iter(workspace.warehouses.list()))
    found = workspace.statement_execution.execute_statement(QUERY, warehouse_id=warehouse.id)
    assert found.status.state.value == "SUCCEEDED"
    assert found.result.data_array == [["Hello Ana"], ["Hello Ben"]]
    assert [(one.name, one.type_name.value) for one in found.manifest.schema.columns] == [("a", "STRING")]
    assert workspace.warehouses.get("0123456789abcdef").state.value == "RUNNING"


def test_the_sdk_waits_cancels_and_reads_chunks(workspace: Any) -> None:
    from databricks.sdk.service.sql import Disposition, Format, StatementParameterListItem

    api = workspace.statement_execution
    begun = api.execute_statement("SELECT ai_query('slow-2s', 'x')", warehouse_id="w", wait_timeout="0s")
    assert begun.status.state.value in ("PENDING", "RUNNING")
    api.cancel_execution(begun.statement_id)
    state = "RUNNING"
    while state in ("PENDING", "RUNNING"):
        state = api.get_statement(begun.statement_id).status.state.value
    assert state == "CANCELED"
    found = api.execute_statement(
        "SELECT id, repeat('x', 500) AS t FROM range(CAST(:n AS BIGINT))",
        warehouse_id="w", disposition=Disposition.EXTERNAL_LINKS, format=Format.ARROW_STREAM,
        parameters=[StatementParameterListItem(name="n", value="100000", type="BIGINT")],
    )  # fmt: skip
    import httpx
    import pyarrow as pa

    rows = 0
    for index in range(found.manifest.total_chunk_count):
        link = api.get_statement_result_chunk_n(found.statement_id, index).external_links[0]
        rows += pa.ipc.open_stream(io.BytesIO(httpx.get(link.external_link).content)).read_all().num_rows
    assert rows == 100_000


def test_the_sdk_is_told_what_is_wrong(workspace: Any) -> None:
    found = workspace.statement_execution.execute_statement("SELECT ai_query('nowhere', 'x')", warehouse_id="w")
    assert found.status.state.value == "FAILED"
    assert found.status.error.error_code.value == "BAD_REQUEST"
    assert "'nowhere' does not exist" in found.status.error.message
    with pytest.raises(Exception, match="wait_timeout"):
        workspace.statement_execution.execute_statement("SELECT 1", warehouse_id="w", wait_timeout="1s")


# ------------------------------------------------------------- the connector


@pytest.fixture
def connected(server: Any) -> Iterator[Any]:
    """The connector over the Statement Execution API; https is hard-wired in it, and this is how plain http is had."""
    from databricks import sql

    there = urlsplit(server.host)
    with sql.connect(
        server_hostname=f"http://{there.hostname}", http_path="/sql/1.0/warehouses/w", _port=there.port,
        access_token=server.access_token, use_sea=True, enable_telemetry=False,
    ) as connection:  # fmt: skip
        yield connection


@pytest.mark.filterwarnings("ignore")
def test_the_connector_by_the_statement_execution_api(connected: Any) -> None:
    with connected.cursor() as cursor:
        cursor.execute(QUERY)
        assert [row.a for row in cursor.fetchall()] == ["Hello Ana", "Hello Ben"]
        cursor.execute(TYPES)
        row = cursor.fetchone()
        assert (row.i, row.l, row.d, row.n, row.s, row.b, row.day, row.nothing) == (
            1, 2, 1.5, decimal.Decimal("2.50"), "x", True, DAY, None,
        )  # fmt: skip
        assert bytes(row.bin) == b"\x00\xff"
        assert list(row.a) == [1, 2]
        assert row.t.isoformat().startswith("2024-02-29T12:00:00")
        cursor.execute("SELECT :n + 1 AS x", {"n": 41})
        assert cursor.fetchall()[0].x == 42
        cursor.execute("SELECT id, repeat('x', 500) AS t FROM range(100000)")
        assert cursor.fetchall_arrow().num_rows == 100_000
        cursor.execute("SELECT id FROM range(0)")
        assert cursor.fetchall() == []


@pytest.mark.filterwarnings("ignore")
def test_the_connectors_thrift_is_told_to_change(server: Any) -> None:
    """It changes to its kernel by itself, which the registries do not have: it says how to install that."""
    from databricks import sql

    with pytest.raises(ImportError, match="kernel"):
        sql.connect(
            server_hostname=urlsplit(server.host).hostname, http_path="/sql/1.0/warehouses/w", enable_telemetry=False,
            access_token=server.access_token, _connection_uri=f"{server.host}/sql/1.0/warehouses/w",
        )  # fmt: skip
