"""The breaker's arithmetic, and how long is waited before a call is repeated."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.gateway.breaker import (
    SOON_S,
    Breaker,
    Terms,
    answered,
    enter,
    failed,
    forgettable,
    leave,
    wait_s,
)
from tesela.gateway.trouble import pause_s
from tesela.serving import Retries

TERMS = Terms(failures=3, rate=0.5, window_s=30.0, open_s=10.0)


def fail(breaker: Breaker, now: float, terms: Terms = TERMS) -> bool:
    return failed(breaker, terms, now=now, probe=False)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    assert [fail(breaker, now) for _ in range(3)] == [False, False, True]
    return breaker


def test_it_opens_by_number_and_for_its_time() -> None:
    breaker = opened(100.0)
    assert breaker.opened == 100.0
    assert wait_s(breaker, now=100.0) == 10.0
    assert wait_s(breaker, now=109.0) == 1.0
    assert wait_s(breaker, now=110.0) == 0.0
    assert not fail(breaker, 101.0), "calls that were under way when it opened change nothing"
    assert not answered(breaker, TERMS, now=101.0, probe=False)
    assert wait_s(breaker, now=101.0) == 9.0


def test_one_probe_at_a_time_closes_it_or_not() -> None:
    breaker = opened()
    assert enter(breaker, now=10.0, lease_s=60.0)
    assert wait_s(breaker, now=10.0) == SOON_S
    assert not failed(breaker, TERMS, now=12.0, probe=True)
    assert wait_s(breaker, now=12.0) == 10.0
    assert breaker.opened == 0.0, "it has not been closed since"
    assert enter(breaker, now=22.0, lease_s=60.0)
    assert answered(breaker, TERMS, now=23.0, probe=True)
    assert wait_s(breaker, now=23.0) == 0.0
    assert not enter(breaker, now=23.0, lease_s=60.0)
    assert forgettable(breaker, TERMS, now=23.0)


def test_a_probe_that_left_or_was_lost_gives_its_place_up() -> None:
    breaker = opened()
    assert enter(breaker, now=10.0, lease_s=60.0)
    leave(breaker)
    assert wait_s(breaker, now=10.0) == 0.0
    assert enter(breaker, now=10.0, lease_s=60.0)
    assert wait_s(breaker, now=69.0) == SOON_S
    assert wait_s(breaker, now=70.0) == 0.0


def test_a_failure_now_and_then_opens_nothing() -> None:
    breaker = Breaker()
    for now in range(1000):
        assert not fail(breaker, float(now))
        assert not any(answered(breaker, TERMS, now=float(now), probe=False) for _ in range(2))
    assert wait_s(breaker, now=1000.0) == 0.0


def test_failures_that_are_far_apart_open_nothing() -> None:
    breaker = Breaker()
    assert not any(fail(breaker, now * 16.0) for now in range(100))


def test_without_a_number_it_never_opens() -> None:
    breaker = Breaker()
    assert not any(fail(breaker, 0.0, Terms(failures=0)) for _ in range(1000))


def test_what_went_well_for_a_whole_window_is_forgotten() -> None:
    breaker = Breaker()
    fail(breaker, 0.0)
    answered(breaker, TERMS, now=30.0, probe=False)
    assert not forgettable(breaker, TERMS, now=30.0)
    answered(breaker, TERMS, now=30.1, probe=False)
    assert forgettable(breaker, TERMS, now=30.1)


@given(st.lists(st.tuples(st.sampled_from(["fail", "answer", "leave"]), st.integers(0, 20)), max_size=60))
def test_whatever_happens_one_probe_goes_and_its_answer_closes(steps: list[tuple[str, int]]) -> None:
    breaker, now, probing = Breaker(), 0.0, False
    for what, later in steps:
        now += later
        if not probing and wait_s(breaker, now=now) == 0.0:
            probing = enter(breaker, now=now, lease_s=1e9)
            assert probing == (breaker.opened is not None)
        if probing:
            assert wait_s(breaker, now=now) > 0
        if what == "fail":
            assert not (failed(breaker, TERMS, now=now, probe=probing) and probing)
        elif what == "answer":
            assert answered(breaker, TERMS, now=now, probe=probing) == probing
        elif probing:
            leave(breaker)
        probing = False
        assert 0 <= breaker.failures <= breaker.calls
        assert 0.0 <= wait_s(breaker, now=now) <= max(TERMS.open_s, SOON_S)


@given(st.integers(0, 5), st.integers(0, 20), st.floats(0, 1, exclude_max=True))
def test_the_pause_is_never_shorter_than_asked_and_never_longer_than_its_bound(
    repeats: int, asked: int, drawn: float
) -> None:
    retries = Retries(count=5, pause_s=0.5, longest_s=8.0)
    pause = pause_s(retries, repeats, asked, lambda: drawn)
    if asked > 8:
        assert pause is None
    else:
        assert pause is not None
        assert asked <= pause <= max(asked, min(8.0, 0.5 * 2**repeats))


@pytest.mark.parametrize(("repeats", "bound"), [(0, 0.5), (1, 1.0), (2, 2.0), (4, 8.0), (5, 8.0)])
def test_the_bound_doubles_up_to_the_longest(repeats: int, bound: float) -> None:
    assert pause_s(Retries(5), repeats, 0, lambda: 1.0) == bound
    assert pause_s(Retries(5), repeats, 0, lambda: 0.0) == 0.0
