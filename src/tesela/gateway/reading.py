"""What an answer that comes in events is read with: a relay for a caller that asked for a stream, else a gatherer."""

from tesela.gateway import native
from tesela.gateway.ask import Question
from tesela.gateway.relay import Gather, Relay
from tesela.providers.base import Exchange


def reader(exchange: Exchange, question: Question, answer_id: str, created: int) -> Relay | Gather:
    """A new one, for one attempt."""
    if not question.streaming:
        return Gather(exchange, question.task)
    manners, shown = question.door.manners, question.show_usage
    if question.echo is None:
        return Relay(exchange, question.task, manners, shown)
    if exchange.native:
        return native.Passing(exchange, question)
    return Relay(exchange, question.task, manners, shown, question.events(answer_id, created))
