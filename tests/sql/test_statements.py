"""The parts of statements that need no engine: what is asked, how values are written, chunks, links, the end of a
token."""

import base64
import contextlib
import csv
import datetime
import decimal
import io
import json
import math
import struct
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tesela import signed
from tesela.control import thrift
from tesela.errors import InvalidRequest, PermissionDenied
from tesela.signed import Claims
from tesela.sql.site import Parameter
from tesela.sql.statements import links, request
from tesela.sql.statements.chunks import Writer, pieces
from tesela.sql.statements.columns import columns
from tesela.sql.statements.record import Record, read, write
from tesela.sql.statements.strings import number, strings, text
from tesela.sqlrunner.bearers import RENEW_S, Bearers

# ------------------------------------------------------------- what is asked


def asked(**more: Any) -> request.Request:
    return request.read(json.dumps({"statement": "SELECT 1", "warehouse_id": "w", **more}).encode())


def test_what_is_left_out_is_as_databricks_has_it() -> None:
    found = asked()
    assert (found.disposition, found.format, found.compression, found.wait_s) == ("INLINE", "JSON_ARRAY", "NONE", 10.0)
    assert (found.cancel_late, found.answers, found.row_limit) == (False, None, None)


def test_parameters_of_each_kind() -> None:
    given_ = [
        {"name": "a", "value": "x"}, {"name": "b", "value": 3, "type": "INT"}, {"name": "c", "value": True},
        {"name": "d"}, {"name": "e", "value": None, "type": "DATE"},
    ]  # fmt: skip
    assert asked(parameters=given_).parameters == (
        Parameter("a", "x"), Parameter("b", "3", "INT"), Parameter("c", "true"), Parameter("d", None),
        Parameter("e", None, "DATE"),
    )  # fmt: skip


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b'{"statement": 1}', b'{"statement": "x"}', b"null"])
def test_a_body_that_is_none(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        request.read(body)


def test_a_statement_that_is_too_long() -> None:
    with pytest.raises(InvalidRequest, match="16 MiB"):
        asked(statement="x" * (16 * 2**20 + 1))


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_an_error_of_ours(body: bytes) -> None:
    with contextlib.suppress(InvalidRequest):
        request.read(body)


# ------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.0, "1.0"), (0.1, "0.1"), (-0.0, "-0.0"), (1e7, "1.0E7"), (123456.789, "123456.789"), (1e-3, "0.001"),
        (9.999e-4, "9.999E-4"), (1.5e300, "1.5E300"), (5e-324, "5.0E-324"), (math.inf, "Infinity"),
        (-math.inf, "-Infinity"), (math.nan, "NaN"), (-1.25e10, "-1.25E10"), (100.0, "100.0"),
    ],
)  # fmt: skip
def test_doubles_as_java_writes_them(value: float, shown: str) -> None:
    assert number(value) == shown


@given(st.floats(allow_nan=False))
def test_doubles_can_be_read_again(value: float) -> None:
    assert float(number(value)) == value


@given(st.floats(width=32, allow_nan=False))
def test_floats_can_be_read_again_and_are_short(value: float) -> None:
    shown = number(value, single=True)
    if not math.isinf(value):
        assert struct.unpack("f", struct.pack("f", float(shown)))[0] == value
    assert len(shown) <= 15


