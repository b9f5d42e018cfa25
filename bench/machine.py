"""Facts about the machine that a figure needs beside it. No host name, no user name, no path."""

import os
import platform
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    "uvicorn",
    "uvloop",
    "httptools",
    "msgspec",
    "starlette",
    "xllamacpp",
    "onnxruntime",
)


def load() -> list[float]:
    """The load averages of 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def _first(path: str, field: str) -> str:
    """The first value of `field: value` in a /proc file; empty when there is none."""
    try:
        found = re.search(rf"^{field}\s*:\s*(.*)$", Path(path).read_text(), re.MULTILINE)
    except OSError:
        return ""
    return found[1].strip() if found else ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def commit(root: Path) -> str:
    """The commit that is measured, with a plus when files differ from it; empty outside a clone."""
    git = shutil.which("git")
    if git is None:
        return ""
    said = [
        subprocess.run([git, *words], cwd=root, capture_output=True, text=True, check=False, timeout=10)
        for words in (["rev-parse", "--short=10", "HEAD"], ["status", "--porcelain", "--", "src"])
    ]
    if said[0].returncode:
        return ""
    return said[0].stdout.strip() + ("+" if said[1].stdout.strip() else "")


def facts() -> dict[str, object]:
    """Processor, memory, kernel, Python and the versions that matter."""
    memory_kb = _first("/proc/meminfo", "MemTotal").split()
    return {
        "cpu": _first("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": os.cpu_count() or 1,
        "virtual": "hypervisor" in _first("/proc/cpuinfo", "flags"),
        "memory_gb": round(int(memory_kb[0]) / 1e6) if memory_kb else None,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def short_name(cpu: str, cores: int) -> str:
    """A short name for a file: the telling word of the processor's name and the number of cores."""
    noise = r"\((?:r|tm)\)|processor|cpu|intel|amd|@.*|\d+-core|\d\.\d+ghz"
    words = re.findall(r"[a-z0-9]+", re.sub(noise, " ", cpu.lower()))
    return "-".join([*(words[:2] or ["machine"]), f"{cores}c"])
