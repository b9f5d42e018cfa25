"""The embeddings engine's HTTP face: OpenAI's shape in and out, as a plain ASGI application.

It refuses, by name, what it does not do; nothing that a caller sends is dropped in silence.
"""

import asyncio
import base64
import hmac
import re
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tesela.engine.encoder import Array, Batcher
from tesela.errors import InvalidRequest, NotFound, RequestError, TooLarge, Unauthenticated

#: As OpenAI has it.
MAX_INPUTS = 2048
MAX_BODY_BYTES = 64 * 2**20

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_FIELD = re.compile(r"`\$\.(\w+)|field `(\w+)`")


class _EmbeddingsRequest(Struct, forbid_unknown_fields=True):
    input: Any
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    user: str | None = None


class _TokenizeRequest(Struct, forbid_unknown_fields=True):
    content: str


class Application:
    """ASGI.  Everything but GET /health wants the key as a bearer."""

    def __init__(self, name: str, key: str, batcher: Batcher) -> None:
        self._name = name
        self._authorization = f"Bearer {key}".encode()
        self._batcher = batcher
        self._routes: dict[tuple[str, str], Callable[[bytes], Awaitable[Any]]] = {
            ("POST", "/v1/embeddings"): self._embeddings,
            ("POST", "/tokenize"): self._tokenize,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except RequestError as exc:
            error = {"code": exc.status, "message": exc.message, "type": exc.type, "param": exc.param}
            await _send(send, exc.status, {"error": error})
        except asyncio.CancelledError:
            return
        else:
            await _send(send, 200, answer)

    async def _answer(self, scope: Scope, receive: Receive) -> Any:
        route = (scope["method"], scope["path"])
        if route == ("GET", "/health"):
            return {"status": "ok"}
        if not hmac.compare_digest(dict(scope["headers"]).get(b"authorization", b""), self._authorization):
            raise Unauthenticated("this engine serves its own gateway only; ask the gateway instead")
        handler = self._routes.get(route)
        if handler is None:
            raise NotFound(f"an embeddings engine has no {route[0]} {route[1]}")
        body = await _body(receive)
        work = asyncio.ensure_future(handler(body))
        left = asyncio.ensure_future(_disconnected(receive))
        await asyncio.wait({work, left}, return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        # Nobody reads the answer any more: what is still waiting for the model is not computed.
        if not work.done():
            work.cancel()
        return await work

    async def _embeddings(self, body: bytes) -> Any:
        request = _decode(body, _EmbeddingsRequest)
        texts = _texts(request.input)
        dimensions, most = request.dimensions, self._batcher.encoder.dimensions
        if dimensions is not None and not 1 <= dimensions <= most:
            raise InvalidRequest(f"dimensions must be between 1 and {most}, not {dimensions}", param="dimensions")
        vectors, tokens = await self._batcher.embed(texts)
        if dimensions is not None:
            vectors = shorten(vectors, dimensions)
        form = _base64 if request.encoding_format == "base64" else _floats
        return {
            "object": "list",
            "data": [{"object": "embedding", "index": i, "embedding": form(row)} for i, row in enumerate(vectors)],
            "model": self._name,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    async def _tokenize(self, body: bytes) -> Any:
        return {"tokens": await self._batcher.tokens(_decode(body, _TokenizeRequest).content)}


def shorten(vectors: Array, dimensions: int) -> Array:
    """The first `dimensions` of each vector, made one long again."""
    cut = vectors[:, :dimensions]
    length = (cut * cut).sum(axis=1, keepdims=True) ** 0.5
    return cut / length.clip(min=1e-12)


def _texts(value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        raise InvalidRequest("input must be a string or a list of strings", param="input")
    if not texts:
        raise InvalidRequest("input is an empty list: nothing to embed", param="input")
    if len(texts) > MAX_INPUTS:
        raise InvalidRequest(f"input holds {len(texts)} texts; at most {MAX_INPUTS} are possible", param="input")
    if all(isinstance(text, int | list) for text in texts):
        raise InvalidRequest("input is made of token ids; this model takes text only", param="input")
    wrong = next((index for index, text in enumerate(texts) if not isinstance(text, str)), None)
    if wrong is not None:
        raise InvalidRequest(f"input must hold strings only; item {wrong} is not one", param="input")
    return texts


def _decode(body: bytes, shape: type[Any]) -> Any:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        field = _FIELD.search(str(exc))
        param = next(filter(None, field.groups()), None) if field else None
        raise InvalidRequest(str(exc), param=param) from exc


def _floats(row: Array) -> Any:
    return row.tolist()


def _base64(row: Array) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise asyncio.CancelledError
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge(f"the body is larger than {MAX_BODY_BYTES >> 20} MiB")
        if not message.get("more_body"):
            return bytes(body)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, status: int, value: Any) -> None:
    body = msgspec.json.encode(value)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
