"""What a client asks for when it has a statement run, as the Statement Execution API spells it.

https://docs.databricks.com/api/workspace/statementexecution/executestatement
"""

import re
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from tesela.errors import InvalidRequest
from tesela.sql.site import Parameter

Disposition = Literal["INLINE", "EXTERNAL_LINKS", "INLINE_OR_EXTERNAL_LINKS"]
Format = Literal["JSON_ARRAY", "ARROW_STREAM", "CSV"]
Compression = Literal["LZ4_FRAME", "NONE"]
Count = Annotated[int, Meta(ge=1)]
MOST_TEXT = 16 * 1024 * 1024
"""Bytes of a statement: https://docs.databricks.com/aws/en/resources/limits says 16 MiB."""
_SECONDS = re.compile(r"(\d+)s")


class _Parameter(Struct, frozen=True):
    name: str | None = None
    value: str | int | float | bool | None = None
    type: str | None = None


class _Asked(Struct, frozen=True):
    statement: str
    warehouse_id: str | None = None
    session_id: str | None = None
    catalog: str | None = None
    schema: str | None = None
    parameters: tuple[_Parameter, ...] | None = None
    disposition: Disposition | None = None
    format: Format | None = None
    result_compression: Compression | None = None
    byte_limit: Count | None = None
    row_limit: Count | None = None
    wait_timeout: str | None = None
    on_wait_timeout: Literal["CONTINUE", "CANCEL"] | None = None
    answers: Literal["keep", "again", "off"] | None = None


class Request(Struct, frozen=True):
    """A request that makes sense.  `wait_s` is 0 for not waiting; `answers` is None for what the statement's kind
    decides; the limits are None for none."""

    text: str
    session: str = ""
    catalog: str = ""
    schema: str = ""
    parameters: tuple[Parameter, ...] = ()
    disposition: Disposition = "INLINE"
    format: Format = "JSON_ARRAY"
    compression: Compression = "NONE"
    byte_limit: int | None = None
    row_limit: int | None = None
    wait_s: float = 10.0
    cancel_late: bool = False
    answers: Literal["keep", "again", "off"] | None = None


_decode = msgspec.json.Decoder(_Asked).decode


def read(body: bytes) -> Request:
    """Raises InvalidRequest that names the field."""
    try:
        asked = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        text, _, where = str(exc).partition(" - at `")
        field = where.rstrip("`").removeprefix("$").removeprefix(".")
        raise InvalidRequest(
            f"{field or 'the request body'}: {text[:1].lower()}{text[1:]}", param=field or None
        ) from exc
    if not asked.statement.strip():
        raise InvalidRequest("statement: there is none", param="statement")
    if len(asked.statement.encode("utf-8", "replace")) > MOST_TEXT:
        raise InvalidRequest(f"statement: longer than {MOST_TEXT // 2**20} MiB", param="statement")
    if not asked.warehouse_id and not asked.session_id:
        raise InvalidRequest(
            "warehouse_id: it is missing; GET /api/2.0/sql/warehouses tells which there is", param="warehouse_id"
        )
    disposition, format = asked.disposition or "INLINE", asked.format or "JSON_ARRAY"
    if disposition == "INLINE" and format != "JSON_ARRAY":
        raise InvalidRequest(
            f"format: {format} goes with the disposition EXTERNAL_LINKS; INLINE has JSON_ARRAY", param="format"
        )
    return Request(
        text=asked.statement,
        session=asked.session_id or "",
        catalog=asked.catalog or "",
        schema=asked.schema or "",
        parameters=tuple(_parameter(one) for one in asked.parameters or ()),
        disposition=disposition,
        format=format,
        compression=asked.result_compression or "NONE",
        byte_limit=asked.byte_limit,
        row_limit=asked.row_limit,
        wait_s=_wait(asked.wait_timeout),
        cancel_late=asked.on_wait_timeout == "CANCEL",
        answers=asked.answers,
    )


def _wait(text: str | None) -> float:
    if not text:
        return 10.0
    found = _SECONDS.fullmatch(text)
    if found is None or not (int(found[1]) == 0 or 5 <= int(found[1]) <= 50):
        raise InvalidRequest(f"wait_timeout: {text[:20]!r} is not '0s' nor from '5s' to '50s'", param="wait_timeout")
    return float(found[1])


def _parameter(one: _Parameter) -> Parameter:
    value = one.value
    if isinstance(value, bool):
        value = "true" if value else "false"
    return Parameter(one.name or "", None if value is None else str(value), one.type or "STRING")
