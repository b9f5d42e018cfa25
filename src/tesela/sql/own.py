"""AI functions in a Spark session that the user already has.

Its `sql` sends statements with an AI function to the server, which plans them and makes their calls; the session runs
what comes back, with one UDF for each call, and everything else as before.
"""

import atexit
import base64
import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from tesela.client.extras import needed
from tesela.client.remote import Remote
from tesela.client.statements import Answers, failure, parameter
from tesela.errors import ConfigError, InvalidRequest, TeselaError
from tesela.sql import names
from tesela.sql.frames import Frames

PLANS = "/api/2.0/sql/plans"
BATCHES = "/api/2.0/sql/batches"
BATCH = "spark.sql.execution.arrow.maxRecordsPerBatch"
USUAL_BATCH, ROWS_A_BATCH = "10000", "256"
"""A batch is asked whole, so Spark's own size would ask for 10,000 rows where `show()` wants 20."""


class Registered:
    """What `register` has put into a session.  `close` takes it out again."""

    def __init__(self, spark: Any, server: Remote, answers: Answers | None) -> None:
        before = getattr(spark.sql, "__self__", None)
        if isinstance(before, Registered):
            before.close()
        _check()
        self._spark = spark
        self._server = server
        self._answers = answers
        self._plain = spark.sql
        self._engine = _engine(spark)
        self._plans: list[str] = []
        if self._engine == "spark" and spark.conf.get(BATCH) == USUAL_BATCH:
            spark.conf.set(BATCH, ROWS_A_BATCH)
        spark.sql = self.sql
        atexit.register(self.close)

    def sql(self, sqlQuery: str, args: Any = None, **kwargs: Any) -> Any:
        """As SparkSession.sql.  Raises StatementError with the place of what is wrong, before any row is sent."""
        if not isinstance(sqlQuery, str) or not names.called(sqlQuery):
            return self._plain(sqlQuery, args, **kwargs) if args is not None else self._plain(sqlQuery, **kwargs)
        frames = Frames()
        text = frames.format(sqlQuery, **kwargs) if kwargs else sqlQuery
        planned = self._planned(text, _parameters(args))
        if not planned["sites"]:
            return self._plain(sqlQuery, args, **kwargs) if args is not None else self._plain(sqlQuery, **kwargs)
        if planned["id"]:
            self._plans.append(planned["id"])
        for site in planned["sites"]:
            self._add(site)
        try:
            return self._plain(frames.marked(planned["sql"]), **frames.found)
        finally:
            if planned["kind"] == "write" and planned["id"]:
                # Spark has run it by now, or failed to.
                self._forget(planned["id"])

    def close(self) -> None:
        """Take the functions out of the session.  Frames that call them cannot be computed any more."""
        atexit.unregister(self.close)
        if self._spark.__dict__.get("sql") == self.sql:
            del self._spark.sql
        for id in list(self._plans):
            self._forget(id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _planned(self, text: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "statement": text,
            "warehouse_id": "tesela",
            "parameters": parameters,
            "engine": self._engine,
        }
        if self._answers:
            body["answers"] = self._answers
        planned: dict[str, Any] = self._server.post(PLANS, body)
        if planned["status"]["state"] == "FAILED":
            raise failure(planned["status"].get("error", {}))
        return planned

    def _forget(self, id: str) -> None:
        self._plans.remove(id)
        # The server may be gone, or have forgotten it: it ends by itself then.
        with contextlib.suppress(TeselaError):
            self._server.send("DELETE", f"{PLANS}/{id}")

    def _add(self, site: Mapping[str, Any]) -> None:
        from pyspark import cloudpickle
        from pyspark.util import PythonEvalType

        from tesela.sql import udf
        from tesela.sql.sparktypes import spark_type

        # The engine's Python need not have this package.
        cloudpickle.register_pickle_by_value(udf)  # type: ignore[no-untyped-call]
        function = udf.Ask(
            self._server.host + BATCHES,
            site["ticket"],
            site["arguments"],
            base64.b64decode(site["answers"]),
            constant=site["constant"],
        )
        kind, name = spark_type(site["returns"]), site["udf"]
        evaluated = PythonEvalType.SQL_SCALAR_ARROW_ITER_UDF
        # A session without Spark Connect has its Java side in the same process.
        if not hasattr(self._spark, "_jsparkSession"):
            self._spark.client.register_udf(function, kind, name, evaluated, deterministic=True)
            return
        from pyspark.sql.udf import UserDefinedFunction

        made = UserDefinedFunction(function, kind, name, evalType=evaluated, deterministic=True)
        self._spark.udf.register(name, made)


def _check() -> None:
    """Raises ConfigError without pyspark, or with one that has no functions over iterators of Arrow arrays."""
    what = "tesela.sql.register"
    needed("pyarrow", what)
    version = needed("pyspark", what).__version__
    if not hasattr(needed("pyspark.util", what).PythonEvalType, "SQL_SCALAR_ARROW_ITER_UDF"):
        raise ConfigError(f"{what} needs pyspark 4.1 or newer; this one is {version}")


def _engine(spark: Any) -> str:
    """Which engine reads the session's SQL: Sail says what it does not know in other words than Spark."""
    if hasattr(spark, "_jsparkSession"):
        return "spark"
    from pyspark.errors import PySparkException

    try:
        spark.conf.get("tesela.no.such.setting")
    except PySparkException as exc:
        return "sail" if "configuration not found" in str(exc) else "spark"
    return "spark"


def _parameters(args: Any) -> list[dict[str, Any]]:
    """Spark's `args`, by name or in order, as the API has them.  Raises InvalidRequest for a value of another kind."""
    if args is None:
        return []
    if isinstance(args, Mapping):
        found = [parameter(str(name), value) for name, value in args.items()]
    elif isinstance(args, list | tuple):
        found = [parameter("", value) for value in args]
    else:
        raise InvalidRequest(f"args is a {type(args).__name__}: give a dictionary for :name, or a list for ?")
    for one in found:
        # As Spark has Python's numbers.
        if one["type"] == "BIGINT" and -(2**31) <= int(one["value"]) < 2**31:
            one["type"] = "INT"
    return found
