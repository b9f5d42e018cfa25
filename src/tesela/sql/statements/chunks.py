"""Batches into the chunks of a result, in the format that was asked for: files that are written once and then served.

A chunk of ARROW_STREAM is a whole Arrow stream, one of JSON_ARRAY a whole JSON array, one of CSV a piece of RFC 4180
text whose first has the header row.
"""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

import pyarrow as pa
from msgspec import Struct

from tesela.sql.statements.request import Compression, Format
from tesela.sql.statements.strings import strings

CHUNK_BYTES = 16 * 1024 * 1024
"""A chunk ends after the batch with which it reaches this."""
PIECE_BYTES = 2 * 1024 * 1024
"""Larger batches are cut, so that a chunk does not grow far beyond its size."""


class Chunk(Struct, frozen=True):
    """What the manifest says of a chunk; `bytes` are those of the file before compression."""

    index: int
    row_offset: int
    row_count: int
    bytes: int


class Encoder(Protocol):
    """Writes the batches of one chunk to a file.  `size` is what they have come to, in bytes."""

    @property
    def size(self) -> int: ...

    def write(self, batch: pa.RecordBatch) -> None: ...

    def close(self) -> None: ...


class _Counting:
    """A file that knows how much was written to it."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = 0

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self.size += len(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        """The file is closed by whoever opened it."""

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


class _Arrow:
    def __init__(self, out: _Counting, schema: pa.Schema, first: bool) -> None:
        self._out = out
        self._writer = pa.ipc.new_stream(pa.PythonFile(out, mode="w"), schema)

    @property
    def size(self) -> int:
        return self._out.size

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


class _Json:
    def __init__(self, out: _Counting, schema: pa.Schema, first: bool) -> None:
        self._out = out
        self._rows = 0

    @property
    def size(self) -> int:
        return self._out.size

    def write(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            # An array without its brackets, so that the next batch can follow.
            text = json.dumps(
                list(zip(*map(strings, batch.columns), strict=True)), ensure_ascii=False, separators=(",", ":")
            )
            self._out.write((b"," if self._rows else b"[") + text[1:-1].encode("utf-8", "replace"))
            self._rows += batch.num_rows

    def close(self) -> None:
        self._out.write(b"]" if self._rows else b"[]")


class _Csv:
    def __init__(self, out: _Counting, schema: pa.Schema, first: bool) -> None:
        self._out = out
        if first:
            self._lines([schema.names])

    @property
    def size(self) -> int:
        return self._out.size

    def write(self, batch: pa.RecordBatch) -> None:
        columns = [["null" if value is None else value for value in strings(column)] for column in batch.columns]
        self._lines(list(map(list, zip(*columns, strict=True))))

    def _lines(self, rows: list[list[str]]) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\r\n").writerows(rows)
        self._out.write(text.getvalue().encode("utf-8", "replace"))

    def close(self) -> None:
        """Its lines have ends."""


ENCODERS: dict[Format, Callable[[_Counting, pa.Schema, bool], Encoder]] = {
    "ARROW_STREAM": _Arrow,
    "JSON_ARRAY": _Json,
    "CSV": _Csv,
}


class Writer:
    """A result on its way to disk.  Blocks; for the thread that reads the engine.

    `chunk_bytes` is 0 for everything in one chunk.
    """

    def __init__(
        self, folder: Path, schema: pa.Schema, format: Format, compression: Compression, chunk_bytes: int = CHUNK_BYTES
    ) -> None:
        self._folder = folder
        self._schema = schema
        self._format = format
        self._compressed = compression == "LZ4_FRAME"
        self._chunk_bytes = chunk_bytes
        self._encoder: Encoder | None = None
        self._file: IO[bytes] | None = None
        self._began = 0
        self.chunks: list[Chunk] = []
        self.rows = 0
        self.bytes = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Raises OSError when the disk does."""
        encoder = self._encoder if self._encoder is not None else self._begin()
        before = encoder.size
        encoder.write(batch)
        self.rows += batch.num_rows
        self.bytes += encoder.size - before
        if self._chunk_bytes and encoder.size >= self._chunk_bytes:
            self._end()

    def finish(self) -> list[Chunk]:
        """The chunks.  A result without rows has one, which says what its columns are."""
        if self._encoder is None and not self.chunks:
            self._begin()
        if self._encoder is not None:
            self._end()
        return self.chunks

    def drop(self) -> None:
        """Close what is open; the folder is somebody else's to remove."""
        if self._file is not None:
            self._file.close()

    def _begin(self) -> Encoder:
        raw = open(self._folder / name(len(self.chunks)), "xb")  # noqa: SIM115 - closed in _end and drop
        self._file = pa.CompressedOutputStream(raw, "lz4") if self._compressed else raw
        self._encoder = ENCODERS[self._format](_Counting(self._file), self._schema, not self.chunks)
        self._began = self.rows
        return self._encoder

    def _end(self) -> None:
        assert self._encoder is not None  # noqa: S101 - its callers have looked
        assert self._file is not None  # noqa: S101
        self._encoder.close()
        self._file.close()
        self.chunks.append(Chunk(len(self.chunks), self._began, self.rows - self._began, self._encoder.size))
        self._encoder = self._file = None


def name(index: int) -> str:
    return f"chunk-{index:06d}"


def pieces(batch: pa.RecordBatch) -> list[pa.RecordBatch]:
    """A batch cut into slices of about PIECE_BYTES."""
    if batch.nbytes <= PIECE_BYTES or batch.num_rows < 2:
        return [batch]
    rows = max(1, int(batch.num_rows * PIECE_BYTES / batch.nbytes))
    return [batch.slice(at, rows) for at in range(0, batch.num_rows, rows)]
