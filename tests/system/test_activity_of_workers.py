"""What an endpoint did is told alike by each of several workers, and says who asked it."""

from pathlib import Path
from typing import Any

import pytest
from tests.system.processes import FILE, Served, endpoint, until

PATH = "/api/2.0/tesela/serving-endpoints"


def told(served: Served, name: str) -> dict[str, Any]:
    status, found = served.call("GET", f"{PATH}/{name}/activity?minutes=10&limit=200")
    assert status == 200
    assert isinstance(found, dict)
    return found


@pytest.mark.slow
def test_requests_of_all_workers_appear_whoever_is_asked(tmp_path: Path) -> None:
    file = FILE + endpoint("broken", "error-503")
    with Served(tmp_path, "--config", "tesela.yaml", "--workers", "2", file=file) as served:
        ids: set[str] = set()

        def both() -> bool:
            # A request id has the number of its worker in it; which worker takes a connection is the system's choice.
            status, headers, _ = served.ask("chat")
            assert status == 200
            ids.add(headers["x-request-id"])
            return {one.split("-")[1] for one in ids} == {"0", "1"}

        until(both)
        status, headers, _ = served.ask("broken")
        assert status == 503

        def same() -> dict[str, Any] | None:
            # Ten answers in a row, each on a connection of its own: both workers are among them all but surely.
            found = [told(served, "chat") for _ in range(10)]
            return found[0] if all({r["request_id"] for r in one["requests"]} == ids for one in found) else None

        found = until(same)
        assert found["totals"]["requests"] == len(ids) == sum(one["requests"] for one in found["minutes"])
        assert (found["totals"]["failed"], found["totals"]["cancelled"]) == (0, 0)
        times = [one["at_ms"] for one in found["requests"]]
        assert times == sorted(times, reverse=True)
        assert {(r["status"], r["error"], r["served_entity"], r["streamed"]) for r in found["requests"]} == {
            (200, "", "m", False)
        }

        failed = until(lambda: (one := told(served, "broken"))["requests"] and one)
        assert failed["requests"][0]["request_id"] == headers["x-request-id"]
        assert (failed["requests"][0]["status"], failed["totals"]["failed"]) == (503, 1)
        assert failed["requests"][0]["error"]
        assert served.end() == 0
