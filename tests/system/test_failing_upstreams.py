"""Retries and breakers of a real server, as its file sets them."""

import json
import re
import socket
from pathlib import Path

import pytest
from tests.system.processes import Served

pytestmark = pytest.mark.slow

FILE = """
retries: {{count: 1, pause: 0.001}}
breaker: {{failures: 2, open: 3600}}
endpoints:
  - name: flaky
    config:
      served_entities:
        - name: m
          external_model:
            name: flaky-2
            provider: scripted
            task: llm/v1/chat
            scripted_config: {{retries: 2}}
  - name: gone
    config:
      served_entities:
        - name: m
          external_model:
            name: m
            provider: custom
            task: llm/v1/chat
            custom_provider_config:
              custom_provider_url: http://127.0.0.1:{port}/v1
              bearer_token_auth: {{token_plaintext: k}}
"""


def metrics(served: Served, name: str) -> str:
    with served.connected() as connection:
        path = f"/api/2.0/serving-endpoints/{name}/metrics"
        connection.request("GET", path, headers={"Authorization": f"Bearer {served.token}"})
        return connection.getresponse().read().decode()


def test_a_model_is_asked_again_and_one_that_is_down_is_left_alone(tmp_path: Path) -> None:
    with socket.socket() as taken:
        # Bound and not listening: nobody else can listen there, and whoever connects is refused.
        taken.bind(("127.0.0.1", 0))
        with Served(tmp_path, file=FILE.format(port=taken.getsockname()[1])) as served:
            status, headers, _ = served.ask("flaky")
            assert (status, headers["x-tesela-attempts"]) == (200, "m=503, m=503, m=200")
            opened = re.compile(
                r'^upstream_breaker_open\{endpoint_name="gone",served_entity="m",worker="\d+"\} (\d)$', re.M
            )
            assert opened.findall(metrics(served, "gone")) == ["0"]
            status, headers, body = served.ask("gone")
            assert (status, headers["x-tesela-attempts"]) == (503, "m=unavailable, m=unavailable")
            assert "no connection" in body["message"]
            status, headers, body = served.ask("gone")
            assert (status, body["error_code"]) == (503, "TEMPORARILY_UNAVAILABLE")
            assert "its breaker has been open for" in body["message"]
            assert 3500 < int(headers["retry-after"]) <= 3600
            assert opened.findall(metrics(served, "gone")) == ["1"]
            assert "upstream_breaker_open" not in metrics(served, "flaky")
            assert "the breaker is open for 3600 s" in served.errors()
            with served.connected() as connection:
                connection.request("GET", "/health")
                told = json.loads(connection.getresponse().read())
            assert told["status"] == "ok", "a provider that is down is no fault of this server"
