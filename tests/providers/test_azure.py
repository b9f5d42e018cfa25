"""Azure OpenAI: the address of a deployment, the version in the query, keys and tokens of Microsoft Entra."""

from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from tests.gateway.peers import Link, Peer, Request, looped
from tests.providers.ends import KEY, STREAM, chunked, ending, events, lines, served

from tesela.errors import ConfigError
from tesela.wire.tasks import Task

ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}]}
AZURE: dict[str, Any] = {
    "openai_api_type": "azure",
    "openai_api_key": "env:KEY",
    "openai_api_base": "https://mine.openai.azure.com",
    "openai_api_version": "2024-10-21",
    "openai_deployment_name": "my gpt",
}
ENTRA: dict[str, Any] = {
    **{name: given for name, given in AZURE.items() if name != "openai_api_key"},
    "openai_api_type": "azuread",
    "microsoft_entra_tenant_id": "tenant-1",
    "microsoft_entra_client_id": "app-1",
    "microsoft_entra_client_secret": "env:KEY",
}
ANSWER = b'{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}'
EVENTS = (
    # Azure's first chunk has no choice: https://learn.microsoft.com/en-us/azure/ai-foundry/openai/concepts/content-streaming
    b'data: {"choices":[],"prompt_filter_results":[{"prompt_index":0}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"Hello"},"finish_reason":null}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}\n\n',
    b"data: [DONE]\n\n",
)


class Azure:
    """A deployment, and beside it an issuer of tokens."""

    def __init__(self, *says: bytes, token: bytes = b'{"access_token":"entra-1","expires_in":3599}') -> None:
        self.says = list(says)
        self.token = token
        self.heard: list[Request] = []
        self.asked: list[Request] = []

    async def __call__(self, link: Link) -> None:
        while True:
            request = await link.request()
            if b"/oauth2/" in request.head:
                self.asked.append(request)
                await link.answer(self.token, status="200 OK" if b"access_token" in self.token else "401 Unauthorized")
            else:
                self.heard.append(request)
                said = self.says.pop(0)
                await (link.say(said) if said.startswith(b"HTTP") else link.answer(said))


def at(peer: Peer, settings: dict[str, Any], **more: Any) -> Any:
    base = f"http://127.0.0.1:{peer.port}"
    authority = {"microsoft_entra_authority": base} if settings is ENTRA else {}
    return served("openai", {**settings, "openai_api_base": base, **authority, **more.pop("config", {})}, **more)


@looped
async def test_a_deployment_is_called_by_its_path_with_the_key_in_its_header() -> None:
    azure = Azure(ANSWER)
    async with Peer(azure).listening() as peer, ending(at(peer, AZURE)) as end:
        caller = await end.ask(ASK)
    assert (caller.status, caller.body) == (200, ANSWER)
    head = lines(azure.heard[0])
    assert head[""] == "POST /openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21 HTTP/1.1"
    assert head["api-key"] == KEY
    assert "authorization" not in head
    assert msgspec.json.decode(azure.heard[0].body) == {"model": "m-1", **ASK}


@looped
async def test_a_stream_whose_first_chunk_has_no_choice() -> None:
    azure = Azure(STREAM + chunked(*EVENTS), STREAM + chunked(*EVENTS))
    async with Peer(azure).listening() as peer, ending(at(peer, AZURE)) as end:
        caller = await end.ask({**ASK, "stream": True})
        databricks = await end.ask({**ASK, "stream": True}, "/serving-endpoints/e/invocations")
    assert msgspec.json.decode(azure.heard[0].body)["stream_options"] == {"include_usage": True}
    assert caller.body.endswith(b"data: [DONE]\n\n")
    assert events(databricks.body)[-1]["usage"]["total_tokens"] == 4


@looped
async def test_versions_that_do_not_know_stream_options_are_not_sent_them() -> None:
    azure = Azure(STREAM + chunked(*EVENTS))
    async with Peer(azure).listening() as peer:
        early = at(peer, AZURE, config={"openai_api_version": "2024-02-01"})
        async with ending(early) as end:
            await end.ask({**ASK, "stream": True})
    assert "stream_options" not in msgspec.json.decode(azure.heard[0].body)


