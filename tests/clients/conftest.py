"""One real server for the whole run, with the real models and with scripted endpoints beside them.

Runs in the environment of the official clients; where they are not installed nothing is collected.
"""

import os
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

if find_spec("databricks_langchain") is None:
    collect_ignore_glob = ["*"]

CHAT = "databricks-meta-llama-3-3-70b-instruct"
EMBEDDINGS = "databricks-gte-large-en"

SCRIPTED = (
    "echo",
    "slow-2s",
    "slow-65s",
    "drip-200ms",
    "flaky-2",
    "error-400",
    "error-429",
    "error-500",
    "cut-after-3",
    "error-after-3",
    "stall-after-1",
    "tool-call",
    "unicode",
    "long-300",
)


def configuration() -> str:
    """The scripted endpoints, each under its model's name, and the local models under Databricks' names."""
    lines = ["local_models: true", "emulate: databricks", "endpoints:"]
    for name, task in [*((one, "chat") for one in SCRIPTED), ("completed", "completions"), ("embedded", "embeddings")]:
        model = f"{{name: {name}, provider: scripted, task: llm/v1/{task}}}"
        lines.append(f"  - {{name: {name}, config: {{served_entities: [{{name: {name}, external_model: {model}}}]}}}}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def running() -> Callable[..., Any]:
    sys.path.insert(0, str(REPOSITORY))
    from conformance.server import running

    return running


@pytest.fixture(scope="session")
def server(running: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The address and an access token of the server; the same in the environment, as a user has them."""
    patch = pytest.MonkeyPatch()
    for name in [name for name in os.environ if name.startswith(("DATABRICKS_", "MLFLOW_", "OPENAI_"))]:
        patch.delenv(name)
    with running(tmp_path_factory.mktemp("server"), configuration()) as started:
        patch.setenv("DATABRICKS_HOST", started.host)
        patch.setenv("DATABRICKS_TOKEN", started.access_token)
        patch.setenv("MLFLOW_TRACKING_TOKEN", started.access_token)
        patch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
        patch.setenv("NO_PROXY", "127.0.0.1,localhost")
        yield started
    patch.undo()


@pytest.fixture(scope="session")
def openai(server: Any) -> Any:
    from openai import OpenAI

    return OpenAI(base_url=server.host + "/serving-endpoints", api_key=server.access_token, max_retries=0)


@pytest.fixture(scope="session")
def workspace(server: Any) -> Any:
    from databricks.sdk import WorkspaceClient

    return WorkspaceClient()


@pytest.fixture(scope="session")
def mlflow(server: Any) -> Any:
    from mlflow.deployments import get_deploy_client

    return get_deploy_client("databricks")
