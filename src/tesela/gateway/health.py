"""How the upstreams of this worker are: those that failed of late, and those that asked to be left alone for a while.

An upstream is an address, a model and a key, whichever endpoints name it.  One that is well is not in here at all, so a
request pays a look at an empty mapping for it.  Local engines have their supervisor, and scripted models do what their
script says: neither is watched.
"""

import logging
import math
from collections.abc import Callable, Hashable

import msgspec

from tesela.errors import (
    CircuitOpen,
    TeselaError,
    UpstreamError,
    UpstreamFailed,
    UpstreamProtocolError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from tesela.gateway import breaker
from tesela.gateway.breaker import Breaker, Terms
from tesela.gateway.traffic import SHUT
from tesela.serving import Endpoint, ServedEntity, Upstream

COUNTED = (UpstreamFailed, UpstreamProtocolError, UpstreamTimeout, UpstreamUnavailable)
"""Failures that say that the upstream is not well.  A limit that was reached, a refused key and a refused request are
the answers of one that is."""
ASKED = 1.0
"""The rank of an upstream that asked to be left alone: below that of one whose breaker is open."""

_log = logging.getLogger("tesela.gateway")


class Ailment(msgspec.Struct):
    """What is known of one upstream.  `quiet_until` is the time that it asked for by Retry-After."""

    breaker: Breaker
    quiet_until: float = 0.0
    why: str = ""


class Health:
    """`ailing` is empty while all are well.  `now` gives the loop's time."""

    def __init__(self, terms: Terms, now: Callable[[], float]) -> None:
        self.ailing: dict[Hashable, Ailment] = {}
        self._terms = terms
        self._now = now

    def rank(self, entity: ServedEntity) -> float:
        """The lower, the sooner it should be called: 0 for one that may be well."""
        ailment = self.ailing.get(_key(entity.upstream))
        if ailment is None:
            return 0.0
        now = self._now()
        wait_s = breaker.wait_s(ailment.breaker, now=now)
        if wait_s > 0:
            return SHUT + wait_s
        return ASKED if ailment.quiet_until > now else 0.0

    def enter(self, upstream: Upstream) -> Ailment | None:
        """Before a call: None for an ordinary one, else what the end of this probe is told with.

        Raises CircuitOpen.
        """
        ailment = self.ailing.get(_key(upstream))
        if ailment is None:
            return None
        now = self._now()
        wait_s = breaker.wait_s(ailment.breaker, now=now)
        if wait_s > 0:
            since = now - (ailment.breaker.opened or now)
            raise CircuitOpen(
                f"{upstream.called} is not called at the moment: its breaker has been open for {since:.0f} s, after "
                f"{ailment.breaker.failures} of {ailment.breaker.calls} calls failed (the last one: {ailment.why}); "
                f"the next try is in {wait_s:.0f} s",
                retry_after_s=math.ceil(wait_s),
            )
        return ailment if breaker.enter(ailment.breaker, now=now, lease_s=upstream.timeouts.total_s) else None

    def failed(self, upstream: Upstream, error: TeselaError, probe: Ailment | None) -> None:
        """A call failed."""
        if not isinstance(error, UpstreamError) or not _watched(upstream):
            if probe is not None:
                self.left(probe)
            return
        asked = error.retry_after_s if error.upstream_status in (429, 503) else None
        if not isinstance(error, COUNTED):
            if self.ailing:
                self.answered(upstream, probe)
            if not asked:
                return
        now = self._now()
        ailment = self._ailment(upstream, now)
        if asked:
            ailment.quiet_until = now + asked
        if not isinstance(error, COUNTED):
            return
        kind = next(word for kind, word in KINDS.items() if isinstance(error, kind))
        ailment.why = f"status {error.upstream_status}" if error.upstream_status else kind
        if breaker.failed(ailment.breaker, self._terms, now=now, probe=probe is not None):
            lately = f"{ailment.breaker.failures} of {ailment.breaker.calls} calls failed"
            _log.warning(
                "%s, model %s: the breaker is open for %g s: %s, the last one: %s",
                upstream.called, upstream.model, self._terms.open_s, lately, ailment.why,
            )  # fmt: skip
        elif probe is not None:
            _log.warning(
                "%s, model %s: the breaker stays open for %g s: the probe failed: %s",
                upstream.called, upstream.model, self._terms.open_s, ailment.why,
            )  # fmt: skip

    def answered(self, upstream: Upstream, probe: Ailment | None) -> None:
        """A call was answered."""
        key, now = _key(upstream), self._now()
        ailment = probe or self.ailing.get(key)
        if ailment is None:
            return
        if breaker.answered(ailment.breaker, self._terms, now=now, probe=probe is not None):
            _log.warning("%s, model %s: the breaker is closed again", upstream.called, upstream.model)
        if self._over(ailment, now):
            self.ailing.pop(key, None)

    def left(self, probe: Ailment) -> None:
        """A probe ended before it said anything."""
        breaker.leave(probe.breaker)

    def breakers(self, endpoint: Endpoint | None) -> dict[str, bool]:
        """Whether it is open, or half-open, of each served entity that has one."""
        ailing = self.ailing
        return {
            one.name: (found := ailing.get(_key(one.upstream))) is not None and found.breaker.opened is not None
            for one in (endpoint.entities if endpoint is not None else ())
            if _watched(one.upstream)
        }

    def _ailment(self, upstream: Upstream, now: float) -> Ailment:
        key = _key(upstream)
        found = self.ailing.get(key)
        if found is None:
            # What nobody calls any more would stay for ever otherwise.
            for other in [other for other, ailment in self.ailing.items() if self._over(ailment, now)]:
                del self.ailing[other]
            found = self.ailing[key] = Ailment(Breaker())
        return found

    def _over(self, ailment: Ailment, now: float) -> bool:
        return ailment.quiet_until <= now and breaker.forgettable(ailment.breaker, self._terms, now=now)


def _watched(upstream: Upstream) -> bool:
    return upstream.origin.unix is None and upstream.origin.scheme != "scripted"


def _key(upstream: Upstream) -> Hashable:
    """Equal for equal address, model and key, in whichever endpoint."""
    held = upstream.token.key if upstream.token is not None else ""
    return (
        upstream.origin, upstream.base_path, upstream.query, upstream.model, upstream.headers, held, upstream.signer,
    )  # fmt: skip


KINDS: dict[type[TeselaError], str] = {
    UpstreamFailed: "a failure without a status",
    UpstreamProtocolError: "a broken answer",
    UpstreamTimeout: "a time-out",
    UpstreamUnavailable: "no connection",
}
"""Failures without a status, for people who may not read what a provider said to somebody else."""
