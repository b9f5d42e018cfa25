"""What a worker remembers: bounded, right in its figures, and the same whoever is asked."""

import asyncio
import time
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tesela.telemetry import activity, sharing
from tesela.telemetry.activity import BATCH, ENDPOINTS, MINUTES, RECENT, Activity, Minute, Over, Series, merged
from tesela.telemetry.sharing import Shared
from tesela.wire.usage import Usage


def asked(name: str, at: float, status: int = 200, duration_s: float = 0.1, id: str = "r") -> Over:
    return name, at, duration_s, status, Usage(3, 5), id, "m", "1", "ann", "", None, False


def remembered(own: Activity, name: str) -> Series:
    own.settle()
    found = own.series(name)
    assert found is not None
    return found


def test_requests_are_counted_by_the_minute() -> None:
    own = Activity()
    for at, status in ((60, 200), (61, 500), (119, 499), (120, 200), (120, 429)):
        own.add(asked("chat", at, status))
    minutes = remembered(own, "chat").minutes
    assert {number: (one.requests, one.failed, one.cancelled) for number, one in minutes.items()} == {
        1: (3, 1, 1),
        2: (2, 1, 0),
    }
    assert (minutes[1].prompt_tokens, minutes[1].completion_tokens) == (9, 15)
    assert own.changes == 5


def test_a_batch_is_counted_without_being_asked() -> None:
    own = Activity()
    for number in range(BATCH):
        own.add(asked("chat", number))
    assert own.changes == BATCH


def test_what_is_remembered_is_bounded() -> None:
    own = Activity()
    for minute in range(MINUTES + 50):
        own.add(asked("chat", 60.0 * minute, id=str(minute)))
    found = remembered(own, "chat")
    assert len(found.minutes) == MINUTES
    assert min(found.minutes) == 50
    assert [one.request_id for one in found.recent] == [str(MINUTES + 50 - RECENT + n) for n in range(RECENT)]
    for number in range(ENDPOINTS + 20):
        own.add(asked(f"e{number}", 1e6))
    own.settle()
    assert len(own.endpoints()) == ENDPOINTS
    assert own.series("chat") is None
    assert own.series("e10") is None


def test_the_endpoint_that_was_asked_longest_ago_goes_first() -> None:
    own = Activity()
    per = MINUTES
    names = [f"e{number}" for number in range(activity.BUCKETS // per + 2)]
    for name in names:
        for minute in range(per):
            own.add(asked(name, 60.0 * minute))
    own.settle()
    total = sum(len(remembered(own, name).minutes) for name in own.endpoints())
    assert total <= activity.BUCKETS
    assert own.series(names[0]) is None
    assert own.series(names[-1]) is not None


@given(st.lists(st.floats(0, 200), min_size=1, max_size=60), st.floats(0.01, 1))
def test_a_percentile_is_in_the_class_of_the_true_one(durations: list[float], share: float) -> None:
    own = Activity()
    for one in durations:
        own.add(asked("chat", 1, duration_s=one))
    found = remembered(own, "chat").minutes[0].percentile_ms(share)
    assert found is not None
    ordered = sorted(1000 * one for one in durations)
    true = ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
    bounds = (0, *activity.BOUNDS_MS, float("inf"))
    place = next(at for at in range(len(bounds) - 1) if bounds[at] <= found <= bounds[at + 1])
    assert bounds[max(0, place - 1)] <= true <= bounds[min(len(bounds) - 1, place + 2)]


def test_no_request_has_no_percentile() -> None:
    assert Minute().percentile_ms(0.5) is None


def test_several_workers_are_put_together() -> None:
    one, other = Activity(), Activity()
    one.add(asked("chat", 60, id="a"))
    other.add(asked("chat", 61, 500, id="b"))
    found = merged([remembered(one, "chat"), remembered(other, "chat")])
    assert [r.request_id for r in found.recent] == ["b", "a"]
    assert (found.minutes[1].requests, found.minutes[1].failed) == (2, 1)
    assert sum(found.minutes[1].classes) == 2
    # The parts are as they were.
    assert remembered(one, "chat").minutes[1].requests == 1


def test_a_worker_reads_what_its_siblings_left(tmp_path: Path) -> None:
    async def run() -> None:
        one, other = Activity(), Activity()
        shared, sibling = Shared(one, tmp_path, 1, alone=False), Shared(other, tmp_path, 2, alone=False)
        other.add(asked("chat", 60, id="theirs"))
        one.add(asked("chat", 61, id="mine"))
        one.settle()
        sibling.start(asyncio.get_running_loop())
        end = time.monotonic() + 20
        while len(shared.of("chat").recent) < 2:
            assert time.monotonic() < end
            await asyncio.sleep(0.02)
        assert [r.request_id for r in shared.of("chat").recent] == ["mine", "theirs"]
        (tmp_path / f"{sharing.PREFIX}9").write_bytes(b"no activity")
        (tmp_path / f"{sharing.PREFIX}8").write_bytes(msgspec.msgpack.encode({"chat": [1]}))
        (tmp_path / f"{sharing.PREFIX}7").write_bytes(b"")
        assert len(shared.of("chat").recent) == 2
        await asyncio.to_thread(sibling.stop)
        assert len(shared.of("chat").recent) == 1

    asyncio.run(run())


def test_what_a_killed_worker_left_goes_when_its_successor_starts(tmp_path: Path) -> None:
    async def run() -> None:
        killed = Activity()
        killed.add(asked("chat", 60, id="before"))
        left = tmp_path / f"{sharing.PREFIX}2"
        left.write_bytes(msgspec.msgpack.encode({"chat": remembered(killed, "chat")}))
        sibling = Shared(Activity(), tmp_path, 1, alone=False)
        assert [r.request_id for r in sibling.of("chat").recent] == ["before"]
        successor = Shared(Activity(), tmp_path, 2, alone=False)
        successor.start(asyncio.get_running_loop())
        assert sibling.of("chat").recent == successor.of("chat").recent == []
        await asyncio.to_thread(successor.stop)

    asyncio.run(run())


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 300), st.sampled_from([200, 499, 500])), max_size=200
    )
)
def test_however_requests_are_spread_over_workers_the_sums_are_the_same(given: list[tuple[str, int, int]]) -> None:
    workers = [Activity() for _ in range(3)]
    for at, (name, ended, status) in enumerate(given):
        workers[at % 3].add(asked(name, ended, status, id=str(at)))
    for one in workers:
        one.settle()
    for name in ("a", "b"):
        found = merged(part for one in workers if (part := one.series(name)) is not None)
        of = [(ended, status, str(at)) for at, (other, ended, status) in enumerate(given) if other == name]
        assert {(r.ended, r.status, r.request_id) for r in found.recent} == set(of)
        assert [r.ended for r in found.recent] == sorted((one[0] for one in of), reverse=True)
        for number, minute in found.minutes.items():
            of_it = [status for ended, status, _ in of if ended // 60 == number]
            assert (minute.requests, minute.failed, minute.cancelled) == (
                len(of_it), of_it.count(500), of_it.count(499),
            )  # fmt: skip
            assert sum(minute.classes) == len(of_it)
        assert sum(one.requests for one in found.minutes.values()) == len(of)


def test_who_is_alone_leaves_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        own = Activity()
        shared = Shared(own, tmp_path, 1, alone=True)
        shared.start(asyncio.get_running_loop())
        own.add(asked("chat", 60))
        own.settle()
        assert len(shared.of("chat").recent) == 1
        assert shared.of("nothing").recent == []
        shared.stop()

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []
