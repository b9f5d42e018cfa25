"""Rows in, answers out: each request is paid for once, whatever happens on the way."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tesela.errors import InvalidRequest, StatementCanceled, StatementError, StoreUnavailable
from tesela.sql.calls.again import NO_CONNECTION, Patience
from tesela.sql.calls.answers import Answers
from tesela.sql.calls.engine import Calls
from tesela.sql.calls.keeping import Keeping
from tesela.sql.calls.statement import Recent
from tesela.sql.calls.values import Asked, Owner, Reply
from tesela.sql.site import Site
from tesela.sql.speak.base import BrokenAnswer
from tesela.wire.tasks import Task

ANN, BOB = Owner("ann", "token-a"), Owner("bob", "token-b")


class Echo:
    """Asks for the text of a row and says it in capitals."""

    def __init__(self, batch: int = 1) -> None:
        self.batch = batch

    def request(self, row: Sequence[Any]) -> bytes | None:
        return None if row[0] is None else json.dumps({"q": [row[0]]}).encode()

    def answer(self, body: bytes) -> Any:
        found = json.loads(body)["a"]
        if found == ["BROKEN"]:
            raise BrokenAnswer("the model did not keep to the form", "BROKEN")
        return found[0]

    def join(self, bodies: Sequence[bytes]) -> bytes:
        return json.dumps({"q": [json.loads(body)["q"][0] for body in bodies]}).encode()

    def split(self, answer: bytes, bodies: Sequence[bytes]) -> list[bytes]:
        return [json.dumps({"a": [one]}).encode() for one in json.loads(answer)["a"]]


class Endpoint:
    """Answers when the test lets it.  `statuses` come first."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.seen: list[tuple[str, str, list[str]]] = []
        self.most = self.now = 0
        self.gate: asyncio.Event | None = None

    async def send(self, owner: Owner, endpoint: str, body: bytes) -> Reply:
        asked = json.loads(body)["q"]
        self.seen.append((owner.id, endpoint, asked))
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.gate is not None:
                await self.gate.wait()
            else:
                await asyncio.sleep(0)
        finally:
            self.now -= 1
        status = self.statuses.pop(0) if self.statuses else 200
        if status != 200:
            return Reply(status, {b"retry-after": b"2"}, b'{"message": "not now"}')
        said = {"a": [one.upper() for one in asked], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
        return Reply(200, {}, json.dumps(said).encode())

    @property
    def asked(self) -> list[str]:
        return sorted(one for _, _, some in self.seen for one in some)


class World:
    """Calls with a store in a folder, time that passes at once, and chance that is none."""

    def __init__(self, folder: Path | None, *statuses: int) -> None:
        self.endpoint = Endpoint(*statuses)
        self.slept: list[float] = []
        self.answers = Answers(folder / "answers.db") if folder is not None else None
        self.keeping = Keeping(self.answers) if self.answers is not None else None
        self.calls = Calls(
            self.endpoint.send, self.keeping, patience=Patience(attempts=3), sleep=self._sleep, draw=lambda: 1.0
        )
        self.count = 0

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await asyncio.sleep(0)

    def begin(
        self, owner: Owner = ANN, *, batch: int = 1, failing: bool = True, mode: Any = "keep", most: int = 64,
        served: str = "v1", lasting: bool = False,
    ) -> tuple[str, str]:  # fmt: skip
        """(the statement's id, its ticket)."""
        self.count += 1
        id = f"s{self.count}"
        value = "STRING" if failing else "STRUCT<result: STRING, errorMessage: STRING>"
        site = Site("u", "ai_query", "chat", Task.CHAT, "STRING", value, fail_on_error=failing, position=(1, 8))
        asked = [Asked(site, Echo(batch), served)]
        return id, self.calls.begin(id, owner, asked, mode, most, lasting=lasting)["u"]

    async def ask(self, *texts: str | None, **more: Any) -> list[Any]:
        _, ticket = self.begin(**more)
        return await self.calls.rows(ticket, [(text,) for text in texts])

    async def close(self) -> None:
        if self.keeping is not None and self.answers is not None:
            await self.keeping.close()
            self.answers.close()


def played(test: Callable[..., Awaitable[None]]) -> Callable[[Path], None]:
    def wrapper(tmp_path: Path) -> None:
        asyncio.run(asyncio.wait_for(test(tmp_path), 20))

    wrapper.__name__ = getattr(test, "__name__", "test")
    return wrapper


@played
async def test_rows_are_answered_in_order_and_equal_ones_asked_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert await world.ask("a", None, "b", "a", None, "c") == ["A", None, "B", "A", None, "C"]
    assert world.endpoint.asked == ["a", "b", "c"]
    await world.close()


@played
async def test_what_was_answered_is_never_paid_twice(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.ask("a", "b")
    await world.close()
    second = World(tmp_path)
    id, ticket = second.begin()
    assert await second.calls.rows(ticket, [("a",), ("b",), ("c",)]) == ["A", "B", "C"]
    assert second.endpoint.asked == ["c"]
    progress = second.calls.progress(id)
    assert progress is not None
    assert (progress.rows, progress.kept, progress.prompt_tokens) == (3, 2, 3)
    await second.close()


@played
async def test_modes(tmp_path: Path) -> None:
    world = World(tmp_path)
    await world.ask("a", mode="off")
    await world.ask("a", mode="keep")
    assert world.endpoint.asked == ["a", "a"], "off keeps nothing"
    await world.ask("a", mode="again")
    assert len(world.endpoint.asked) == 3
    await world.ask("a", mode="keep")
    assert len(world.endpoint.asked) == 3
    await world.close()


@played
async def test_answers_are_their_owners_and_of_one_configuration(tmp_path: Path) -> None:
    world = World(tmp_path)
    for more in ({}, {"owner": BOB}, {"served": "v2"}):
        await world.ask("a", **more)
    assert [owner for owner, _, _ in world.endpoint.seen] == ["ann", "bob", "ann"]
    await world.close()


@played
async def test_an_error_ends_a_run_of_a_lasting_statement_and_not_the_statement(tmp_path: Path) -> None:
    world = World(tmp_path, 200, 400)
    id, ticket = world.begin(lasting=True, most=1)
    asking = [asyncio.create_task(world.calls.rows(ticket, [(text,)])) for text in ("a", "b", "c")]
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(found[1], StatementError)
    assert isinstance(found[2], StatementError), "nothing more is sent in that run"
    assert await world.calls.rows(ticket, [("a",), ("b",), ("c",)]) == ["A", "B", "C"]
    assert world.endpoint.asked == ["a", "b", "b", "c"]
    world.calls.rest(id)
    assert await world.calls.rows(ticket, [("a",)]) == ["A"], "it was kept"
    assert len(world.endpoint.seen) == 4
    _, other = world.begin()
    world.endpoint.statuses = [400]
    for _ in range(2):
        with pytest.raises(StatementError):
            await world.calls.rows(other, [("d",)])
    assert world.endpoint.asked.count("d") == 1, "another one is over with its first error"
    world.calls.end(id)
    with pytest.raises(InvalidRequest, match="run it again"):
        await world.calls.rows(ticket, [("a",)])
    await world.close()


@played
async def test_requests_under_way_are_shared_by_statements_of_one_owner(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.endpoint.gate = asyncio.Event()
    asking = [asyncio.create_task(world.ask("a", owner=owner)) for owner in (ANN, ANN, BOB)]
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert sorted(owner for owner, _, _ in world.endpoint.seen) == ["ann", "bob"]
    world.endpoint.gate.set()
    assert await asyncio.gather(*asking) == [["A"]] * 3
    await world.close()


@played
async def test_a_statement_that_ends_leaves_its_requests_to_those_who_wait_for_them(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.endpoint.gate = asyncio.Event()
    first, ticket = world.begin(most=1)
    asking = asyncio.create_task(world.calls.rows(ticket, [("a",), ("b",), ("c",)]))
    while len(world.endpoint.seen) < 1:
        await asyncio.sleep(0.001)
    other = asyncio.create_task(world.ask("b", "a", "c"))
    await asyncio.sleep(0.01)
    assert len(world.endpoint.seen) == 1, "the other one waits for them all"
    world.calls.cancel(first)
    with pytest.raises(StatementCanceled):
        await asking
    world.endpoint.gate.set()
    assert await other == ["B", "A", "C"]
    assert world.endpoint.asked == ["a", "b", "c"]
    await world.close()


@played
async def test_a_call_that_is_evaluated_twice_is_asked_once(tmp_path: Path) -> None:
    world = World(None)
    _, ticket = world.begin(mode="off")
    for _ in range(2):
        assert await world.calls.rows(ticket, [("a",), ("b",)]) == ["A", "B"]
    assert world.endpoint.asked == ["a", "b"]


@played
async def test_asking_anew_asks_equal_rows_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.endpoint.gate = asyncio.Event()
    _, ticket = world.begin(mode="again")
    asking = [asyncio.create_task(world.calls.rows(ticket, [("a",), ("b",)])) for _ in range(2)]
    await asyncio.sleep(0.01)
    world.endpoint.gate.set()
    assert await asyncio.gather(*asking) == [["A", "B"]] * 2
    assert world.endpoint.asked == ["a", "b"]
    await world.close()


def test_what_a_statement_remembers_is_bounded() -> None:
    recent = Recent(most=100)
    for number in range(50):
        recent.add(b"%02d" % number, b"x" * 8)
    assert recent.get(b"00") is None
    assert recent.get(b"49") == b"x" * 8
    assert sum(recent.get(b"%02d" % number) is not None for number in range(50)) == 10


@played
async def test_several_rows_go_in_one_request_and_are_kept_by_themselves(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert await world.ask("a", "b", "c", batch=2) == ["A", "B", "C"]
    assert [some for _, _, some in world.endpoint.seen] == [["a", "b"], ["c"]]
    assert await world.ask("b", batch=1) == ["B"]
    assert len(world.endpoint.seen) == 2
    await world.close()


@played
async def test_the_limit_is_one_for_all_tasks_of_a_statement(tmp_path: Path) -> None:
    world = World(tmp_path)
    _, ticket = world.begin(most=5)
    rows = [[(f"{task}-{row}",) for row in range(40)] for task in range(3)]
    found = await asyncio.gather(*(world.calls.rows(ticket, some) for some in rows))
    assert [one for some in found for one in some] == [text.upper() for some in rows for (text,) in some]
    assert world.endpoint.most == 5
    await world.close()


@played
async def test_what_may_come_right_is_asked_again(tmp_path: Path) -> None:
    world = World(tmp_path, 429, NO_CONNECTION)
    id, ticket = world.begin()
    assert await world.calls.rows(ticket, [("a",)]) == ["A"]
    assert world.slept == [2.5, 3.0], "what was asked for, and chance on top"
    progress = world.calls.progress(id)
    assert progress is not None
    assert progress.repeats == 2
    await world.close()


@played
async def test_a_final_error_fails_the_statement_in_the_endpoints_words(tmp_path: Path) -> None:
    for statuses, times in (((400,), ""), ((429,) * 18, ", 3 times")):
        world = World(tmp_path, *statuses)
        id, ticket = world.begin(most=1)
        with pytest.raises(StatementError) as caught:
            await world.calls.rows(ticket, [(text,) for text in "abcdef"])
        told = f"ai_query at 1:8: endpoint 'chat' answered with status {statuses[0]}{times}: not now"
        assert caught.value.message == told
        assert caught.value.error_class == "AI_FUNCTION_HTTP_REQUEST_ERROR"
        before = len(world.endpoint.seen)
        with pytest.raises(StatementError):
            await world.calls.rows(ticket, [("z",)])
        await asyncio.sleep(0.01)
        assert len(world.endpoint.seen) == before, "nothing new is sent"
        world.calls.end(id)
        await world.close()


@played
async def test_errors_of_rows_where_they_may_fail(tmp_path: Path) -> None:
    world = World(tmp_path, 400)
    found = await world.ask("a", "b", None, "broken", failing=False, most=1)
    assert found[1:3] == [{"result": "B", "errorMessage": None}, {"result": None, "errorMessage": None}]
    assert found[0]["result"] is None
    assert "status 400" in found[0]["errorMessage"]
    assert found[3] == {"result": None, "errorMessage": "the model did not keep to the form; it said: BROKEN"}
    before = len(world.endpoint.seen)
    again = await world.ask("a", "b", "broken", failing=False)
    assert again[0] == {"result": "A", "errorMessage": None}, "an error is not kept as an answer"
    assert len(world.endpoint.seen) == before + 2, "nor is what the model broke"
    await world.close()


@played
async def test_cancelling_raises_and_what_was_sent_is_kept(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.endpoint.gate = asyncio.Event()
    id, ticket = world.begin(most=2)
    asking = asyncio.create_task(world.calls.rows(ticket, [(text,) for text in "abcd"]))
    while len(world.endpoint.seen) < 2:
        await asyncio.sleep(0.001)
    world.calls.cancel(id)
    with pytest.raises(StatementCanceled):
        await asking
    world.endpoint.gate.set()
    assert world.answers is not None
    while world.answers.size()[0] < 2:
        await asyncio.sleep(0.001)
    assert len(world.endpoint.seen) == 2
    with pytest.raises(StatementCanceled):
        await world.calls.rows(ticket, [("x",)])
    world.calls.end(id)
    with pytest.raises(InvalidRequest, match="is over"):
        await world.calls.rows(ticket, [("x",)])
    world.endpoint.gate = None
    assert await world.ask("a", "b", "c", "d") == ["A", "B", "C", "D"]
    assert len(world.endpoint.seen) == 4
    await world.close()


@played
async def test_a_store_that_fails_fails_the_statement(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.answers is not None
    world.answers.close()
    with pytest.raises(StoreUnavailable):
        await world.ask("a")
    assert world.keeping is not None
    await world.keeping.close()


@played
async def test_one_commit_for_what_arrives_meanwhile(tmp_path: Path) -> None:
    commits: list[int] = []

    class Slow:
        def find(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
            return {}

        def keep(self, rows: Sequence[tuple[bytes, str, bytes]], *, now: float) -> None:
            commits.append(len(rows))

    keeping = Keeping(Slow())
    await asyncio.gather(*(keeping.keep(b"%d" % number, "o", b"v") for number in range(100)))
    assert sum(commits) == 100
    assert len(commits) <= 3
    await keeping.close()


def test_an_owners_bearer_is_in_no_repr() -> None:
    assert "token-a" not in repr(ANN)


@settings(max_examples=60)
@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "c", "d", None]), max_size=6), min_size=1, max_size=4),
    st.lists(st.sampled_from([200, 429, 500, 503]), max_size=6),
    st.integers(1, 4),
    st.integers(1, 3),
)
def test_whatever_the_endpoint_does_each_row_gets_its_answer(
    batches: list[list[str | None]], statuses: list[int], most: int, batch: int
) -> None:
    """With enough patience: every row its own answer, NULL for NULL, and never more at once than may be."""

    async def then() -> None:
        world = World(None, *statuses)
        world.calls = Calls(
            world.endpoint.send, None, patience=Patience(attempts=20), sleep=world._sleep, draw=lambda: 0.0
        )
        _, ticket = world.begin(most=most, batch=batch)
        found = await asyncio.gather(*(world.calls.rows(ticket, [(text,) for text in texts]) for texts in batches))
        assert found == [[None if text is None else text.upper() for text in texts] for texts in batches]
        assert world.endpoint.most <= most

    asyncio.run(asyncio.wait_for(then(), 20))
