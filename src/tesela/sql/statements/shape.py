"""Statements in the shapes of the REST API.

https://docs.databricks.com/api/workspace/statementexecution
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from msgspec import Raw

from tesela.sql.statements.chunks import Chunk
from tesela.sql.statements.record import Manifest, Record, Trouble

Json = dict[str, Any]
Link = Callable[[int], tuple[str, int]]
"""The address of a chunk, and when it ends, in seconds since the epoch."""


def statement(record: Record, progress: Json, result: Json | None) -> Json:
    """As POST and GET answer."""
    out: Json = {"statement_id": record.id, "status": status(record)}
    if record.manifest is not None and record.state == "SUCCEEDED":
        out["manifest"] = manifest(record.manifest)
        out["result"] = result if result is not None else {}
    out["progress"] = {**progress, "started_ms": record.created_ms, "ended_ms": record.ended_ms}
    return out


def status(record: Record) -> Json:
    return {"state": record.state, **(failure(record.trouble) if record.trouble is not None else {})}


def failure(trouble: Trouble) -> Json:
    """What a status says of why a statement failed."""
    message = trouble.message
    if trouble.line is not None and "(line " not in message:
        message += f" (line {trouble.line}, column {trouble.column})"
    error: Json = {"error_code": trouble.code, "message": message}
    out: Json = {"error": error}
    if trouble.error_class:
        error["error_class"] = trouble.error_class
    if trouble.sql_state:
        out["sql_state"] = error["sql_state"] = trouble.sql_state
    if trouble.line is not None:
        error |= {"line": trouble.line, "column": trouble.column}
    return out


def manifest(one: Manifest) -> Json:
    out: Json = {
        "format": one.format,
        "schema": {"column_count": len(one.columns), "columns": one.columns},
        "total_chunk_count": len(one.chunks),
        "chunks": [_chunk(chunk) for chunk in one.chunks],
        "total_row_count": one.rows,
        "total_byte_count": one.bytes,
        "truncated": one.truncated,
    }
    if one.compression != "NONE":
        out["result_compression"] = one.compression
    return out


def _chunk(one: Chunk) -> Json:
    return {
        "chunk_index": one.index,
        "row_offset": one.row_offset,
        "row_count": one.row_count,
        "byte_count": one.bytes,
    }


def inline(record: Record, index: int, data: bytes) -> Json:
    """A chunk whose rows stand in the answer; `data` is the JSON array of them."""
    return {**_placed(record, index), "data_array": Raw(data)}


def external(record: Record, index: int, link: Link) -> Json:
    """A chunk that is fetched by its link."""
    address, expires = link(index)
    until = datetime.fromtimestamp(expires, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return {"external_links": [{**_placed(record, index), "external_link": address, "expiration": until}]}


def _placed(record: Record, index: int) -> Json:
    assert record.manifest is not None  # noqa: S101 - there are no chunks without one
    found = record.manifest.chunks
    out = _chunk(found[index])
    if index + 1 < len(found):
        out["next_chunk_index"] = index + 1
        out["next_chunk_internal_link"] = (
            f"/api/2.0/sql/statements/{record.id}/result/chunks/{index + 1}?row_offset={found[index + 1].row_offset}"
        )
    return out


def listed(record: Record) -> Json:
    """As the list of one's own statements has it."""
    text = record.text if len(record.text) <= 1000 else record.text[:1000] + "…"
    out = {"statement_id": record.id, "status": status(record), "statement": text}
    return {**out, "started_ms": record.created_ms, "ended_ms": record.ended_ms}
