"""An endpoint of another workspace, by token and by service principal."""

from base64 import b64encode
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from tests.gateway.peers import Link, Peer, Request, looped
from tests.providers.ends import KEY, STREAM, chunked, ending, events, lines, served

from tesela.errors import ConfigError

ASK: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0}
URL = "https://other.cloud.databricks.com"
ANSWER = b'{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}]}'
# https://docs.databricks.com/aws/en/machine-learning/foundation-model-apis/api-reference: usage is in every chunk.
EVENTS = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":[{"type":"reasoning","summary":[{"type":'
    b'"summary_text","text":"Hm."}]}]},"finish_reason":null}],"usage":{"prompt_tokens":3,"completion_tokens":1,'
    b'"total_tokens":4}}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,'
    b'"completion_tokens":2,"total_tokens":5}}\n\n'
    b"data: [DONE]\n\n"
)


class Workspace:
    def __init__(self, *says: bytes, status: str = "200 OK") -> None:
        self.says = list(says)
        self.status = status
        self.heard: list[Request] = []
        self.asked: list[Request] = []

    async def __call__(self, link: Link) -> None:
        while True:
            request = await link.request()
            if request.head.startswith(b"POST /oidc/v1/token "):
                self.asked.append(request)
                await link.answer(b'{"access_token":"oauth-1","token_type":"Bearer","expires_in":3600}')
            else:
                self.heard.append(request)
                said = self.says.pop(0)
                await (link.say(said) if said.startswith(b"HTTP") else link.answer(said, status=self.status))


def at(peer: Peer, **more: Any) -> Any:
    config = more.pop("config", {"databricks_api_token": "env:KEY"})
    url = {"databricks_workspace_url": f"http://127.0.0.1:{peer.port}"}
    return served("databricks-model-serving", {**url, **config}, **more)


@looped
async def test_the_endpoint_is_named_by_the_path_and_the_rest_goes_on_as_it_came() -> None:
    workspace = Workspace(ANSWER)
    async with Peer(workspace).listening() as peer, ending(at(peer, model="their endpoint")) as end:
        caller = await end.ask({**ASK, "unheard_of": [1]})
    assert (caller.status, caller.body) == (200, ANSWER)
    head = lines(workspace.heard[0])
    assert head[""] == "POST /serving-endpoints/their%20endpoint/invocations HTTP/1.1"
    assert head["authorization"] == f"Bearer {KEY}"
    assert msgspec.json.decode(workspace.heard[0].body) == {**ASK, "unheard_of": [1]}


@looped
async def test_a_stream_is_not_asked_for_its_usage_and_tells_it_all_the_same() -> None:
    workspace = Workspace(STREAM + chunked(EVENTS), STREAM + chunked(EVENTS))
    async with Peer(workspace).listening() as peer, ending(at(peer)) as end:
        await end.ask({**ASK, "stream": True, "stream_options": {"include_usage": True}})
        caller = await end.ask({**ASK, "stream": True}, "/serving-endpoints/e/invocations")
    assert msgspec.json.decode(workspace.heard[0].body) == {**ASK, "stream": True}
    found = events(caller.body)
    assert found[0]["choices"][0]["delta"]["content"][0]["type"] == "reasoning"
    assert found[-1]["usage"]["total_tokens"] == 5


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
        workspace = Workspace(b'{"data": [], "choices": []}')
        async with Peer(workspace).listening() as peer, ending(at(peer, task=task)) as end:
            assert (await end.ask(ask, path)).status == 200
        assert lines(workspace.heard[0])[""] == "POST /serving-endpoints/m-1/invocations HTTP/1.1"

    asked()


@looped
async def test_a_service_principal() -> None:
    workspace = Workspace(ANSWER, ANSWER)
    config = {"databricks_client_id": "sp-1", "databricks_client_secret": "env:KEY"}
    async with Peer(workspace).listening() as peer, ending(at(peer, config=config)) as end:
        await end.ask(ASK)
        await end.ask(ASK)
    assert len(workspace.asked) == 1
    basic = b64encode(f"sp-1:{KEY}".encode()).decode()
    assert lines(workspace.asked[0])["authorization"] == f"Basic {basic}"
    form = parse_qs(workspace.asked[0].body.decode())
    assert form == {"grant_type": ["client_credentials"], "scope": ["all-apis"]}
    assert [lines(one)["authorization"] for one in workspace.heard] == ["Bearer oauth-1"] * 2


@looped
async def test_what_the_workspace_refuses() -> None:
    told = b'{"error_code":"PERMISSION_DENIED","message":"no CAN_QUERY"}'
    workspace = Workspace(told, status="403 Forbidden")
    async with Peer(workspace).listening() as peer, ending(at(peer)) as end:
        assert (await end.ask(ASK)).status == 502
    workspace = Workspace(b'{"error_code":"BAD_REQUEST","message":"temperature is wrong"}', status="400 Bad Request")
    async with Peer(workspace).listening() as peer, ending(at(peer)) as end:
        caller = await end.ask(ASK)
    assert (caller.status, msgspec.json.decode(caller.body)["message"]) == (400, "temperature is wrong")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"databricks_api_token": "env:KEY"}, "databricks_workspace_url: must be the workspace's address"),
        ({"databricks_workspace_url": URL}, "exactly one of databricks_api_token"),
        ({"databricks_workspace_url": f"{URL}/serving-endpoints", "databricks_api_token": "env:KEY"}, "address alone"),
        ({"databricks_workspace_url": URL, "databricks_client_id": "x"}, "exactly one of databricks_client_secret"),
        ({"databricks_workspace_url": URL, "databricks_client_secret": "env:KEY"}, "databricks_client_id: must be"),
        (
            {
                "databricks_workspace_url": URL,
                "databricks_client_id": "x",
                "databricks_client_secret": "env:KEY",
                "databricks_api_token": "env:KEY",
            },
            "not both",
        ),
        ({"databricks_workspace": URL}, "did you mean 'databricks_workspace_url'"),
    ],
)
def test_settings_that_cannot_work(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        served("databricks-model-serving", config)
    assert words in caught.value.message
    assert KEY not in caught.value.message
