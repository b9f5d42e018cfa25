"""A session of Spark Connect in which planned statements run: their UDFs, their sources, their rows as they come."""

import atexit
import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from pyspark import cloudpickle
from pyspark.errors import PySparkException
from pyspark.sql.pandas.functions import ArrowUDFType
from pyspark.sql.types import StructType

from tesela.errors import StatementCanceled, StatementError
from tesela.sql import udf
from tesela.sql.arrow import arrow
from tesela.sql.failures import failure
from tesela.sql.site import Local, Plan, PlanSettings, Site
from tesela.sql.sources import attach
from tesela.sql.sparktypes import spark_type

if TYPE_CHECKING:
    from pyspark.sql.connect.session import SparkSession

WRITTEN = pa.schema([("num_affected_rows", pa.int64()), ("num_inserted_rows", pa.int64())])
DESCRIBED = pa.schema([("col_name", pa.string()), ("data_type", pa.string()), ("comment", pa.string())])
COLUMNS = pa.schema([("col_name", pa.string())])
ROWS_A_BATCH = 1024
"""Of Apache Spark, whose own 10,000 would ask far ahead of a LIMIT.  Sail decides for itself: up to 8,192."""


class SparkConnectSession:
    """`lost` says why the engine is gone, when it is."""

    def __init__(
        self, spark: "SparkSession", settings: PlanSettings, catalog: str, schema: str, lost: Callable[[], str]
    ) -> None:
        self.catalog = catalog
        self.schema = schema
        self._spark = spark
        self._settings = settings
        self._lost = lost
        self._prepared = False
        # An engine's Python need not have this package.
        cloudpickle.register_pickle_by_value(udf)  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()

    def execute(self, plan: Plan, tickets: Mapping[str, str], batches_url: str) -> "Rows":
        with self._lock, failing(self._lost):
            self._prepare()
        rows = Rows(self._spark, plan, self._lost, self._use)
        with failing(self._lost, rows):
            for site in plan.sites:
                self._register(site, tickets.get(site.udf, ""), batches_url)
            rows.begin()
        return rows

    def close(self) -> None:
        self._spark.stop()
        # pyspark would keep each closed client until the process ends, to close it once more.
        atexit.unregister(getattr(self._spark.client, "_on_exit", None))  # type: ignore[arg-type]

    def _use(self, catalog: str, schema: str) -> None:
        self.catalog, self.schema = catalog, schema

    def _prepare(self) -> None:
        """What an engine must be told once.  Left alone, Sail takes the machine's time zone."""
        if not self._prepared:
            self._spark.conf.set("spark.sql.session.timeZone", "UTC")
            if self._settings.engine == "spark":
                self._spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", str(ROWS_A_BATCH))
        self._prepared = True

    def _register(self, site: Site, ticket: str, url: str) -> None:
        answers = pa.schema([("answer", arrow(site.returns))]).serialize().to_pybytes()
        function = udf.Ask(url, ticket, len(site.arguments), answers, constant=site.constant)
        self._spark.client.register_udf(
            function, spark_type(site.returns), site.udf, ArrowUDFType.SCALAR_ITER, deterministic=True
        )


