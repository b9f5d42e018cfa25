"""What an endpoint did, over the REST API: figures for all who see it, the requests of others for its managers."""

from pathlib import Path

import msgspec
import pytest
from tests.control.conftest import World

from tesela.telemetry.activity import Activity
from tesela.telemetry.sharing import Shared
from tesela.wire.usage import Usage

PATH = "/api/2.0/tesela/serving-endpoints/gpt/activity"


@pytest.fixture
def busy(world: World, tmp_path: Path) -> World:
    own, id_ = Activity(), world.snapshot.endpoints["gpt"].id
    world.facts = msgspec.structs.replace(world.facts, activity=Shared(own, tmp_path, 1, alone=True))
    for number, (status, error) in enumerate(((200, ""), (503, "UpstreamUnavailable"), (499, ""))):
        ended, who = world.now - 60 * number, world.admin.id
        own.add((id_, ended, 0.25, status, Usage(7, 9), f"r{number}", "gpt-4-1", who, "admin", error, 0.1, True))
    own.add((id_, world.now - 90 * 60, 1.0, 200, Usage(1, 1), "old", "gpt-4-1", "2", "bob", "", None, False))
    return world


def test_figures_and_requests(busy: World) -> None:
    told = busy.call("GET", PATH).json()
    assert [one["requests"] for one in told["minutes"]] == [1, 1, 1]
    assert told["totals"] == {
        "requests": 3, "failed": 1, "cancelled": 1, "prompt_tokens": 21, "completion_tokens": 27,
    }  # fmt: skip
    assert all(200 <= one["p50_ms"] <= 500 for one in told["minutes"])
    assert told["since_ms"] % 60_000 == 0
    assert told["until_ms"] == int(busy.now * 1000)
    first = told["requests"][0]
    assert first == {
        "at_ms": int(busy.now * 1000), "request_id": "r0", "served_entity": "gpt-4-1", "principal": "admin",
        "status": 200, "error": "", "duration_ms": 250.0, "first_ms": 100.0, "prompt_tokens": 7,
        "completion_tokens": 9, "streamed": True,
    }  # fmt: skip
    assert [one["request_id"] for one in told["requests"]] == ["r0", "r1", "r2", "old"]
    assert busy.call("GET", f"{PATH}?minutes=1440&limit=1").json()["totals"]["requests"] == 4
    assert len(busy.call("GET", f"{PATH}?limit=1").json()["requests"]) == 1


def test_requests_of_others_are_their_own_business(busy: World) -> None:
    busy.somebody("gpt", level="CAN_QUERY")
    told = busy.call("GET", PATH).json()
    assert told["totals"]["requests"] == 3
    assert told["requests"] == []


def test_who_may_not_see_the_endpoint_sees_nothing_of_it(busy: World) -> None:
    busy.somebody()
    assert busy.call("GET", PATH).status == 403
    assert busy.call("GET", PATH.replace("gpt", "nothing")).status == 404


@pytest.mark.parametrize(
    "query", ["minutes=0", "minutes=1441", "minutes=x", "limit=-1", "limit=201", "minutes=1e3", "limit=%C2%B2"]
)
def test_other_spans_are_refused_by_name(busy: World, query: str) -> None:
    answer = busy.call("GET", f"{PATH}?{query}")
    assert answer.status == 400
    assert answer.json()["param"] == query.partition("=")[0]


def test_nothing_has_happened_yet(world: World) -> None:
    told = world.call("GET", PATH).json()
    assert (told["minutes"], told["requests"], told["totals"]["requests"]) == ([], [], 0)
