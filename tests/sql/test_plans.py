"""How long a plan for somebody else's engine is good, and how many there are."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tesela.errors import InvalidRequest, NotFound, RateLimited
from tesela.sql.calls.engine import Calls
from tesela.sql.calls.values import Owner, Reply
from tesela.sql.site import PlanSettings
from tesela.sql.statements import plans
from tesela.sql.statements.endpoints import Endpoints
from tesela.sql.statements.plans import Plans
from tesela.sql.statements.request import Request
from tesela.wire.document import encode

ANN, BOB = Owner("ann", "token-a"), Owner("bob", "token-b")
CHAT = encode({"name": "chat", "task": "llm/v1/chat", "permission_level": "CAN_QUERY", "config": {}})
ANSWER = encode({"choices": [{"message": {"content": "fine"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}})


class World:
    """Plans of an endpoint `chat`, with a clock that the test turns."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0
        self.calls = Calls(self._send, None)
        self.plans = Plans(self.calls, PlanSettings("/nowhere"), self._endpoints, 4, lambda: self.now)

    async def _send(self, owner: Owner, endpoint: str, body: bytes) -> Reply:
        self.asked += 1
        return Reply(200, {}, ANSWER)

    def _endpoints(self, owner: Owner) -> Endpoints:
        return Endpoints(lambda path: (200, CHAT if path.endswith("/chat") else b"{}"))

    def open(
        self, owner: Owner = ANN, text: str = "SELECT ai_query('chat', s) AS a FROM t", **more: Any
    ) -> dict[str, Any]:
        request = Request(text, **more)
        return self.plans.begin(owner, self.plans.look(owner, request, "spark"), request)

    async def ask(self, plan: dict[str, Any]) -> list[Any]:
        return await self.calls.rows(plan["sites"][0]["ticket"], [("text",)])


def played(test: Callable[[World], Any]) -> Callable[[], None]:
    def wrapper() -> None:
        asyncio.run(asyncio.wait_for(test(World()), 20))

    wrapper.__name__ = getattr(test, "__name__", "test")
    return wrapper


@played
async def test_a_plan_is_good_for_a_day_after_its_last_rows(world: World) -> None:
    plan = world.open()
    for _ in range(3):
        world.now += plans.IDLE_S - 1
        assert await world.ask(plan) == ["fine"]
        world.plans.tidy()
    world.now += plans.IDLE_S + 1
    world.plans.tidy()
    with pytest.raises(InvalidRequest, match="run it again"):
        await world.ask(plan)
    with pytest.raises(NotFound):
        world.plans.end(ANN.id, plan["id"])


@played
async def test_equal_rows_of_one_computation_are_asked_once_without_keeping(world: World) -> None:
    plan = world.open(answers="off")
    await world.ask(plan)
    await world.ask(plan)
    assert world.asked == 1
    world.plans.tidy()
    world.now += plans.RESTS_S + 1
    world.plans.tidy()
    await world.ask(plan)
    assert world.asked == 2


@played
async def test_a_new_plan_ends_the_owners_one_that_was_idle_longest(world: World) -> None:
    others = world.open(BOB)
    opened = []
    for _ in range(plans.MOST_OF_ONE):
        world.now += 1
        opened.append(world.open())
    await world.ask(opened[0])
    world.now += 1
    world.open()
    assert await world.ask(opened[0]) == ["fine"]
    with pytest.raises(InvalidRequest):
        await world.ask(opened[1])
    assert await world.ask(opened[2]) == ["fine"]
    assert await world.ask(others) == ["fine"], "nobody else's"


@played
async def test_all_plans_together_have_a_limit(world: World) -> None:
    request = Request("SELECT ai_query('chat', s) AS a FROM t")
    looked = world.plans.look(ANN, request, "spark")
    for number in range(plans.MOST):
        world.plans.begin(Owner(f"user-{number}", "t"), looked._replace(id=str(number)), request)
    with pytest.raises(RateLimited):
        world.plans.begin(ANN, looked, request)


@played
async def test_what_asks_nothing_opens_nothing(world: World) -> None:
    for text in ("SELECT 1", "EXPLAIN SELECT ai_query('chat', s) FROM t"):
        found = world.open(text=text)
        assert found["id"] == ""
        assert all(site["ticket"] == "" for site in found["sites"])
    assert world.open(text="INSERT INTO t SELECT ai_query('chat', s) FROM u")["kind"] == "write"