class Rows:
    """What a statement gives.  See `seams.Result`."""

    def __init__(
        self, spark: "SparkSession", plan: Plan, lost: Callable[[], str], use: Callable[[str, str], None]
    ) -> None:
        self.schema = WRITTEN
        self.types: tuple[str, ...] = ("bigint", "bigint")
        self.canceled = False
        self._spark = spark
        self._plan = plan
        self._lost = lost
        self._use = use
        self._frame: Any = None

    @property
    def tag(self) -> str:
        return f"tesela-{id(self)}"

    def begin(self) -> None:
        with self._tagged():
            for source in self._plan.sources:
                attach(self._spark, source)
            for one in self._plan.before:
                self._spark.sql(one)
            if self._plan.local is not None:
                self._begin_local(self._plan.local)
            elif self._plan.kind == "other":
                # Done at once; what an engine answers to it is its own affair.
                self._spark.sql(self._plan.sql)
                self.schema, self.types = pa.schema([]), ()
            elif self._plan.kind != "write":
                self._frame = self._spark.sql(self._plan.sql)
                found = self._frame.schema
                self.types = tuple(field.dataType.simpleString() for field in found.fields)
                self.schema = arrow_schema(found)

    def _begin_local(self, local: Local) -> None:
        self.schema, self.types = pa.schema([]), ()
        if local.action in ("describe", "columns"):
            self._frame = self._spark.sql(self._plan.sql)
            self.schema = DESCRIBED if local.action == "describe" else COLUMNS
            self.types = ("string",) * len(self.schema)
        elif local.action == "rows":
            names = local.arguments["columns"]
            self.schema, self.types = pa.schema([(name, pa.string()) for name in names]), ("string",) * len(names)

    def batches(self) -> Iterator[pa.RecordBatch]:
        done = False
        try:
            yield from self._batches()
            done = True
        finally:
            self._end(done)

    def _end(self, done: bool) -> None:
        """What the statement leaves is what it was asked to leave, whatever happened."""
        for one in self._plan.after:
            with contextlib.suppress(Exception):
                self._spark.sql(one)
        for source in (one for one in self._plan.sources if one.view):
            with contextlib.suppress(Exception):
                self._spark.catalog.dropTempView(source.view)
        for folder in () if done else self._plan.folders:
            shutil.rmtree(folder, ignore_errors=True)

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with failing(self._lost, self), self._tagged():
            if self._plan.local is not None:
                yield from self._locally(self._plan.local)
                return
            if self._plan.kind == "write":
                yield self._written()
                return
            if self._frame is None:
                return
            client = self._spark.client
            for part in client.to_table_as_iterator(self._frame._plan.to_proto(client), {}):
                if isinstance(part, pa.Table):
                    for batch in part.to_batches():
                        yield pa.RecordBatch.from_arrays(
                            [column.cast(field.type) for column, field in zip(batch.columns, self.schema, strict=True)],
                            schema=self.schema,
                        )

    def _locally(self, local: Local) -> Iterator[pa.RecordBatch]:
        if local.action == "drop_table":
            drop(Path(local.arguments["folder"]))
        if local.action == "make_folder":
            Path(local.arguments["folder"]).mkdir(parents=True, exist_ok=True)
        if local.action == "use":
            self._use(local.arguments["catalog"], local.arguments["schema"])
        if local.action == "rows":
            columns = [list(one) for one in zip(*local.arguments["rows"], strict=True)] or [[]] * len(self.schema)
            yield pa.RecordBatch.from_arrays([pa.array(one, pa.string()) for one in columns], schema=self.schema)
        if local.action in ("describe", "columns"):
            found = self._frame.schema.fields
            rows = [{"col_name": one.name, "data_type": one.dataType.simpleString(), "comment": None} for one in found]
            yield pa.RecordBatch.from_pylist(rows, self.schema)

    def interrupt(self) -> None:
        self.canceled = True
        with contextlib.suppress(PySparkException):
            self._spark.interruptTag(self.tag)

    def _written(self) -> pa.RecordBatch:
        if self._plan.save:
            frame = self._spark.sql(self._plan.sql)
            frame.write.format("delta").mode("overwrite").option("overwriteSchema", "true").save(self._plan.save)
            return pa.RecordBatch.from_pylist([{"num_affected_rows": None, "num_inserted_rows": None}], WRITTEN)
        table = self._spark.sql(self._plan.sql).toArrow()
        told = self._plan.counted and table.num_rows and pa.types.is_integer(table.schema[0].type)
        count = table.column(0)[0].as_py() if told else None
        return pa.RecordBatch.from_pylist([{"num_affected_rows": count, "num_inserted_rows": count}], WRITTEN)

    @contextlib.contextmanager
    def _tagged(self) -> Iterator[None]:
        """Tags are the thread's, and only work for what it starts meanwhile."""
        self._unless_canceled()
        self._spark.addTag(self.tag)
        try:
            yield
        finally:
            self._spark.removeTag(self.tag)
        # Sail ends the rows of an interrupted statement as if there were no more.
        self._unless_canceled()

    def _unless_canceled(self) -> None:
        if self.canceled:
            raise StatementCanceled("the statement was canceled")


def drop(folder: Path) -> None:
    """Away at once, by its name; then piece by piece."""
    going = folder.with_name(f".{folder.name}.dropped-{os.getpid()}-{time.monotonic_ns()}")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(going)
    shutil.rmtree(going, ignore_errors=True)


def arrow_schema(found: StructType) -> pa.Schema:
    from pyspark.sql.pandas.types import to_arrow_schema

    schema: pa.Schema = to_arrow_schema(found, timezone="UTC")
    return schema


@contextlib.contextmanager
def failing(lost: Callable[[], str], rows: Rows | None = None) -> Iterator[None]:
    """Turn what the engine raises into what we say."""
    try:
        yield
    except (StatementError, StatementCanceled):
        raise
    except GeneratorExit:
        raise
    except Exception as exc:
        # The engine's client raises its own, gRPC's and Python's.
        if rows is not None and rows.canceled:
            raise StatementCanceled("the statement was canceled") from exc
        raise failure(exc, lost) from exc
