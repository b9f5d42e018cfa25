"""What a request asks for: its body read one level deep and held against the endpoint that it names.

Pure.  What is checked here holds for every provider; what only some models can do is checked by their translation.
"""

import contextlib
import re
from typing import Any

import msgspec

from tesela.errors import EngineError, InvalidRequest, NotFound, PermissionDenied, TeselaError, Unsupported
from tesela.gateway import traffic
from tesela.gateway.doors import Door, Manners
from tesela.serving import Endpoint, ServedEntity
from tesela.snapshot import Credential, Snapshot
from tesela.wire import responses
from tesela.wire.document import Document, decode, raw, value
from tesela.wire.native_forms import NATIVE_FORMS, Events, NativeForm
from tesela.wire.tasks import FIELD, Native, Task

MAX_USAGE_CONTEXT = 10 * 1024
"""Bytes of `usage_context`, as Databricks documents it."""


class Question(msgspec.Struct):
    """One request, understood.  `entities` is given when one was asked for by name.

    `task` is the one that is sent upstream; `echo` is there when the caller speaks another API than the model behind,
    and keeps what an answer must know of the request.
    """

    door: Door
    endpoint: Endpoint
    entities: tuple[ServedEntity, ...] | None
    task: Task
    document: Document
    streaming: bool
    show_usage: bool
    echo: Any = None

    @property
    def form(self) -> NativeForm | None:
        """The provider's own API that the caller speaks."""
        native = self.door.native
        return None if native is None else NATIVE_FORMS[native]

    def events(self, request_id: str, created: int) -> Events | None:
        """The state of a stream in another API, or None when chunks go out as they are."""
        if self.echo is None:
            return None
        form = self.form
        if form is not None:
            return form.events(self.echo, request_id)
        return responses.ResponseEvents(self.echo, request_id, created)

    @property
    def sign(self) -> bytes:
        """What tells a caller who waits long that its answer is still being made; empty where nothing can."""
        if self.streaming:
            form = self.form
            return b"" if form is None else form.sign
        return b" " if self.door.manners is Manners.DATABRICKS else b""

    def answer(self, body: bytes, request_id: str, created: int) -> bytes:
        """A whole answer in the form and manners that the caller expects."""
        if self.echo is not None:
            form = self.form
            if form is not None:
                return form.answer(body, self.echo, request_id)
            return responses.answer(body, self.echo, request_id, created)
        if self.door.manners is Manners.DATABRICKS:
            return with_finish_reason(body)
        return body


class _Options(msgspec.Struct):
    include_usage: bool | None = None


class _Shape(msgspec.Struct):
    """The fields that are looked at here, with the types that they have in every provider's form.

    Decoding into this skips all other values in C, and its errors name the field.  Deeper checks are the provider's,
    or those of the local models' translation: a value that a provider learned yesterday must pass.
    """

    model: str | None = None
    stream: bool | None = None
    stream_options: _Options | None = None
    messages: list[msgspec.Raw] | None = None
    prompt: str | list[msgspec.Raw] | None = None
    input: str | list[msgspec.Raw] | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    tools: list[msgspec.Raw] | None = None
    response_format: dict[str, msgspec.Raw] | None = None


_shape = msgspec.json.Decoder(_Shape)


def read(snapshot: Snapshot, door: Door, credential: Credential, body: bytes) -> Question:
    """Understand a request.  Raises RequestError, which the caller can mend, and EngineError for an endpoint that is
    there and cannot serve."""
    document = decode(body)
    try:
        shape = _shape.decode(body)
    except msgspec.ValidationError as exc:
        raise _wrong_type(exc) from exc
    name = door.endpoint
    if name is None:
        name = shape.model
        if not name:
            raise InvalidRequest("'model' is missing: it takes the name of an endpoint", param="model")
    endpoint = snapshot.endpoints.get(name)
    if endpoint is None:
        raise _no_endpoint(snapshot, door, credential, name)
    principal, only = credential.principal, credential.endpoints
    if not (principal.admin or snapshot.may_query(principal, name)):
        raise PermissionDenied(f"{principal.name} may not query endpoint {name!r}: its owner can grant CAN_QUERY")
    if only is not None and endpoint.id not in only:
        raise PermissionDenied(
            f"this access token was made for other endpoints than {name!r}; ask for one that names it"
        )
    entities = traffic.named(endpoint, door.entity) if door.entity is not None else None
    tasks = (entities or endpoint.entities)[0].tasks
    if door.native is not None:
        return _natively(door, door.native, endpoint, document, shape)
    task = door.task or _task(document, tasks, endpoint)
    if "extra_params" in document or "usage_context" in document or "client_request_id" in document:
        _lift(document)
    echo: Any = None
    if task not in tasks:
        if task is not Task.RESPONSES or Task.CHAT not in tasks:
            raise _not_served(endpoint, task, tasks)
        chat = responses.to_chat(document)
        echo = responses.echo(document)
        document, task = chat, Task.CHAT
    elif not getattr(shape, FIELD[task]):
        _missing(shape, FIELD[task])
    streaming = shape.stream is True and task is not Task.EMBEDDINGS
    shows_usage = shape.stream_options is not None and shape.stream_options.include_usage is True
    return Question(door, endpoint, entities, task, document, streaming, shows_usage, echo)


