"""The twelve rules that keep every client happy, each with a client that it protects."""

import base64
import http.client
import json
import struct
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai as openai_package
import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk import errors as sdk_errors
from databricks.sdk.service.serving import ChatMessage, ChatMessageRole

CHAT = "databricks-meta-llama-3-3-70b-instruct"
EMBEDDINGS = "databricks-gte-large-en"
HELLO = [{"role": "user", "content": "Say hello."}]
SDK_HELLO = [ChatMessage(role=ChatMessageRole.USER, content="Say hello.")]


def post(server: Any, path: str, body: Any, **headers: str) -> Any:
    return requests.post(
        server.host + path,
        json=body,
        headers={"Authorization": f"Bearer {server.access_token}", **headers},
        timeout=60,
    )


def lines(server: Any, path: str, body: Any) -> list[str]:
    answer = post(server, path, body)
    assert answer.status_code == 200, answer.text
    return answer.content.decode().split("\n")


def test_rule_01_discovery_is_public_fast_and_never_refused(server: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = set(pool.map(lambda _: WorkspaceClient().get_workspace_id(), range(24)))
    assert len(numbers) == 1
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(server.host + "/.well-known/databricks-config", timeout=5) as answer:
        found = json.load(answer)
    assert found["oidc_endpoint"].startswith("http://")
    assert int(found["workspace_id"]) in numbers


def test_rule_02_a_trailing_slash_is_accepted(server: Any, mlflow: Any) -> None:
    names = [one["name"] for one in mlflow.list_endpoints()]
    assert {"echo", CHAT} <= set(names)


def test_rule_03_errors_have_the_shape_that_the_sdk_and_openai_read(server: Any, openai: Any, workspace: Any) -> None:
    with pytest.raises(sdk_errors.NotFound, match="nothing-here") as sdk:
        workspace.serving_endpoints.query("nothing-here", messages=SDK_HELLO)
    assert sdk.value.error_code == "RESOURCE_DOES_NOT_EXIST"
    with pytest.raises(openai_package.NotFoundError, match="nothing-here") as raised:
        openai.chat.completions.create(model="nothing-here", messages=HELLO)
    assert raised.value.code == "model_not_found"
    assert raised.value.type
    assert raised.value.param == "model"
    assert raised.value.request_id
    body = post(server, "/serving-endpoints/nothing-here/invocations", {"messages": HELLO}).json()
    assert body.keys() & {"error", "detail", "status", "scimType"} == set()


@pytest.mark.parametrize(
    ("endpoint", "inputs", "status"),
    [
        ("nothing-here", {"messages": HELLO}, 404),
        ("echo", {"messages": "not a list"}, 400),
        ("embedded", {"messages": HELLO}, 400),
        ("error-400", {"messages": HELLO}, 400),
    ],
)
def test_rule_04_mlflow_reports_the_status_that_was_sent(mlflow: Any, endpoint: str, inputs: Any, status: int) -> None:
    with pytest.raises(requests.HTTPError) as raised:
        mlflow.predict(endpoint=endpoint, inputs=inputs)
    assert raised.value.response.status_code == status


def test_rule_05_no_message_makes_the_sdk_try_again(workspace: Any) -> None:
    began = time.monotonic()
    with pytest.raises(sdk_errors.DatabricksError):
        workspace.serving_endpoints.query("error-500", messages=SDK_HELLO)
    # The SDK would go on for 300 seconds.
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("endpoint", ["echo", "unicode", "tool-call", CHAT])
def test_rule_06_invocations_stream_nothing_but_data(server: Any, mlflow: Any, endpoint: str) -> None:
    inputs = {"messages": HELLO, "max_tokens": 16}
    if endpoint == "tool-call":
        inputs["tools"] = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    chunks = list(mlflow.predict_stream(endpoint=endpoint, inputs=inputs))
    assert all("choices" in chunk for chunk in chunks)
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert [one for one in chunks if one["choices"]][-1]["choices"][0]["finish_reason"]
    raw = [
        line for line in lines(server, f"/serving-endpoints/{endpoint}/invocations", {**inputs, "stream": True}) if line
    ]
    assert all(line.startswith("data: ") for line in raw)
    assert raw[-1] == "data: [DONE]"


def test_rule_06_a_responses_stream_on_invocations_has_no_event_lines(mlflow: Any) -> None:
    kinds = [one["type"] for one in mlflow.predict_stream(endpoint="echo", inputs={"input": "Say hello."})]
    assert kinds[0] == "response.created"
    assert kinds[-1] == "response.completed"


@pytest.mark.parametrize("endpoint", ["cut-after-3", "error-after-3"])
def test_rule_06_a_failure_in_the_stream_is_a_data_line(server: Any, mlflow: Any, endpoint: str) -> None:
    chunks = list(mlflow.predict_stream(endpoint=endpoint, inputs={"messages": HELLO}))
    assert chunks[-1]["error"]["message"]
    raw = lines(server, f"/serving-endpoints/{endpoint}/invocations", {"messages": HELLO, "stream": True})
    assert "data: [DONE]" not in raw


@pytest.mark.parametrize("endpoint", ["cut-after-3", "error-after-3"])
def test_rule_07_openai_raises_on_a_failure_in_the_stream(openai: Any, endpoint: str) -> None:
    stream = openai.chat.completions.create(model=endpoint, messages=HELLO, stream=True)
    received = []
    with pytest.raises(openai_package.APIError) as raised:
        received.extend(stream)
    assert received
    assert raised.value.message
    assert raised.value.message != "An error occurred during streaming"


def test_rule_07_openai_reads_text_that_looks_like_framing(openai: Any) -> None:
    whole = openai.chat.completions.create(model="unicode", messages=HELLO).choices[0].message.content
    stream = openai.chat.completions.create(model="unicode", messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == whole
    assert "\u2028" in whole
    assert "data: [DONE]\n\n" in whole


@pytest.mark.parametrize("endpoint", ["embedded", EMBEDDINGS])
def test_rule_08_embeddings_are_base64_on_the_openai_paths(server: Any, openai: Any, endpoint: str) -> None:
    texts = ["a tile", "a mosaic"]
    raw = json.loads(openai.embeddings.with_raw_response.create(model=endpoint, input=texts).text)
    assert all(isinstance(one["embedding"], str) for one in raw["data"])
    packed = base64.b64decode(raw["data"][1]["embedding"])
    parsed = [one.embedding for one in openai.embeddings.create(model=endpoint, input=texts).data]
    assert parsed[1] == pytest.approx(list(struct.unpack(f"<{len(packed) // 4}f", packed)))
    plain = openai.embeddings.create(model=endpoint, input=texts, encoding_format="float").data
    assert plain[1].embedding == pytest.approx(parsed[1], abs=1e-6)
    assert [one.index for one in plain] == [0, 1]


@pytest.mark.parametrize("endpoint", ["embedded", EMBEDDINGS])
def test_rule_08_embeddings_are_numbers_on_invocations(mlflow: Any, workspace: Any, endpoint: str) -> None:
    for data in (
        [one["embedding"] for one in mlflow.predict(endpoint=endpoint, inputs={"input": ["a tile"]})["data"]],
        [one.embedding for one in workspace.serving_endpoints.query(endpoint, input="a tile").data],
    ):
        assert all(isinstance(component, float) for component in data[0])


def test_rule_09_lists_have_their_key_when_empty_and_deletes_answer_in_json(
    running: Any, tmp_path: Path, mlflow: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What stands in a file cannot be deleted through the API: the refusal must be one that MLflow can read.
    with pytest.raises(requests.HTTPError, match="echo"):
        mlflow.delete_endpoint("echo")
    with running(tmp_path, "local_models: false\n") as bare:
        monkeypatch.setenv("DATABRICKS_HOST", bare.host)
        monkeypatch.setenv("DATABRICKS_TOKEN", bare.access_token)
        assert mlflow.list_endpoints() == []


def test_rule_10_an_endpoint_has_the_state_that_waiters_read(workspace: Any) -> None:
    found = workspace.serving_endpoints.wait_get_serving_endpoint_not_updating("echo")
    assert found.name == "echo"
    assert found.state.config_update.value == "NOT_UPDATING"
    assert found.state.ready.value == "READY"


def test_rule_11_a_slow_answer_is_asked_for_once(workspace: Any) -> None:
    # The SDK gives up on 60 seconds of silence and sends the question again; this answer takes longer.
    began = time.monotonic()
    answer = workspace.serving_endpoints.query("slow-65s", messages=SDK_HELLO)
    assert answer.choices[0].message.content
    assert 65 <= time.monotonic() - began < 90


def test_rule_11_work_ends_when_the_client_leaves(server: Any, openai: Any) -> None:
    with openai.copy(http_client=openai_package.DefaultHttpxClient()) as leaving:
        create = leaving.chat.completions.create
        for stream in [create(model="stall-after-1", messages=HELLO, stream=True) for _ in range(20)]:
            next(iter(stream))
            stream.close()
    with pytest.raises(requests.ReadTimeout):
        requests.post(
            server.host + "/serving-endpoints/stall-after-1/invocations",
            json={"messages": HELLO},
            headers={"Authorization": f"Bearer {server.access_token}"},
            timeout=1,
        )
    answer = openai.chat.completions.create(model="echo", messages=HELLO)
    assert answer.choices[0].message.content == "Say hello."
    port = urlsplit(server.host).port
    deadline = time.monotonic() + 20
    waiter = threading.Event()
    while half_closed(port):
        assert time.monotonic() < deadline, f"connections that the clients left are still open: {half_closed(port)}"
        waiter.wait(0.1)


def half_closed(port: int) -> list[str]:
    """Connections of the server that their clients have closed (state CLOSE_WAIT in Linux's table)."""
    table = Path("/proc/net/tcp")
    if not table.exists():
        pytest.skip("the table of connections is read from Linux's /proc")
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    return [row[2] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "08"]


@pytest.mark.parametrize("accept", ["application/json", "text/plain", "*/*", "text/event-stream", None])
@pytest.mark.parametrize("streaming", [False, True])
def test_rule_12_names_in_any_case_and_no_negotiation(server: Any, accept: str | None, streaming: bool) -> None:
    where = urlsplit(server.host)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=30)
    body = json.dumps({"messages": HELLO, "stream": streaming})
    connection.putrequest("POST", "/serving-endpoints/echo/invocations", skip_accept_encoding=True)
    connection.putheader("AUTHORIZATION", f"Bearer {server.access_token}")
    connection.putheader("content-TYPE", "application/json")
    connection.putheader("cONTENT-lENGTH", str(len(body)))
    connection.putheader("accept-encoding", "gzip, deflate, br, zstd")
    if accept is not None:
        connection.putheader("aCCEPT", accept)
    connection.endheaders(body.encode())
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status == 200
    assert answer.headers["Content-Encoding"] is None
    assert (answer.headers["Content-Type"].startswith("text/event-stream")) == streaming
    assert b"hello" in content


def test_rule_12_openai_asks_for_json_and_gets_events(openai: Any) -> None:
    stream = openai.chat.completions.create(model="echo", messages=HELLO, stream=True)
    assert stream.response.request.headers["accept"] == "application/json"
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "Say hello."
