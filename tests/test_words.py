"""Choices by a provider's name are made in tables under providers/, and nowhere else."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "src" / "tesela"
MODULES = [path for path in sorted(ROOT.rglob("*.py")) if path.relative_to(ROOT).parts[0] != "providers"]


def compared(tree: ast.AST) -> list[int]:
    """Lines where something called `provider` is compared with a literal."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            named = any(isinstance(one, ast.Name | ast.Attribute) and called(one) == "provider" for one in sides)
            literal = any(isinstance(one, ast.Constant | ast.Tuple | ast.Set | ast.List) for one in sides)
            if named and literal:
                found.append(node.lineno)
        elif isinstance(node, ast.Match) and called(node.subject) == "provider":
            found.append(node.lineno)
    return found


def called(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return called(node.value) if node.attr == "name" else node.attr
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT)))
def test_nothing_compares_a_providers_name(module: Path) -> None:
    assert compared(ast.parse(module.read_text("utf-8"))) == []


def test_the_search_finds_what_it_is_for() -> None:
    for code in (
        "entity.provider == 'x'",
        "provider.name in ('x', 'y')",
        "'x' != model.provider",
        "match provider:\n case _: 1",
    ):
        assert compared(ast.parse(code)), code
    for code in ("provider == other", "providers['x']", "name == 'provider'"):
        assert not compared(ast.parse(code)), code
