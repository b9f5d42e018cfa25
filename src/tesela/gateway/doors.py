"""The POST paths of the data plane, as a table.  This file holds paths and nothing else that a request does.

A door is a path and the manners of the clients that come through it.  The OpenAI doors and the native ones take the
endpoint's name from `model` in the body; the invocation doors have it in the path and find the task in the body.
"""

from enum import Enum, auto
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from tesela.wire.tasks import PATH, Native, Task


class Manners(Enum):
    """OPENAI: usage in a stream only when asked for, in a chunk of its own.  DATABRICKS: data-only events, usage on
    the chunk that carries the finish reason, `finishReason` beside `finish_reason` in whole answers."""

    OPENAI = auto()
    DATABRICKS = auto()


class Door(NamedTuple):
    """Where a request came in.  None means: look in the body.

    `native` is there when the caller speaks a provider's own API; `headers` are those of its request that this provider
    is to see, `query` what followed its path.
    """

    manners: Manners
    task: Task | None = None
    endpoint: str | None = None
    entity: str | None = None
    native: Native | None = None
    headers: tuple[tuple[str, str], ...] = ()
    query: bytes = b""


BASES = ("/serving-endpoints", "/v1", "/ai-gateway/mlflow/v1", "/ai-gateway/openai/v1")
"""Below each of these stand OpenAI's paths."""

OPENAI_DOORS: dict[bytes, Door] = {
    (base + path).encode(): Door(Manners.OPENAI, task) for base in BASES for task, path in PATH.items()
}

NATIVE_DOORS: dict[bytes, Door] = {
    (base + path).encode(): Door(Manners.OPENAI, Task.CHAT, native=native)
    for base in ("/serving-endpoints/anthropic/v1", "/ai-gateway/anthropic/v1")
    for path, native in (("/messages", Native.MESSAGES), ("/messages/count_tokens", Native.COUNT_MESSAGE_TOKENS))
}
"""Below the base that Databricks gives to Anthropic's own clients."""

DOORS = OPENAI_DOORS | NATIVE_DOORS

GEMINI_BASES = ("/serving-endpoints/gemini", "/ai-gateway/gemini")
"""Below each of these stand a version of Google's API and its paths, `/{version}/models/{endpoint}:{method}`."""
GEMINI_VERSIONS = ("v1beta", "v1", "v1alpha")
METHODS: dict[bytes, Native] = {
    b"generateContent": Native.GENERATE,
    b"streamGenerateContent": Native.STREAM_GENERATE,
    b"countTokens": Native.COUNT_CONTENT_TOKENS,
    b"embedContent": Native.EMBED,
    b"batchEmbedContents": Native.BATCH_EMBED,
}
GEMINI_MODELS = tuple(f"{base}/{version}/models".encode() for base in GEMINI_BASES for version in GEMINI_VERSIONS)

_SERVING = b"/serving-endpoints/"
_MLFLOW = b"/endpoints/"
_INVOCATIONS = b"/invocations"
_SERVED = b"/served-models/"


def find(path: bytes) -> Door | None:
    """The door at a raw path, or None when the data plane has none there.

    A query string belongs to none of them, but at Gemini's, whose clients send one with every stream.
    """
    door = DOORS.get(path)
    if door is not None:
        return door
    if not path.endswith(_INVOCATIONS):
        return _gemini(path) if path.startswith(GEMINI_MODELS) else None
    if path.startswith(_SERVING):
        name, found, entity = path[len(_SERVING) : -len(_INVOCATIONS)].partition(_SERVED)
        if name and (entity or not found):
            return Door(Manners.DATABRICKS, None, _text(name), _text(entity) if found else None)
    elif path.startswith(_MLFLOW) and len(path) > len(_MLFLOW) + len(_INVOCATIONS):
        return Door(Manners.DATABRICKS, None, _text(path[len(_MLFLOW) : -len(_INVOCATIONS)]))
    return None


def _gemini(path: bytes) -> Door | None:
    place, _, query = path.partition(b"?")
    name, found, method = place.partition(b"/models/")[2].rpartition(b":")
    native = METHODS.get(method)
    if not found or not name or native is None:
        return None
    return Door(Manners.OPENAI, None, _text(name), native=native, query=query)


def _text(name: bytes) -> str:
    return (unquote_to_bytes(name) if b"%" in name else name).decode("utf-8", "replace")
