"""`tesela serve` does not import files of its folder that are named like modules; a failed start is not announced."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

CONFIGURED = """
endpoints:
  - name: e
    config: {served_entities: [{external_model: {name: m, provider: scripted, task: llm/v1/chat}}]}
"""
SERVE = [sys.executable, "-P", "-c", "from tesela.cli import main; main()", "serve", "--port", "0"]


def test_files_of_the_folder_are_not_taken_for_modules(tmp_path: Path) -> None:
    (tmp_path / "tesela.yaml").write_text(CONFIGURED)
    for name in ("uuid.py", "queue.py", "uvicorn.py"):
        (tmp_path / name).write_text(f"raise SystemExit('{name} was imported')\n")
    environ = {**os.environ, "TESELA_HOME": str(tmp_path / "home")}
    with subprocess.Popen(SERVE, cwd=tmp_path, env=environ, stdout=-1, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert "is ready at http://127.0.0.1:" in first, first + rest
    assert process.returncode == 0, rest


def test_a_start_that_failed_is_not_announced(tmp_path: Path) -> None:
    (tmp_path / "tesela.yaml").write_text(CONFIGURED)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text("import os, sys\nif 'tesela.worker' in sys.orig_argv:\n    os._exit(3)\n")
    environ = {**os.environ, "TESELA_HOME": str(tmp_path / "home"), "PYTHONPATH": str(broken)}
    done = subprocess.run(SERVE, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "ready" not in done.stdout
    assert "gateway worker 0 could not be started" in done.stderr
    assert not (tmp_path / "home" / "address").exists()
