"""`{name}` in a statement, as SparkSession.sql has it: frames become names of tables, text becomes literals.

The statement is read with these names in it, and gets its frames back when it runs.
"""

import string
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from tesela.errors import InvalidRequest


class Frames(string.Formatter):
    """For one statement.  `found` are its frames by the names that stand for them."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
        value, first = super().get_field(field_name, args, kwargs)
        return self._said(value, field_name), first

    def marked(self, sql: str) -> str:
        """The statement with braces around the names of its frames, and none that mean anything around other text."""
        if not self.found:
            return sql
        sql = sql.replace("{", "{{").replace("}", "}}")
        for name in self.found:
            sql = sql.replace(name, f"{{{name}}}")
        return sql

    def _said(self, value: Any, field: str) -> Any:
        if hasattr(value, "createOrReplaceTempView"):
            known = next((name for name, one in self.found.items() if one is value), None)
            name = known or f"tesela_frame_{uuid.uuid4().hex}"
            self.found[name] = value
            return name
        if isinstance(value, str):
            return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
        if value is None or isinstance(value, bool):
            return str(value).upper().replace("NONE", "NULL")
        if isinstance(value, int | float):
            return value
        raise InvalidRequest(
            f"{{{field}}} is a {type(value).__name__}: give a frame, text or a number, and write columns by their names"
        )
