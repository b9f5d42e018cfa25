"""What one worker has counted since it started: requests, tokens and failures, per endpoint, entity and principal."""

from tesela.wire.usage import Usage


class Counts:
    """Sums for one (endpoint, served entity, principal).  A plain object: it is added to on every request."""

    __slots__ = ("cancelled", "completion_tokens", "failed", "prompt_tokens", "requests")

    def __init__(self) -> None:
        self.requests = 0
        self.failed = 0
        self.cancelled = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0


class Tally:
    """All counts of this worker."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str, str], Counts] = {}

    def add(self, key: tuple[str, str, str], status: int, usage: Usage | None) -> None:
        """Record one finished invocation.  499 stands for a caller that left before the end."""
        counts = self.counts.get(key)
        if counts is None:
            counts = self.counts[key] = Counts()
        counts.requests += 1
        if usage is not None:
            counts.prompt_tokens += usage.prompt_tokens
            counts.completion_tokens += usage.completion_tokens
        if status >= 400:
            if status == 499:
                counts.cancelled += 1
            else:
                counts.failed += 1