def test_each_type() -> None:
    utc = datetime.datetime(2024, 2, 29, 12, 0, 0, 1500, tzinfo=datetime.UTC)
    table = pa.table(
        {
            "i": pa.array([1, None], pa.int32()),
            "f": pa.array([0.1, None], pa.float32()),
            "b": pa.array([True, None]),
            "d": pa.array([decimal.Decimal("1.20"), None], pa.decimal128(10, 2)),
            "day": pa.array([datetime.date(2024, 2, 29), None]),
            "t": pa.array([utc, None], pa.timestamp("us", "UTC")),
            "n": pa.array([utc.replace(tzinfo=None), None], pa.timestamp("us")),
            "x": pa.array([b"\x00\xff", None]),
            "a": pa.array([[1, None], None], pa.list_(pa.int64())),
            "m": pa.array([[("k", {"é": 1.0})], None], pa.map_(pa.string(), pa.struct([("é", pa.float64())]))),
            "z": pa.array([None, None], pa.null()),
        }
    )
    shown = [strings(column.combine_chunks()) for column in table.columns]
    assert [one[0] for one in shown] == [
        "1", "0.1", "true", "1.20", "2024-02-29", "2024-02-29T12:00:00.001500Z", "2024-02-29T12:00:00.001500", "00ff",
        "[1,null]", '{"k":{"é":1.0}}', None,
    ]  # fmt: skip
    assert {one[1] for one in shown} == {None}
    assert text(datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)) == "2024-01-01T00:00:00.000Z"


def test_columns_as_the_api_describes_them() -> None:
    kinds = ["bigint", "decimal(10,2)", "array<float>", "struct<Name:string,b:array<int>>", "timestamp_ntz", "void"]
    found = columns(["a", "b", "c", "d", "e", "f"], kinds)
    assert [(one["type_name"], one["type_text"]) for one in found] == [
        ("LONG", "BIGINT"), ("DECIMAL", "DECIMAL(10,2)"), ("ARRAY", "ARRAY<FLOAT>"),
        ("STRUCT", "STRUCT<Name:STRING,b:ARRAY<INT>>"), ("TIMESTAMP", "TIMESTAMP_NTZ"), ("NULL", "VOID"),
    ]  # fmt: skip
    assert (found[1]["type_precision"], found[1]["type_scale"], found[2]["position"]) == (10, 2, 2)


# ------------------------------------------------------------- chunks


@pytest.mark.parametrize("format", ["ARROW_STREAM", "JSON_ARRAY", "CSV"])
@given(
    rows=st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1) | st.none(), st.text(max_size=20) | st.none())),
    size=st.integers(1, 400),
    cut=st.integers(1, 5),
)
def test_what_is_written_in_chunks_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    format: Any,
    rows: list[tuple[int | None, str | None]],
    size: int,
    cut: int,
) -> None:
    folder = tmp_path_factory.mktemp("chunks")
    schema = pa.schema([("n", pa.int64()), ("s", pa.string())])
    writer = Writer(folder, schema, format, "NONE", size)
    for at in range(0, len(rows), cut):
        part = rows[at : at + cut]
        columns_ = [pa.array([row[i] for row in part], schema.field(i).type) for i in range(2)]
        writer.write(pa.RecordBatch.from_arrays(columns_, schema=schema))
    chunks = writer.finish()
    assert [one.index for one in chunks] == list(range(len(chunks)))
    assert sum(one.row_count for one in chunks) == len(rows)
    found: list[list[Any]] = []
    for one in chunks:
        assert one.row_offset == len(found)
        data = (folder / f"chunk-{one.index:06d}").read_bytes()
        assert len(data) == one.bytes
        found += _rows(format, data, one.index)
    wanted = [[n if format == "ARROW_STREAM" else None if n is None else str(n), s] for n, s in rows]
    if format == "CSV":
        wanted = [["null" if cell is None else cell for cell in row] for row in wanted]
    assert found == wanted


def _rows(format: str, data: bytes, index: int) -> list[list[Any]]:
    if format == "ARROW_STREAM":
        return [list(row.values()) for row in pa.ipc.open_stream(data).read_all().to_pylist()]
    if format == "JSON_ARRAY":
        return list(json.loads(data))
    lines = list(csv.reader(io.StringIO(data.decode(), newline="")))
    return lines[1:] if index == 0 else lines


def test_wide_batches_are_cut() -> None:
    batch = pa.RecordBatch.from_pydict({"t": ["x" * 1000] * 10_000})
    parts = pieces(batch)
    assert len(parts) > 3
    assert pa.Table.from_batches(parts).equals(pa.Table.from_batches([batch]))


