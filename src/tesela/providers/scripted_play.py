"""One request to a scripted model as the HTTP answer that it plays: status, headers, timed pieces, and how it ends.

Pure: no clock, no lot, no socket.  The gateway's player gives the pieces out over time.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from tesela.errors import InvalidRequest, PathNotFound, RequestError, Unsupported
from tesela.providers import scripted_answer as answers
from tesela.providers import scripted_forms as forms
from tesela.providers.scripted_rules import Facts, Fault, Reply, Script, choose
from tesela.providers.scripted_text import count, embedding, name, packed, unit
from tesela.wire import check
from tesela.wire.document import Document, decode, encode, flag, value
from tesela.wire.forms import Message
from tesela.wire.sse import LAST, frame
from tesela.wire.tasks import PATH, Task


class Play(msgspec.Struct, frozen=True):
    """`parts` are (seconds to wait before, bytes).  `end`: in good order, broken off, or silence for ever.

    The head goes out with the first part; when there are no parts, `cut` and `stall` come before the head.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    parts: tuple[tuple[float, bytes], ...]
    end: Literal["end", "cut", "stall"] = "end"


class _Request(msgspec.Struct, frozen=True):
    """One call: its body, how many there have been with it, and what its ids are made from."""

    script: Script
    document: Document
    attempt: int
    seed: str


class _Made(msgspec.Struct, frozen=True):
    """An answer in either form, before faults: the whole body, or the chunks of a stream."""

    reply: Reply
    body: dict[str, Any] | None = None
    chunks: Iterable[dict[str, Any]] = ()
    tokens: int = 0


def play(script: Script, body: bytes, path: str, attempt: int) -> Play:
    """The answer to one POST.  `attempt` counts the calls of this model from 1.  Raises nothing: a request that makes
    no sense gets the status that OpenAI gives it."""
    try:
        task = next((task for task in TASKS if path.endswith(PATH[task])), None)
        if task is None:
            raise PathNotFound(f"a scripted model has no {path!r}")
        made = TASKS[task](_Request(script, decode(body), attempt, name(body)))
    except RequestError as exc:
        return _failure(exc.status, _told(exc.message, exc.type, exc.param, exc.reason), None, 0.0)
    return _timed(made)


def _timed(made: _Made) -> Play:
    reply = made.reply
    if reply.error is not None:
        fault = reply.error if isinstance(reply.error, Fault) else Fault(reply.error)
        return _fault(fault, reply.delay_s)
    return _stream(made) if made.body is None else _whole(made, made.body)


