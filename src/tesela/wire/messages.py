"""Anthropic's Messages API over models that speak chat: the request on its way in, the answer and the events on their
way out, and errors in its shape.

A provider that speaks the Messages API itself does not come through here: its bytes pass.
"""

from tesela.wire.messages_answer import Asked, answer
from tesela.wire.messages_events import PING, MessageEvents
from tesela.wire.messages_problem import failure, failure_event
from tesela.wire.messages_request import to_chat

__all__ = ["PING", "Asked", "MessageEvents", "answer", "failure", "failure_event", "to_chat"]
