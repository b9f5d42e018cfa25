"""How many requests at once, and when again: arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.sql.calls import again, limit
from tesela.sql.calls.again import Patience


def grown(most: int) -> limit.Limit:
    found = limit.of(most)
    while found.now < most:
        limit.answered(found, 0.05)
    return found


def test_it_doubles_with_each_round_until_it_is_what_was_asked_for() -> None:
    found = limit.of(100)
    seen = []
    for _ in range(300):
        if found.now not in seen:
            seen.append(found.now)
        limit.answered(found, 0.05)
    assert seen == [8, 16, 32, 64, 100]
    assert limit.of(3).now == 3


def test_a_refusal_halves_the_limit_once_for_all_that_were_out() -> None:
    found = grown(64)
    for out in range(63, -1, -1):
        limit.refused(found, out)
    assert found.now == 32
    limit.refused(found, 20)
    assert found.now == 16


def test_answers_bring_it_back_one_by_one_and_never_beyond() -> None:
    found = grown(4)
    limit.refused(found, 0)
    assert found.now == 2
    for _ in range(2):
        limit.answered(found, 0.05)
    assert found.now == 3
    for _ in range(100):
        limit.answered(found, 0.05)
    assert found.now == 4


@given(st.integers(1, 8), st.floats(0.01, 2.0))
def test_an_endpoint_that_does_a_few_at_once_is_not_sent_many(slots: int, each_s: float) -> None:
    """Beyond its slots requests wait there: an answer takes longer the more are out."""
    found = limit.of(256)
    most = 0
    for _ in range(20_000):
        limit.answered(found, each_s * max(1.0, found.now / slots))
        most = max(most, found.now)
    assert found.now <= 8 * max(slots, limit.FIRST)
    assert found.now >= slots


def test_an_endpoint_that_becomes_slower_for_good_is_believed() -> None:
    found = grown(64)
    for _ in range(5000):
        limit.answered(found, 1.0)
    assert found.now == 64


@given(st.integers(8, 256))
def test_answers_that_take_the_same_whatever_is_sent_lessen_nothing(most: int) -> None:
    found = limit.of(most)
    for _ in range(10 * most):
        limit.answered(found, 0.05)
    assert found.now == most


@given(st.integers(1, 300), st.lists(st.none() | st.floats(0, 100), max_size=200), st.integers(0, 300))
def test_it_stays_within_bounds(most: int, took: list[float | None], out: int) -> None:
    found = limit.of(most)
    for one in took:
        limit.answered(found, one) if one is not None else limit.refused(found, out)
        assert 1 <= found.now <= most
        assert found.ignore >= 0


@pytest.mark.parametrize(
    ("status", "headers", "made", "expected"),
    [
        (429, {}, 1, 0.5),
        (503, {}, 2, 1.0),
        (500, {}, 7, 30.0),
        (again.NO_CONNECTION, {}, 1, 0.5),
        (429, {b"retry-after": b"7"}, 1, 7.5),
        (429, {b"retry-after": b"9999"}, 1, 300.5),
        (429, {b"retry-after": b"soon"}, 1, 0.5),
        (429, {}, 8, None),
        (400, {}, 1, None),
        (401, {}, 1, None),
        (404, {}, 1, None),
        (501, {}, 1, None),
    ],
)
def test_when_again(status: int, headers: dict[bytes, bytes], made: int, expected: float | None) -> None:
    assert again.pause(status, headers, made, Patience(), lambda: 1.0) == expected
