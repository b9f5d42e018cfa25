"""APIs of other companies that callers may speak to any endpoint, as a table: how each call reads as one of ours, and
how the answer goes back.

A call that the provider behind the endpoint has itself does not come through here: its bytes pass.  What reads and
writes Google's form is loaded when somebody asks in it; most workers are never asked.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from tesela.errors import TeselaError, Unsupported
from tesela.wire import messages
from tesela.wire.document import Document
from tesela.wire.tasks import Native, Task


class Events(Protocol):
    """Turns unified chunks into the events of the API, JSON without framing."""

    def feed(self, chunk: bytes) -> list[bytes]: ...

    def finish(self) -> list[bytes]: ...

    def failed(self, error: TeselaError) -> list[bytes]: ...


class NativeForm(NamedTuple):
    """One call of such an API.

    `streaming` is None where a field of the request says it.  `asked` keeps what the answer must know of its request,
    given the endpoint's name; `unified` is the request in our form, `answer` a whole answer in theirs (with an id that
    is unique to the invocation).  `key` is the header in which its clients send their key, `passed` the beginning of
    the names of headers that the provider is to see, `sign` what tells a caller of a stream that it is alive.
    """

    task: Task
    streaming: bool | None
    asked: Callable[[Document, str], Any]
    unified: Callable[[Document, bool], Document]
    answer: Callable[[bytes, Any, str], bytes]
    events: Callable[[Any, str], Events]
    failure: Callable[[TeselaError, str], bytes]
    failure_event: Callable[[TeselaError], bytes]
    key: bytes
    passed: bytes
    sign: bytes = b""


def _messages(document: Document, _streaming: bool) -> Document:
    return messages.to_chat(document)


def _no_counting(_document: Document, _streaming: bool) -> Document:
    raise Unsupported(
        "this endpoint cannot count tokens: only models of the company whose API this is can; the usage of an answer "
        "tells what its request had"
    )


def _named(_document: Document, name: str) -> messages.Asked:
    return messages.Asked(name)


def _message_failed(error: TeselaError) -> bytes:
    return b"event: error\ndata: %b\n\n" % messages.failure_event(error)


def _generating(document: Document, name: str) -> Any:
    from tesela.wire import generate_answer, generate_request

    return generate_answer.Asked(name, generate_request.shows_thoughts(document))


def _generate(document: Document, streaming: bool) -> Document:
    from tesela.wire import generate_request

    return generate_request.to_chat(document, streaming)


def _generated(body: bytes, asked: Any, id: str) -> bytes:
    from tesela.wire import generate_answer

    return generate_answer.answer(body, asked, id)


def _generate_events(asked: Any, id: str) -> Events:
    from tesela.wire import generate_events

    return generate_events.GenerateEvents(asked, id)


def _generate_failure(error: TeselaError, request_id: str) -> bytes:
    from tesela.wire import generate_problem

    return generate_problem.failure(error, request_id)


def _generate_failed(error: TeselaError) -> bytes:
    from tesela.wire import generate_problem

    return b"data: %b\n\n" % generate_problem.failure_event(error)


def _embed(document: Document, _streaming: bool) -> Document:
    from tesela.wire import generate_embed

    return generate_embed.one(document)


def _embed_all(document: Document, _streaming: bool) -> Document:
    from tesela.wire import generate_embed

    return generate_embed.batch(document)


def _embedded(body: bytes, _asked: Any, _id: str) -> bytes:
    from tesela.wire import generate_embed

    return generate_embed.answer_one(body)


def _all_embedded(body: bytes, _asked: Any, _id: str) -> bytes:
    from tesela.wire import generate_embed

    return generate_embed.answer_batch(body)


_MESSAGES = NativeForm(
    Task.CHAT,
    None,
    _named,
    _messages,
    messages.answer,
    messages.MessageEvents,
    messages.failure,
    _message_failed,
    key=b"x-api-key",
    passed=b"anthropic-",
    sign=messages.PING,
)
_CONTENT = NativeForm(
    Task.CHAT,
    False,
    _generating,
    _generate,
    _generated,
    _generate_events,
    _generate_failure,
    _generate_failed,
    key=b"x-goog-api-key",
    passed=b"x-goog-request-params",
)
_EMBED = _CONTENT._replace(task=Task.EMBEDDINGS, unified=_embed, answer=_embedded)

NATIVE_FORMS: Mapping[Native, NativeForm] = {
    Native.MESSAGES: _MESSAGES,
    Native.COUNT_MESSAGE_TOKENS: _MESSAGES._replace(streaming=False, unified=_no_counting),
    Native.GENERATE: _CONTENT,
    Native.STREAM_GENERATE: _CONTENT._replace(streaming=True),
    Native.COUNT_CONTENT_TOKENS: _CONTENT._replace(unified=_no_counting),
    Native.EMBED: _EMBED,
    Native.BATCH_EMBED: _EMBED._replace(unified=_embed_all, answer=_all_embedded),
}
