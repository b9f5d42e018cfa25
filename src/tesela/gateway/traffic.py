"""Which served entities a request tries, and in which order.  Pure: the source of chance is an argument."""

from collections.abc import Callable

from tesela.errors import NotFound
from tesela.serving import Endpoint, ServedEntity

MAX_FALLBACKS = 2
"""As Databricks documents it for external models."""
SHUT = 2.0
"""The rank from which on an entity is not called."""


def order(
    endpoint: Endpoint, draw: Callable[[], float], rank: Callable[[ServedEntity], float] | None = None
) -> tuple[ServedEntity, ...]:
    """The entity that the traffic split chooses, then the fallbacks in the order of the configuration.

    `draw` gives a number uniform in [0, 1); it is called when there is a choice.  Entities with
    0 % are reached by fallback only.  `rank` is given when some upstreams are not well: 0 for one that may be, more
    for one that asked to be left alone, which goes behind the others, and `SHUT` or more for one that cannot be called.
    """
    entities = endpoint.entities
    if len(entities) == 1:
        return entities
    left = draw() * sum(entity.percentage for entity in entities)
    chosen = entities[0]
    for entity in entities:
        if entity.percentage > 0:
            chosen = entity
            left -= entity.percentage
            if left < 0:
                break
    if not endpoint.fallback:
        return (chosen,)
    others = [entity for entity in entities if entity is not chosen]
    if rank is None:
        return (chosen, *others[:MAX_FALLBACKS])
    ranked = sorted(((rank(entity), entity) for entity in (chosen, *others)), key=lambda pair: pair[0])
    able = [entity for found, entity in ranked if found < SHUT]
    # When none can be called, the one that can be soonest says so.
    return tuple(able[: 1 + MAX_FALLBACKS]) or (ranked[0][1],)


def named(endpoint: Endpoint, entity: str) -> tuple[ServedEntity, ...]:
    """One served entity asked for by name; the split and the fallbacks do not apply.  Raises NotFound."""
    for candidate in endpoint.entities:
        if candidate.name == entity:
            return (candidate,)
    known = ", ".join(repr(candidate.name) for candidate in endpoint.entities)
    raise NotFound(f"endpoint {endpoint.name!r} has no served entity {entity!r}; it has {known}")