@pytest.mark.parametrize(
    ("task", "path", "ask"),
    [
        ("llm/v1/embeddings", "/v1/embeddings", {"input": "x"}),
        ("llm/v1/completions", "/v1/completions", {"prompt": "x"}),
    ],
)
def test_the_other_tasks(task: str, path: str, ask: dict[str, Any]) -> None:
    @looped
    async def asked() -> None:
        azure = Azure(b'{"data": [], "choices": []}')
        async with Peer(azure).listening() as peer, ending(at(peer, AZURE, task=task)) as end:
            assert (await end.ask(ask, path)).status == 200
        assert lines(azure.heard[0])[""].startswith(f"POST /openai/deployments/my%20gpt{path[3:]}?api-version=")

    asked()


@looped
async def test_entra_gives_a_token_once_for_many_calls() -> None:
    azure = Azure(ANSWER, ANSWER)
    async with Peer(azure).listening() as peer, ending(at(peer, ENTRA)) as end:
        first, second = await end.ask(ASK), await end.ask(ASK)
    assert (first.body, second.body) == (ANSWER, ANSWER)
    assert len(azure.asked) == 1
    assert lines(azure.asked[0])[""] == "POST /tenant-1/oauth2/v2.0/token HTTP/1.1"
    assert lines(azure.asked[0])["content-type"] == "application/x-www-form-urlencoded"
    assert parse_qs(azure.asked[0].body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["app-1"],
        "client_secret": [KEY],
        "scope": ["https://cognitiveservices.azure.com/.default"],
    }
    assert [lines(one)["authorization"] for one in azure.heard] == ["Bearer entra-1"] * 2
    assert "api-key" not in lines(azure.heard[0])


@looped
async def test_credentials_that_entra_refuses_are_a_502_and_lead_to_the_next_entity() -> None:
    told = b'{"error":"invalid_client","error_description":"%b is wrong"}' % KEY.encode()
    azure, other = Azure(token=told), Azure(ANSWER)
    async with Peer(azure).listening() as peer, Peer(other).listening() as second:
        async with ending(at(peer, ENTRA)) as end:
            caller = await end.ask(ASK)
        assert caller.status == 502
        assert b"Microsoft Entra refused this endpoint's credentials (status 401, invalid_client)" in caller.body
        assert KEY.encode() not in caller.body
        async with ending(at(peer, ENTRA), at(second, AZURE, name="two")) as end:
            assert (await end.ask(ASK)).headers["served-model-name"] == "two"


def test_the_address_in_every_form_that_people_copy() -> None:
    for base in ("https://mine.openai.azure.com/", "https://mine.openai.azure.com/openai"):
        upstream = served("openai", {**AZURE, "openai_api_base": base}).upstream
        assert upstream.base_path == "/openai/deployments/my%20gpt"
    found = served("openai", ENTRA)
    assert found.tasks == {Task.CHAT}
    assert found.upstream.headers == ()
    assert found.upstream.token is not None
    assert found.upstream.token.upstream.origin.authority == "login.microsoftonline.com"
    assert KEY not in repr(found)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({**AZURE, "openai_api_base": None}, "openai_api_base: must be the resource's address"),
        ({**AZURE, "openai_api_version": None}, "openai_api_version: must be a version"),
        ({**AZURE, "openai_api_version": "1&x=2"}, "is not a version"),
        ({**AZURE, "openai_deployment_name": ""}, "openai_deployment_name: must name"),
        ({**AZURE, "openai_api_base": "https://a/openai/deployments/b"}, "the resource's address alone"),
        ({**AZURE, "microsoft_entra_tenant_id": "t"}, "there is no such setting"),
        ({**ENTRA, "openai_api_key": "env:KEY"}, "there is no such setting"),
        ({**ENTRA, "microsoft_entra_client_secret": None}, "exactly one of microsoft_entra_client_secret"),
        ({**ENTRA, "microsoft_entra_tenant_id": None}, "microsoft_entra_tenant_id: must be"),
        ({**AZURE, "openai_api_type": "azur"}, "is no type; it is one of openai, azure, azuread"),
    ],
)
def test_settings_that_cannot_work(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        served("openai", config)
    assert words in caught.value.message
    assert KEY not in caught.value.message
