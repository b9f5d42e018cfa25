"""Local models: lists of messages that cannot fit never reach the engine, and limits are numbers that it can hold."""

from typing import Any

import msgspec
import pytest

from tesela.errors import InvalidRequest
from tesela.providers.base import Call
from tesela.providers.local import LOCAL
from tesela.serving import Capabilities, Origin, Upstream
from tesela.wire import document
from tesela.wire.tasks import Task


def translate(context: int, fields: dict[str, Any], task: Task = Task.CHAT) -> dict[str, Any]:
    """What would be sent to the engine."""
    upstream = Upstream(Origin(unix="/nowhere"), "tiny", capabilities=Capabilities(context=context, n_max=9))
    translation = LOCAL.translations[task]
    assert translation is not None
    call = Call(task, document.decode(msgspec.json.encode(fields)), False, upstream, 5, "abc")
    sent: dict[str, Any] = msgspec.json.decode(translation(call).body)
    return sent


def messages(count: int) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "x"}] * count}


def test_more_messages_than_the_context_has_tokens_are_refused_with_both_numbers() -> None:
    # The engine renders them in quadratic time: 16,000 short ones keep it busy for ten seconds, and then it refuses.
    with pytest.raises(InvalidRequest, match=r"65 messages .* 64 tokens") as caught:
        translate(64, messages(65))
    assert (caught.value.param, caught.value.reason) == ("messages", "context_length_exceeded")


@pytest.mark.parametrize(("context", "count"), [(64, 64), (0, 1000)])
def test_as_many_as_may_fit_and_any_number_where_the_context_is_not_known(context: int, count: int) -> None:
    assert len(translate(context, messages(count))["messages"]) == count


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "n"])
def test_a_count_that_the_engine_cannot_hold_is_refused_as_it_was_sent(name: str) -> None:
    # The engine told of -2147483648, which nobody had sent.
    with pytest.raises(InvalidRequest, match=rf"'{name}' must be an integer from 1 to 2147483647") as caught:
        translate(64, {**messages(1), name: 2**31})
    assert caught.value.param == name


def test_the_largest_count_is_taken() -> None:
    assert translate(64, {**messages(1), "max_tokens": 2**31 - 1})["max_tokens"] == 2**31 - 1
    asked = {"prompt": "x", "max_tokens": 2**31 - 1}
    assert translate(64, asked, Task.COMPLETIONS)["max_tokens"] == 2**31 - 1


def test_completions_have_the_same_limit() -> None:
    with pytest.raises(InvalidRequest, match="'max_tokens' must be an integer from 0 to 2147483647"):
        translate(64, {"prompt": "x", "max_tokens": 2**31}, Task.COMPLETIONS)
