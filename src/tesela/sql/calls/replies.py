"""What is read of an endpoint's reply beside the answer itself: why it failed, and what it counted."""

import msgspec

from tesela.errors import StatementError
from tesela.sql.calls.values import Progress, Reply
from tesela.sql.site import Site


def failure(site: Site, reply: Reply, made: int) -> StatementError:
    """https://docs.databricks.com/aws/en/error-messages/ai-function-http-request-error-error-class"""
    line, column = site.position
    told = _message(reply)
    status = f"with status {reply.status}" if reply.status else "not at all"
    tries = f", {made} times" if made > 1 else ""
    return StatementError(
        f"{site.function} at {line}:{column}: endpoint {site.endpoint!r} answered {status}{tries}: {told}",
        error_class="AI_FUNCTION_HTTP_REQUEST_ERROR",
        sql_state="08000",
        position=site.position,
    )


class _Told(msgspec.Struct):
    message: str = ""


_told = msgspec.json.Decoder(_Told).decode


def _message(reply: Reply) -> str:
    try:
        return _told(reply.body).message or "no message"
    except (msgspec.DecodeError, UnicodeDecodeError):
        return reply.body[:200].decode("utf-8", "replace") or "no message"


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Counted(msgspec.Struct):
    usage: _Usage | None = None


_counted = msgspec.json.Decoder(_Counted).decode


def count(progress: Progress, body: bytes) -> None:
    try:
        usage = _counted(body).usage
    except (msgspec.DecodeError, UnicodeDecodeError):
        return
    if usage is not None:
        progress.prompt_tokens += usage.prompt_tokens or 0
        progress.completion_tokens += usage.completion_tokens or 0
