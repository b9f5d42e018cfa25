"""A statement as it is kept: who asked for what, how it stands, and where its result is.

One folder for each, with `statement.json` and the chunks.  The file is written whole or not at all, when a statement
begins and when it ends; one that neither succeeded nor failed when its process died is found by the next start.
"""

import os
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from tesela.sql.statements.chunks import Chunk
from tesela.sql.statements.request import Compression, Disposition, Format

State = Literal["PENDING", "RUNNING", "SUCCEEDED", "FAILED", "CANCELED", "CLOSED"]
DONE = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "CLOSED"})
FILE = "statement.json"


class Trouble(Struct, frozen=True):
    """Why a statement failed.  `code` is one of the Statement Execution API's words."""

    code: str
    message: str
    error_class: str = ""
    sql_state: str = ""
    line: int | None = None
    column: int | None = None


class Manifest(Struct, frozen=True):
    format: Format
    compression: Compression
    columns: list[dict[str, Any]]
    chunks: list[Chunk]
    rows: int
    bytes: int
    truncated: bool = False


class Record(Struct):
    """Times are in milliseconds since the epoch.  `progress` is that of the calls, with `rows_out`."""

    id: str
    owner: str
    text: str
    disposition: Disposition
    created_ms: int
    state: State = "PENDING"
    ended_ms: int | None = None
    trouble: Trouble | None = None
    manifest: Manifest | None = None
    progress: dict[str, int] = {}
    session: str = ""


_decode = msgspec.json.Decoder(Record).decode


def write(folder: Path, record: Record) -> None:
    """Raises OSError."""
    part = folder / f"{FILE}.part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write(msgspec.json.encode(record))
        out.flush()
        os.fsync(out.fileno())
    part.replace(folder / FILE)


def read(folder: Path) -> Record | None:
    """What a folder says; None for one that says nothing that can be understood."""
    try:
        return _decode((folder / FILE).read_bytes())
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
