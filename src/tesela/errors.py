"""The one error tree.

    TeselaError                      status  code
    ├── RequestError                         the caller can mend it
    │   ├── InvalidRequest           400     INVALID_PARAMETER_VALUE
    │   ├── Unsupported              400     BAD_REQUEST
    │   ├── StatementError           400     BAD_REQUEST
    │   ├── StatementCanceled        400     BAD_REQUEST
    │   ├── Unauthenticated          401     UNAUTHENTICATED
    │   ├── PermissionDenied         403     PERMISSION_DENIED
    │   ├── NotFound                 404     RESOURCE_DOES_NOT_EXIST
    │   ├── AlreadyExists            400     RESOURCE_ALREADY_EXISTS
    │   ├── Conflict                 409     RESOURCE_CONFLICT
    │   ├── PathNotFound             404     ENDPOINT_NOT_FOUND
    │   ├── MethodNotAllowed         405     BAD_REQUEST
    │   ├── RequestTimeout           408     BAD_REQUEST
    │   ├── TooLarge                 413     INVALID_PARAMETER_VALUE
    │   ├── HeadTooLarge             431     BAD_REQUEST
    │   └── RateLimited              429     REQUEST_LIMIT_EXCEEDED
    ├── UpstreamError                        what we called failed          another entity?
    │   ├── UpstreamRejected         (theirs) INVALID_PARAMETER_VALUE       no
    │   ├── UpstreamUnauthorized     502     INTERNAL_ERROR                 yes
    │   ├── UpstreamRateLimited      429     REQUEST_LIMIT_EXCEEDED         yes
    │   ├── UpstreamUnavailable      503     TEMPORARILY_UNAVAILABLE        yes
    │   ├── UpstreamFailed           502     INTERNAL_ERROR                 yes
    │   ├── UpstreamTimeout          504     DEADLINE_EXCEEDED              yes
    │   ├── CircuitOpen              503     TEMPORARILY_UNAVAILABLE        yes
    │   └── UpstreamProtocolError    502     INTERNAL_ERROR                 yes
    ├── EngineError                  503     TEMPORARILY_UNAVAILABLE        yes
    ├── StoreUnavailable             503     TEMPORARILY_UNAVAILABLE        no
    ├── InternalError                500     INTERNAL_ERROR                 no
    └── ConfigError                  -       stops the start with one sentence

The class decides the status and whether another served entity may be tried; texts never do.  The codes are
those that both the Databricks SDK and MLflow know, because both turn codes into exception classes and MLflow
reports an unknown one as a 500.
"""

from typing import ClassVar


class TeselaError(Exception):
    """Base of all.  `message` says what happened, whose fault it is and what to do.

    `param` names the request field at fault, `retry_after_s` is in whole seconds, `headers` go out with the answer.
    `reason` is OpenAI's machine-readable word for the same failure, where it has one.  `upstream_status` is the status
    that what we called gave, or None when it gave none.
    """

    status: int = 500
    code: ClassVar[str] = "INTERNAL_ERROR"
    type: ClassVar[str] = "server_error"
    retryable: ClassVar[bool] = False
    passes_status: ClassVar[bool] = False

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        reason: str | None = None,
        retry_after_s: int | None = None,
        upstream_status: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.upstream_status = upstream_status
        if self.passes_status and upstream_status is not None and 400 <= upstream_status < 500:
            self.status = upstream_status


class RequestError(TeselaError):
    status = 400
    code = "BAD_REQUEST"
    type = "invalid_request_error"


class InvalidRequest(RequestError):
    """A field is missing, of the wrong type or out of its range."""

    code = "INVALID_PARAMETER_VALUE"


class Unsupported(RequestError):
    """A well-formed request for something that this endpoint's model cannot do."""


