"""The Responses API over models that speak chat: the request on its way in, the answer and the events on their way out.

Nothing is kept between calls, so whatever needs memory on our side (earlier responses, conversations, background runs,
hosted tools) is refused by name.  A provider that speaks the Responses API itself does not come through here.
"""

from tesela.wire.responses_answer import answer
from tesela.wire.responses_echo import Echo, echo
from tesela.wire.responses_events import ResponseEvents
from tesela.wire.responses_request import to_chat

__all__ = ["Echo", "ResponseEvents", "answer", "echo", "to_chat"]
