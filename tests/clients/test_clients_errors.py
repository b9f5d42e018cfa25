"""Each client raises its own proper exception for 400, 401, 404 and 429."""

import time
from typing import Any

import openai as openai_package
import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk import errors as sdk_errors
from databricks.sdk.core import Config
from databricks.sdk.service.serving import ChatMessage, ChatMessageRole
from databricks_langchain import ChatDatabricks, DatabricksEmbeddings
from databricks_openai import DatabricksOpenAI
from mlflow.deployments import get_deploy_client
from mlflow.exceptions import MlflowException
from openai import OpenAI

STRANGER = "dapi" + "0" * 32
HELLO = [{"role": "user", "content": "hi"}]
SDK_HELLO = [ChatMessage(role=ChatMessageRole.USER, content="hi")]


@pytest.mark.parametrize(
    ("model", "messages", "expected"),
    [
        ("nothing-here", HELLO, openai_package.NotFoundError),
        ("echo", "not a list", openai_package.BadRequestError),
        ("echo", [], openai_package.BadRequestError),
        ("error-400", HELLO, openai_package.BadRequestError),
        ("error-429", HELLO, openai_package.RateLimitError),
        ("error-500", HELLO, openai_package.InternalServerError),
        ("embedded", HELLO, openai_package.BadRequestError),
    ],
)
@pytest.mark.parametrize("streaming", [False, True])
def test_openai(openai: Any, model: str, messages: Any, expected: type[Exception], streaming: bool) -> None:
    with pytest.raises(expected) as raised:
        openai.chat.completions.create(model=model, messages=messages, stream=streaming)
    assert raised.value.request_id
    assert "message" in raised.value.body


def test_openai_without_a_right_token(server: Any) -> None:
    with pytest.raises(openai_package.AuthenticationError):
        OpenAI(base_url=server.host + "/serving-endpoints", api_key=STRANGER).models.list()


def test_openai_tries_again_and_gets_through(server: Any) -> None:
    # Two failures and two retries: the client's default.
    client = OpenAI(base_url=server.host + "/serving-endpoints", api_key=server.access_token)
    answer = client.chat.completions.create(model="flaky-2", messages=HELLO)
    assert answer.choices[0].message.content


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("nothing-here", {"messages": SDK_HELLO}, sdk_errors.NotFound),
        ("echo", {"messages": SDK_HELLO, "max_tokens": -1}, sdk_errors.BadRequest),
        ("echo", {"input": ["x"]}, sdk_errors.BadRequest),
        ("error-400", {"messages": SDK_HELLO}, sdk_errors.BadRequest),
    ],
)
def test_sdk(workspace: Any, name: str, settings: Any, expected: type[Exception]) -> None:
    with pytest.raises(expected):
        workspace.serving_endpoints.query(name, **settings)


def test_sdk_without_a_right_token(server: Any) -> None:
    with pytest.raises(sdk_errors.Unauthenticated):
        WorkspaceClient(token=STRANGER).serving_endpoints.query("echo", messages=SDK_HELLO)


def test_sdk_keeps_to_retry_after_and_then_says_too_many_requests(server: Any) -> None:
    impatient = WorkspaceClient(config=Config(retry_timeout_seconds=3))
    began = time.monotonic()
    with pytest.raises(TimeoutError) as raised:
        impatient.serving_endpoints.query("error-429", messages=SDK_HELLO)
    assert isinstance(raised.value.__cause__, sdk_errors.TooManyRequests)
    assert time.monotonic() - began < 10


def test_mlflow_without_a_right_token(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABRICKS_TOKEN", STRANGER)
    with pytest.raises(requests.HTTPError) as raised:
        get_deploy_client("databricks").predict(endpoint="echo", inputs={"messages": HELLO})
    assert raised.value.response.status_code == 401


def test_mlflow_gives_up_on_a_limit(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DEPLOYMENT_PREDICT_TIMEOUT", "2")
    monkeypatch.setenv("MLFLOW_DEPLOYMENT_PREDICT_TOTAL_TIMEOUT", "3")
    with pytest.raises((requests.HTTPError, TimeoutError, MlflowException)) as raised:
        get_deploy_client("databricks").predict(endpoint="error-429", inputs={"messages": HELLO})
    assert "limit" in str(raised.value).lower() or "429" in str(raised.value) or isinstance(raised.value, TimeoutError)


@pytest.mark.parametrize(("endpoint", "status"), [("nothing-here", "404"), ("error-400", "400")])
def test_mlflow_gateway_client(server: Any, endpoint: str, status: str) -> None:
    with pytest.raises((requests.HTTPError, MlflowException), match=status):
        get_deploy_client(server.host).predict(endpoint=endpoint, inputs={"messages": HELLO})


def test_mlflow_gateway_client_without_a_right_token(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", STRANGER)
    with pytest.raises((requests.HTTPError, MlflowException), match="401"):
        get_deploy_client(server.host).predict(endpoint="echo", inputs={"messages": HELLO})


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        ("nothing-here", openai_package.NotFoundError),
        ("error-400", openai_package.BadRequestError),
        ("error-429", openai_package.RateLimitError),
    ],
)
def test_langchain(server: Any, endpoint: str, expected: type[Exception]) -> None:
    model = ChatDatabricks(endpoint=endpoint, max_retries=0)
    with pytest.raises(expected):
        model.invoke("hi")
    with pytest.raises(expected):
        list(model.stream("hi"))


def test_langchain_embeddings(server: Any) -> None:
    with pytest.raises(requests.HTTPError) as raised:
        DatabricksEmbeddings(endpoint="nothing-here").embed_query("hi")
    assert raised.value.response.status_code == 404


def test_databricks_openai(server: Any) -> None:
    with pytest.raises(openai_package.NotFoundError):
        DatabricksOpenAI(max_retries=0).chat.completions.create(model="nothing-here", messages=HELLO)


def test_a_failure_after_the_first_byte_reaches_langchain(server: Any) -> None:
    received = []
    with pytest.raises(openai_package.APIError):
        received.extend(ChatDatabricks(endpoint="cut-after-3").stream("hi"))
    assert received
