"""AI functions in a Spark session that the user already has.

Its `sql` sends statements with an AI function to the server, which plans them and makes their calls; the session runs
what comes back, with one UDF for each call, and everything else as before.
"""

import atexit
import base64
import contextlib
import re
from collections.abc import Mapping
from typing import Any

from tesela.client.remote import Remote
from tesela.client.statements import Answers, parameter
from tesela.errors import InvalidRequest, TeselaError
from tesela.sql import udf
from tesela.sql.sparktypes import spark_type

PLANS = "/api/2.0/sql/plans"
BATCHES = "/api/2.0/sql/batches"
CALLS = re.compile(r"\bai_[a-z_]+\s*\(", re.IGNORECASE)


class Registered:
    """What `register` has put into a session.  `close` takes it out again."""

    def __init__(self, spark: Any, server: Remote, answers: Answers | None) -> None:
        self._spark = spark
        self._server = server
        self._answers = answers
        self._plain = spark.sql
        self._plans: list[str] = []
        spark.sql = self.sql
        atexit.register(self.close)

    def sql(self, sqlQuery: str, args: Any = None, **kwargs: Any) -> Any:
        """As SparkSession.sql.  Raises UpstreamRejected with what is wrong, before any row is sent."""
        if not isinstance(sqlQuery, str) or not CALLS.search(sqlQuery):
            return self._plain(sqlQuery, args, **kwargs) if args is not None else self._plain(sqlQuery, **kwargs)
        if kwargs or not (args is None or isinstance(args, Mapping)):
            raise InvalidRequest("parameters of a statement with AI functions are given by name: args={'name': value}")
        body: dict[str, Any] = {
            "statement": sqlQuery,
            "warehouse_id": "tesela",
            "parameters": [parameter(name, value) for name, value in (args or {}).items()],
        }
        if self._answers:
            body["answers"] = self._answers
        planned = self._server.post(PLANS, body)
        self._plans.append(planned["id"])
        for site in planned["sites"]:
            self._add(site)
        return self._plain(planned["sql"])

    def close(self) -> None:
        """Take the functions out of the session.  Frames that call them cannot be computed any more."""
        atexit.unregister(self.close)
        if self._spark.__dict__.get("sql") == self.sql:
            del self._spark.sql
        while self._plans:
            # The server may be gone, or have forgotten it.
            with contextlib.suppress(TeselaError):
                self._server.send("DELETE", f"{PLANS}/{self._plans.pop()}")

    def _add(self, site: Mapping[str, Any]) -> None:
        from pyspark import cloudpickle

        # The engine's Python need not have this package.
        cloudpickle.register_pickle_by_value(udf)  # type: ignore[no-untyped-call]
        function = udf.Ask(
            self._server.host + BATCHES,
            site["ticket"],
            site["arguments"],
            base64.b64decode(site["answers"]),
            constant=site["constant"],
        )
        kind = spark_type(site["returns"])
        # A session without Spark Connect has its Java side in the same process.
        if not hasattr(self._spark, "_jsparkSession"):
            from pyspark.sql.pandas.functions import ArrowUDFType

            self._spark.client.register_udf(function, kind, site["udf"], ArrowUDFType.SCALAR_ITER, deterministic=True)
            return
        from pyspark.sql.udf import UserDefinedFunction
        from pyspark.util import PythonEvalType

        made = UserDefinedFunction(
            function, kind, site["udf"], evalType=PythonEvalType.SQL_SCALAR_ARROW_ITER_UDF, deterministic=True
        )
        self._spark.udf.register(site["udf"], made)
