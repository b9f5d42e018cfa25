"""The files that a statement reads, as views of its session.

Sail takes a path at which nothing is for a table without rows, and leaves out where a binary file lies: both are mended
here, so that a mistyped path is an error and `path` can be read again.
"""

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from sqlglot import exp

from tesela.errors import StatementError
from tesela.sql.site import Source

if TYPE_CHECKING:
    from pyspark.sql.connect.dataframe import DataFrame
    from pyspark.sql.connect.session import SparkSession

WITHOUT_INFERENCE = frozenset({"text", "binaryFile"})
"""Formats whose columns are known without a look at files."""
OWN_CHECK = frozenset({"delta"})


def attach(spark: "SparkSession", source: Source) -> None:
    """Make the view.  Raises StatementError when there is no file."""
    if source.sail and source.format not in OWN_CHECK:
        sought(spark, source)
    if not source.view:
        return
    frame = loaded(spark, source, source.schema)
    if source.sail and source.format == "binaryFile":
        where = exp.Literal.string(prefix(source.paths[0])).sql("spark")
        shown = (f"concat({where}, path) AS path", "modificationTime", "length", "content")
        frame.selectExpr(*shown).createOrReplaceTempView(source.view)
        return
    frame.createOrReplaceTempView(source.view)


def loaded(spark: "SparkSession", source: Source, schema: str) -> "DataFrame":
    reader = spark.read.format(source.format).options(**source.options)
    return (reader.schema(schema) if schema else reader).load(list(source.paths))


def sought(spark: "SparkSession", source: Source) -> None:
    """Raise when no file is there."""
    path = source.paths[0]
    if "://" not in path:
        if not any(has_file(Path(one)) for one in glob.iglob(path)):
            raise missing(f"no file was found at {path!r}")
        return
    # The engine gives no list of files.  Those that give columns are there; else one is read.
    if source.format not in WITHOUT_INFERENCE and loaded(spark, source, "").schema.fields:
        return
    files = spark.read.format("binaryFile").load(path)
    if not files.select("path").limit(1).toArrow().num_rows:
        raise missing(f"no file with anything in it was found at {path!r}")


def has_file(path: Path) -> bool:
    return path.is_file() or any(one.is_file() for one in path.rglob("*"))


def missing(told: str) -> StatementError:
    return StatementError(told, error_class="PATH_NOT_FOUND", sql_state="42K03")


def prefix(path: str) -> str:
    """What Apache Spark has before a file's place in `path`."""
    scheme, slashes, rest = path.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/" if slashes else "file:/"
