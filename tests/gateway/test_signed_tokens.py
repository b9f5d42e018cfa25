"""Signed access tokens at a running gateway, by the hot way and by plain ASGI: whom they let in, and how far."""

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.gateway.peers import looped
from tests.gateway.servers import Server, client, request, serving

from tesela import signed
from tesela.gateway.auth import Sessions
from tesela.snapshot import Grants, Principal

pytestmark = pytest.mark.slow
KID, PRIVATE, PUBLIC = signed.make_key()
ROBOT = Principal("77", "app-id", "robot", kind="service_principal")
WORKSPACE = "7"


def trusting(server: Server) -> None:
    """The server knows our key and a service principal that may query `chat` and `slow`."""
    gateway = server.gateway
    mine = Grants(view=frozenset({"77"}), query=frozenset({"77"}))
    gateway.sessions = Sessions(WORKSPACE)
    gateway.snapshot = msgspec.structs.replace(
        gateway.snapshot,
        principals={"77": ROBOT},
        keys={KID: PUBLIC},
        client_secrets=frozenset({"s1"}),
        grants={"chat": mine, "slow": mine},
    )


def token(server: Server, *names: str, scope: str = "all-apis", age_s: int = 0, secret: str = "s1") -> bytes:
    made = int(time.time()) - age_s
    ids = [server.gateway.snapshot.endpoints[name].id for name in names]
    details = tuple(
        signed.Detail("workspace_permission", "serving-endpoints", f"/serving-endpoints/{one}", (signed.QUERY,))
        for one in ids
    )
    claims = signed.Claims("77", "app-id", "", WORKSPACE, made, made + 3600, "j", scope, secret, details)
    return b"Bearer " + signed.sign(claims, KID, PRIVATE).encode()


async def answers(server: Server, auth: bytes, *wanted: tuple[str, str]) -> list[tuple[int, Any]]:
    """Statuses and bodies, one after the other on one connection; what is wanted is a model or a path."""
    async with client(server) as one:
        for number, (kind, what) in enumerate(wanted):
            body = json.dumps({"model": what, "messages": [{"role": "user", "content": "Hi"}]}).encode()
            post = request("/v1/chat/completions", body, auth=auth)
            await one.send(post if kind == "ask" else request(what, b"", method="GET", length=False, auth=auth))
            await one.until(number + 1)
        return [(status, json.loads(raw)) for status, _, raw in one.answers.whole]


@pytest.mark.parametrize("hot", [True, False])
@looped
async def test_a_signed_token_queries_what_its_principal_may(hot: bool, tmp_path: Path) -> None:
    async with serving(tmp_path, hot=hot) as server:
        trusting(server)
        wanted = [("ask", "chat"), ("ask", "slow"), ("ask", "plain"), ("ask", "chat"), ("get", "/v1/models")]
        found = await answers(server, token(server), *wanted)
        assert [status for status, _ in found] == [200, 200, 403, 200, 200]
        assert sorted(one["id"] for one in found[-1][1]["data"]) == ["chat", "slow"]
        assert server.gateway.sessions is not None
        assert len(server.gateway.sessions) == 1


@pytest.mark.parametrize("hot", [True, False])
@looped
async def test_a_token_of_the_data_plane_queries_its_endpoints_and_does_nothing_else(hot: bool, tmp_path: Path) -> None:
    async with serving(tmp_path, hot=hot) as server:
        trusting(server)
        wanted = [
            ("ask", "chat"),
            ("ask", "slow"),
            ("ask", "plain"),
            ("get", "/v1/models"),
            ("get", "/v1/models/chat"),
            ("get", "/v1/models/slow"),
            ("get", "/api/2.0/serving-endpoints"),
            ("get", "/api/2.0/serving-endpoints/chat"),
            ("get", "/api/2.0/preview/scim/v2/Me"),
            ("get", "/api/2.0/token/list"),
        ]
        found = await answers(server, token(server, "chat"), *wanted)
        assert [status for status, _ in found] == [200, 403, 403, 200, 200, 404, 403, 403, 403, 403]
        assert [one["id"] for one in found[3][1]["data"]] == ["chat"]


@pytest.mark.parametrize("hot", [True, False])
@looped
async def test_a_narrow_scope_queries_and_does_nothing_else(hot: bool, tmp_path: Path) -> None:
    async with serving(tmp_path, hot=hot) as server:
        trusting(server)
        wanted = [("ask", "chat"), ("ask", "plain"), ("get", "/api/2.0/serving-endpoints")]
        found = await answers(server, token(server, scope="model-serving-inference"), *wanted)
        assert [status for status, _ in found] == [200, 403, 403]
        found = await answers(server, token(server, scope="sql"), *wanted)
        assert [status for status, _ in found] == [403, 403, 403]


@pytest.mark.parametrize("hot", [True, False])
@looped
async def test_signed_tokens_that_end_while_a_connection_lasts(hot: bool, tmp_path: Path) -> None:
    async with serving(tmp_path, hot=hot) as server:
        trusting(server)
        auth = token(server)
        body = b'{"model":"chat","messages":[{"role":"user","content":"Hi"}]}'
        async with client(server) as one:
            for number in range(3):
                await one.send(request("/v1/chat/completions", body, auth=auth))
                await one.until(number + 1)
                if number == 1:
                    server.gateway.snapshot = msgspec.structs.replace(
                        server.gateway.snapshot, client_secrets=frozenset()
                    )
            assert [status for status, _, _ in one.answers.whole] == [200, 200, 401]
            assert "client secret" in one.answers.whole[-1][2].decode()
        for wrong in (token(server, age_s=3700), token(server, age_s=-100), auth[:-3]):
            assert [status for status, _ in await answers(server, wrong, ("ask", "chat"))] == [401]
