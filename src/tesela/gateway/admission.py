"""How many calls an upstream gets at once.

A local engine works on a few requests at a time and keeps the others in a queue without an end; what goes beyond its
limit is told to come back, while it can still do so soon.
"""

from tesela.errors import RateLimited
from tesela.serving import ServedEntity


def admit(in_flight: dict[str, int], entity: ServedEntity, endpoint: str) -> str:
    """Count a call against the limit of its upstream, which all endpoints over it share.

    Gives the key to take one off again by; empty when there is no limit.  Raises RateLimited when it is reached.
    """
    limit = entity.upstream.limit
    if not limit:
        return ""
    busy = in_flight.get(entity.admission, 0)
    if busy >= limit:
        raise RateLimited(
            f"the model behind {endpoint!r} has {busy} requests under way, as many as it takes; try again in a second",
            retry_after_s=1,
        )
    in_flight[entity.admission] = busy + 1
    return entity.admission
