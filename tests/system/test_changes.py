"""Changes while the server is busy, in a file that is wrong, and in a store that is gone."""

import http.client
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.store.postgres import Missing, Server
from tests.system.processes import FILE, Served, endpoint, until

SOON_S = 15.0
"""How long a change may take until every worker serves it: no measure of it (bench/changes.py is), but an end of the
wait, on machines that do other things beside."""
ENDPOINTS = "/api/2.0/serving-endpoints"


def made(name: str, model: str = "echo") -> dict[str, Any]:
    external = {"name": model, "provider": "scripted", "task": "llm/v1/chat"}
    return {"name": name, "config": {"served_entities": [{"name": "m", "external_model": external}]}}


class Busy:
    """Callers that ask all the time, each on one connection, and keep what they got."""

    def __init__(self, served: Served, callers: int) -> None:
        self._served = served
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(callers)]
        self.answers = 0
        self.wrong: list[object] = []

    def _ask(self) -> None:
        with self._served.connected() as connection:
            while not self._stop.is_set():
                try:
                    self._served.begin(connection)
                    answer = connection.getresponse()
                    body = answer.read()
                except (OSError, http.client.HTTPException) as exc:
                    self.wrong.append(exc)
                    return
                self.answers += 1
                if answer.status != 200 or json.loads(body)["choices"][0]["message"]["content"] != "Hi":
                    self.wrong.append((answer.status, body))

    def __enter__(self) -> "Busy":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


def everywhere(served: Served, workers: int, model: str, status: int, token: str | None = None) -> None:
    """Ask on fresh connections until every worker has answered with this status; none may be late.

    A request id has the number of its worker in it.  Which worker takes a connection is the system's choice, so it may
    need many; those that were answered otherwise must have been early.
    """
    began = time.monotonic()
    right: set[str] = set()
    while len(right) < workers:
        asked = time.monotonic()
        got, headers, _ = served.ask(model, token)
        worker = headers["x-request-id"].split("-")[1]
        if got == status:
            right.add(worker)
        else:
            assert worker not in right, f"worker {worker} knew {model} and forgot it"
            assert asked - began < SOON_S, f"{model} did not become {status} on worker {worker} within {SOON_S} s"
        assert asked - began < 30, f"only {right} of {workers} workers were given a connection"


@pytest.mark.slow
def test_changes_are_served_by_all_workers_and_no_request_fails(tmp_path: Path) -> None:
    with Served(tmp_path, "--config", "tesela.yaml", "--workers", "4") as served, Busy(served, 6) as busy:
        before = busy.answers
        for i in range(4):
            name = f"made-{i}"
            assert served.call("POST", ENDPOINTS, made(name))[0] == 200
            everywhere(served, 4, name, 200)
            changed = made(name, "error-418")["config"]
            assert served.call("PUT", f"{ENDPOINTS}/{name}/config", changed)[0] == 200
            everywhere(served, 4, name, 418)
            status, token = served.call("POST", "/api/2.0/token/create", {"comment": name})
            assert status == 200
            everywhere(served, 4, "chat", 200, token["token_value"])
            revoked = {"token_id": token["token_info"]["token_id"]}
            assert served.call("POST", "/api/2.0/token/delete", revoked)[0] == 200
            everywhere(served, 4, "chat", 401, token["token_value"])
            assert served.call("DELETE", f"{ENDPOINTS}/{name}") == (200, {})
            everywhere(served, 4, name, 404)
        until(lambda: busy.answers > before + 200)
    assert busy.wrong == []


@pytest.fixture(scope="module")
def postgresql() -> Iterator[Server]:
    try:
        server = Server()
    except Missing as exc:
        pytest.skip(str(exc))
    yield server
    server.stop()


