"""How providers say that they failed where the status says that they did not: in mid-stream, or as the whole answer.

It is an object without an answer in it, in one of three shapes.
"""

import msgspec

from tesela.errors import UpstreamProtocolError
from tesela.wire import usage
from tesela.wire.sse import DONE, Event

CUT = "the provider ended its stream in the middle of the answer"


class _Error(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw()
    message: str | None = None
    error_code: str | None = None


class _Message(msgspec.Struct):
    message: str = "the provider reported an error in the middle of its answer"
    param: str | None = None
    code: str | int | None = None


_raw = msgspec.json.Decoder(msgspec.Raw)
_error = msgspec.json.Decoder(_Error)
_message = msgspec.json.Decoder(_Message)


def raise_if_cut(event: Event) -> None:
    """The last event of a stream that ended without a blank line may have been cut."""
    if event.data == DONE:
        return
    try:
        _raw.decode(event.data)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise UpstreamProtocolError(CUT) from exc


def raise_if_error(event: Event) -> None:
    """Raises UpstreamProtocolError with the provider's sentence when this event is a failure."""
    try:
        found = _error.decode(event.data)
        if bytes(found.error) not in (b"", b"null"):
            is_object = bytes(found.error).startswith(b"{")
            inner = _message.decode(found.error) if is_object else _Message(msgspec.json.decode(found.error, type=str))
            reason = str(inner.code) if inner.code else None
            raise UpstreamProtocolError(inner.message, param=inner.param, reason=reason)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise UpstreamProtocolError("the provider sent an event that is not a JSON object") from exc
    if found.error_code or event.name == b"error":
        raise UpstreamProtocolError(found.message or _Message().message, reason=found.error_code)


ANSWERS = (b'"choices"', b'"data"', b'"output"', b'"content"')
"""One of these is in every answer."""


def raise_if_no_answer(body: bytes, counted: usage.Usage | None, *, native: bool) -> None:
    """Raises UpstreamProtocolError when a whole answer of status 200 is a failure, or was cut short.

    Small answers with a usage have been decoded to find it.  In a large one the object that holds the usage must be
    closed behind it; only one that does not look so, or has none, is gone through.  `native` answers have a form of
    their own.
    """
    tail = body[body.rfind(usage.KEY) :] if counted is not None else b""
    if tail.count(b"}") <= tail.count(b"{"):
        try:
            _raw.decode(body)
        except (msgspec.DecodeError, RecursionError) as exc:
            raise UpstreamProtocolError("the provider's answer is not whole: its JSON has no end") from exc
    if counted is None and not native and not any(key in body for key in ANSWERS):
        if b'"error' in body:
            raise_if_error(Event(b"", body))
        raise UpstreamProtocolError(
            "the provider's answer holds nothing that an answer has: is the address that of its API?"
        )
