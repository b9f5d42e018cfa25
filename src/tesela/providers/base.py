"""The contract between the data plane and a provider.

A translation is a pure function.  It gets the caller's request in the unified form and says what to send; with it
come the readers of the one answer that will follow.  It never sees a socket, a clock or a logger, so a test can state
both sides as literals.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from tesela.errors import (
    UpstreamError,
    UpstreamFailed,
    UpstreamRateLimited,
    UpstreamRejected,
    UpstreamTimeout,
    UpstreamUnauthorized,
    UpstreamUnavailable,
)
from tesela.serving import Upstream
from tesela.wire.document import Document
from tesela.wire.sse import Event
from tesela.wire.tasks import Native, Task


class Chunks(Protocol):
    """The state of one stream: the provider's events in, unified chunks (JSON, no framing) out.

    The end mark `[DONE]` is never passed in.  `finish` is called once, when the stream has ended in good order, and
    raises UpstreamProtocolError when the answer is not complete.  `ended` becomes true with an event that nothing can
    follow: then nobody waits for the end of the body.
    """

    ended: bool

    def feed(self, event: Event) -> list[bytes]: ...

    def finish(self) -> list[bytes]: ...


class Framing(Protocol):
    """Cuts the bytes of a stream into events.  Server-sent events unless the provider has its own."""

    def feed(self, piece: bytes) -> list[Event]: ...

    def finish(self) -> list[Event]: ...


class Call(msgspec.Struct, frozen=True):
    """What a translation may know of a request.

    `document` belongs to the translation: it may change it.  `created` is the time in whole seconds since the epoch,
    `id` a string unique to this invocation (letters, digits), both for answers that must carry them.  `headers` are
    those of a native call that its provider is to see.
    """

    task: Task
    document: Document
    streaming: bool
    upstream: Upstream
    created: int
    id: str
    headers: tuple[tuple[str, str], ...] = ()


class Exchange(msgspec.Struct):
    """One upstream call: what to send, and how to read what comes back.

    `path` is appended to the upstream's base path.  `headers` come after the upstream's own.  `answer` turns a whole
    body into the unified form, `chunks` does the same for a stream; None means that the bytes already have it.
    `streaming` says in which of the two ways the upstream will answer: when it streams and the caller asked for a
    whole answer, the chunks are assembled.  `native` says that the answer has the caller's own form: its bytes pass,
    and `chunks` only watches them go by.
    """

    path: str
    body: bytes
    streaming: bool
    headers: tuple[tuple[str, str], ...] = ()
    answer: Callable[[bytes], bytes] | None = None
    chunks: Chunks | None = None
    framing: Callable[[], Framing] | None = None
    native: bool = False


Translation = Callable[[Call], Exchange]


def openai_failure(status: int, body: bytes, retry_after_s: int | None) -> UpstreamError:
    """The error for a status of 400 and above.  The status decides the class; the provider's message is passed on."""
    message, param, reason = _told(body)
    kind = _kind(status)
    if kind is UpstreamUnauthorized:
        text = f"the provider refused this endpoint's API key (status {status}); the endpoint's owner must mend it"
        return UpstreamUnauthorized(text, upstream_status=status)
    text = message or f"the provider answered with status {status} and no message"
    return kind(text, param=param, reason=reason, retry_after_s=retry_after_s, upstream_status=status)


def _kind(status: int) -> type[UpstreamError]:
    found = KINDS.get(status)
    if found is not None:
        return found
    return UpstreamFailed if status >= 500 else UpstreamRejected


KINDS: dict[int, type[UpstreamError]] = {
    401: UpstreamUnauthorized,
    403: UpstreamUnauthorized,
    408: UpstreamTimeout,
    429: UpstreamRateLimited,
    503: UpstreamUnavailable,
    504: UpstreamTimeout,
    529: UpstreamUnavailable,
}


class _Inner(msgspec.Struct):
    message: str | None = None
    param: str | None = None
    code: str | int | None = None


class _Told(msgspec.Struct):
    error: _Inner | str | None = None
    message: str | dict[str, Any] | None = None
    detail: msgspec.Raw = msgspec.Raw()


_told_decoder = msgspec.json.Decoder(_Told)


def _told(body: bytes) -> tuple[str | None, str | None, str | None]:
    """(message, field at fault, reason) of an error body in any of the shapes that compatible servers use."""
    try:
        told = _told_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None, None, None
    if isinstance(told.error, _Inner):
        reason = told.error.code
        return told.error.message, told.error.param, reason if isinstance(reason, str) else None
    if isinstance(told.error, str):
        return told.error, None, None
    if isinstance(told.message, str):
        return told.message, None, None
    # Servers built on FastAPI list what is wrong, in one of two places.
    listed = bytes(told.detail) if told.message is None else msgspec.json.encode(told.message)
    return (f"the provider says: {listed[:500].decode(errors='replace')}" if listed else None), None, None


Failure = Callable[[int, bytes, int | None], UpstreamError]


class Provider(msgspec.Struct, frozen=True):
    """A company or server with its own dialect.  `native` are the calls of that dialect that pass as they come.

    A task that is missing from `translations` is one that the provider does not serve; None means that it speaks the
    unified form, and its bytes pass.  `reasoning` is whether chats can say how much to think (`reasoning_effort`).
    """

    name: str
    translations: Mapping[Task, Translation | None]
    failure: Failure = openai_failure
    native: Mapping[Native, Translation] = {}
    reasoning: bool = True
