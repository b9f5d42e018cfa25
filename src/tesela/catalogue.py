"""The names that Databricks gives its own endpoints, read from a data file in this package."""

from importlib import resources

import msgspec
import yaml

from tesela.wire.tasks import Task


class BorrowedName(msgspec.Struct, frozen=True):
    """A name of Databricks', the model it stands for there, and the length of that model's vectors (0: none)."""

    name: str
    task: Task
    of: str
    dimensions: int = 0


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    of: str
    dimensions: int = 0


def borrowed_names() -> list[BorrowedName]:
    """All of them, in the order of the file."""
    text = resources.files("tesela").joinpath("data/databricks_names.yaml").read_text("utf-8")
    table = msgspec.convert(yaml.safe_load(text), dict[Task, dict[str, _Row]])
    return [
        BorrowedName(name, task, row.of, row.dimensions) for task, rows in table.items() for name, row in rows.items()
    ]
