"""What one attempt sends, and how its answer is to be read: by the provider's translation, or as it came; and what the
answer to it means when it is a refusal."""

import time

from tesela.errors import UpstreamError
from tesela.gateway import native
from tesela.gateway.ask import Question
from tesela.providers.base import Call, Exchange, Provider
from tesela.providers.unified import exchange as unified
from tesela.serving import Upstream
from tesela.wire.document import Document


def exchange(
    question: Question, document: Document, provider: Provider, upstream: Upstream, request_id: str
) -> Exchange:
    """`document` belongs to this attempt.  Raises RequestError for what this provider cannot be told."""
    translation = provider.translations[question.task]
    if question.echo is not None and question.door.native is not None:
        return native.exchange(question, provider, upstream, int(time.time()), answer_id(request_id))
    if translation is None:
        return unified(question.task, document, question.streaming, upstream)
    created = int(time.time())
    return translation(Call(question.task, document, question.streaming, upstream, created, answer_id(request_id)))


def refused(
    provider: Provider, upstream: Upstream, path: str, status: int, said: bytes, retry_after_s: int | None
) -> UpstreamError:
    """The error for a status of 400 and above.  A 404 may be about the model or about an address that is not the
    provider's at all, such as a base without its `/v1`; only the address tells which."""
    failure = provider.failure(status, said, retry_after_s)
    if status != 404 or upstream.origin.scheme == "scripted":
        return failure
    origin = upstream.origin
    place = (
        "its socket" if origin.unix is not None else f"{origin.scheme}://{origin.authority}{upstream.base_path}{path}"
    )
    return type(failure)(
        f"{failure.message} (the provider's answer to a POST to {place})",
        param=failure.param,
        reason=failure.reason,
        retry_after_s=failure.retry_after_s,
        upstream_status=failure.upstream_status,
    )


def answer_id(request_id: str) -> str:
    """An id for an answer that must have one: letters and digits."""
    return request_id.replace("-", "")
