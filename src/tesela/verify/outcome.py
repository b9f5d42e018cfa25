"""What is checked, against which server, and how it went."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from tesela.errors import UpstreamProtocolError

LONGEST_REASON = 300


@dataclass(frozen=True)
class Target:
    """The server under test.  `chat` and `embeddings` name an endpoint of each task; empty when there is none."""

    host: str
    access_token: str
    chat: str = ""
    embeddings: str = ""


class Absent(Exception):
    """A check that cannot be made: the client lacks the call, or the server has no endpoint for it."""


@dataclass(frozen=True)
class Call:
    """One thing that a client's users do.  `run` raises when the server did not answer as that client needs."""

    client: str
    name: str
    run: Callable[[Target], None]


@dataclass(frozen=True)
class Outcome:
    """How one call went.  `real` tells whether the client itself made it; `duration_ms` is in milliseconds."""

    client: str
    call: str
    state: Literal["passed", "failed", "skipped"]
    reason: str = ""
    real: bool = False
    version: str = ""
    duration_ms: int = 0


def require(condition: object, reason: str) -> None:
    """The check itself: `reason` says what the client needs and did not get."""
    if not condition:
        raise UpstreamProtocolError(reason)


def run(calls: Iterable[Call], target: Target, *, real: bool = False, version: str = "") -> Iterator[Outcome]:
    """Makes the calls one after the other; none stops the rest."""
    for call in calls:
        began = time.monotonic()
        state: Literal["passed", "failed", "skipped"] = "passed"
        reason = ""
        try:
            call.run(target)
        except Absent as absent:
            state, reason = "skipped", str(absent)
        except Exception as exc:  # noqa: BLE001 - whatever a client raises is what we came to see
            state, reason = "failed", _sentence(exc)
        took = round((time.monotonic() - began) * 1000)
        yield Outcome(call.client, call.name, state, reason, real, version, took)


def _sentence(exc: Exception) -> str:
    text = " ".join(str(exc).split())
    if not isinstance(exc, UpstreamProtocolError):
        text = f"{type(exc).__name__}: {text}"
    return text if len(text) <= LONGEST_REASON else text[:LONGEST_REASON] + " …"


def chat_of(target: Target) -> str:
    if not target.chat:
        raise Absent("the server has no chat endpoint")
    return target.chat


def embeddings_of(target: Target) -> str:
    if not target.embeddings:
        raise Absent("the server has no embeddings endpoint")
    return target.embeddings
