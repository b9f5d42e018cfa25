"""`databricks-openai`: the OpenAI client that takes its credentials from the Databricks SDK."""

from typing import Any

from tesela.verify.clients.installed import client
from tesela.verify.outcome import Call, Target, chat_of, require
from tesela.verify.questions import QUESTION


def connect(**settings: Any) -> Any:
    return client("databricks_openai").DatabricksOpenAI(**settings)


def chat(target: Target) -> None:
    answer = connect().chat.completions.create(model=chat_of(target), messages=QUESTION, max_tokens=8)
    require(answer.choices[0].message.content, "the message has no text")


def stream(target: Target) -> None:
    chunks = connect().chat.completions.create(model=chat_of(target), messages=QUESTION, max_tokens=8, stream=True)
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    require("".join(texts), "the stream has no text")


def responses(target: Target) -> None:
    answer = connect().responses.create(model=chat_of(target), input="Say hello.", max_output_tokens=16)
    require(answer.output_text, "the response has no text")


def ai_gateway(target: Target) -> None:
    for setting in ("use_ai_gateway", "use_ai_gateway_native_api"):
        answer = connect(**{setting: True}).chat.completions.create(
            model=chat_of(target), messages=QUESTION, max_tokens=8
        )
        require(answer.choices[0].message.content, f"the message has no text with {setting}")


CALLS = [
    Call("databricks-openai", "chat", chat),
    Call("databricks-openai", "stream", stream),
    Call("databricks-openai", "responses", responses),
    Call("databricks-openai", "ai gateway", ai_gateway),
]
