"""Every file under examples/ runs as a reader would run it, and prints what it promises."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

PRINTS = {
    "openai_chat.py": r"\S.*\n[1-9]\d* tokens\n$",
    "openai_stream.py": r"\S.*\n[1-9]\d* tokens\n$",
    "openai_tools.py": r'tool: weather \{\s*"city":\s*"\w+"\s*\} -> It is sunny in \w+\.\n\S',
    "openai_structured_output.py": r"^(Rome|Oslo|Lima) (True|False)\n$",
    "openai_embeddings.py": r"^\d+ dimensions\nclosest: A recipe for a sourdough loaf\.\n$",
    "openai_completions.py": r"\S",
    "openai_responses.py": r"\S.*\n+\S",
    "databricks_sdk_open_ai_client.py": r"\S",
    "databricks_sdk_query.py": r"ended by: (stop|length) - served by: \S+\n2 vectors of \d+ dimensions\n(.+ READY\n)+$",
    "databricks_sdk_create_endpoint.py": r"^example-endpoint READY\n\S.*\none 90 %\ntwo 10 %\n$",
    "databricks_sdk_oauth.py": r"^signed in as: example-robot\n\S",
    "databricks_sdk_sql.py": r"^\['name', 'answer'\]\nAna - \S.*\nBen - \S",
    "mlflow_deployments.py": r"2 vectors of \d+ dimensions\n[1-9]\d* endpoints\nllm/v1/embeddings\n$",
    "mlflow_gateway.py": r"\S.*\nllm/v1/chat\n[1-9]\d* endpoints\n$",
    "langchain_chat.py": r"\S.*\n[1-9]\d* tokens\n\S",
    "langchain_tools.py": r"tool: weather \{'city': '\w+'\} -> It is sunny in \w+\.\n(Rome|Oslo|Lima) (True|False)\n$",
    "langchain_embeddings.py": r"^\d+ dimensions\nclosest: A recipe for a sourdough loaf\.\n$",
    "databricks_openai_client.py": r"\S.*\n\S",
    "anthropic_client.py": r'\S.*\n[1-9]\d* tokens\n.*\S.*\ntool: weather \{"city": "\w+',
    "gemini_client.py": r'\S.*\n[1-9]\d* tokens\n.*\S.*\ntool: weather \{"city": "\w+',
    "curl.sh": r'"chat.completion".*\ndata: .*data: \[DONE\]\n\n.*"embedding"',
}


def test_every_example_is_here() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".sh")} == PRINTS.keys()


@pytest.mark.parametrize("name", PRINTS)
def test_example(server: Any, tmp_path: Path, name: str) -> None:
    program = ["sh"] if name.endswith(".sh") else [sys.executable, "-W", "ignore"]
    done = subprocess.run(
        [*program, str(EXAMPLES / name)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=120,
        check=False,
    )
    shown = done.stdout.decode()
    assert done.returncode == 0, done.stderr.decode()
    assert re.search(PRINTS[name], shown, re.DOTALL), shown
