"""The `openai` client: 1.99, 2.x and 3.x make the same calls."""

import json
from typing import Any

from tesela.verify.clients.installed import client, raises
from tesela.verify.outcome import Call, Target, chat_of, embeddings_of, require
from tesela.verify.questions import QUESTION, SCHEMA, TOOL


def connect(target: Target, access_token: str = "") -> Any:
    return client("openai").OpenAI(
        base_url=target.host + "/serving-endpoints",
        api_key=access_token or target.access_token,
        max_retries=0,
    )


def chat(target: Target) -> None:
    answer = connect(target).chat.completions.create(model=chat_of(target), messages=QUESTION, max_tokens=8)
    require(answer.choices[0].message.content, "the message has no text")
    require(
        answer.choices[0].finish_reason in ("stop", "length"),
        f"it ended by {answer.choices[0].finish_reason}",
    )
    require(answer.usage.total_tokens > 0, "no tokens were counted")


def stream(target: Target) -> None:
    chunks = list(
        connect(target).chat.completions.create(model=chat_of(target), messages=QUESTION, max_tokens=8, stream=True)
    )
    require(
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks),
        "the stream has no text",
    )
    require(chunks[-1].choices[0].finish_reason, "the last chunk has no finish_reason")


def stream_usage(target: Target) -> None:
    chunks = list(
        connect(target).chat.completions.create(
            model=chat_of(target),
            messages=QUESTION,
            max_tokens=8,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    counted = [chunk for chunk in chunks if chunk.usage]
    require(
        len(counted) == 1 and counted[0] is chunks[-1],
        "usage must come once, in the last chunk",
    )
    require(not chunks[-1].choices, "the chunk with the usage has choices")


def tools(target: Target) -> None:
    answer = connect(target).chat.completions.create(
        model=chat_of(target),
        messages=QUESTION,
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "weather"}},
        max_tokens=64,
    )
    calls = answer.choices[0].message.tool_calls
    require(calls and calls[0].function.name == "weather", "the forced tool was not called")
    require(
        "city" in json.loads(calls[0].function.arguments),
        "the arguments do not follow the tool's schema",
    )


def structured(target: Target) -> None:
    form = {
        "type": "json_schema",
        "json_schema": {"name": "Answer", "strict": True, "schema": SCHEMA},
    }
    answer = connect(target).chat.completions.create(
        model=chat_of(target), messages=QUESTION, response_format=form, max_tokens=64
    )
    found = json.loads(answer.choices[0].message.content)
    require(
        found["answer"] in ("yes", "no"),
        f"the answer does not follow the schema: {found}",
    )


def embeddings(target: Target) -> None:
    answer = connect(target).embeddings.create(model=embeddings_of(target), input=["one", "two"])
    vectors = [one.embedding for one in answer.data]
    require(
        len(vectors) == 2 and vectors[0] != vectors[1],
        "two texts must give two different vectors",
    )
    require(
        all(isinstance(component, float) for component in vectors[0]),
        "the vector is not one of numbers",
    )


def responses(target: Target) -> None:
    answer = connect(target).responses.create(model=chat_of(target), input="Say hello.", max_output_tokens=16)
    require(answer.output_text, "the response has no text")


def responses_stream(target: Target) -> None:
    events = list(
        connect(target).responses.create(model=chat_of(target), input="Say hello.", max_output_tokens=16, stream=True)
    )
    kinds = [event.type for event in events]
    require(kinds[0] == "response.created", f"the first event is {kinds[0]}")
    require(
        kinds[-1] in ("response.completed", "response.incomplete"),
        f"the last event is {kinds[-1]}",
    )
    require("response.output_text.delta" in kinds, "no text came")


def models(target: Target) -> None:
    names = [one.id for one in connect(target).models.list()]
    require(chat_of(target) in names, "the chat endpoint is not among the models")


def errors(target: Target) -> None:
    openai = client("openai")
    create = connect(target).chat.completions.create
    raises(
        openai.NotFoundError,
        create,
        model="no-such-endpoint-anywhere",
        messages=QUESTION,
    )
    raises(openai.BadRequestError, create, model=chat_of(target), messages="not a list")
    stranger = connect(target, "dapi" + "0" * 32).chat.completions.create
    raises(openai.AuthenticationError, stranger, model=chat_of(target), messages=QUESTION)


CALLS = [
    Call("openai", "chat", chat),
    Call("openai", "stream", stream),
    Call("openai", "stream with usage", stream_usage),
    Call("openai", "tools", tools),
    Call("openai", "structured output", structured),
    Call("openai", "embeddings", embeddings),
    Call("openai", "responses", responses),
    Call("openai", "responses stream", responses_stream),
    Call("openai", "models", models),
    Call("openai", "errors", errors),
]
