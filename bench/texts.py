"""Texts for the local engine's part of the bench: the same for every system, different in every request."""

_THINGS = ("lighthouse", "violin", "glacier", "printing press", "beehive", "railway", "compass", "vineyard")
_DOINGS = ("how it is built", "who first made one", "why it lasts", "what breaks first", "where to see a good one")
_PLACES = ("in the north", "by the sea", "in a large city", "high in the mountains", "on an island")


def text(number: int) -> str:
    """A sentence of about fifteen tokens; the first two hundred differ from each other."""
    thing = _THINGS[number % len(_THINGS)]
    doing = _DOINGS[number // len(_THINGS) % len(_DOINGS)]
    place = _PLACES[number // (len(_THINGS) * len(_DOINGS)) % len(_PLACES)]
    return f"A short note about a {thing} {place}, and {doing}."


def batch(number: int, size: int) -> list[str]:
    """The texts of request `number`."""
    return [text(number * size + index) for index in range(size)]
