"""Errors as bytes.

The body has Databricks' two keys, `error_code` and `message`, and beside them OpenAI's `code`, `type` and `param` as
flat keys: the OpenAI client reads those from the top level when there is no `error` key, and an `error` key would
replace the message in the Databricks SDK.
"""

from tesela.errors import MethodNotAllowed, TeselaError
from tesela.wire.document import encode

JSON = (b"content-type", b"application/json")


def body(error: TeselaError) -> bytes:
    """The JSON body of an error answer."""
    out: dict[str, str | None] = {"error_code": error.code, "message": error.message, "type": error.type}
    out["code"] = error.reason or error.code
    out["param"] = error.param
    return encode(out)


def headers(error: TeselaError) -> list[tuple[bytes, bytes]]:
    """The headers that belong to an error: its type, and when to come back."""
    out = [JSON]
    if error.retry_after_s is not None:
        out.append((b"retry-after", str(error.retry_after_s).encode()))
    if isinstance(error, MethodNotAllowed) and error.allow:
        out.append((b"allow", error.allow.encode()))
    if error.status == 401:
        out.append((b"www-authenticate", b'Bearer realm="tesela"'))
    return out


def event(error: TeselaError) -> bytes:
    """The JSON of the one `data:` line that ends a stream that failed after its first byte.

    Here the `error` key is right: the OpenAI client raises on it, and silently yields an empty chunk for
    anything else.
    """
    inner: dict[str, str | None] = {"message": error.message, "type": error.type, "param": error.param}
    inner["code"] = error.reason or error.code
    return encode({"error": inner})