def _natively(door: Door, native: Native, endpoint: Endpoint, document: Document, shape: _Shape) -> Question:
    """A request in a provider's own form; its fields are looked at where it is translated."""
    form = NATIVE_FORMS[native]
    _lift(document)
    tasks = endpoint.entities[0].tasks
    if form.task not in tasks:
        raise _not_served(endpoint, form.task, tasks)
    if form.streaming is None and not shape.messages:
        _missing(shape, "messages")
    if native is Native.STREAM_GENERATE and b"alt=sse" not in door.query:
        raise Unsupported("streamGenerateContent answers in server-sent events here: add ?alt=sse to the address")
    streaming = shape.stream is True if form.streaming is None else form.streaming
    asked = form.asked(document, endpoint.name)
    return Question(door, endpoint, None, form.task, document, streaming, show_usage=True, echo=asked)


def _not_served(endpoint: Endpoint, task: Task, tasks: frozenset[Task]) -> Unsupported:
    return Unsupported(f"endpoint {endpoint.name!r} does not serve {task}; it serves {', '.join(sorted(tasks))}")


def _missing(shape: _Shape, field: str) -> None:
    """Raises for a request without what its task is about.  An empty prompt is one that some models can complete."""
    found = getattr(shape, field)
    if found is None:
        raise InvalidRequest(f"{field!r} is missing", param=field)
    if field == "messages":
        raise InvalidRequest("'messages' is empty: send at least one message", param="messages")


def _short(name: str) -> str:
    """A name that somebody sent, for a sentence that people read."""
    return name if len(name) <= 200 else name[:200] + "…"


_PATH = re.compile(r"`\$\.([A-Za-z_]+)")


def _no_endpoint(snapshot: Snapshot, door: Door, credential: Credential, name: str) -> TeselaError:
    """Why there is no such endpoint to ask."""
    if name in snapshot.broken and snapshot.may_query(credential.principal, name):
        return EngineError(f"endpoint {name!r} cannot answer: {snapshot.broken[name]}", retry_after_s=5)
    return NotFound(
        f"endpoint {_short(name)!r} does not exist; GET /api/2.0/serving-endpoints lists those that do",
        param=None if door.endpoint else "model",
        reason="model_not_found",
    )


def _wrong_type(exc: msgspec.ValidationError) -> InvalidRequest:
    """msgspec's sentence, `Expected `str`, got `int` - at `$.model``, as an error that names the field."""
    expected, _, place = str(exc).partition(" - at ")
    match = _PATH.match(place)
    if match is None:
        return InvalidRequest(f"the request body is not understood: {exc}")
    return InvalidRequest(f"{match[1]!r} has the wrong type: {_lowered(expected)}", param=match[1])


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:].replace("| null", "or null").replace(" | ", " or ")


def _task(document: Document, tasks: frozenset[Task], endpoint: Endpoint) -> Task:
    """The task of a request at an invocation door: the one whose field it has."""
    for task in (Task.CHAT, Task.COMPLETIONS, Task.EMBEDDINGS, Task.RESPONSES):
        if FIELD[task] in document and (task in tasks or (task is Task.RESPONSES and Task.CHAT in tasks)):
            return task
    wanted = " or ".join(repr(FIELD[task]) for task in sorted(tasks))
    found = next((field for field in ("messages", "prompt", "input", *_CLASSIC) if field in document), None)
    if found is None:
        raise InvalidRequest(f"the request has no {wanted}, which endpoint {endpoint.name!r} needs")
    raise InvalidRequest(
        f"{found!r} is not for endpoint {endpoint.name!r}, which serves {endpoint.task} and takes {wanted}", param=found
    )


_CLASSIC = ("dataframe_split", "dataframe_records", "instances", "inputs")


def _lift(document: Document) -> None:
    """Databricks' own fields: `extra_params` belong to the model call, the other two to our records."""
    document.pop("client_request_id", None)
    context = document.pop("usage_context", None)
    if context is not None and len(bytes(context)) > MAX_USAGE_CONTEXT:
        raise InvalidRequest(f"'usage_context' is larger than {MAX_USAGE_CONTEXT} bytes", param="usage_context")
    if "extra_params" not in document:
        return
    extra = value(document, "extra_params")
    del document["extra_params"]
    if extra is None:
        return
    if not isinstance(extra, dict):
        raise InvalidRequest("'extra_params' must be an object", param="extra_params")
    for name, given in extra.items():
        if name in _READ_HERE:
            raise InvalidRequest(f"{name!r} belongs at the top, not in 'extra_params'", param=name)
        if name in document:
            raise InvalidRequest(f"{name!r} is given twice, at the top and in 'extra_params'", param=name)
        document[name] = raw(_meant(given))


_READ_HERE = ("model", "stream", "stream_options")
"""What decides how the answer is read and where it goes: the provider must not be told anything else."""


def _meant(given: object) -> object:
    """The Databricks SDK can only send strings here, so "0.9" means 0.9; what is not JSON is a string."""
    if isinstance(given, str):
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            return msgspec.json.decode(given)
    return given


_KEY = b'"finish_reason"'


def with_finish_reason(body: bytes) -> bytes:
    """The answer with `finishReason` beside each `finish_reason`: the Databricks SDK reads only the former.

    Inside a JSON string the quotes of the key would be escaped, so the bytes can only be a key.
    """
    at = body.find(_KEY)
    if at < 0:
        return body
    out = []
    start = 0
    while at >= 0:
        after = at + len(_KEY)
        found = _CONTENT.match(body, after)
        if found is not None:
            after = found.end()
            out += [body[start:after], b',"finishReason"', found[0]]
            start = after
        at = body.find(_KEY, after)
    out.append(body[start:])
    return b"".join(out)


# What follows the key: a colon, and a string or null.
_CONTENT = re.compile(rb'\s*:\s*(?:null|"[^"\\]*(?:\\.[^"\\]*)*")')
