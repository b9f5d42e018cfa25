"""The official clients with a client id and secret and nothing else: what a program has that runs by itself."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import openai as openai_package
import pytest
import requests
from databricks.sdk import AccountClient, WorkspaceClient
from databricks.sdk import errors as sdk_errors
from databricks.sdk.core import Config
from databricks.sdk.service.serving import (
    ChatMessage,
    ChatMessageRole,
    ServingEndpointAccessControlRequest,
    ServingEndpointPermissionLevel,
)
from databricks_langchain import ChatDatabricks
from databricks_openai import DatabricksOpenAI
from openai import OpenAI

HELLO = [{"role": "user", "content": "hi"}]
SDK_HELLO = [ChatMessage(role=ChatMessageRole.USER, content="hi")]
MINE, OPTIMIZED, FORBIDDEN = "echo", "oauth-route-optimized", "unicode"


class Robot(NamedTuple):
    """A service principal with a secret; it may query `echo` and an endpoint made for routing, and no other."""

    id: str
    client_id: str
    secret: str
    secret_id: str


@pytest.fixture(scope="module")
def admin(server: Any) -> WorkspaceClient:
    return WorkspaceClient(host=server.host, token=server.access_token, auth_type="pat")


@pytest.fixture(scope="module")
def robot(admin: WorkspaceClient) -> Iterator[Robot]:
    made = admin.service_principals.create(display_name="nightly")
    model = {"name": "echo", "provider": "scripted", "task": "llm/v1/chat"}
    config = {"served_entities": [{"name": "m", "external_model": model}]}
    admin.api_client.do(
        "POST",
        "/api/2.0/serving-endpoints",
        body={"name": OPTIMIZED, "config": config, "route_optimized": True},
    )
    endpoint = admin.serving_endpoints.wait_get_serving_endpoint_not_updating(OPTIMIZED)
    for found in (endpoint, admin.serving_endpoints.get(MINE)):
        admin.serving_endpoints.update_permissions(
            found.id,
            access_control_list=[
                ServingEndpointAccessControlRequest(
                    service_principal_name=made.application_id,
                    permission_level=ServingEndpointPermissionLevel.CAN_QUERY,
                )
            ],
        )
    secret = admin.service_principal_secrets_proxy.create(made.id)
    yield Robot(made.id, made.application_id, secret.secret, secret.id)
    admin.serving_endpoints.delete(OPTIMIZED)
    admin.service_principals.delete(made.id)


@pytest.fixture
def alone(server: Any, robot: Robot, monkeypatch: pytest.MonkeyPatch) -> Robot:
    """The three variables, and no other way to sign in."""
    for name in ("DATABRICKS_TOKEN", "MLFLOW_TRACKING_TOKEN", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABRICKS_HOST", server.host)
    monkeypatch.setenv("DATABRICKS_CLIENT_ID", robot.client_id)
    monkeypatch.setenv("DATABRICKS_CLIENT_SECRET", robot.secret)
    return robot


def test_the_sdk(server: Any, robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABRICKS_TOKEN")
    client = WorkspaceClient(host=server.host, client_id=robot.client_id, client_secret=robot.secret)
    assert client.config.auth_type == "oauth-m2m"
    me = client.current_user.me()
    assert (me.id, me.user_name) == (robot.id, robot.client_id)
    answer = client.serving_endpoints.query(MINE, messages=SDK_HELLO)
    assert answer.choices[0].message.content
    with pytest.raises(sdk_errors.PermissionDenied):
        client.serving_endpoints.query(FORBIDDEN, messages=SDK_HELLO)
    with pytest.raises(sdk_errors.PermissionDenied):
        client.service_principals.create(display_name="another")


def test_the_sdk_with_the_environment_alone(alone: Robot) -> None:
    client = WorkspaceClient()
    names = {endpoint.name for endpoint in client.serving_endpoints.list()}
    assert {MINE, OPTIMIZED} <= names
    assert FORBIDDEN not in names
    answer = client.serving_endpoints.get_open_ai_client().chat.completions.create(model=MINE, messages=HELLO)
    assert answer.choices[0].message.content


def test_databricks_openai(alone: Robot) -> None:
    client = DatabricksOpenAI()
    assert client.chat.completions.create(model=MINE, messages=HELLO).choices[0].message.content
    pieces = client.chat.completions.create(model=MINE, messages=HELLO, stream=True)
    assert "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)


def test_langchain(alone: Robot) -> None:
    model = ChatDatabricks(endpoint=MINE)
    assert model.invoke("hi").content
    assert "".join(str(piece.content) for piece in model.stream("hi"))


def test_mlflow(alone: Robot) -> None:
    from mlflow.deployments import get_deploy_client

    answer = get_deploy_client("databricks").predict(endpoint=MINE, inputs={"messages": HELLO})
    assert answer["choices"][0]["message"]["content"]


def test_the_data_plane(alone: Robot) -> None:
    client = WorkspaceClient()
    for _ in range(2):
        answer = client.serving_endpoints_data_plane.query(OPTIMIZED, messages=SDK_HELLO)
        assert answer.choices[0].message.content


def test_a_token_of_the_data_plane_can_do_nothing_else(server: Any, alone: Robot) -> None:
    client = WorkspaceClient()
    info = client.serving_endpoints.get(OPTIMIZED).data_plane_info.query_info
    answer = requests.post(
        server.host + "/oidc/v1/token",
        {
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "authorization_details": info.authorization_details,
            "assertion": client.config.oauth_token().access_token,
        },
        timeout=30,
    )
    headers = {"Authorization": "Bearer " + answer.json()["access_token"]}
    body = {"messages": HELLO}
    assert requests.post(info.endpoint_url, json=body, headers=headers, timeout=30).status_code == 200
    other = f"{server.host}/serving-endpoints/{MINE}/invocations"
    assert requests.post(other, json=body, headers=headers, timeout=30).status_code == 403
    for path in ("/api/2.0/serving-endpoints", "/api/2.0/preview/scim/v2/Me", "/api/2.0/token/list"):
        assert requests.get(server.host + path, headers=headers, timeout=30).status_code == 403, path
    listed = requests.get(server.host + "/v1/models", headers=headers, timeout=30)
    assert listed.status_code == 403 or [one["id"] for one in listed.json()["data"]] == [OPTIMIZED]


def test_a_wrong_secret(server: Any, robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABRICKS_TOKEN")
    client = WorkspaceClient(host=server.host, client_id=robot.client_id, client_secret="dose" + "0" * 32)
    with pytest.raises(ValueError, match="invalid_client: the client id or secret is wrong"):
        client.current_user.me()


def test_a_token_that_was_changed(server: Any, alone: Robot) -> None:
    """One that says it lasts longer."""
    head, body, signature = WorkspaceClient().config.oauth_token().access_token.split(".")
    import base64

    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    claims["exp"] += 10_000_000
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    for token in (f"{head}.{changed}.{signature}", f"{head}.{body}."):
        with pytest.raises(openai_package.AuthenticationError):
            OpenAI(base_url=server.host + "/serving-endpoints", api_key=token).models.list()
        with pytest.raises(sdk_errors.Unauthenticated):
            WorkspaceClient(config=Config(host=server.host, token=token, auth_type="pat")).current_user.me()


def test_a_deleted_secret_ends_its_tokens(admin: WorkspaceClient, server: Any, alone: Robot) -> None:
    robot = WorkspaceClient()
    made = robot.service_principal_secrets_proxy.create(alone.id, lifetime="3600s")
    assert {one.id for one in admin.service_principal_secrets_proxy.list(alone.id)} == {alone.secret_id, made.id}
    other = WorkspaceClient(host=server.host, client_id=alone.client_id, client_secret=made.secret)
    assert other.current_user.me().id == alone.id
    robot.service_principal_secrets_proxy.delete(alone.id, made.id)
    with pytest.raises(sdk_errors.Unauthenticated):
        _until_refused(other)
    assert robot.current_user.me().id == alone.id


def _until_refused(client: WorkspaceClient) -> None:
    """Within a second, by which time every worker has seen the change."""
    import time

    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        client.current_user.me()


def test_the_account_client(admin: WorkspaceClient, server: Any, robot: Robot, monkeypatch: pytest.MonkeyPatch) -> None:
    account = AccountClient(
        host=server.host, account_id=admin.config.account_id, token=server.access_token, auth_type="pat"
    )
    made = account.service_principal_secrets.create(robot.id)
    assert made.id in {one.id for one in account.service_principal_secrets.list(robot.id, page_size=1)}
    account.service_principal_secrets.delete(robot.id, made.id)
    assert made.id not in {one.id for one in account.service_principal_secrets.list(robot.id)}
    for _ in range(4):
        account.service_principal_secrets.create(robot.id)
    with pytest.raises(sdk_errors.BadRequest, match="5 secrets"):
        account.service_principal_secrets.create(robot.id)
    for one in account.service_principal_secrets.list(robot.id):
        if one.id != robot.secret_id:
            account.service_principal_secrets.delete(robot.id, one.id)