def _whole(made: _Made, answer: dict[str, Any]) -> Play:
    reply = made.reply
    if reply.error_after is not None:
        return _fault(Fault(500), reply.delay_s)
    body = encode(answer) if reply.raw is None else reply.raw.encode()
    headers = (("content-type", "application/json"), ("content-length", str(len(body))))
    # A real model that takes this long for each chunk of a stream takes as long for the whole.
    wait = reply.delay_s + reply.chunk_delay_s * made.tokens
    if reply.cut_after is not None or reply.stall_after is not None:
        half = body[: len(body) // 2] if reply.cut_after or reply.stall_after else b""
        return Play(200, headers, ((wait, half),) if half else (), _end(reply))
    pieces = _cut(body) if reply.cut_characters else [body]
    return Play(200, headers, tuple((0.0 if index else wait, piece) for index, piece in enumerate(pieces)))


def _stream(made: _Made) -> Play:
    reply = made.reply
    events = [frame(encode(chunk)) for chunk in made.chunks]
    if reply.raw is not None:
        events = [events[0], frame(" ".join(reply.raw.splitlines()).encode())]
    elif reply.error_after is not None:
        text = "the scripted model failed in mid-stream"
        events = [*events[: reply.error_after], frame(_told(text, "server_error", None, "server_error"))]
    elif reply.cut_after is not None or reply.stall_after is not None:
        events = events[: reply.cut_after if reply.cut_after is not None else reply.stall_after]
    else:
        events.append(LAST)
    parts: list[tuple[float, bytes]] = []
    for event in events:
        wait = reply.chunk_delay_s if parts else reply.delay_s
        for piece in _cut(event) if reply.cut_characters else [event]:
            parts.append((wait, piece))
            wait = 0.0
    return Play(200, (("content-type", "text/event-stream; charset=utf-8"),), tuple(parts), _end(reply))


def _end(reply: Reply) -> Literal["end", "cut", "stall"]:
    if reply.cut_after is not None:
        return "cut"
    return "stall" if reply.stall_after is not None else "end"


def _cut(data: bytes) -> list[bytes]:
    """The bytes, cut in the middle of the first character that takes several."""
    place = next((index for index, byte in enumerate(data) if byte >= 0x80), len(data) // 2)
    return [data[: place + 1], data[place + 1 :]] if place + 1 < len(data) else [data]


def _fault(fault: Fault, delay_s: float) -> Play:
    kind, reason = KINDS.get(fault.status, ("server_error" if fault.status >= 500 else "invalid_request_error", None))
    message = fault.message or f"a scripted failure with status {fault.status}"
    body = _told(message, fault.type or kind, fault.param, fault.code or reason)
    return _failure(fault.status, body, fault.retry_after, delay_s)


def _failure(status: int, body: bytes, retry_after: int | None, delay_s: float) -> Play:
    headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
    if retry_after is not None:
        headers.append(("retry-after", str(retry_after)))
    return Play(status, tuple(headers), ((delay_s, body),))


def _told(message: str, kind: str, param: str | None, reason: str | None) -> bytes:
    return encode({"error": {"message": message, "type": kind, "param": param, "code": reason}})


def _chat(request: _Request) -> _Made:
    script, document, attempt = request.script, request.document, request.attempt
    asked = check.chat(document)
    streaming, wants_usage = _streaming(document)
    last = asked.messages[-1]
    facts = Facts(
        text=next((_said(one) for one in reversed(asked.messages) if one.role == "user"), ""),
        attempt=attempt,
        streaming=streaming,
        last_role=last.role,
        tool_result=_said(last) if last.role == "tool" else "",
        system="\n".join(_said(one) for one in asked.messages if one.role in ("system", "developer")),
        messages=len(asked.messages),
        tools=tuple(tool.function.name for tool in asked.tools if tool.function),
    )
    reply = choose(script, facts)
    if reply.error is not None:
        return _Made(reply)
    parallel = value(document, "parallel_tool_calls") is not False
    spoken = answers.chat(reply, asked, facts, request.seed.encode(), parallel=parallel)
    usage = _usage(reply, sum(map(_size, asked.messages)), spoken)
    around = forms.Frame(
        f"chatcmpl-{request.seed}", script.model, usage, asked.top_logprobs if asked.logprobs else None
    )
    longest = max(len(one.pieces) for one in spoken)
    if streaming:
        return _Made(reply, chunks=forms.chat_chunks(around, spoken, usage=wants_usage), tokens=longest)
    return _Made(reply, forms.chat_answer(around, spoken), tokens=longest)


def _completions(request: _Request) -> _Made:
    script, document, attempt = request.script, request.document, request.attempt
    asked = check.completions(document)
    streaming, wants_usage = _streaming(document)
    prompts = [one if isinstance(one, str) else " ".join(map(str, one)) for one in asked.prompts]
    reply = choose(script, Facts("\n".join(prompts), attempt, streaming))
    if reply.error is not None:
        return _Made(reply)
    spoken = []
    for prompt in prompts:
        facts = Facts(prompt, attempt, streaming)
        own = choose(script, facts)
        spoken += [
            answers.completion(own, facts, index, asked.stop, asked.max_tokens, prompt if asked.echo else "")
            for index in range(asked.n)
        ]
    read = sum(map(count, prompts))
    usage = _usage(reply, read, spoken, echoed=read * asked.n if asked.echo else 0)
    around = forms.Frame(f"cmpl-{request.seed}", script.model, usage, asked.logprobs)
    longest = max(len(one.pieces) for one in spoken)
    if streaming:
        return _Made(reply, chunks=forms.completion_chunks(around, spoken, usage=wants_usage), tokens=longest)
    return _Made(reply, forms.completion_answer(around, spoken), tokens=longest)


def _embeddings(request: _Request) -> _Made:
    script, document, attempt = request.script, request.document, request.attempt
    asked = check.embeddings(document)
    if flag(document, "stream"):
        raise Unsupported("embeddings cannot be streamed", param="stream")
    if asked.dimensions is not None and asked.dimensions > 65536:
        raise InvalidRequest("'dimensions' must be at most 65536", param="dimensions")
    reply = choose(script, Facts("\n".join(asked.inputs), attempt, streaming=False))
    if reply.error is not None:
        return _Made(reply)
    data = []
    for index, text in enumerate(asked.inputs):
        own = choose(script, Facts(text, attempt, streaming=False))
        vector = _vector(own, text, asked.dimensions or script.dimensions, asked.dimensions)
        given: Any = packed(vector) if asked.encoding_format == "base64" else vector
        data.append({"object": "embedding", "index": index, "embedding": given})
    answer: dict[str, Any] = {"object": "list", "data": data, "model": script.model}
    read = sum(map(count, asked.inputs))
    if reply.usage is not False:
        more = reply.usage if isinstance(reply.usage, dict) else {}
        answer["usage"] = {"prompt_tokens": read, "total_tokens": more.get("prompt_tokens", read), **more}
    return _Made(reply, answer)


def _vector(reply: Reply, text: str, dimensions: int, wanted: int | None) -> list[float]:
    if reply.embedding is None:
        return embedding(text, dimensions)
    if wanted not in (None, len(reply.embedding)):
        text = f"this script gives a vector of {len(reply.embedding)} numbers, not of {wanted}"
        raise InvalidRequest(text, param="dimensions")
    return unit(list(reply.embedding))


def _streaming(document: Document) -> tuple[bool, bool]:
    """(whether to stream, whether to tell the usage in the stream)."""
    streaming = flag(document, "stream")
    options = value(document, "stream_options")
    if options is None:
        return streaming, False
    if not streaming:
        raise InvalidRequest("'stream_options' needs 'stream': true", param="stream_options")
    if not isinstance(options, dict) or not isinstance(options.get("include_usage") or False, bool):
        raise InvalidRequest("'stream_options.include_usage' must be true or false", param="stream_options")
    return streaming, bool(options.get("include_usage"))


def _usage(reply: Reply, read: int, spoken: list[answers.Spoken], echoed: int = 0) -> dict[str, Any] | None:
    if reply.usage is False:
        return None
    written = sum(len(one.pieces) for one in spoken) - echoed
    thought = sum(len(one.tokens("reasoning_content")) for one in spoken)
    usage: dict[str, Any] = {"prompt_tokens": read, "completion_tokens": written}
    if thought:
        usage["completion_tokens_details"] = {"reasoning_tokens": thought}
    usage.update(reply.usage if isinstance(reply.usage, dict) else {})
    return {"total_tokens": usage["prompt_tokens"] + usage["completion_tokens"], **usage}


def _said(message: Message) -> str:
    """The text of a message.  Images and other parts have none."""
    if isinstance(message.content, str):
        return message.content
    return "\n".join(
        str(part["text"]) for part in message.content or () if part.get("type") == "text" and "text" in part
    )


def _size(message: Message) -> int:
    calls = message.tool_calls or ()
    return count(_said(message)) + sum(count(call.function.name) + count(call.function.arguments) for call in calls)


TASKS: Mapping[Task, Callable[[_Request], _Made]] = {
    Task.CHAT: _chat,
    Task.COMPLETIONS: _completions,
    Task.EMBEDDINGS: _embeddings,
}
"""In this order: the path of completions is the end of that of chat."""

KINDS: Mapping[int, tuple[str, str | None]] = {
    400: ("invalid_request_error", None),
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", None),
    404: ("not_found_error", "model_not_found"),
    408: ("timeout_error", None),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    503: ("service_unavailable_error", None),
}
"""`type` and `code` of a failure, by its status."""
