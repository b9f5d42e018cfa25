"""Tokens are counted once and rightly, by every client's own way of counting."""

from typing import Any

import pytest
from databricks_langchain import ChatDatabricks

CHAT = "databricks-meta-llama-3-3-70b-instruct"
HELLO = [{"role": "user", "content": "Say hello to the world."}]


@pytest.fixture
def whole(openai: Any) -> Any:
    """The usage of the same question, asked without a stream."""
    return openai.chat.completions.create(model="echo", messages=HELLO).usage


def test_whole_answers_add_up(whole: Any) -> None:
    assert whole.prompt_tokens > 0
    assert whole.completion_tokens > 0
    assert whole.total_tokens == whole.prompt_tokens + whole.completion_tokens


@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": False}}])
def test_openai_without_include_usage_sees_choices_in_every_chunk(openai: Any, options: Any) -> None:
    chunks = list(openai.chat.completions.create(model="echo", messages=HELLO, stream=True, **options))
    assert all(chunk.choices for chunk in chunks)
    assert not any(chunk.usage for chunk in chunks)


@pytest.mark.parametrize("endpoint", ["echo", CHAT])
def test_openai_with_include_usage_gets_it_once_at_the_end(openai: Any, endpoint: str) -> None:
    settings = {"model": endpoint, "messages": HELLO, "max_tokens": 8, "temperature": 0, "seed": 1}
    counted = openai.chat.completions.create(**settings).usage
    chunks = list(openai.chat.completions.create(**settings, stream=True, stream_options={"include_usage": True}))
    assert [chunk.usage for chunk in chunks if chunk.usage] == [chunks[-1].usage]
    assert chunks[-1].choices == []
    assert chunks[-1].usage.prompt_tokens == counted.prompt_tokens
    assert chunks[-1].usage.completion_tokens == counted.completion_tokens


def test_mlflow_gets_it_once_on_the_last_choice(mlflow: Any, whole: Any) -> None:
    chunks = list(mlflow.predict_stream(endpoint="echo", inputs={"messages": HELLO}))
    (counted,) = [chunk for chunk in chunks if chunk.get("usage")]
    assert counted["choices"][0]["finish_reason"] == "stop"
    assert counted["usage"]["total_tokens"] == whole.total_tokens


def streamed(model: ChatDatabricks, **settings: Any) -> Any:
    """The chunks of a stream, added up as LangChain adds them."""
    total = None
    for chunk in model.stream("Say hello to the world.", **settings):
        total = chunk if total is None else total + chunk
    assert total is not None
    assert total.content == "Say hello to the world."
    return total


def test_chat_databricks_adds_up_its_chunks_when_it_asks_for_usage(server: Any, whole: Any) -> None:
    answer = streamed(ChatDatabricks(endpoint="echo"), stream_options={"include_usage": True})
    assert answer.usage_metadata["total_tokens"] == whole.total_tokens


def test_chat_databricks_shows_no_usage_rather_than_a_wrong_one(server: Any, whole: Any) -> None:
    model = ChatDatabricks(endpoint="echo")
    assert streamed(model).usage_metadata is None
    assert model.invoke("Say hello to the world.").usage_metadata["total_tokens"] == whole.total_tokens


def test_sdk_query_counts(workspace: Any, whole: Any) -> None:
    from databricks.sdk.service.serving import ChatMessage, ChatMessageRole

    message = ChatMessage(role=ChatMessageRole.USER, content="Say hello to the world.")
    answer = workspace.serving_endpoints.query("echo", messages=[message])
    assert answer.usage.total_tokens == whole.total_tokens


def test_responses_count_under_their_own_names(openai: Any) -> None:
    answer = openai.responses.create(model="echo", input="Say hello to the world.")
    assert answer.usage.input_tokens > 0
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
