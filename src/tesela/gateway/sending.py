"""What one attempt sends, and how its answer is to be read: by the provider's translation, or as it came."""

import time

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


def answer_id(request_id: str) -> str:
    """An id for an answer that must have one: letters and digits."""
    return request_id.replace("-", "")
