"""The arithmetic behind the table."""

import math

import pytest
from bench.figures import in_turn, middle, percentile, ratios, summary
from hypothesis import given
from hypothesis import strategies as st


@given(st.lists(st.integers(0, 10**9), min_size=1), st.floats(0.001, 1.0))
def test_a_percentile_is_a_measured_value_with_the_right_share_at_or_below(values: list[int], share: float) -> None:
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in ordered
    assert sum(value <= found for value in ordered) >= share * len(ordered)


def test_percentiles_by_hand() -> None:
    ordered = list(range(1, 101))
    assert [percentile(ordered, share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert math.isnan(percentile([], 0.5))


def test_summary_is_in_microseconds() -> None:
    assert summary([]) == {"count": 0}
    assert summary([3_000, 1_000, 2_000]) == {"count": 3, "p50_us": 2.0, "p99_us": 3.0, "max_us": 3.0}


def test_the_median_keeps_what_all_rounds_have() -> None:
    assert middle([{"a": 1, "b": 5}, {"a": 9}, {"a": 2, "b": 6}]) == {"a": 2}
    assert middle([]) == {}


def test_ratios_are_taken_round_by_round() -> None:
    # One round met a machine half as fast; the ratio does not show it.
    assert ratios([20, 40, 22], [10, 20, 10]) == {"median": 2.0, "low": 2.0, "high": 2.2}
    assert ratios([], []) == {}
    with pytest.raises(ValueError, match="zip"):
        ratios([1], [1, 2])


@given(st.lists(st.integers(), unique=True, min_size=1, max_size=6))
def test_over_the_rounds_everybody_goes_first_and_nobody_is_left_out(items: list[int]) -> None:
    orders = [in_turn(items, turn) for turn in range(2 * len(items))]
    assert all(sorted(order) == sorted(items) for order in orders)
    assert {order[0] for order in orders} == set(items)
