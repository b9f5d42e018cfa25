"""LiteLLM and Portkey, installed on request into environments of their own under `.bench/`.

Their versions are pinned here, so that two runs compare the same thing. They come through the machine's
ordinary pip and npm.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from bench.process import BenchError

LITELLM = "1.105.0"
PORTKEY = "1.15.2"
LITELLM_KEY = "sk-bench-caller"
# No calls home and no price list from the network: the bench is on loopback.
LITELLM_ENV = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_TELEMETRY": "False",
    "LITELLM_LOG": "ERROR",
    "DISABLE_ADMIN_UI": "True",
}
_INSTALL_LIMIT_S = 900


def litellm_config(upstreams: Mapping[str, int], key: str) -> dict[str, Any]:
    """LiteLLM's configuration: all upstreams, a master key, no database."""

    def model(name: str, port: int) -> dict[str, Any]:
        api_base = f"http://127.0.0.1:{port}/v1"
        return {
            "model_name": name,
            "litellm_params": {
                "model": "openai/upstream-model",
                "api_base": api_base,
                "api_key": key,
            },
        }

    return {
        "model_list": [model(f"bench-{kind}", port) for kind, port in upstreams.items()],
        "general_settings": {"master_key": LITELLM_KEY},
        "litellm_settings": {"telemetry": False, "set_verbose": False},
    }


def portkey_headers(port: int) -> dict[str, str]:
    """Portkey takes its route from the request's headers."""
    return {
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": f"http://127.0.0.1:{port}/v1",
    }


def _litellm_home(root: Path) -> Path:
    return root / ".bench" / f"litellm-{LITELLM}"


def litellm_program(root: Path) -> Path:
    return _litellm_home(root) / "bin" / "litellm"


def litellm_version(root: Path) -> str:
    paths = [str(path) for path in (_litellm_home(root) / "lib").glob("python*/site-packages")]
    return next(iter(metadata.distributions(name="litellm", path=paths))).version


def install_litellm(root: Path) -> None:
    """Make LiteLLM's environment, once."""
    home = _litellm_home(root)
    if not litellm_program(root).exists():
        _run([sys.executable, "-m", "venv", str(home)])
        _run(
            [
                str(home / "bin" / "python"),
                "-m",
                "pip",
                "install",
                "-q",
                f"litellm[proxy]=={LITELLM}",
            ]
        )


def _portkey_home(root: Path) -> Path:
    return root / ".bench" / f"portkey-{PORTKEY}"


def _portkey_package(root: Path) -> Path:
    return _portkey_home(root) / "node_modules" / "@portkey-ai" / "gateway"


def portkey_command(root: Path) -> list[str]:
    return [_needed("node"), str(_portkey_package(root) / "build" / "start-server.js")]


def portkey_version(_: Path) -> str:
    return PORTKEY


def install_portkey(root: Path) -> None:
    """Install Portkey's package, once."""
    if not _portkey_package(root).exists():
        home = _portkey_home(root)
        home.mkdir(parents=True, exist_ok=True)
        _run(
            [
                _needed("npm"),
                "install",
                "--silent",
                "--prefix",
                str(home),
                f"@portkey-ai/gateway@{PORTKEY}",
            ]
        )


def _needed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise BenchError(f"{program} is needed for Portkey and was not found: apt-get install nodejs npm")
    return found


def _run(command: list[str]) -> None:
    try:
        subprocess.run(
            command,
            check=True,
            capture_output=True,
            text=True,
            timeout=_INSTALL_LIMIT_S,
        )
    except subprocess.CalledProcessError as exc:
        raise BenchError(f"installing failed: {' '.join(command[-2:])}: {exc.stderr[-800:]}") from exc
    except subprocess.TimeoutExpired as exc:
        raise BenchError(f"installing took longer than {_INSTALL_LIMIT_S} s: {' '.join(command[-2:])}") from exc


INSTALLERS = {"litellm": install_litellm, "portkey": install_portkey}
