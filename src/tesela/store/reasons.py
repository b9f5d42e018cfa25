"""What went wrong with the database, as a sentence that any caller may see: no name, no address, no statement."""

from sqlalchemy.exc import DataError, IntegrityError, NotSupportedError, ProgrammingError, SQLAlchemyError

OURS = (IntegrityError, ProgrammingError, DataError, NotSupportedError)
SILENT = "does not answer"

REASONS = {
    "SQLITE_FULL": "has no room left on its disk",
    "SQLITE_BUSY": "was locked by another process all the while",
    "SQLITE_READONLY": "cannot be written to",
    "SQLITE_CANTOPEN": "cannot be opened",
    "SQLITE_IOERR": "cannot be read or written: its disk fails",
    "SQLITE_CORRUPT": "is damaged",
    "SQLITE_NOTADB": "is not a SQLite database",
    "53100": "has no room left on its disk",
    "53300": "takes no more connections",
    "25006": "cannot be written to",
    "28P01": "refuses our password",
    "28000": "refuses our user",
    "3D000": "does not exist",
    "42501": "refuses us the right to do this",
    "55P03": "was locked by another process all the while",
    "42P01": "has not the tables that this version needs",
    "42703": "has not the tables that this version needs",
    "57014": "took too long over it",
}
"""What the drivers' codes mean: SQLite's names of results, and SQLSTATE."""


def reason(error: SQLAlchemyError) -> str | None:
    """What the database said is the matter; None when it is no fault of the database's."""
    cause = getattr(error, "orig", None)
    code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", None) or ""
    # SQLite's names can be longer than the result: SQLITE_IOERR_WRITE, SQLITE_BUSY_SNAPSHOT.
    said = REASONS.get(code) or REASONS.get("_".join(code.split("_")[:2]))
    # With no statement it was the connection that failed.
    if said is None and (not isinstance(error, OURS) or error.statement is None):
        return SILENT
    return said


def sentence(said: str, doing: str) -> str:
    """`doing` is "commit" from when the database was told to make the change last."""
    # The server may have been lost after it had done what it was told.
    unsure = doing == "commit" and said == SILENT
    outcome = "whether the change was made is not known" if unsure else "nothing was changed"
    return (
        f"the server's database {said}; {outcome}, and queries go on meanwhile; try again, and tell whoever runs "
        "this server if it lasts"
    )
