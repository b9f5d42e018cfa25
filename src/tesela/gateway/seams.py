"""The two seams of the data plane, as types.  Each has one honest fake in the tests.

Callbacks instead of coroutines, on both sides: a task and a future for each request would cost more than all else
that the gateway does for it (measured; see docs/design/data-plane.md).
"""

from collections.abc import Sequence
from typing import Protocol

from tesela.errors import TeselaError
from tesela.serving import Upstream

Headers = dict[bytes, bytes]
"""Of an answer: names in lower case, the last one of equal names."""


class Caller(Protocol):
    """The side of the client.  `lines` are header lines ready for the wire, each ended by CRLF."""

    def answer(self, status: int, lines: bytes, body: bytes) -> None:
        """The whole answer at once."""

    def open(self, status: int, lines: bytes) -> None:
        """The head of an answer that follows in pieces."""

    def send(self, data: bytes) -> None:
        """A piece of it; never empty."""

    def close(self) -> None:
        """Its end."""

    def abort(self) -> None:
        """Break the connection: the answer cannot be completed and nothing may look as if it were."""


class Listener(Protocol):
    """The side of the invocation, called by a transport.  Exactly one of `on_answer`, `on_end` and `on_failure` comes
    last."""

    def on_answer(self, body: bytes) -> None:
        """A whole answer in JSON with status 200 that came in one piece; nothing else is called before or after."""

    def on_head(self, status: int, headers: Headers) -> None: ...

    def on_data(self, data: bytes) -> None: ...

    def on_end(self) -> None: ...

    def on_failure(self, error: TeselaError) -> None: ...


class Handle(Protocol):
    """One call under way."""

    def pause(self) -> None:
        """Deliver nothing until `resume`: the client reads more slowly than the upstream writes."""

    def resume(self) -> None: ...

    def cancel(self) -> None:
        """Give it up.  The listener hears nothing after this."""


class Transport(Protocol):
    """Whatever can carry a POST to an upstream and bring the answer back.  `send` never calls the listener itself."""

    def send(
        self, upstream: Upstream, path: str, headers: Sequence[tuple[str, str]], body: bytes, listener: Listener
    ) -> Handle: ...
