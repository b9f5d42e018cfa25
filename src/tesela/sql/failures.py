"""What engines raise, as errors that a user can act on."""

import re
from collections.abc import Callable

import grpc
from pyspark.errors.exceptions.connect import SparkConnectGrpcException

from tesela.errors import EngineError, StatementError, TeselaError

_OURS = re.compile(r"\[TESELA\] (.*?)(?=\n|$)")
_CLASS = re.compile(r"^\[([A-Z][A-Z0-9_.]*)\] ")
_STATE = re.compile(r"SQLSTATE: ([0-9A-Z]{5})")
_PLACE = re.compile(r"; line (\d+) pos (\d+)")
_LONGEST = 2000
NO_TABLE = re.compile(r"No commit files found in _delta_log|when no existing Delta metadata is present")
"""What Sail says of a path that is read or written as a Delta table and is none."""


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
    if NO_TABLE.search(text):
        told = "there is no Delta table at the path"
        return StatementError(told, error_class="TABLE_OR_VIEW_NOT_FOUND", sql_state="42P01", position=None)
    found = _CLASS.match(text)
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
