"""An exchange through the translation of its provider, with nothing sent."""

import json
from collections.abc import Iterable
from typing import Any

import msgspec
from tests.exchanges.files import Failed, Form, Recorded, Reply, Sent

from tesela.errors import TeselaError
from tesela.gateway.relay import Source
from tesela.providers.base import Call, Exchange
from tesela.providers.registry import PROVIDERS, ROWS, resolve
from tesela.providers.unified import exchange as unified
from tesela.serving import ExternalModel, Timeouts, Upstream
from tesela.wire import document
from tesela.wire.assemble import Assembler
from tesela.wire.tasks import Task

SECRET = "sk-secret-0123456789"
"""What every reference to a key stands for."""
HIDDEN = "***"
CHANGING = ("authorization", "x-amz-date", "x-amz-security-token")
"""Headers whose value is another one each time."""
CREATED, ID = 5, "abc"


def entity(exchange: Recorded, secrets: dict[str, str], base: str | None = None) -> tuple[str, Upstream]:
    """(the name of its provider's translations, where it is called).  `base` takes the place of the address."""
    row = ROWS[exchange.provider]
    settings = dict(exchange.settings)
    if base is not None:
        settings[BASES[exchange.provider]] = base
    fields = {"name": exchange.model, "provider": exchange.provider, "task": exchange.task, row.field: settings}
    external = msgspec.convert(fields, ExternalModel)
    found = resolve(external, at="external_model", place=str, secrets=secrets, timeouts=Timeouts(connect_s=5.0))
    return found.provider, found.upstream


BASES = {
    "ai21labs": "ai21labs_api_base",
    "amazon-bedrock": "amazon_bedrock_api_base",
    "anthropic": "anthropic_api_base",
    "cohere": "cohere_api_base",
    "custom": "custom_provider_url",
    "databricks-model-serving": "databricks_workspace_url",
    "google-cloud-vertex-ai": "google_api_base",
    "openai": "openai_api_base",
}
"""The setting that says where a provider is called."""


def made(exchange: Recorded, upstream: Upstream, provider: str, *, streaming: bool) -> Exchange:
    """What is sent.  Raises RequestError for what the provider cannot be told."""
    asked = document.decode(msgspec.json.encode({"model": "e", **exchange.asked}))
    if streaming:
        asked["stream"] = document.TRUE
    task = Task(exchange.task)
    translation = PROVIDERS[provider].translations[task]
    if translation is None:
        return unified(task, asked, streaming, upstream)
    return translation(Call(task, asked, streaming, upstream, CREATED, ID))


def sent(made: Exchange, upstream: Upstream, secrets: Iterable[str] = (SECRET,)) -> Sent:
    """The request as a file has it: with none of the secrets in it."""
    hidden = tuple(secrets)
    headers = {name.lower(): content for name, content in (*upstream.headers, *made.headers)}
    if upstream.token is not None:
        headers["authorization"] = HIDDEN
    shown = {
        name: HIDDEN if name in CHANGING or any(one in content for one in hidden) else content
        for name, content in headers.items()
    }
    path = upstream.base_path + made.path
    if upstream.query:
        path += ("&" if "?" in path else "?") + upstream.query
    return Sent(path, dict(sorted(shown.items())), json.loads(made.body))


def answered(made: Exchange, reply: Reply, task: Task, *, size: int = 10**9) -> Any:
    """What we answer to this reply, its bytes coming in pieces of `size`.  Raises UpstreamError."""
    data = reply.data()
    if not made.streaming:
        return json.loads(made.answer(data) if made.answer is not None else data)
    source, assembler = Source(made), Assembler(task)
    for at in range(0, len(data), size):
        for chunk in source.feed(data[at : at + size]):
            assembler.feed(chunk)
    for chunk in source.finish():
        assembler.feed(chunk)
    return json.loads(assembler.finish())


def failure(provider: str, form: Form) -> TeselaError:
    """The error of a status from 400 on."""
    return PROVIDERS[provider].failure(form.reply.status, form.reply.data(), None)


def told(error: TeselaError) -> Failed:
    return Failed(error.status, error.code, error.param)


def same(answer: Any) -> Any:
    """What a stream and a whole answer must agree in: not in the spaces of JSON that a model wrote, nor in saying that
    there is no refusal."""
    for choice in answer.get("choices", ()):
        message = choice.get("message", {})
        for call in message.get("tool_calls") or ():
            call["function"]["arguments"] = json.loads(call["function"]["arguments"])
        if isinstance(message.get("content"), str) and message["content"].startswith("{"):
            message["content"] = json.loads(message["content"])
        if message.get("refusal", "") is None:
            del message["refusal"]
    return answer
