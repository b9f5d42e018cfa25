"""Statements on a server, from Python: begin, wait, read the rows as they are fetched, cancel.

Over the Statement Execution API.  A connection that breaks meanwhile is made again: the statement is the server's and
goes on.
"""

import datetime
import decimal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from tesela.client.extras import needed
from tesela.client.remote import CONNECT_S, READ_S, Remote, plain_failures, session
from tesela.errors import (
    InvalidRequest,
    StatementCanceled,
    StatementError,
    UpstreamError,
    UpstreamRejected,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

STATEMENTS = "/api/2.0/sql/statements"
SESSIONS = "/api/2.0/sql/sessions"
WAREHOUSE = "tesela"
FIRST_PAUSE_S, MOST_PAUSE_S = 0.02, 1.0
PATIENCE_S = 60.0
"""For so long a server that does not answer is asked again how a statement stands."""
DONE = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "CLOSED"})
AGAIN = frozenset({429, 502, 503, 504})

Answers = Literal["keep", "again", "off"]
Told = Callable[[dict[str, Any]], None]
"""Called with a statement's progress, as the server tells it."""


class Answer:
    """A statement under way, or done.  `progress` is the latest that is known of it."""

    def __init__(self, connection: "Connection", found: dict[str, Any]) -> None:
        self.id: str = found["statement_id"]
        self._connection = connection
        self._found = found

    @property
    def progress(self) -> dict[str, Any]:
        return dict(self._found.get("progress", {}))

    @property
    def state(self) -> str:
        return str(self._found["status"]["state"])

    @property
    def row_count(self) -> int:
        return int(self._found.get("manifest", {}).get("total_row_count", 0))

    @property
    def truncated(self) -> bool:
        return bool(self._found.get("manifest", {}).get("truncated"))

    @property
    def columns(self) -> list[tuple[str, str]]:
        """Name and SQL type of each."""
        found = self._found.get("manifest", {}).get("schema", {}).get("columns", [])
        return [(one["name"], one["type_text"]) for one in found]

    def wait(self, told: Told | None = None) -> Self:
        """Until it is done.  Raises StatementError, StatementCanceled, and UpstreamError when the server is gone."""
        pause = FIRST_PAUSE_S
        while self.state not in DONE:
            if told is not None:
                told(self.progress)
            time.sleep(pause)
            pause = min(pause * 1.5, MOST_PAUSE_S)
            self._found = self._connection.patient("GET", f"{STATEMENTS}/{self.id}")
        if told is not None:
            told(self.progress)
        status = self._found["status"]
        if status["state"] == "FAILED":
            raise failure(status.get("error", {}))
        if status["state"] != "SUCCEEDED":
            raise StatementCanceled("the statement was canceled; what was answered is kept")
        return self

    def cancel(self) -> None:
        """Have the server stop it.  What was answered is kept where answers are kept."""
        self._connection.patient("POST", f"{STATEMENTS}/{self.id}/cancel", {})

    def close(self) -> None:
        """The server need not keep the result any longer."""
        self._connection.patient("DELETE", f"{STATEMENTS}/{self.id}")

    def batches(self) -> "Iterator[pa.RecordBatch]":
        """The rows, a chunk of the result at a time."""
        pa = _arrow()
        found = self._found.get("result", {})
        while found.get("external_links"):
            link = found["external_links"][0]
            yield from pa.ipc.open_stream(self._connection.fetch(link["external_link"]))
            following = link.get("next_chunk_internal_link")
            found = self._connection.patient("GET", following) if following else {}

    @property
    def schema(self) -> "pa.Schema":
        pa = _arrow()
        for batch in self.batches():
            return batch.schema
        links = self._found.get("result", {}).get("external_links")
        if not links:
            return pa.schema([])
        return pa.ipc.open_stream(self._connection.fetch(links[0]["external_link"])).schema

    def arrow(self) -> "pa.Table":
        """All rows as an Arrow table."""
        batches = list(self.batches())
        return _arrow().Table.from_batches(batches, schema=batches[0].schema if batches else self.schema)

    def pandas(self) -> "pd.DataFrame":
        """All rows as a pandas frame."""
        needed("pandas", "a pandas frame")
        frame: pd.DataFrame = self.arrow().to_pandas()
        return frame

    def spark(self, spark: Any) -> Any:
        """All rows as a frame of this Spark session."""
        return spark.createDataFrame(self.arrow())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Row by row, as a dictionary of Python values."""
        for batch in self.batches():
            yield from batch.rename_columns(unique(batch.schema.names)).to_pylist()


class Connection:
    """Statements of one session: temporary views, and the catalog and schema of USE, hold from one to the next.

    `answers` says whether model answers are kept and used again: "keep", "again" (ask anew and keep) or "off"; None
    keeps those of statements that write.
    """

    def __init__(self, server: Remote, *, catalog: str = "", schema: str = "", answers: Answers | None = None) -> None:
        self._server = server
        self._asked = {"warehouse_id": WAREHOUSE, "catalog": catalog, "schema": schema}
        self._answers = answers
        self._session = ""

    def sql(
        self,
        text: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        answers: Answers | None = None,
        row_limit: int | None = None,
        told: Told | None = None,
    ) -> Answer:
        """Run a statement and wait until it is done.  Ctrl-C cancels it.

        Raises StatementError with the place in the text, StatementCanceled, UpstreamError.
        """
        answer = self.begin(text, parameters, answers=answers, row_limit=row_limit)
        try:
            return answer.wait(told)
        except KeyboardInterrupt:
            answer.cancel()
            raise

    def begin(
        self,
        text: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        answers: Answers | None = None,
        row_limit: int | None = None,
        typed: Sequence[Mapping[str, Any]] = (),
    ) -> Answer:
        """Have a statement run, and do not wait.  `typed` are parameters as the API has them."""
        body: dict[str, Any] = {
            "statement": text,
            "warehouse_id": WAREHOUSE,
            "session_id": self._opened(),
            "parameters": [parameter(name, value) for name, value in (parameters or {}).items()] + list(typed),
            "disposition": "EXTERNAL_LINKS",
            "format": "ARROW_STREAM",
            "wait_timeout": "0s",
        }
        if row_limit is not None:
            body["row_limit"] = row_limit
        if answers or self._answers:
            body["answers"] = answers or self._answers
        return Answer(self, self._server.post(STATEMENTS, body))

    def close(self) -> None:
        """End the session.  Statements of it that run are canceled."""
        session, self._session = self._session, ""
        if not session:
            return
        try:
            self.patient("DELETE", f"{SESSIONS}/{session}")
        except UpstreamRejected as error:
            # Sessions end with the server's process.
            if error.upstream_status != 404:
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def patient(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """An answer to a question that can be asked twice.  Raises UpstreamError when there is none in a minute."""
        until = time.monotonic() + PATIENCE_S
        pause = 0.1
        while True:
            try:
                return self._server.send(method, path, body)
            except UpstreamError as error:
                final = isinstance(error, UpstreamRejected) and error.upstream_status not in AGAIN
                if final or time.monotonic() > until:
                    raise
            time.sleep(pause)
            pause = min(pause * 2, 5.0)

    def fetch(self, link: str) -> bytes:
        """A chunk of a result.  The link is the credential, so none is shown.  Raises UpstreamError."""
        with plain_failures(link), session(link) as anybody:
            response = anybody.get(link, timeout=(CONNECT_S, READ_S))
            if response.status_code != 200:
                raise UpstreamRejected(
                    f"a chunk of the result could not be fetched (status {response.status_code})",
                    upstream_status=response.status_code,
                )
            return bytes(response.content)

    def _opened(self) -> str:
        if not self._session:
            self._session = str(self._server.post(SESSIONS, self._asked)["session_id"])
        return self._session


def unique(names: Sequence[str]) -> list[str]:
    """Names of columns, of which SQL may have several alike: the second a is a_2."""
    out: list[str] = []
    for name in names:
        found, number = name, 1
        while found in out:
            number += 1
            found = f"{name}_{number}"
        out.append(found)
    return out


def parameter(name: str, value: Any) -> dict[str, Any]:
    """A Python value as the API has it.  Raises InvalidRequest for one of another type."""
    kind, text = _typed(value)
    return {"name": name, "type": kind, "value": text}


def _typed(value: Any) -> tuple[str, str | None]:
    match value:
        case None:
            return "STRING", None
        case bool():
            return "BOOLEAN", "true" if value else "false"
        case int():
            return "BIGINT", str(value)
        case float():
            return "DOUBLE", repr(value)
        case decimal.Decimal():
            return f"DECIMAL(38,{max(0, -int(value.as_tuple().exponent))})", str(value)
        case datetime.datetime():
            return ("TIMESTAMP" if value.tzinfo else "TIMESTAMP_NTZ"), value.isoformat(" ")
        case datetime.date():
            return "DATE", value.isoformat()
        case str():
            return "STRING", value
    raise InvalidRequest(f"a parameter cannot be a {type(value).__name__}: give a number, text, date or None")


def failure(error: Mapping[str, Any]) -> StatementError:
    line, column = error.get("line"), error.get("column")
    return StatementError(
        str(error.get("message", "the statement failed")),
        error_class=str(error.get("error_class", "")),
        sql_state=str(error.get("sql_state", "")),
        position=(int(line), int(column)) if line and column else None,
    )


def _arrow() -> Any:
    return needed("pyarrow", "reading results")