@pytest.mark.slow
def test_a_store_that_is_gone_stops_changes_and_no_query(postgresql: Server, tmp_path: Path) -> None:
    environ = {"TESELA_DATABASE_URL": postgresql.database()}
    with Served(tmp_path, "--config", "tesela.yaml", "--workers", "2", environ=environ) as served:
        assert served.call("POST", ENDPOINTS, made("kept"))[0] == 200
        everywhere(served, 2, "kept", 200)
        with Busy(served, 2) as busy:
            postgresql.halt()
            began = time.monotonic()
            status, told = served.call("POST", ENDPOINTS, made("lost"))
            assert time.monotonic() - began < 12
            assert (status, told["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
            assert "queries go on" in told["message"]
            until(lambda: served.call("GET", "/health", token="")[1]["status"] == "degraded")
            assert served.ask("kept")[0] == 200
            # Clients look at an endpoint before they query it; what is not served they cannot be told of.
            assert served.call("GET", f"{ENDPOINTS}/kept")[1]["state"]["ready"] == "READY"
            assert served.call("GET", f"{ENDPOINTS}/nowhere")[0] == 503
            # A worker that must start now has what its parent knows.
            first = served.workers()
            os.kill(first[0], signal.SIGKILL)
            until(lambda: len(served.workers()) == 2 and served.workers() != first)
            count = busy.answers
            until(lambda: busy.answers > count + 50 or busy.wrong)
            postgresql.start()
            until(lambda: served.call("GET", "/health", token="")[1]["status"] == "ok")
            assert served.call("POST", ENDPOINTS, made("found"))[0] == 200
            everywhere(served, 2, "found", 200)
        # Only what was under way on the worker that was killed may have ended.
        assert all(isinstance(one, (OSError, http.client.HTTPException)) for one in busy.wrong), busy.wrong
        assert served.call("GET", f"{ENDPOINTS}/lost")[0] == 404
        assert "does not answer" in served.errors()
        assert "tesela:" in served.errors()


def test_a_changed_file_is_taken_over_and_a_wrong_one_is_not(tmp_path: Path) -> None:
    with Served(tmp_path, "--config", "tesela.yaml", "--workers", "2") as served:
        served.configuration.write_text(FILE + endpoint("second", "echo"))
        until(lambda: served.ask("second")[0] == 200)
        served.configuration.write_text(FILE.replace("llm/v1/chat", "llm/v1/talk"))
        until(lambda: served.call("GET", "/health", token="")[1]["status"] == "degraded")
        assert "llm/v1/talk" in served.errors()
        assert [served.ask(name)[0] for name in ("chat", "second")] == [200, 200]
        served.configuration.write_text(FILE + "max_body_bytes: 100000\n")
        until(lambda: served.call("GET", "/health", token="")[1]["status"] == "ok")
        until(lambda: served.ask("second")[0] == 404)
        until(lambda: "max_body_bytes: what the file says now waits for the next start" in served.errors())
        assert served.ask("chat")[0] == 200


def test_sighup_reads_the_file_again(tmp_path: Path) -> None:
    with Served(tmp_path, "--config", "tesela.yaml") as served:
        served.process.send_signal(signal.SIGHUP)
        until(lambda: "has been read again and is in force" in served.errors())
        assert served.ask()[0] == 200


def test_an_endpoint_of_the_file_is_changed_in_the_file(tmp_path: Path) -> None:
    with Served(tmp_path, "--config", "tesela.yaml") as served:
        status, told = served.call("PUT", f"{ENDPOINTS}/chat/config", made("chat")["config"])
        assert status == 400
        assert "tesela.yaml" in told["message"]
        status, told = served.call("DELETE", f"{ENDPOINTS}/chat")
        assert status == 400
        assert "tesela.yaml" in told["message"]
        assert served.call("POST", ENDPOINTS, made("chat"))[1]["error_code"] == "RESOURCE_ALREADY_EXISTS"


def test_what_was_made_outlives_a_restart(tmp_path: Path) -> None:
    with Served(tmp_path, "--config", "tesela.yaml") as served:
        assert served.call("POST", ENDPOINTS, made("kept"))[0] == 200
        assert served.end() == 0
    with Served(tmp_path, "--config", "tesela.yaml") as served:
        assert served.ask("kept")[0] == 200
        found = served.call("GET", f"{ENDPOINTS}/kept")[1]
        assert found["state"] == {"ready": "READY", "config_update": "NOT_UPDATING"}
        assert found["creator"] == "admin@localhost"
