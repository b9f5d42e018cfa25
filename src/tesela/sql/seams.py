"""What the parts of SQL ask of the engine, as protocols: the statements run against these, and so do their tests.

All of it blocks and is meant for threads: Spark Connect's client does.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from tesela.sql.site import Plan

if TYPE_CHECKING:
    import pyarrow as pa


class Result(Protocol):
    """A statement under way or done.  Batches come as the engine has them; nothing is collected."""

    schema: "pa.Schema"
    types: tuple[str, ...]
    """Of each column the type in Spark's words, as in `array<float>`."""

    def batches(self) -> "Iterator[pa.RecordBatch]":
        """Once; the work is done meanwhile.

        Raises StatementError (what the engine or a call said), StatementCanceled after `interrupt`, EngineError.
        """

    def interrupt(self) -> None:
        """From any thread, any number of times.  `batches` ends with StatementCanceled."""


class Session(Protocol):
    """One SQL session: its own temporary views, catalog and schema.  Several statements may run at once."""

    catalog: str
    schema: str

    def execute(self, plan: Plan, tickets: Mapping[str, str], batches_url: str) -> Result:
        """Begin the plan: sources are looked at, types found.

        `tickets` has one for each site's udf; the UDFs post to `batches_url`.

        The result of a write has one row: num_affected_rows, num_inserted_rows.  Raises StatementError.
        """

    def close(self) -> None: ...


class Engine(Protocol):
    """An embedded Sail, or a Spark Connect server elsewhere."""

    def start(self) -> None:
        """Returns when sessions can be had.  Raises EngineError."""

    def session(self, catalog: str, schema: str) -> Session:
        """Raises EngineError when the engine is down and does not come back."""

    def stop(self) -> None: ...
