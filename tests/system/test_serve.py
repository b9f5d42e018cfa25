"""A real server: what it prints, that it goes on when a part dies, and that nothing of it stays when it ends."""

import json
import os
import re
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.system.processes import FILE, Served, alive, endpoint, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Served(tmp_path_factory.mktemp("served")) as one:
        yield one


def test_it_prints_an_address_a_token_and_lines_that_work(served: Served) -> None:
    assert re.search(r"^Tesela \S+ is ready at http://127\.0\.0\.1:\d+$", served.banner, re.MULTILINE)
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", served.host)
    assert re.fullmatch(r"dapi[0-9a-f]{32}", served.token)
    status, headers, body = served.ask()
    assert (status, body["choices"][0]["message"]["content"]) == (200, "Hi")
    assert headers["served-model-name"] == "m"
    assert served.errors() == ""


def test_it_says_at_once_who_may_not(served: Served) -> None:
    for token in ("", "dapi" + "0" * 32, served.token[:-1]):
        status, _, body = served.ask(token=token)
        assert (status, body["error_code"]) == (401, "UNAUTHENTICATED")


def test_what_it_keeps_is_for_its_user_alone(served: Served) -> None:
    kept = served.home / "token"
    assert kept.read_text().strip() == served.token
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(served.home.stat().st_mode) == 0o700
    assert (served.home / "address").read_text().strip() == served.host
    for file in served.home.iterdir():
        assert file.name == "token" or served.token.encode() not in file.read_bytes()


def test_tokens_made_and_revoked_beside_it_count_within_seconds(served: Served) -> None:
    made = served.run("tokens", "create", "--comment", "for a test")
    token = made.stdout.split()[0]
    assert re.fullmatch(r"dapi[0-9a-f]{32}", token), made
    until(lambda: served.ask(token=token)[0] == 200, 5)
    listed = json.loads(served.run("tokens", "list", "--json").stdout)
    number = next(one["token_id"] for one in listed if one["comment"] == "for a test")
    with served.connected() as kept:
        served.begin(kept, token=token)
        assert kept.getresponse().read()
        revoked = served.run("tokens", "revoke", number)
        assert revoked.returncode == 0, revoked

        def refused() -> bool:
            served.begin(kept, token=token)
            answer = kept.getresponse()
            answer.read()
            return answer.status == 401

        until(refused, 5)
    assert served.ask(token=token)[0] == 401
    assert served.ask()[0] == 200


def test_a_port_that_is_taken_is_one_sentence(served: Served, tmp_path: Path) -> None:
    port = served.host.rpartition(":")[2]
    with Served(tmp_path, "--port", port, wait=False) as second:
        assert second.process.wait(20) == 2
        assert second.process.stdout is not None
        assert second.process.stdout.read() == ""
        assert second.errors().count("\n") == 1
        assert port in second.errors()
        assert "--port" in second.errors()
        assert not (second.home / "address").exists()
    assert served.ask()[0] == 200


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("endpoints: 5\n", "tesela.yaml:1: endpoints"),
        ("endpoint: []\n", "endpoint"),
        ("a: [\n", "tesela.yaml:"),
        ("- x\n", "mapping"),
        ("workers: many\n", "workers"),
        (FILE.replace("llm/v1/chat", "llm/v1/talk"), "llm/v1/talk"),
        (FILE.replace("scripted", "nobody"), "nobody"),
        (FILE + FILE.partition("\n")[2], "chat"),
        ("\x00", "tesela.yaml"),
    ],
)
def test_a_wrong_file_is_one_sentence_that_says_where(text: str, says: str, tmp_path: Path) -> None:
    with Served(tmp_path, "--config", "tesela.yaml", file=text, wait=False) as served:
        assert served.process.wait(20) == 2
        assert served.process.stdout is not None
        assert served.process.stdout.read() == ""
        assert "Traceback" not in served.errors()
        assert says in served.errors()
        assert served.errors().count("\n") == 1
        assert served.workers() == []


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with Served(tmp_path, "--config", "nowhere.yaml", wait=False) as served:
        assert served.process.wait(20) == 2
        assert "nowhere.yaml" in served.errors()
        assert served.errors().count("\n") == 1


