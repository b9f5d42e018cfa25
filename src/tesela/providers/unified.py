"""What providers that speak the unified form share: the name of the model is swapped, the rest goes on as it came."""

import msgspec

from tesela.errors import InvalidRequest
from tesela.providers.base import Exchange
from tesela.serving import Upstream
from tesela.wire.document import NULL, Document, encode, raw, value
from tesela.wire.tasks import PATH, Task

STREAMED = (Task.CHAT, Task.COMPLETIONS)
_WITH_USAGE = raw({"include_usage": True})


def exchange(task: Task, document: Document, streaming: bool, upstream: Upstream) -> Exchange:
    """Forward the request.  A stream is asked for its usage, which we count whether the caller wants it or not."""
    document["model"] = raw(upstream.model)
    if streaming and task in STREAMED:
        options = document.get("stream_options")
        if options is None or options == NULL:
            document["stream_options"] = _WITH_USAGE
        else:
            document["stream_options"] = _counted(document)
    return Exchange(PATH[task], encode(document), streaming)


def unasked(task: Task, document: Document, streaming: bool, upstream: Upstream) -> Exchange:
    """Forward the request to a server that does not know `stream_options`; what the caller gives of them goes on."""
    document["model"] = raw(upstream.model)
    return Exchange(PATH[task], encode(document), streaming)


def _counted(document: Document) -> msgspec.Raw:
    options = value(document, "stream_options")
    if not isinstance(options, dict):
        raise InvalidRequest("'stream_options' must be an object", param="stream_options")
    return raw({**options, "include_usage": True})
