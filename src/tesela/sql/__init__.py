"""SQL: `ai_query` and its siblings over tables.  From Python, `tesela.sql.connect()`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tesela.client.statements import Answers, Connection
    from tesela.sql.own import Registered


def register(
    spark: Any, host: str | None = None, token: str | None = None, *, answers: "Answers | None" = None
) -> "Registered":
    """Let `spark.sql` of this session understand ai_query and its siblings; their calls go through the server.

    `spark` is a session of Spark 4.1 or newer, with Spark Connect or without, whose workers reach the server; other
    statements are its own as before.  Model answers are kept and used again unless `answers` says otherwise, because
    Spark computes a frame anew each time that it is looked at.  What this gives back takes them out again: `close()`.
    """
    import os

    from tesela.client import remote
    from tesela.sql.own import Registered

    server = remote.connect(
        host or os.environ.get("DATABRICKS_HOST"), token or os.environ.get("DATABRICKS_TOKEN"), os.environ
    )
    return Registered(spark, server, answers)


def connect(
    host: str | None = None,
    token: str | None = None,
    *,
    catalog: str = "",
    schema: str = "",
    answers: "Answers | None" = None,
) -> "Connection":
    """A session on a server: the one named here, or by DATABRICKS_HOST and DATABRICKS_TOKEN, or the local one.

    `answers` says for all its statements whether model answers are kept and used again: "keep", "again" (ask anew) or
    "off".  Raises ConfigError when there is no access token.
    """
    import os

    from tesela.client import remote
    from tesela.client.statements import Connection

    server = remote.connect(
        host or os.environ.get("DATABRICKS_HOST"), token or os.environ.get("DATABRICKS_TOKEN"), os.environ
    )
    return Connection(server, catalog=catalog, schema=schema, answers=answers)
