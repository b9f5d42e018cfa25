"""Companies and servers that speak OpenAI's form, one row each: where they are, and what they have.

A row is data.  Whoever needs more than a row (another way to sign in, another form) gets a module.  A company that is
gone has its row deleted.
"""

from collections.abc import Mapping

import msgspec

from tesela.providers.base import Call, Exchange, Provider
from tesela.providers.compatible import CUSTOM, address, base
from tesela.providers.compatible_settings import custom_auth
from tesela.providers.reading import Reading, Resolved, Row
from tesela.providers.unified import unasked
from tesela.serving import Upstream
from tesela.wire.tasks import Task

CHAT, COMPLETIONS, EMBEDDINGS = Task.CHAT, Task.COMPLETIONS, Task.EMBEDDINGS


class Compatible(msgspec.Struct, frozen=True):
    """One company or server.  `page` says that the rest is so.

    `key` is False for a server that runs without one.  `asks` is False where a stream tells its usage without being
    asked and `stream_options` is refused.
    """

    url: str
    page: str
    tasks: tuple[Task, ...] = (CHAT,)
    key: bool = True
    asks: bool = True


def tells(call: Call) -> Exchange:
    """Forward the request without `stream_options`: the usage comes in any case."""
    call.document.pop("stream_options", None)
    return unasked(call.task, call.document, call.streaming, call.upstream)


TELLING = Provider("compatible-telling", dict.fromkeys((CHAT, COMPLETIONS, EMBEDDINGS), tells))

COMPATIBLE: Mapping[str, Compatible] = {
    "cerebras": Compatible(
        "https://api.cerebras.ai/v1", "https://inference-docs.cerebras.ai/resources/openai", (CHAT, COMPLETIONS)
    ),
    "deepinfra": Compatible(
        "https://api.deepinfra.com/v1/openai",
        "https://deepinfra.com/docs/openai_api",
        (CHAT, COMPLETIONS, EMBEDDINGS),
    ),
    "deepseek": Compatible("https://api.deepseek.com/v1", "https://api-docs.deepseek.com/"),
    "fireworks": Compatible(
        "https://api.fireworks.ai/inference/v1",
        "https://docs.fireworks.ai/tools-sdks/openai-compatibility",
        (CHAT, COMPLETIONS, EMBEDDINGS),
    ),
    "groq": Compatible("https://api.groq.com/openai/v1", "https://console.groq.com/docs/openai"),
    "huggingface": Compatible(
        "https://router.huggingface.co/v1", "https://huggingface.co/docs/inference-providers/index"
    ),
    "mistral": Compatible("https://api.mistral.ai/v1", "https://docs.mistral.ai/api/", (CHAT, EMBEDDINGS), asks=False),
    "moonshot": Compatible("https://api.moonshot.ai/v1", "https://platform.moonshot.ai/docs/api/chat"),
    "nvidia": Compatible(
        "https://integrate.api.nvidia.com/v1", "https://docs.api.nvidia.com/nim/reference/llm-apis", (CHAT, EMBEDDINGS)
    ),
    "openrouter": Compatible(
        "https://openrouter.ai/api/v1",
        "https://openrouter.ai/docs/api-reference/overview",
        (CHAT, COMPLETIONS, EMBEDDINGS),
    ),
    "perplexity": Compatible(
        "https://api.perplexity.ai", "https://docs.perplexity.ai/guides/chat-completions-guide", asks=False
    ),
    "together": Compatible(
        "https://api.together.xyz/v1",
        "https://docs.together.ai/docs/openai-api-compatibility",
        (CHAT, COMPLETIONS, EMBEDDINGS),
    ),
    "xai": Compatible("https://api.x.ai/v1", "https://docs.x.ai/docs/api-reference"),
    # Servers of one's own, at the address where they listen unless told otherwise.
    "llama-cpp": Compatible(
        "http://127.0.0.1:8080/v1",
        "https://github.com/ggml-org/llama.cpp/tree/master/tools/server",
        (CHAT, COMPLETIONS, EMBEDDINGS),
        key=False,
    ),
    "lm-studio": Compatible(
        "http://127.0.0.1:1234/v1",
        "https://lmstudio.ai/docs/developer/openai-compat",
        (CHAT, COMPLETIONS, EMBEDDINGS),
        key=False,
    ),
    "ollama": Compatible(
        "http://127.0.0.1:11434/v1",
        "https://docs.ollama.com/api/openai-compatibility",
        (CHAT, COMPLETIONS, EMBEDDINGS),
        key=False,
    ),
    "sglang": Compatible(
        "http://127.0.0.1:30000/v1",
        "https://docs.sglang.ai/basic_usage/openai_api.html",
        (CHAT, COMPLETIONS, EMBEDDINGS),
        key=False,
    ),
    "vllm": Compatible(
        "http://127.0.0.1:8000/v1",
        "https://docs.vllm.ai/en/latest/serving/openai_compatible_server/",
        (CHAT, COMPLETIONS, EMBEDDINGS),
        key=False,
    ),
}


def resolve(reading: Reading, task: Task) -> Resolved:
    """The settings are those of `custom`, with an address that need not be given."""
    name = reading.model.provider
    row = COMPATIBLE[name]
    reading.only("custom_provider_url", "bearer_token_auth", "api_key_auth")
    if task not in row.tasks:
        raise reading.no_task(task, row.tasks)
    headers = custom_auth(reading)
    if row.key and not headers:
        raise reading.wrong("", f"provider {name!r} wants a key: give bearer_token_auth with a token")
    origin, path, query = address(reading.text("custom_provider_url") or row.url, reading.where("custom_provider_url"))
    found = base(path)
    if found is None or query:
        raise reading.wrong("custom_provider_url", f"must be the base of the API, such as {row.url}")
    provider = CUSTOM if row.asks else TELLING
    upstream = Upstream(origin, reading.model.name, found, headers, reading.timeouts)
    return Resolved(provider.name, frozenset({task}), upstream)


ROWS: Mapping[str, Row] = {
    name: Row("custom_provider_config", resolve, needs_settings=row.key) for name, row in COMPATIBLE.items()
}
