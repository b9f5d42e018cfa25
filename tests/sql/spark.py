"""Apache Spark's Connect server, which the tests start as the judge of what SQL means."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SERVICES = Path(__file__).parents[2] / ".venv-services"
PATIENCE_S = 90


@contextmanager
def spark_server(folder: Path) -> Iterator[str]:
    """Its address.  Skips where there is no Java or no environment for servers."""
    found = sorted(SERVICES.glob("lib/python3*/site-packages/pyspark"))
    if not found or shutil.which("java") is None:
        pytest.skip("Apache Spark needs Java and the environment of services")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    settings = {
        "spark.connect.grpc.binding.port": port, "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.ui.enabled": "false", "spark.sql.warehouse.dir": folder / "warehouse", "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1", "spark.sql.shuffle.partitions": 2, "spark.local.dir": folder / "local",
    }  # fmt: skip
    command = [
        str(found[0] / "bin" / "spark-submit"), "--class", "org.apache.spark.sql.connect.service.SparkConnectServer",
        "--master", "local[2]", "--driver-memory", "1g",
        *(part for name, value in settings.items() for part in ("--conf", f"{name}={value}")), "spark-internal",
    ]  # fmt: skip
    environment = os.environ | {"SPARK_HOME": str(found[0]), "PYSPARK_PYTHON": str(SERVICES / "bin" / "python")}
    with (folder / "spark.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    try:
        _await(process, port, folder / "spark.log")
        yield f"sc://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        assert process.poll() is None, log.read_text(errors="replace")[-2000:]
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("Spark did not start")
