"""The contract between the calls and the functions: bytes of a request out, bytes of an answer in."""

from collections.abc import Sequence
from typing import Any, Protocol

from tesela.errors import StatementError, UpstreamProtocolError


class BrokenAnswer(UpstreamProtocolError):
    """The model answered, but not in the form that was asked for.  `raw` is what it said."""

    def __init__(self, message: str, raw: str = "", *, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.raw = raw


class Unaskable(StatementError):
    """A row's values cannot be made a request: nobody was asked."""

    def __init__(self, message: str) -> None:
        super().__init__(message, error_class="DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", sql_state="42K09")


class Speaker(Protocol):
    """One function at one site.

    `request` gives the body of POST …/invocations, without `model` and `stream`, or None for a row whose answer is
    NULL without a call; it raises Unaskable.  `answer` reads the endpoint's answer; it raises BrokenAnswer.  Where
    `batch` is above 1, up to that many bodies may be joined into one request; `split` gives each of them an answer of
    its own again, in the same form that `answer` reads, so that what is kept does not depend on how it was asked.
    """

    batch: int

    def request(self, row: Sequence[Any]) -> bytes | None: ...

    def answer(self, body: bytes) -> Any: ...

    def join(self, bodies: Sequence[bytes]) -> bytes: ...

    def split(self, answer: bytes, bodies: Sequence[bytes]) -> list[bytes]: ...
