"""What engines raise, as errors that a user can act on."""

import re
from collections.abc import Callable

import grpc
from pyspark.errors.exceptions.connect import SparkConnectGrpcException

from tesela.errors import EngineError, StatementError, TeselaError
from tesela.sql.sailwords import words

_OURS = re.compile(r"\[TESELA\] (.*?)(?=\n|$)")
_CLASS = re.compile(r"^\[([A-Z][A-Z0-9_.]*)\] ")
_STATE = re.compile(r"SQLSTATE: ([0-9A-Z]{5})")
_PLACE = re.compile(r"; line (\d+) pos (\d+)")
_LONGEST = 2000


def failure(exc: Exception, lost: Callable[[], str]) -> TeselaError:
    """The error that says what happened.  What a call said is all that is told of it."""
    text = str(exc)
    ours = _OURS.findall(text)
    if ours:
        return StatementError(ours[-1], error_class="AI_FUNCTION_HTTP_REQUEST_ERROR", sql_state="08000")
    if unreachable(exc):
        why = lost()
        told = f"the SQL engine {why}" if why else f"the SQL engine cannot be reached: {first(text)}"
        return EngineError(f"{told}; run the statement again: what was answered is kept")
    if isinstance(exc, TeselaError):
        return exc
    found = _CLASS.match(text)
    known = words(text) if found is None else None
    if known is not None:
        told, error_class, sql_state = known
        return StatementError(first(told), error_class=error_class, sql_state=sql_state, position=None)
    state = _STATE.search(text)
    getter = getattr(exc, "getCondition", None)
    error_class = found[1] if found else (getter() or "" if getter is not None else "")
    return StatementError(first(text), error_class=error_class, sql_state=state[1] if state else "", position=None)


def unreachable(exc: Exception) -> bool:
    if isinstance(exc, grpc.RpcError):
        return True
    if isinstance(exc, SparkConnectGrpcException):
        return "UNAVAILABLE" in str(exc) or "Connection refused" in str(exc) or "Socket closed" in str(exc)
    return str(exc).startswith("[RETRIES_EXCEEDED]")


def first(text: str) -> str:
    """The sentence of an engine's message, without its plan and its stack."""
    kept = re.split(r"\n\s*\n|\nJVM stacktrace|\n'?[A-Z]\w+ \[|;\n", text, maxsplit=1)[0]
    kept = " ".join(_PLACE.sub("", kept).split())
    return kept if len(kept) <= _LONGEST else kept[:_LONGEST] + "…"
