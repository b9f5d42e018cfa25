"""How many requests at once, and when again: arithmetic."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela.sql.calls import again, limit
from tesela.sql.calls.again import Patience


def test_a_refusal_halves_the_limit_once_for_all_that_were_out() -> None:
    found = limit.of(64)
    for out in range(63, -1, -1):
        limit.refused(found, out)
    assert found.now == 32
    limit.refused(found, 20)
    assert found.now == 16


def test_answers_bring_it_back_one_by_one_and_never_beyond() -> None:
    found = limit.of(4)
    limit.refused(found, 0)
    assert found.now == 2
    for _ in range(2):
        limit.answered(found)
    assert found.now == 3
    for _ in range(100):
        limit.answered(found)
    assert found.now == 4


@given(st.integers(1, 300), st.lists(st.booleans(), max_size=200), st.integers(0, 300))
def test_it_stays_within_bounds(most: int, good: list[bool], out: int) -> None:
    found = limit.of(most)
    for one in good:
        limit.answered(found) if one else limit.refused(found, out)
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
