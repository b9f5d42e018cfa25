"""Why a statement failed, as its status says it."""

import logging

from tesela.errors import InternalError, StatementError, StoreUnavailable, TeselaError, Unauthenticated
from tesela.sql.statements.record import Trouble

STOPPED = "the server ended while the statement ran; run it again: what was answered is kept"

_log = logging.getLogger("tesela.sql")


def trouble_of(id: str, exc: Exception, why: Exception | None) -> Trouble:
    """`why` is what the calls ended with, if they did: as they said it, before an engine wrapped it up."""
    if isinstance(why, TeselaError) and not isinstance(exc, Unauthenticated):
        exc = why
    if isinstance(exc, OSError):
        exc = StoreUnavailable(f"the result cannot be written: {exc.strerror or exc}")
    if not isinstance(exc, TeselaError):
        _log.error("statement %s", id, exc_info=exc)
        exc = InternalError(f"a fault of the server; its log has more about statement {id}")
    if isinstance(exc, StatementError):
        line, column = exc.position or (None, None)
        return Trouble("BAD_REQUEST", exc.message, exc.error_class, exc.sql_state, line, column)
    return Trouble(exc.code, exc.message)