def test_the_second_start_prints_the_same_token(tmp_path: Path) -> None:
    with Served(tmp_path) as first:
        assert first.end(signal.SIGINT) == 0
        assert first.errors().splitlines()[-1] == "tesela: stopping"
        assert not (first.home / "address").exists()
    with Served(tmp_path) as second:
        assert second.token == first.token
        assert second.ask()[0] == 200
        assert second.ask(token=first.token)[0] == 200
    (first.home / "token").unlink()
    with Served(tmp_path) as third:
        assert third.token != first.token
        assert third.ask()[0] == third.ask(token=first.token)[0] == 200


def test_two_workers_share_the_work_and_one_that_dies_is_replaced(tmp_path: Path) -> None:
    with Served(tmp_path, "--workers", "2") as served:
        first = served.workers()
        assert len(first) == 2

        seen: set[str] = set()

        def answering() -> int:
            """How many workers have answered: request ids begin with a mark of the one that gave them."""
            seen.update(served.ask()[1]["x-request-id"].rpartition("-")[0] for _ in range(20))
            return len(seen)

        until(lambda: answering() == 2)
        os.kill(first[0], signal.SIGKILL)
        status, _, _ = served.ask()
        assert status == 200, "the other one answers"
        until(lambda: len([pid for pid in served.workers() if pid != first[0]]) == 2)
        until(lambda: answering() == 3)
        assert "gateway worker 0 ended unasked (signal SIGKILL); starting it anew" in served.errors()


def test_a_lone_worker_that_dies_is_waited_for(tmp_path: Path) -> None:
    """The parent keeps the socket open, so who comes while nobody answers is answered later, not refused."""
    with Served(tmp_path) as served:
        for _ in range(2):
            (pid,) = served.workers()
            os.kill(pid, signal.SIGKILL)
            until(lambda: not alive(pid))  # noqa: B023 - called before the next one
            assert served.ask()[0] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_ended_finishes_what_it_has_begun(number: int, tmp_path: Path) -> None:
    with Served(tmp_path) as served, served.connected() as streaming, served.connected() as waiting:
        served.begin(streaming, "trickle", stream=True)
        served.begin(waiting, "slow")
        answer = streaming.getresponse()
        first = answer.readline()
        assert first.startswith(b"data: ")
        workers = served.workers()
        began = time.monotonic()
        served.process.send_signal(number)
        rest = answer.read()
        assert rest.endswith(b"data: [DONE]\n\n")
        assert waiting.getresponse().status == 200
        assert served.process.wait(20) == 0
        assert time.monotonic() - began < 20
        assert not any(map(alive, workers))
        port = int(served.host.rpartition(":")[2])
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 5):
            pass


def test_workers_do_not_outlive_their_parent(tmp_path: Path) -> None:
    with Served(tmp_path, "--workers", "2") as served:
        workers = served.workers()
        served.process.kill()
        served.process.wait(20)
        until(lambda: not any(map(alive, workers)), 15)
        port = int(served.host.rpartition(":")[2])
        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), 5):
            pass


def test_a_stream_that_outlives_the_drain_is_told(tmp_path: Path) -> None:
    file = "timeouts: {drain: 1}\nendpoints:\n" + endpoint("endless", "long-1000+drip-100ms")
    with Served(tmp_path, file=file) as served, served.connected() as connection:
        served.begin(connection, "endless", stream=True)
        answer = connection.getresponse()
        assert answer.readline().startswith(b"data: {")
        served.process.send_signal(signal.SIGTERM)
        last = answer.read().decode().strip().split("\n\n")[-1]
        assert json.loads(last.removeprefix("data: "))["error"]["code"] == "TEMPORARILY_UNAVAILABLE"
        assert served.process.wait(30) == 0


def test_of_two_servers_on_one_home_the_one_that_stays_is_found(tmp_path: Path) -> None:
    with Served(tmp_path, "--config", "tesela.yaml") as first:
        with Served(tmp_path, "--config", "tesela.yaml") as second:
            assert (first.home / "address").read_text().strip() == second.host
            assert second.end() == 0
        until(lambda: (first.home / "address").exists())
        assert (first.home / "address").read_text().strip() == first.host
        assert first.run("endpoints", "list").returncode == 0
