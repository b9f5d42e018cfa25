"""Importing our modules does nothing but define things, and a worker imports little."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent / "src" / "tesela"

# Runs in a process of its own: everything is imported once, so that what other packages do is done; then our modules
# are imported again, watched.
WATCHED = """
import importlib, json, os, sys
names, folder = json.loads(sys.argv[1]), sys.argv[2]
for name in names:
    importlib.import_module(name)
for name in list(sys.modules):
    if name == "tesela" or name.startswith("tesela."):
        del sys.modules[name]

seen = []
now = [""]
HARMLESS = {"import", "compile", "exec", "marshal.loads", "marshal.load", "object.__getattr__", "object.__setattr__",
            "sys._getframe", "os.listdir", "os.scandir", "code.__new__", "sys._getframemodulename",
            "builtins.id"}

def watch(event, arguments):
    if event in HARMLESS:
        return
    if event == "open" and str(arguments[0]).startswith(folder) and str(arguments[0]).endswith((".py", ".pyc")):
        return
    seen.append((now[0], event, repr(arguments)[:200]))

class Watched(type(os.environ)):
    def __getitem__(self, key):
        # click asks in which language to speak when it is told of an option.
        if key not in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
            seen.append((now[0], "os.environ", key))
        return super().__getitem__(key)

os.environ.__class__ = Watched
sys.addaudithook(watch)
for name in names:
    now[0] = name
    importlib.import_module(name)
found = list(seen)
del os.environ.__class__.__getitem__
sys.__stdout__.write(json.dumps(found))
"""

ALONE = {"tesela.verify.clients"}
"""Needs the official clients, which live in an environment of their own."""


def modules() -> list[str]:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        parts = ("tesela", *path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts).removesuffix(".__init__")
        if not name.endswith("__main__") and not any(name == one or name.startswith(f"{one}.") for one in ALONE):
            found.append(name)
    return found


def test_importing_opens_reads_and_prints_nothing() -> None:
    names = modules()
    assert len(names) > 100
    done = subprocess.run(
        [sys.executable, "-B", "-W", "error", "-c", WATCHED, json.dumps(names), str(ROOT)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout) == []


def imported_by(name: str) -> set[str]:
    code = f"import sys; before = set(sys.modules); import {name}; print(*sorted(set(sys.modules) - before))"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_a_worker_imports_little() -> None:
    """What counts is the number of modules: the clock says something else on every machine."""
    found = imported_by("tesela.worker")
    assert len(found) <= 500, "a worker imports more than it did; is that needed on every start?"
    heavy = {
        "numpy",
        "onnxruntime",
        "xllamacpp",
        "tokenizers",
        "gguf",
        "onnx",
        "rich",
        "requests",
        "pip",
        "sqlalchemy",
        "alembic",
        "jwt",
        "cryptography",
    }
    assert not heavy & found


def test_the_command_line_imports_a_command_when_it_runs() -> None:
    found = imported_by("tesela.cli")
    assert not {"uvicorn", "starlette", "numpy", "requests", "rich", "tesela.serve", "tesela.worker"} & found


def test_the_wire_needs_no_framework() -> None:
    for name in ("tesela.wire.sse", "tesela.providers.registry", "tesela.gateway.invoke"):
        assert not {"uvicorn", "starlette", "httptools"} & imported_by(name), name
