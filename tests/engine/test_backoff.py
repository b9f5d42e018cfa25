from hypothesis import given
from hypothesis import strategies as st

from tesela.engine.backoff import EARLY_S, HEALTHY_S, Tally, after_death, delay_s


def test_doubles_from_a_tenth_of_a_second_to_thirty() -> None:
    tally, delays = Tally(), []
    for _ in range(12):
        tally = after_death(tally, EARLY_S)
        delays.append(delay_s(tally))
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0, 30.0]


def test_five_early_deaths_fail_and_wait_thirty_seconds() -> None:
    tally = Tally()
    for _ in range(4):
        tally = after_death(tally, 0.0)
        assert not tally.failed
    tally = after_death(tally, 0.0)
    assert tally.failed
    assert delay_s(tally) == 30.0


def test_a_death_that_is_not_early_breaks_the_row() -> None:
    tally = Tally()
    for lasted in (0, 0, 0, 0, EARLY_S, 0):
        tally = after_death(tally, lasted)
    assert not tally.failed


@given(st.lists(st.floats(0, 1000), max_size=60))
def test_delays_stay_in_bounds_and_health_forgets(lives: list[float]) -> None:
    tally, before = Tally(), 0.0
    for lasted in lives:
        tally = after_death(tally, lasted)
        delay = delay_s(tally)
        assert 0.1 <= delay <= 30.0
        if lasted >= HEALTHY_S:
            assert delay == 0.1
        elif not tally.failed and before < 30.0:
            assert delay >= before
        before = delay