# ------------------------------------------------------------- records, links


def test_a_record_is_whole_or_not_there(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    record = Record("id", "ann", "SELECT 1", "INLINE", 1)
    write(tmp_path, record)
    assert read(tmp_path) == record
    assert [file.name for file in tmp_path.iterdir()] == ["statement.json"]
    whole = (tmp_path / "statement.json").read_bytes()
    for end in range(len(whole)):
        (tmp_path / "statement.json").write_bytes(whole[:end])
        assert read(tmp_path) is None


def test_links() -> None:
    path, expires = links.link(b"key", "abc", 3, 1000.0)
    query = path.partition("?")[2]
    assert expires == 1000 + links.LIFETIME_S
    links.check(b"key", "abc", 3, query, expires - 1)
    for key, statement, chunk, said, now in (
        (b"other", "abc", 3, query, 1000), (b"key", "abd", 3, query, 1000), (b"key", "abc", 4, query, 1000),
        (b"key", "abc", 3, query, expires), (b"key", "abc", 3, "", 1000),
        (b"key", "abc", 3, query.replace("expires=", "expires=9"), 1000),
        (b"key", "abc", 3, "expires=x&signature=y", 1),
        (b"key", "abc", 3, "expires=٣&signature=é", 1),
    ):  # fmt: skip
        with pytest.raises(PermissionDenied):
            links.check(key, statement, chunk, said, now)


# ------------------------------------------------------------- the owner's token


def claims(exp: int) -> Claims:
    return Claims("1", "app", "iss", "ws", exp - 3600, exp, "first", "all-apis", "secret-1")


def token(of: Claims) -> str:
    return "head." + base64.urlsafe_b64encode(msgspec.json.encode(of)).rstrip(b"=").decode() + ".signature"


def test_an_oauth_token_is_renewed_before_its_end_and_says_the_same() -> None:
    signed_: list[Claims] = []

    def sign(one: Claims) -> str:
        signed_.append(one)
        return token(one)

    now = [0.0]
    bearers = Bearers(sign, lambda: now[0])
    first = token(claims(3600))
    assert bearers.current(first) == first
    now[0] = 3600.0 - RENEW_S
    second = bearers.current(first)
    assert second != first
    assert (signed_[0].sub, signed_[0].sid, signed_[0].scope) == ("1", "secret-1", "all-apis")
    assert signed_[0].exp == now[0] + signed.LIFETIME_S
    assert signed_[0].jti != "first"
    assert bearers.current(first) == second, "once for an hour"
    now[0] += 3600
    assert bearers.current(first) not in (first, second), "and again, hours later"
    assert len(signed_) == 2
    assert bearers.current("dapi0123") == "dapi0123"
    assert bearers.current("no.token.ofours") == "no.token.ofours"


# ------------------------------------------------------------- Thrift


def message(name: bytes, number_: int = 7) -> bytes:
    return struct.pack(">Ii", 0x80010001, len(name)) + name + struct.pack(">i", number_) + b"\x00"


def test_thrift_is_refused_in_thrift() -> None:
    assert thrift.read(message(b"OpenSession")) == (b"OpenSession", 7)
    answer = thrift.refusal(b"OpenSession", 7)
    assert answer.startswith(struct.pack(">Ii", 0x80010002, 11) + b"OpenSession" + struct.pack(">i", 7))
    assert thrift.STATE.encode() in answer
    assert thrift.MESSAGE.encode() in answer


def test_thrift_byte_by_byte() -> None:
    whole = message(b"ExecuteStatement")
    for end in range(len(whole) - 1):
        with pytest.raises(InvalidRequest):
            thrift.read(whole[:end])
    with pytest.raises(InvalidRequest):
        thrift.read(struct.pack(">Ii", 0x80010001, 2**31 - 1) + b"x" * 100)
