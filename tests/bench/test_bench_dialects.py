"""What stands for a provider in the bench is what its translation takes, whole and as a stream."""

import json
from typing import Any

import pytest
from bench.dialects import DIALECTS, Dialect, asked
from bench.nginx import ANSWER
from tests.providers.ends import served

from tesela.providers.base import Call, Exchange
from tesela.providers.registry import PROVIDERS
from tesela.wire.document import decode
from tesela.wire.sse import EventParser
from tesela.wire.tasks import Task

QUESTION = b'{"messages":[{"role":"user","content":"hi"}],"max_tokens":256,"temperature":0.2}'


def exchange(dialect: Dialect, *, streaming: bool) -> Exchange:
    entity = served(dialect.provider, dialect.settings(8001, 8002), model=dialect.model)
    translate = PROVIDERS[entity.provider].translations[Task.CHAT]
    assert translate is not None
    return translate(Call(Task.CHAT, decode(QUESTION), streaming, entity.upstream, 5, "1"))


@pytest.mark.parametrize("name", DIALECTS)
def test_a_whole_answer_and_a_stream_are_read(name: str) -> None:
    dialect = DIALECTS[name]
    made = exchange(dialect, streaming=False)
    assert made.answer is not None
    answer = json.loads(made.answer(json.dumps(dialect.whole(ANSWER.decode())).encode()))
    assert answer["choices"][0]["message"]["content"] == ANSWER.decode()
    assert answer["usage"]["total_tokens"] == 135

    made = exchange(dialect, streaming=True)
    assert made.chunks is not None
    framing: Any = made.framing() if made.framing is not None else EventParser()
    sent = [dialect.opening, *(dialect.chunk(b"#%d:7#" % number) for number in range(3)), dialect.closing]
    events = [event for piece in sent for event in framing.feed(piece)]
    told = [json.loads(chunk) for event in events for chunk in made.chunks.feed(event)]
    told += [json.loads(chunk) for chunk in made.chunks.finish()]
    choices = [chunk["choices"][0] for chunk in told if chunk["choices"]]
    assert [text for one in choices if (text := one["delta"].get("content"))] == ["#0:7#", "#1:7#", "#2:7#"]
    assert choices[-1]["finish_reason"] == "stop"


def test_the_path_says_whose_answer_is_wanted() -> None:
    assert asked(b"POST /cohere/v2/chat HTTP/1.1\r\n") is DIALECTS["cohere"]
    assert asked(b"POST /v1/chat/completions HTTP/1.1\r\n") is None
