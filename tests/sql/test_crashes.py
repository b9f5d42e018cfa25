"""`kill -9` of everything that can die while a statement runs: what was answered is not asked for again, no table is
half made, and the next statement works.

The upstream counts.  Requests that were under way when something died may be asked twice, and nothing else.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.sql.served import STATEMENTS, Failed, Sql, Upstream, endpoint, serving
from tests.system.processes import Served

pytestmark = pytest.mark.slow

ROWS = 1500
HANDS = 16
TABLE = "CREATE TABLE t AS SELECT id, ai_query('chat', 'row ' || id) AS a FROM range(1500)"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    one = Upstream()
    one.late_s = 0.03
    yield one
    one.close()


@pytest.fixture
def sql(tmp_path: Path, upstream: Upstream) -> Iterator[Sql]:
    with serving(tmp_path / "server", endpoint("chat", upstream.url), sql={"concurrency": HANDS}) as one:
        one.upstream = upstream
        yield one


def until(condition: Callable[[], Any], patience_s: float = 30.0) -> Any:
    end = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < end, "it did not happen in time"
        threading.Event().wait(0.01)
    return found


def killed(sql: Sql, module: str) -> None:
    pid = sql.process(module)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def no_table(sql: Sql) -> None:
    with pytest.raises(Failed):
        sql.run("SELECT count(*) FROM t")


def paid_once(sql: Sql, upstream: Upstream) -> None:
    """The whole statement again: only what is missing is asked for."""
    before = upstream.asked.total()
    found = sql.run(TABLE)
    assert found["result"]["data_array"] == [[str(ROWS), str(ROWS)]]
    assert sorted(upstream.asked) == sorted(f"row {number}" for number in range(ROWS)), "every row, and no other"
    assert before + found["progress"]["rows"] - found["progress"]["kept"] == upstream.asked.total()
    assert upstream.asked.total() <= ROWS + HANDS, "at most what was under way is asked twice"
    assert found["progress"]["kept"] >= before - HANDS
    counts = sql.rows("SELECT count(*), count(DISTINCT a), count(a) FROM t")
    assert counts == [[str(ROWS)] * 3]


def begun(sql: Sql, upstream: Upstream) -> dict[str, Any]:
    found = sql.begin(TABLE, wait_timeout="0s")
    until(lambda: upstream.asked.total() > ROWS // 3)
    return found


def test_the_engine_dies(sql: Sql, upstream: Upstream) -> None:
    found = begun(sql, upstream)
    killed(sql, "tesela.sql.sail")
    done = sql.wait(found)
    assert done["status"]["state"] == "FAILED"
    assert "what was answered is kept" in done["status"]["error"]["message"]
    no_table(sql)
    paid_once(sql, upstream)


def test_the_process_that_runs_statements_dies(sql: Sql, upstream: Upstream) -> None:
    found = begun(sql, upstream)
    killed(sql, "tesela.sqlrunner")

    def failed() -> Any:
        status, answer, _ = sql.ask("GET", f"{STATEMENTS}/{found['statement_id']}")
        return answer if status == 200 else None

    done = until(failed)
    assert done["status"]["state"] == "FAILED"
    assert "run it again" in done["status"]["error"]["message"]
    no_table(sql)
    paid_once(sql, upstream)


def test_the_gateways_worker_dies(sql: Sql, upstream: Upstream) -> None:
    """The statement goes on: its requests are asked again."""
    found = begun(sql, upstream)
    os.kill(sql.served.workers()[0], signal.SIGKILL)

    def there() -> Any:
        try:
            return sql.ask("GET", f"{STATEMENTS}/{found['statement_id']}")[0] == 200
        except OSError:
            return False

    until(there)
    done = sql.wait(found)
    assert done["status"]["state"] == "SUCCEEDED", done["status"]
    assert upstream.asked.total() <= ROWS + HANDS
    assert sql.rows("SELECT count(a) FROM t") == [[str(ROWS)]]


def test_the_client_dies(sql: Sql, upstream: Upstream) -> None:
    """The statement is the server's: it goes on, and whoever asks for the same meanwhile pays for nothing twice."""
    program = (
        "import http.client, json, sys; c = http.client.HTTPConnection(sys.argv[1], timeout=60); "
        "c.request('POST', '/api/2.0/sql/statements', sys.argv[2], {'Authorization': 'Bearer ' + sys.argv[3]}); "
        "c.getresponse().read()"
    )
    body = json.dumps({"statement": TABLE, "warehouse_id": "w", "wait_timeout": "50s"})
    address = sql.served.host.removeprefix("http://")
    client = subprocess.Popen([sys.executable, "-c", program, address, body, sql.token])
    until(lambda: upstream.asked.total() > ROWS // 3)
    client.kill()
    client.wait()
    listed = sql.ask("GET", STATEMENTS)[1]["statements"]
    done = sql.wait(sql.get(listed[0]["statement_id"]))
    assert done["status"]["state"] == "SUCCEEDED"
    assert upstream.asked.total() == ROWS


def test_the_whole_server_dies(tmp_path: Path, upstream: Upstream) -> None:
    file = json.dumps({"endpoints": [endpoint("chat", upstream.url)], "sql": {"concurrency": HANDS}})
    with Served(tmp_path, file=file, environ={"PYTHONWARNINGS": "default"}) as first:
        sql = Sql(first)
        begun(sql, upstream)
        engine, runner = sql.process("tesela.sql.sail"), sql.process("tesela.sqlrunner")
        first.process.kill()
        first.process.wait()
        until(lambda: not any(pid and Path(f"/proc/{pid}").exists() for pid in (engine, runner)))
        assert upstream.asked.total() < ROWS
    with Served(tmp_path, file=file, environ={"PYTHONWARNINGS": "default"}) as second:
        sql = Sql(second)
        listed = sql.ask("GET", STATEMENTS)[1]["statements"]
        assert [one["status"]["state"] for one in listed] == ["FAILED"]
        no_table(sql)
        paid_once(sql, upstream)


def test_two_statements_at_once_pay_once(sql: Sql, upstream: Upstream) -> None:
    text = "SELECT id, ai_query('chat', 'row ' || id) AS a FROM range(400)"
    begun = [sql.begin(text, wait_timeout="0s", answers="keep") for _ in range(3)]
    for one in begun:
        assert sql.wait(one)["status"]["state"] == "SUCCEEDED"
    assert upstream.asked.total() == 400


def test_a_server_that_is_stopped_stops_its_statements(tmp_path: Path, upstream: Upstream) -> None:
    with serving(tmp_path, endpoint("chat", upstream.url), sql={"concurrency": HANDS}) as sql:
        begun(sql, upstream)
        began = time.monotonic()
        assert sql.served.end() == 0
        assert time.monotonic() - began < 20
    asked = upstream.asked.total()
    assert asked < ROWS
    with serving(tmp_path, endpoint("chat", upstream.url), sql={"concurrency": HANDS}) as sql:
        listed = sql.ask("GET", STATEMENTS)[1]["statements"]
        assert [one["status"]["state"] for one in listed] == ["FAILED"]
        assert "the server ended" in listed[0]["status"]["error"]["message"]
        paid_once(sql, upstream)