class StatementError(RequestError):
    """A SQL statement cannot be planned or run.

    `error_class` and `sql_state` are Databricks' names for the failure, where it has some.  `position` is line and
    column, counted from 1, of what is at fault; None when that is not one place.
    """

    def __init__(
        self,
        message: str,
        *,
        param: str | None = None,
        error_class: str = "",
        sql_state: str = "",
        position: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(message, param=param)
        self.error_class = error_class
        self.sql_state = sql_state
        self.position = position


class StatementCanceled(RequestError):
    """A SQL statement was canceled before it was done."""


class Unauthenticated(RequestError):
    status = 401
    code = "UNAUTHENTICATED"
    type = "authentication_error"


class PermissionDenied(RequestError):
    status = 403
    code = "PERMISSION_DENIED"
    type = "permission_error"


class NotFound(RequestError):
    """The path is ours, the thing it names is not there."""

    status = 404
    code = "RESOURCE_DOES_NOT_EXIST"
    type = "not_found_error"


class AlreadyExists(RequestError):
    """The name is taken.  400, as a workspace answers and as MLflow reads the code."""

    code = "RESOURCE_ALREADY_EXISTS"


class Conflict(RequestError):
    """What is asked does not fit what is under way: an update during an update."""

    status = 409
    code = "RESOURCE_CONFLICT"


class PathNotFound(RequestError):
    """No handler has this path."""

    status = 404
    code = "ENDPOINT_NOT_FOUND"
    type = "not_found_error"


class MethodNotAllowed(RequestError):
    """The path is there for another method; `allow` names it (RFC 9110, section 15.5.6)."""

    status = 405
    allow: str = ""


class RequestTimeout(RequestError):
    """The caller began a request and did not finish sending it."""

    status = 408


class TooLarge(RequestError):
    """413 with a code that the Databricks SDK maps, so that MLflow does not send the same body seven times more."""

    status = 413
    code = "INVALID_PARAMETER_VALUE"


class HeadTooLarge(RequestError):
    status = 431


class RateLimited(RequestError):
    """Our own limit.  Always carries `retry_after_s`, an integer: the SDK reads nothing else."""

    status = 429
    code = "REQUEST_LIMIT_EXCEEDED"
    type = "rate_limit_error"


class UpstreamError(TeselaError):
    """What we called failed."""

    status = 502
    code = "INTERNAL_ERROR"
    type = "upstream_error"
    retryable = True


class UpstreamRejected(UpstreamError):
    """The provider refused the request itself (a 4xx that is neither about our key nor about load).

    Its own status is passed on.  The code is one that the Databricks SDK maps, so that MLflow does not repeat a 413 or
    a 422 seven times.
    """

    status = 400
    code = "INVALID_PARAMETER_VALUE"
    type = "invalid_request_error"
    retryable = False
    passes_status = True


class UpstreamUnauthorized(UpstreamError):
    """The provider refused our API key: the endpoint's owner must mend it, not the caller."""


class UpstreamRateLimited(UpstreamError):
    status = 429
    code = "REQUEST_LIMIT_EXCEEDED"
    type = "rate_limit_error"


class UpstreamUnavailable(UpstreamError):
    """No connection, or the provider says that it is overloaded."""

    status = 503
    code = "TEMPORARILY_UNAVAILABLE"


class UpstreamFailed(UpstreamError):
    """The provider answered with a 5xx."""


class UpstreamTimeout(UpstreamError):
    status = 504
    code = "DEADLINE_EXCEEDED"


class CircuitOpen(UpstreamError):
    """It was not called: too many calls before failed.  Always carries `retry_after_s`."""

    status = 503
    code = "TEMPORARILY_UNAVAILABLE"


class UpstreamProtocolError(UpstreamError):
    """The answer is not what the provider's API promises: broken framing, cut short, not JSON."""


class EngineError(TeselaError):
    """A local model is not there now: starting, restarting or failed."""

    status = 503
    code = "TEMPORARILY_UNAVAILABLE"
    retryable = True


class StoreUnavailable(TeselaError):
    """The control plane's database does not answer.  Nothing was changed; queries go on meanwhile."""

    status = 503
    code = "TEMPORARILY_UNAVAILABLE"


class InternalError(TeselaError):
    """A fault of ours.  The message tells the caller the request id and nothing else; the log has the rest."""


class ConfigError(TeselaError):
    """The configuration cannot be used.  Stops the start; printed as one sentence that says where and what."""
