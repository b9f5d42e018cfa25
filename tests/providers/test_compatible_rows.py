"""Companies and servers that speak OpenAI's form, by their rows."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.peers import Link, Peer, Request, looped
from tests.providers.ends import KEY, STREAM, chunked, ending, events, lines, served

from tesela.errors import ConfigError
from tesela.providers.base import openai_failure
from tesela.providers.compatible_rows import COMPATIBLE
from tesela.providers.registry import PROVIDERS
from tesela.serving import ExternalModel

BEARER = {"bearer_token_auth": {"token": "env:KEY"}}
ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize("name", COMPATIBLE)
def test_every_row_works_with_a_key_alone(name: str) -> None:
    row = COMPATIBLE[name]
    for task in row.tasks:
        found = served(name, BEARER, task=str(task))
        assert found.tasks == {task}
        assert found.provider in PROVIDERS
        assert found.upstream.headers == (("authorization", f"Bearer {KEY}"),)
        origin = found.upstream.origin
        assert f"{origin.scheme}://{origin.authority}{found.upstream.base_path}" == row.url
        assert row.url.startswith("https://") or not row.key
    assert row.page.startswith("https://")
    assert name not in {field.removesuffix("_config") for field in ExternalModel.__struct_fields__}


@pytest.mark.parametrize("name", [name for name, row in COMPATIBLE.items() if row.key])
def test_a_company_wants_a_key(name: str) -> None:
    with pytest.raises(ConfigError, match="wants a key: give bearer_token_auth"):
        served(name, {})


def test_a_server_of_ones_own_needs_nothing() -> None:
    upstream = served("ollama", {}).upstream
    assert (upstream.origin.authority, upstream.headers) == ("127.0.0.1:11434", ())


def test_another_address_and_what_is_none() -> None:
    upstream = served("vllm", {"custom_provider_url": "http://gpu:9000/v1/chat/completions"}).upstream
    assert (upstream.origin.authority, upstream.base_path) == ("gpu:9000", "/v1")
    with pytest.raises(ConfigError, match="must be the base of the API, such as http"):
        served("vllm", {"custom_provider_url": "http://gpu/invocations"})
    with pytest.raises(ConfigError, match="task: provider 'groq' has no llm/v1/embeddings; it has llm/v1/chat"):
        served("groq", BEARER, task="llm/v1/embeddings")
    with pytest.raises(ConfigError, match="did you mean 'bearer_token_auth'"):
        served("groq", {"bearer_token": "x"})


class Server:
    def __init__(self, *says: bytes) -> None:
        self.says = list(says)
        self.heard: list[Request] = []

    async def __call__(self, link: Link) -> None:
        while True:
            self.heard.append(await link.request())
            await link.say(self.says.pop(0))


EVENTS = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"Hello"},"finish_reason":null}]}\n\n',
    (
        b'data: {"choices":[{"index":0,"delta":{"content":""},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,'
        b'"completion_tokens":1,"total_tokens":4}}\n\n'
        b"data: [DONE]\n\n"
    ),
)


@looped
async def test_who_refuses_stream_options_is_not_sent_them_and_its_usage_is_counted() -> None:
    """https://docs.mistral.ai/api/: a field that is not listed is refused; the last chunk has the usage."""
    server = Server(STREAM + chunked(*EVENTS), STREAM + chunked(*EVENTS))
    async with Peer(server).listening() as peer:
        url = {"custom_provider_url": f"http://127.0.0.1:{peer.port}/v1"}
        async with ending(served("mistral", {**BEARER, **url})) as end:
            caller = await end.ask({**ASK, "stream": True, "stream_options": {"include_usage": True}})
        async with ending(served("groq", {**BEARER, **url})) as end:
            await end.ask({**ASK, "stream": True})
    assert msgspec.json.decode(server.heard[0].body) == {"model": "m-1", **ASK, "stream": True}
    assert lines(server.heard[0])[""] == "POST /v1/chat/completions HTTP/1.1"
    assert events(caller.body)[-1]["usage"]["total_tokens"] == 4
    assert msgspec.json.decode(server.heard[1].body)["stream_options"] == {"include_usage": True}


def test_a_list_of_what_is_wrong_is_passed_on() -> None:
    """As Mistral answers: https://github.com/openai/openai-agents-python/issues/442"""
    told = b'{"object":"error","message":{"detail":[{"loc":["body","seed"],"msg":"Extra inputs are not permitted"}]}}'
    error = openai_failure(422, told, None)
    assert error.status == 422
    assert "Extra inputs are not permitted" in error.message
    assert "seed" in error.message


def test_every_row_is_in_the_guide() -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/external-models.md").read_text("utf-8")
    for name, row in COMPATIBLE.items():
        tasks = ", ".join(str(task).rpartition("/")[2] for task in row.tasks)
        key = "yes" if row.key else "as the server wants"
        assert f"| [`{name}`]({row.page}) | `{row.url}` | {tasks} | {key} |" in guide
    assert guide.count("| yes |") + guide.count("| as the server wants |") == len(COMPATIBLE)
