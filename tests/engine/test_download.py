"""Against a real HTTP server on loopback that serves one file well, cut, changed, or without ranges."""

import hashlib
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tesela.engine.disk import check_space
from tesela.engine.download import Fetch, download
from tesela.errors import EngineError

CONTENT = bytes(range(256)) * 4096


class FileServer(ThreadingHTTPServer):
    """Serves `content`.  `cut` bytes are sent at most in each answer; `ranges` off answers 200 to everything."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = CONTENT
        self.tag = '"one"'
        self.cut = len(CONTENT)
        self.ranges = True
        self.faults: list[int] = []
        self.asked: list[str] = []
        self.stall: threading.Event | None = None
        self.begun = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/model.whl"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range", "")
        server.asked.append(wanted)
        if server.faults:
            self.send_error(server.faults.pop(0))
            return
        valid = self.headers.get("If-Range") in (None, server.tag)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges and valid else 0
        if start and start >= len(server.content):
            self.send_error(416)
            return
        part = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("ETag", server.tag)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part[: server.cut])
        server.begun.set()
        if server.stall is not None:
            server.stall.wait(20)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _get(server: FileServer, target: Path, sha256: str = hashlib.sha256(CONTENT).hexdigest()) -> list[tuple[int, int]]:
    seen: list[tuple[int, int]] = []
    download(
        Fetch(url=server.url, sha256=frozenset([sha256])),
        target,
        lambda _, done, total: seen.append((done, total)),
        pause=lambda _: None,
    )
    return seen


def test_a_whole_file_arrives_and_nothing_else_is_left(server: FileServer, tmp_path: Path) -> None:
    seen = _get(server, tmp_path / "model.whl")
    assert (tmp_path / "model.whl").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["model.whl"]
    assert seen[-1] == (len(CONTENT), len(CONTENT))


def test_a_cut_connection_is_taken_up_where_it_ended(server: FileServer, tmp_path: Path) -> None:
    server.cut = 400_000
    _get(server, tmp_path / "model.whl")
    assert (tmp_path / "model.whl").read_bytes() == CONTENT
    assert server.asked == ["", "bytes=400000-", "bytes=800000-"]


def test_a_partial_file_stays_when_it_never_ends_well(server: FileServer, tmp_path: Path) -> None:
    server.cut = 100_000
    with pytest.raises(EngineError, match="run it again"):
        _get(server, tmp_path / "model.whl")
    assert not (tmp_path / "model.whl").exists()
    assert (tmp_path / "model.whl.partial").stat().st_size == 500_000
    server.cut = len(CONTENT)
    _get(server, tmp_path / "model.whl")
    assert server.asked[-1] == "bytes=500000-"
    assert (tmp_path / "model.whl").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(server: FileServer, tmp_path: Path) -> None:
    server.cut = 100_000
    with pytest.raises(EngineError):
        _get(server, tmp_path / "model.whl")
    server.cut, server.ranges = len(CONTENT), False
    _get(server, tmp_path / "model.whl")
    assert (tmp_path / "model.whl").read_bytes() == CONTENT


def test_a_file_that_changed_is_not_glued_to_the_old_part(server: FileServer, tmp_path: Path) -> None:
    server.cut = 100_000
    with pytest.raises(EngineError):
        _get(server, tmp_path / "model.whl")
    server.content, server.tag, server.cut = CONTENT[::-1], '"two"', len(CONTENT)
    _get(server, tmp_path / "model.whl", hashlib.sha256(CONTENT[::-1]).hexdigest())
    assert (tmp_path / "model.whl").read_bytes() == CONTENT[::-1]


def test_a_change_that_the_tag_does_not_show_is_found_by_the_digest(server: FileServer, tmp_path: Path) -> None:
    server.cut = 100_000
    with pytest.raises(EngineError):
        _get(server, tmp_path / "model.whl")
    server.content, server.cut = CONTENT[::-1], len(CONTENT)
    _get(server, tmp_path / "model.whl", hashlib.sha256(CONTENT[::-1]).hexdigest())
    assert (tmp_path / "model.whl").read_bytes() == CONTENT[::-1]
    assert server.asked[-2:] == ["bytes=500000-", ""]


def test_wrong_bytes_are_thrown_away(server: FileServer, tmp_path: Path) -> None:
    server.content = b"other" * 1000
    with pytest.raises(EngineError, match="not the file that was promised"):
        _get(server, tmp_path / "model.whl")
    assert not (tmp_path / "model.whl").exists()
    assert not (tmp_path / "model.whl.partial").exists()


def test_a_partial_file_longer_than_the_file_starts_again(server: FileServer, tmp_path: Path) -> None:
    server.cut = 100_000
    with pytest.raises(EngineError):
        _get(server, tmp_path / "model.whl")
    server.content, server.cut = CONTENT[:1000], len(CONTENT)
    _get(server, tmp_path / "model.whl", hashlib.sha256(CONTENT[:1000]).hexdigest())
    assert (tmp_path / "model.whl").read_bytes() == CONTENT[:1000]


def test_a_busy_server_is_asked_again_and_a_refusal_is_not(server: FileServer, tmp_path: Path) -> None:
    server.faults = [503, 429]
    _get(server, tmp_path / "model.whl")
    assert len(server.asked) == 3
    server.faults = [404]
    with pytest.raises(EngineError, match="answered 404"):
        _get(server, tmp_path / "other.whl")
    assert len(server.asked) == 4


def test_no_room_is_said_before_it_is_used(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"4398046511104 MiB are needed in .* MiB are free"):
        check_space(tmp_path, 2**62)


SCRIPT = """
import sys
from pathlib import Path
from tesela.engine.download import Fetch, download
download(Fetch(url=sys.argv[1], sha256=frozenset(["0" * 64])), Path(sys.argv[2]), lambda *_: None)
"""


def test_a_disk_that_fills_in_the_middle_leaves_the_part(server: FileServer, tmp_path: Path) -> None:
    def limit() -> None:
        # The system's own limit on a file's size stands in for the disk; Python turns its signal off for EFBIG.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, server.url, str(tmp_path / "model.whl")],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "what came so far is kept" in done.stderr
    assert (tmp_path / "model.whl.partial").stat().st_size == 300_000


def test_ctrl_c_leaves_a_part_that_is_taken_up(server: FileServer, tmp_path: Path) -> None:
    server.cut, server.stall = 524_288, threading.Event()
    arguments = [sys.executable, "-c", SCRIPT, server.url, str(tmp_path / "model.whl")]
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as process:
        assert server.begun.wait(20)
        partial = tmp_path / "model.whl.partial"
        deadline = threading.Event()
        for _ in range(1000):
            if partial.exists() and partial.stat().st_size >= 262_144:
                break
            deadline.wait(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) != 0
    server.stall.set()
    server.stall, server.cut = None, len(CONTENT)
    have = partial.stat().st_size
    _get(server, tmp_path / "model.whl")
    assert server.asked[-1] == f"bytes={have}-"
    assert (tmp_path / "model.whl").read_bytes() == CONTENT
