"""The split of traffic and the order of fallbacks."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import endpoint, entity

from tesela.errors import NotFound
from tesela.gateway.traffic import MAX_FALLBACKS, SHUT, named, order


def never() -> float:
    raise AssertionError("there was nothing to choose")


SHARES = st.lists(st.integers(0, 100), min_size=1, max_size=6)


@given(SHARES, st.floats(0, 1, exclude_max=True), st.booleans())
def test_the_first_is_drawn_and_the_others_follow_as_configured(
    shares: list[int], drawn: float, fallback: bool
) -> None:
    entities = tuple(entity(f"e{i}", share) for i, share in enumerate(shares))
    tried = order(endpoint("x", *entities, fallback=fallback), lambda: drawn)
    if len(entities) > 1 and any(shares):
        assert tried[0].percentage > 0
    rest = [one for one in entities if one is not tried[0]]
    assert list(tried[1:]) == (rest[:MAX_FALLBACKS] if fallback else [])


@given(SHARES.filter(lambda shares: any(shares) and len(shares) > 1))
def test_each_entity_gets_its_share_of_the_line(shares: list[int]) -> None:
    entities = tuple(entity(f"e{i}", share) for i, share in enumerate(shares))
    total = sum(shares)
    point = endpoint("x", *entities)
    # One draw in the middle of each percent: an exact count, no chance in it.
    found = Counter(order(point, lambda at=(i + 0.5) / total: at)[0].name for i in range(total))  # type: ignore[misc]
    assert found == Counter({one.name: one.percentage for one in entities if one.percentage})


def test_shares_converge() -> None:
    point = endpoint("x", entity("a", 70), entity("b", 25), entity("c", 5), entity("d", 0))
    source = random.Random(7)
    found = Counter(order(point, source.random)[0].name for _ in range(20_000))
    assert found["d"] == 0
    for name, share in (("a", 0.70), ("b", 0.25), ("c", 0.05)):
        assert abs(found[name] / 20_000 - share) < 0.01


def test_one_entity_is_no_choice() -> None:
    only = entity("a", 0)
    assert order(endpoint("x", only, fallback=True), never) == (only,)


def test_an_entity_without_traffic_is_reached_by_fallback_only() -> None:
    first, second = entity("a", 100), entity("b", 0)
    for drawn in (0.0, 0.5, 0.999999):
        assert order(endpoint("x", second, first, fallback=True), lambda drawn=drawn: drawn) == (first, second)  # type: ignore[misc]


def test_one_entity_by_name() -> None:
    first, second = entity("a", 100), entity("b", 0)
    point = endpoint("x", first, second, fallback=True)
    assert named(point, "b") == (second,)
    with pytest.raises(NotFound, match="'x' has no served entity 'c'; it has 'a', 'b'"):
        named(point, "c")


RANKS = st.lists(st.sampled_from([0.0, 1.0, SHUT, SHUT + 3]), min_size=2, max_size=8)


@given(RANKS, st.floats(0, 1, exclude_max=True))
def test_those_that_are_not_well_come_later_or_not_at_all(ranks: list[float], drawn: float) -> None:
    entities = [entity(f"e{i}", 10) for i in range(len(ranks))]
    found = {one.name: rank for one, rank in zip(entities, ranks, strict=True)}
    point = endpoint("x", *entities, fallback=True)
    chosen = order(point, lambda: drawn)[0]
    tried = order(point, lambda: drawn, lambda one: found[one.name])
    told = [found[one.name] for one in tried]
    able = [rank for rank in ranks if rank < SHUT]
    if not able:
        assert told == [min(ranks)], "the one that can be asked soonest says so"
        return
    assert told == sorted(able)[: 1 + MAX_FALLBACKS]
    if found[chosen.name] == min(ranks):
        assert tried[0] is chosen, "the split decides among those that are well"
    rest = [one for one in tried if one is not chosen]
    assert rest == sorted(rest, key=lambda one: (found[one.name], entities.index(one)))


def test_without_fallback_the_split_is_kept() -> None:
    point = endpoint("x", entity("a", 50), entity("b", 50))
    assert order(point, lambda: 0.0, lambda one: SHUT) == (point.entities[0],)
