"""Packages that only SQL needs, asked for when they are wanted."""

import importlib
from typing import Any

from tesela.errors import ConfigError


def needed(module: str, what: str) -> Any:
    """The module.  Raises ConfigError, which says what needs it, where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as exc:
        raise ConfigError(f"{what} needs {module.partition('.')[0]}: pip install 'tesela[sql]'") from exc
