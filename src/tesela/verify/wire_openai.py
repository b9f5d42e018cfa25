"""The HTTP calls of the `openai` client, made without it."""

import base64
import json
import struct
from collections.abc import Callable

from tesela.verify.outcome import Call, Target, chat_of, embeddings_of, require
from tesela.verify.questions import QUESTION, SCHEMA, SHORT, TOOL
from tesela.verify.wire_http import call, chat_answer, counted, decoded, events


def openai_chat(base: str) -> Callable[[Target], None]:
    def run(target: Target) -> None:
        body = {"messages": QUESTION, "model": chat_of(target), **SHORT}
        chat_answer(decoded(call(target, "POST", base + "/chat/completions", body)))

    return run


def openai_stream(target: Target) -> None:
    body = {"messages": QUESTION, "model": chat_of(target), "stream": True, **SHORT}
    chunks = events(call(target, "POST", "/serving-endpoints/chat/completions", body))
    require(
        all(chunk.get("choices") for chunk in chunks),
        "a chunk has no choices, though usage was not asked for",
    )
    require(
        chunks[-1]["choices"][0].get("finish_reason"),
        "the last chunk has no finish_reason",
    )


def openai_stream_usage(target: Target) -> None:
    body = {
        "messages": QUESTION,
        "model": chat_of(target),
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    chunks = events(call(target, "POST", "/serving-endpoints/chat/completions", {**body, **SHORT}))
    require(
        chunks[-1].get("choices") == [],
        "the chunk with the usage is not the last, or has choices",
    )
    counted(chunks[-1])
    require(
        not any(chunk.get("usage") for chunk in chunks[:-1]),
        "usage comes more than once",
    )


def openai_tools(target: Target) -> None:
    choice = {"type": "function", "function": {"name": "weather"}}
    body = {
        "messages": QUESTION,
        "model": chat_of(target),
        "tools": [TOOL],
        "tool_choice": choice,
        "max_tokens": 64,
    }
    answer = decoded(call(target, "POST", "/serving-endpoints/chat/completions", body))
    calls = answer["choices"][0]["message"].get("tool_calls") or []
    require(calls, "a forced tool was not called")
    require(
        calls[0]["function"]["name"] == "weather",
        f"another tool was called: {calls[0]['function']['name']!r}",
    )
    require(
        "city" in json.loads(calls[0]["function"]["arguments"]),
        "the arguments do not follow the tool's schema",
    )


def openai_schema(target: Target) -> None:
    form = {
        "type": "json_schema",
        "json_schema": {"name": "Answer", "strict": True, "schema": SCHEMA},
    }
    body = {
        "messages": QUESTION,
        "model": chat_of(target),
        "response_format": form,
        "max_tokens": 64,
    }
    answer = decoded(call(target, "POST", "/serving-endpoints/chat/completions", body))
    found = json.loads(answer["choices"][0]["message"]["content"])
    require(
        found.get("answer") in ("yes", "no"),
        f"the answer does not follow the schema: {found}",
    )


def openai_embeddings(target: Target) -> None:
    body = {
        "input": "hello",
        "model": embeddings_of(target),
        "encoding_format": "base64",
    }
    data = decoded(call(target, "POST", "/serving-endpoints/embeddings", body))["data"]
    vector = data[0]["embedding"]
    if isinstance(vector, str):
        raw = base64.b64decode(vector, validate=True)
        vector = list(struct.unpack(f"<{len(raw) // 4}f", raw))
    require(len(vector) > 1 and any(vector), "the vector is empty or all zero")


def openai_responses(target: Target) -> None:
    body = {"input": "Say hello.", "model": chat_of(target), "max_output_tokens": 16}
    answer = decoded(call(target, "POST", "/serving-endpoints/responses", body))
    require(answer.get("object") == "response", f"object is {answer.get('object')!r}")
    parts = [part for item in answer["output"] if item["type"] == "message" for part in item["content"]]
    require(any(part["type"] == "output_text" for part in parts), "the output holds no text")


def openai_models(target: Target) -> None:
    answer = decoded(call(target, "GET", "/serving-endpoints/models"))
    require(answer.get("object") == "list", f"object is {answer.get('object')!r}")
    require(
        chat_of(target) in {one["id"] for one in answer["data"]},
        "the chat endpoint is not among the models",
    )


CALLS = [
    Call("openai", "chat", openai_chat("/serving-endpoints")),
    Call("openai", "stream", openai_stream),
    Call("openai", "stream with usage", openai_stream_usage),
    Call("openai", "tools", openai_tools),
    Call("openai", "structured output", openai_schema),
    Call("openai", "embeddings", openai_embeddings),
    Call("openai", "responses", openai_responses),
    Call("openai", "models", openai_models),
]
