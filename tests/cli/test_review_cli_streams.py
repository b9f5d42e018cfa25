"""Standard streams that are closed or full, tokens that cannot be sent: one sentence and an exit code, no traceback."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PATH = "/serving-endpoints/small/invocations"
HELLO = {"choices": [{"index": 0, "delta": {"content": "hello"}}]}


def closing(*descriptors: int) -> Callable[[], None]:
    def close() -> None:
        for descriptor in descriptors:
            os.close(descriptor)

    return close


def test_a_closed_standard_input_is_an_empty_one(tesela: Any, server: Any) -> None:
    server.endpoint("small")
    server.stream(PATH, HELLO)
    process = tesela.start("query", "small", "hi", preexec_fn=closing(0), stdout=-1, stderr=-1)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, b"hello\n", b"")


def test_a_closed_standard_output_is_no_traceback(tesela: Any, server: Any) -> None:
    server.endpoint("small")
    server.stream(PATH, HELLO)
    process = tesela.start("query", "small", "hi", preexec_fn=closing(1), stdin=-3, stderr=-1)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full exists on Linux only")
@pytest.mark.parametrize("arguments", [("query", "small", "hi"), ("endpoints", "get", "small")])
def test_a_full_disk_behind_the_output_is_told(arguments: tuple[str, ...], tesela: Any, server: Any) -> None:
    server.endpoint("small")
    server.stream(PATH, HELLO)
    with Path("/dev/full").open("wb") as full:
        process = tesela.start(*arguments, stdin=-3, stdout=full, stderr=-1)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err.splitlines() == [b"tesela: No space left on device"]


@pytest.mark.parametrize("access_token", ["dapi\n1", "dapi\u20ac", "da pi"])
def test_a_token_that_cannot_be_sent_is_told_and_not_shown(access_token: str, make_tesela: Any, server: Any) -> None:
    tesela = make_tesela(DATABRICKS_HOST=server.host, DATABRICKS_TOKEN=access_token)
    done = tesela("endpoints", "list")
    assert done.returncode == 2
    assert done.stderr.decode() == (
        "tesela: the access token holds a blank, a line break or characters beyond ASCII: it was copied wrongly\n"
    )
    assert server.asked == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs a file in the way of a folder")
def test_a_home_that_is_a_file_is_told(make_tesela: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = make_tesela(TESELA_HOME=str(tmp_path / "file"))("serve", "--port", "0")
    assert done.returncode == 2
    assert done.stderr.decode() == f"tesela: {tmp_path}/file: cannot hold the server's state: File exists\n"
