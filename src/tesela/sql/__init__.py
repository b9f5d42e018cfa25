"""SQL: `ai_query` and its siblings over tables.  From Python, `tesela.sql.connect()`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tesela.client.statements import Answers, Connection


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
