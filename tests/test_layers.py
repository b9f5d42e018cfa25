"""What keeps the tree readable: imports go one way, modules stay small, nothing has a name that means nothing."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "tesela"
MODULES = sorted(ROOT.rglob("*.py"))

LAYERS = (
    ("errors", "aside", "page"),
    ("wire", "serving"),
    ("providers",),
    ("snapshot",),
    ("records", "grants", "sizing"),
    ("signed",),
    ("places", "configfile", "settings", "config", "catalogue", "addresses"),
    ("client",),
    ("endpoint_build",),
    ("snapshot_build",),
    ("store", "bell", "told", "invitation", "telemetry"),
    ("gateway", "control", "engine", "sql"),
    ("local", "follow"),
    ("steward",),
    ("worker", "workers", "reload", "screen", "sqlprocess", "sqlrunner", "listening"),
    ("serve",),
    ("verify",),
    ("cli",),
)
"""From the bottom to the top.  A module imports from its own package and from lower rows; packages of one row do not
import each other, but for the pairs below."""
BESIDE = {
    ("serving", "wire"),
    ("configfile", "settings"), ("configfile", "places"),
    ("config", "places"), ("config", "configfile"), ("config", "settings"), ("addresses", "config"),
    ("addresses", "settings"), ("catalogue", "configfile"),
    # Sail is a child process like a model's: it dies with its parent and has a log.
    ("sql", "engine"),
}  # fmt: skip
RANK = {name: rank for rank, row in enumerate(LAYERS) for name in row}


def package(module: Path) -> str:
    return module.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(module: Path) -> set[str]:
    """The packages of ours that a module imports, wherever in it the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "tesela":
            found |= {alias.name for alias in node.names if alias.name in RANK}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tesela."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("tesela.")}
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT)))
def test_imports_go_down(module: Path) -> None:
    own = package(module)
    if own.startswith("__"):
        return
    assert own in RANK, f"{own} stands in no layer"
    wrong = {other for other in imported(module) - {own} if RANK[other] >= RANK[own] and (own, other) not in BESIDE}
    assert not wrong, f"{module.name} imports {sorted(wrong)}, which stand beside or above it"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT)))
def test_modules_are_small_and_say_what_they_are_for(module: Path) -> None:
    text = module.read_text("utf-8")
    limit = 400 if package(module) == "providers" else 300
    assert text.count("\n") <= limit
    assert ast.get_docstring(ast.parse(text)), "a module begins by saying what it is for"
    assert module.stem not in {"utils", "helpers", "common", "manager", "core", "misc"}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT)))
def test_only_providers_know_providers_by_name(module: Path) -> None:
    if package(module) not in {"providers", "addresses", "endpoint_build", "snapshot_build", "local"}:
        text = module.read_text("utf-8")
        assert "provider ==" not in text
        assert "provider.name ==" not in text
