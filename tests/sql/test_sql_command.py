"""`tesela sql` as a process against a whole server, and the Python API that it is made of."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sql.served import Sql, Upstream, endpoint, serving
from tests.system.processes import COMMAND

from tesela import sql as tesela_sql
from tesela.cli.sql_progress import line
from tesela.client.statements import Connection
from tesela.errors import InvalidRequest, StatementCanceled, StatementError
from tesela.sql.dialect.splitting import split

PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    one = Upstream()
    yield one
    one.close()


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Sql]:
    folder = tmp_path_factory.mktemp("command")
    with serving(folder, endpoint("chat", upstream.url), sql={"concurrency": 8}) as one:
        yield one


def ran(sql: Sql, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], cwd=sql.served.folder, env=sql.served.environ, capture_output=True, text=True,
        timeout=PATIENCE_S, check=False, input=stdin, stdin=subprocess.DEVNULL if stdin is None else None,
    )  # fmt: skip


# ------------------------------------------------------------- forms

ROWS = "SELECT * FROM VALUES (1, 'a,b', array(1, 2)), (2, NULL, NULL) AS t(n, s, a) ORDER BY n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("csv", 'n,s,a\n1,"a,b","[1,2]"\n2,,\n'),
        ("json", '[\n  {"n": 1, "s": "a,b", "a": [1, 2]},\n  {"n": 2, "s": null, "a": null}\n]\n'),
        ("jsonl", '{"n": 1, "s": "a,b", "a": [1, 2]}\n{"n": 2, "s": null, "a": null}\n'),
    ],
)
def test_each_form(sql: Sql, form: str, shown: str) -> None:
    done = ran(sql, "sql", "--format", form, ROWS)
    assert (done.returncode, done.stdout, done.stderr) == (0, shown, "")


@pytest.mark.slow
def test_a_table_for_people(sql: Sql) -> None:
    done = ran(sql, "sql", "--format", "table", ROWS)
    lines = [one.split() for one in done.stdout.splitlines()]
    assert lines == [["n", "s", "a"], ["1", "a,b", "[1,2]"], ["2", "NULL", "NULL"]]


@pytest.mark.slow
def test_a_file_is_written_whole(sql: Sql, tmp_path: Path) -> None:
    file = tmp_path / "out.parquet"
    done = ran(sql, "sql", "SELECT id, ai_query('chat', 'p' || id) AS a FROM range(3)", "-o", str(file))
    assert done.returncode == 0, done.stderr
    assert "3 rows in" in done.stderr
    table = pyarrow.parquet.read_table(file)
    assert table.column("a").to_pylist() == ["<p0>", "<p1>", "<p2>"]
    failed = ran(sql, "sql", "SELECT ai_query('nowhere', 'x')", "-o", str(tmp_path / "none.csv"))
    assert failed.returncode == 1
    assert [one.name for one in tmp_path.iterdir()] == ["out.parquet"]
    assert ran(sql, "sql", "SELECT id FROM range(0)", "-o", str(tmp_path / "empty.parquet")).returncode == 0
    assert pyarrow.parquet.read_table(tmp_path / "empty.parquet").schema.names == ["id"]


@pytest.mark.slow
def test_a_pipe_or_a_device_is_written_to_and_stays_what_it_is(sql: Sql, tmp_path: Path) -> None:
    assert ran(sql, "sql", "SELECT 1 AS a", "-o", "/dev/stdout").stdout == "a\n1\n"
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as reading:
        read = reading.submit(pipe.read_text)
        assert ran(sql, "sql", "SELECT 2 AS b", "-o", str(pipe)).returncode == 0
        assert read.result(PATIENCE_S) == "b\n2\n"
    assert pipe.is_fifo()
    (tmp_path / "link.csv").symlink_to(tmp_path / "target.csv")
    assert ran(sql, "sql", "SELECT 4 AS d", "-o", str(tmp_path / "link.csv")).returncode == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "target.csv").read_text() == "d\n4\n"
    done = ran(sql, "sql", "SELECT 3 AS c", "-o", "/dev/full")
    assert (done.returncode, done.stderr) == (1, "tesela: No space left on device\n")
    assert Path("/dev/full").is_char_device()


@pytest.mark.slow
def test_columns_of_one_name_are_all_there(sql: Sql) -> None:
    assert (
        ran(sql, "sql", "--format", "jsonl", "SELECT 1 AS a, 2 AS a, 3 AS a").stdout == '{"a": 1, "a_2": 2, "a_3": 3}\n'
    )
    assert ran(sql, "sql", "SELECT 1 AS a, 2 AS a").stdout == "a,a\n1,2\n"


@pytest.mark.slow
def test_several_statements_of_a_file_share_a_session(sql: Sql, tmp_path: Path) -> None:
    file = tmp_path / "some.sql"
    file.write_text("-- first; not a statement\nCREATE TEMPORARY VIEW v AS SELECT ';' AS t;\n\nSELECT t FROM v;\n")
    assert ran(sql, "sql", "-f", str(file)).stdout == "t\n;\n"
    assert ran(sql, "sql", "-f", "-", stdin="SELECT 1 AS a; SELECT 2 AS b").stdout == "a\n1\nb\n2\n"
    assert ran(sql, "sql", stdin="SELECT 3 AS c").stdout == "c\n3\n"


@pytest.mark.slow
def test_parameters_and_limits(sql: Sql) -> None:
    assert ran(sql, "sql", "SELECT :n + 1 AS n, :s AS s", "-p", "n:INT=41", "-p", "s=a=b").stdout == "n,s\n42,a=b\n"
    assert ran(sql, "sql", "--limit", "2", "SELECT id FROM range(10)").stdout == "id\n0\n1\n"
    assert ran(sql, "sql", "SELECT 1", "-p", "n").returncode == 2
    assert ran(sql, "sql").returncode == 2
    assert ran(sql, "sql", "SELECT 1", "--format", "parquet").returncode == 2


@pytest.mark.slow
def test_what_is_wrong_is_shown_in_its_line(sql: Sql, tmp_path: Path) -> None:
    file = tmp_path / "wrong.sql"
    file.write_text("SELECT 1 AS a;\n\nSELECT\n  ai_query('nowhere', 'x')\n")
    done = ran(sql, "sql", "-f", str(file))
    assert done.returncode == 1
    assert done.stdout == "a\n1\n"
    sentence, shown, mark = done.stderr.splitlines()
    assert "'nowhere' does not exist" in sentence
    assert shown == "   4 |   ai_query('nowhere', 'x')"
    assert shown[mark.index("^")] == "'"


# ------------------------------------------------------------- going on, and stopping


@pytest.mark.slow
def test_keeping_and_asking_anew(sql: Sql, upstream: Upstream) -> None:
    upstream.asked.clear()
    text = "SELECT ai_query('chat', 'k' || id) AS a FROM range(4)"
    for mode, asked in ((("--resume",), 4), (("--resume",), 4), (("--again",), 8), (("--no-keep",), 12), ((), 16)):
        assert ran(sql, "sql", *mode, text).returncode == 0
        assert upstream.asked.total() == asked, mode
    shown = json.loads(ran(sql, "answers", "show", "--json").stdout)
    assert shown["answers"] >= 4
    assert ran(sql, "answers", "clear").returncode == 2, "nobody was there to be asked"
    assert "forgotten" in ran(sql, "answers", "clear", "--yes").stdout
    assert json.loads(ran(sql, "answers", "show", "--json").stdout)["answers"] == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "told"), [((), "run others with --resume to have it kept"), (("--no-keep",), "nothing of it is kept")]
)
def test_ctrl_c_promises_no_more_than_is_kept(sql: Sql, upstream: Upstream, mode: tuple[str, ...], told: str) -> None:
    upstream.asked.clear()
    upstream.gate.clear()
    try:
        command = subprocess.Popen(
            [*COMMAND, "sql", *mode, "SELECT ai_query('chat', 'promise' || id) AS a FROM range(3)"],
            cwd=sql.served.folder, env=sql.served.environ, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        end = time.monotonic() + PATIENCE_S
        while not upstream.asked:
            assert time.monotonic() < end
            time.sleep(0.01)
        command.send_signal(signal.SIGINT)
        _, err = command.communicate(timeout=PATIENCE_S)
    finally:
        upstream.gate.set()
    assert command.returncode == 130
    assert told in err


@pytest.mark.slow
def test_ctrl_c_cancels_and_says_how_to_go_on(sql: Sql, upstream: Upstream) -> None:
    upstream.asked.clear()
    text = "SELECT id, ai_query('chat', 'c' || id) AS a FROM range(300)"
    upstream.late_s = 0.05
    try:
        command = subprocess.Popen(
            [*COMMAND, "sql", "--resume", text], cwd=sql.served.folder, env=sql.served.environ, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        end = time.monotonic() + PATIENCE_S
        while upstream.asked.total() < 40:
            assert time.monotonic() < end
            time.sleep(0.01)
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=PATIENCE_S)
    finally:
        upstream.late_s = 0.0
    assert command.returncode == 130
    assert out == ""
    assert "canceled" in err
    assert "--resume" in err
    before = upstream.asked.total()
    assert before < 300
    again = ran(sql, "sql", "--resume", text)
    assert again.returncode == 0
    assert len(again.stdout.splitlines()) == 301
    assert upstream.asked.total() <= 300 + 8


@pytest.mark.slow
def test_progress_on_a_terminal(sql: Sql, upstream: Upstream) -> None:
    upstream.late_s = 0.1
    parent, child = pty.openpty()
    try:
        command = subprocess.Popen(
            [*COMMAND, "sql", "SELECT ai_query('chat', 'pty' || id) AS a FROM range(200)"],
            cwd=sql.served.folder, env={**sql.served.environ, "TERM": "xterm", "COLUMNS": "160"},
            stdout=subprocess.DEVNULL, stderr=child,
        )  # fmt: skip
        os.close(child)
        seen = b""
        while select.select([parent], [], [], PATIENCE_S)[0]:
            try:
                data = os.read(parent, 65536)
            except OSError:
                break
            if not data:
                break
            seen += data
        assert command.wait(PATIENCE_S) == 0
    finally:
        os.close(parent)
        upstream.late_s = 0.0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode())
    assert re.search(r"of 200 rows", text), text
    assert re.search(r"8 under way", text)
    assert re.search(r"0:0\d left", text)
    assert re.search(r"200 of 200 rows  \d+ rows/s  1,000 tokens", text.splitlines()[-1])


def test_the_line_of_progress() -> None:
    assert line({}, 3) == "0:03  running"
    told = {"rows": 1500, "kept": 500, "expected": 3000, "under_way": 64, "prompt_tokens": 900, "repeats": 2}
    assert line(told, 10) == (
        "0:10  1,500 of 3,000 rows  150 rows/s  64 under way  900 tokens  500 kept before  2 retries  0:10 left"
    )
    assert line({"rows": 7, "failed": 1}, 3725, over=True) == "1:02:05  7 rows  0 rows/s  1 failed"


# ------------------------------------------------------------- from Python


@pytest.fixture
def connected(sql: Sql) -> Iterator[Connection]:
    with tesela_sql.connect(sql.served.host, sql.token) as connection:
        yield connection


@pytest.mark.slow
def test_frames(connected: Connection) -> None:
    answer = connected.sql("SELECT id, ai_query('chat', :p || id) AS a FROM range(2)", {"p": "py"})
    assert answer.columns == [("id", "BIGINT"), ("a", "STRING")]
    assert answer.arrow().to_pylist() == [{"id": 0, "a": "<py0>"}, {"id": 1, "a": "<py1>"}]
    assert list(answer.pandas()["a"]) == ["<py0>", "<py1>"]
    assert [row["id"] for row in answer] == [0, 1]
    assert answer.progress["rows"] == 2
    assert connected.sql("SELECT id FROM range(0)").arrow().schema.names == ["id"]
    big = connected.sql("SELECT id, repeat('x', 500) AS t FROM range(100000)")
    assert big.row_count == sum(batch.num_rows for batch in big.batches()) == 100_000


@pytest.mark.slow
def test_what_can_go_wrong_is_an_error_of_ours(connected: Connection, upstream: Upstream) -> None:
    with pytest.raises(StatementError) as caught:
        connected.sql("SELECT\nai_query('nowhere', 'x')")
    assert caught.value.position == (2, 10)
    with pytest.raises(InvalidRequest):
        connected.sql("SELECT :x", {"x": object()})
    upstream.gate.clear()
    try:
        answer = connected.begin("SELECT ai_query('chat', 'python waits')")
        answer.cancel()
        with pytest.raises(StatementCanceled):
            answer.wait()
    finally:
        upstream.gate.set()


@pytest.mark.slow
def test_the_server_is_found_as_the_command_line_finds_it(sql: Sql) -> None:
    program = "import tesela.sql; print(tesela.sql.connect().sql('SELECT 40 + 2 AS x').arrow().to_pylist())"
    done = subprocess.run(
        [sys.executable, "-c", program], env=sql.served.environ, cwd=sql.served.folder, capture_output=True, text=True,
        timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.stdout == "[{'x': 42}]\n", done.stderr


# ------------------------------------------------------------- cutting files


def test_semicolons_in_texts_names_and_comments_cut_nothing() -> None:
    text = "SELECT ';' /* ; */, \";\" -- ;\n, `a;b` ; ;; select\n2"
    pieces = split(text)
    assert [piece.line for piece in pieces] == [0, 1]
    assert pieces[0].text == "SELECT ';' /* ; */, \";\" -- ;\n, `a;b`"
    assert pieces[1].text.split() == ["select", "2"]
    assert pieces[1].text.index("select") == text.splitlines()[1].index("select"), "columns are those of the file"
    assert split(" ;\n-- nothing\n") == []
    with pytest.raises(StatementError):
        split("SELECT 'no end")


@given(
    st.lists(st.sampled_from(["SELECT 1", "SELECT ';'", "SELECT `;`", "SELECT 'a''b'", "/* ; */ SELECT 2"]), max_size=6)
)
def test_every_statement_is_found(statements: list[str]) -> None:
    found = [piece.text.strip() for piece in split(";\n".join(statements))]
    assert found == [one.removeprefix("/* ; */ ") for one in statements]
