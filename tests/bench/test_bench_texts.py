"""The texts that the local engine is measured with."""

from bench.texts import batch, text


def test_texts_differ_so_that_nothing_is_answered_from_a_cache() -> None:
    assert len({text(number) for number in range(200)}) == 200
    assert batch(1, 32) == [text(number) for number in range(32, 64)]
    assert batch(0, 32) == batch(0, 32)
