"""Which client modules there are, and what each needs to be installed."""

from importlib import import_module, metadata
from importlib.util import find_spec
from typing import Any

# module of ours: (module of theirs, distribution)
TABLE = {
    "openai_calls": ("openai", "openai"),
    "sdk_calls": ("databricks.sdk", "databricks-sdk"),
    "mlflow_calls": ("mlflow.deployments", "mlflow"),
    "langchain_calls": ("databricks_langchain", "databricks-langchain"),
    "old_langchain_calls": ("langchain_databricks", "langchain-databricks"),
    "databricks_openai_calls": ("databricks_openai", "databricks-openai"),
}

CHANGING = {
    "sdk_control_calls": ("databricks.sdk", "databricks-sdk"),
    "mlflow_control_calls": ("mlflow.deployments", "mlflow"),
}
"""Those that make and delete things on the server.  They run only where they are asked for by name."""

SKINNY = {"mlflow": "mlflow-skinny"}


def is_importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def version(distribution: str) -> str:
    for name in (distribution, SKINNY.get(distribution, distribution)):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""


def client(module: str) -> Any:
    """A client's module.  Untyped on purpose: its types differ from version to version."""
    return import_module(module)


def raises(expected: type[BaseException], act: Any, *arguments: Any, **named: Any) -> None:
    """Raises unless `act` raises the very class that the client has for this failure."""
    try:
        act(*arguments, **named)
    except expected:
        return
    raise AssertionError(f"{expected.__name__} was not raised")
