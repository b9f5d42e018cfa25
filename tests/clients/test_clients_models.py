"""The real local models through the real clients."""

import asyncio
import json
from typing import Any, Literal

import pytest
from databricks.sdk.service.serving import ChatMessage, ChatMessageRole
from databricks_langchain import ChatDatabricks, DatabricksEmbeddings
from databricks_openai import AsyncDatabricksOpenAI, DatabricksOpenAI
from mlflow.deployments import get_deploy_client
from openai import OpenAI
from pydantic import BaseModel

CHAT = "databricks-meta-llama-3-3-70b-instruct"
OWN = "smollm2-135m-instruct"
EMBEDDINGS = "databricks-gte-large-en"
HELLO = [{"role": "user", "content": "Say hello."}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Rome", "Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


class Report(BaseModel):
    """A report about the weather."""

    city: Literal["Rome", "Oslo"]
    sunny: bool


@pytest.mark.parametrize("base", ["/serving-endpoints", "/v1", "/ai-gateway/mlflow/v1", "/ai-gateway/openai/v1"])
@pytest.mark.parametrize("model", [CHAT, OWN])
def test_openai_chat_on_every_path(server: Any, base: str, model: str) -> None:
    client = OpenAI(base_url=server.host + base, api_key=server.access_token)
    answer = client.chat.completions.create(model=model, messages=HELLO, max_tokens=8, temperature=0)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert model in [one.id for one in client.models.list()]


def test_openai_stream_says_what_the_whole_answer_says(openai: Any) -> None:
    settings = {"model": CHAT, "messages": HELLO, "max_tokens": 24, "temperature": 0, "seed": 1}
    whole = openai.chat.completions.create(**settings)
    chunks = list(openai.chat.completions.create(**settings, stream=True))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason
    assert {chunk.id for chunk in chunks} == {chunks[0].id}


@pytest.mark.parametrize("streaming", [False, True])
def test_openai_tools(openai: Any, streaming: bool) -> None:
    settings = {"model": CHAT, "messages": HELLO, "tools": [WEATHER], "tool_choice": "required", "max_tokens": 64}
    if streaming:
        name, arguments = "", ""
        for chunk in openai.chat.completions.create(**settings, stream=True):
            for call in chunk.choices[0].delta.tool_calls or []:
                name += call.function.name or ""
                arguments += call.function.arguments or ""
    else:
        (call,) = openai.chat.completions.create(**settings).choices[0].message.tool_calls
        name, arguments = call.function.name, call.function.arguments
    assert name == "weather"
    assert json.loads(arguments)["city"] in ("Rome", "Oslo")


def test_openai_parses_into_a_model(openai: Any) -> None:
    answer = openai.chat.completions.parse(model=CHAT, messages=HELLO, response_format=Report, max_tokens=64)
    assert isinstance(answer.choices[0].message.parsed, Report)


def test_openai_completions_and_responses(openai: Any) -> None:
    assert openai.completions.create(model=CHAT, prompt="Once upon a", max_tokens=8).choices[0].text
    assert openai.responses.create(model=CHAT, input="Say hello.", max_output_tokens=16).output_text
    # The helper wants an answer that is complete, and a small model may run into its limit.
    with openai.responses.stream(model="echo", input="Say hello.") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        assert text == stream.get_final_response().output_text == "Say hello."


def test_embeddings_know_what_is_alike(openai: Any) -> None:
    texts = ["How do I bake bread?", "A recipe for a sourdough loaf.", "The stock market fell today."]
    bread, loaf, market = [one.embedding for one in openai.embeddings.create(model=EMBEDDINGS, input=texts).data]
    assert dot(bread, loaf) > dot(bread, market)
    assert dot(bread, bread) == pytest.approx(1, abs=1e-3)


def dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_sdk_query(workspace: Any) -> None:
    message = ChatMessage(role=ChatMessageRole.USER, content="Say hello.")
    answer = workspace.serving_endpoints.query(CHAT, messages=[message], max_tokens=8)
    assert answer.choices[0].message.content
    assert answer.choices[0].message.role is ChatMessageRole.ASSISTANT
    assert answer.choices[0].finish_reason in ("stop", "length")
    assert answer.served_model_name
    assert len(workspace.serving_endpoints.query(EMBEDDINGS, input=["a", "b"]).data) == 2
    text = workspace.serving_endpoints.query(CHAT, prompt="Once upon a", max_tokens=8)
    assert text.choices[0].text


def test_sdk_query_of_one_served_model(workspace: Any) -> None:
    (entity,) = workspace.serving_endpoints.get(CHAT).config.served_entities
    message = ChatMessage(role=ChatMessageRole.USER, content="Say hello.")
    answer = workspace.serving_endpoints.query(f"{CHAT}/served-models/{entity.name}", messages=[message], max_tokens=8)
    assert answer.served_model_name == entity.name


def test_sdk_openai_client(workspace: Any) -> None:
    client = workspace.serving_endpoints.get_open_ai_client()
    assert client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=8).choices[0].message.content


def test_sdk_lists_honestly(workspace: Any) -> None:
    endpoints = {one.name: one for one in workspace.serving_endpoints.list()}
    assert {CHAT, OWN, EMBEDDINGS} <= endpoints.keys()
    assert endpoints[CHAT].task == "llm/v1/chat"
    assert "smollm2" in workspace.serving_endpoints.get(CHAT).description.lower()
    assert workspace.current_user.me().user_name


def test_mlflow(mlflow: Any) -> None:
    inputs = {"messages": HELLO, "max_tokens": 8, "temperature": 0}
    whole = mlflow.predict(endpoint=CHAT, inputs=inputs)
    chunks = mlflow.predict_stream(endpoint=CHAT, inputs=inputs)
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    assert text == whole["choices"][0]["message"]["content"]
    assert mlflow.get_endpoint(CHAT)["name"] == CHAT


def test_mlflow_gateway(server: Any) -> None:
    client = get_deploy_client(server.host)
    assert CHAT in [one.name for one in client.list_endpoints()]
    assert client.get_endpoint(EMBEDDINGS).endpoint_type == "llm/v1/embeddings"
    answer = client.predict(endpoint=CHAT, inputs={"messages": HELLO, "max_tokens": 8})
    assert answer["choices"][0]["message"]["content"]


def test_langchain(server: Any) -> None:
    model = ChatDatabricks(endpoint=CHAT, max_tokens=64)
    assert model.invoke("Say hello.").content
    assert "".join(str(chunk.content) for chunk in model.stream("Say hello."))
    (call,) = model.bind_tools([WEATHER], tool_choice="any").invoke("Weather in Rome?").tool_calls
    assert call["name"] == "weather"
    for method in ("function_calling", "json_schema"):
        assert isinstance(model.with_structured_output(Report, method=method).invoke("It is sunny in Rome."), Report)
    answer = model.bind(response_format={"type": "json_object"}).invoke("Answer in JSON.")
    assert answer.content.startswith("{")
    # A model of this size seldom comes to an end by itself; when it does, the object is whole.
    if answer.response_metadata["finish_reason"] == "stop":
        assert isinstance(json.loads(answer.content), dict)


def test_langchain_async(server: Any) -> None:
    async def ask() -> tuple[str, str]:
        model = ChatDatabricks(endpoint=CHAT, max_tokens=8)
        whole = await model.ainvoke("Say hello.")
        return str(whole.content), "".join([str(chunk.content) async for chunk in model.astream("Say hello.")])

    whole, streamed = asyncio.run(ask())
    assert whole
    assert streamed


def test_langchain_over_responses(server: Any) -> None:
    model = ChatDatabricks(endpoint="echo", use_responses_api=True)
    assert "hello" in model.invoke("Say hello.").text
    assert "hello" in "".join(chunk.text for chunk in model.stream("Say hello."))


def test_langchain_embeddings_in_batches(server: Any) -> None:
    model = DatabricksEmbeddings(endpoint=EMBEDDINGS)
    vectors = model.embed_documents([f"text number {i}" for i in range(45)])
    assert len(vectors) == 45
    assert model.embed_query("text number 44") == pytest.approx(vectors[44], abs=1e-3)


@pytest.mark.parametrize("settings", [{}, {"use_ai_gateway": True}, {"use_ai_gateway_native_api": True}])
def test_databricks_openai(server: Any, settings: Any) -> None:
    client = DatabricksOpenAI(**settings)
    assert client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=8).choices[0].message.content
    assert client.responses.create(model=CHAT, input="Say hello.", max_output_tokens=8).output_text
    assert len(client.embeddings.create(model=EMBEDDINGS, input="hello").data) == 1


def test_databricks_openai_async(server: Any) -> None:
    async def ask() -> str:
        async with AsyncDatabricksOpenAI() as client:
            stream = await client.chat.completions.create(model=CHAT, messages=HELLO, max_tokens=8, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    assert asyncio.run(ask())


def test_a_slow_first_byte_and_a_slow_stream(openai: Any, workspace: Any) -> None:
    assert openai.chat.completions.create(model="slow-2s", messages=HELLO).choices[0].message.content
    message = ChatMessage(role=ChatMessageRole.USER, content="one two three")
    assert workspace.serving_endpoints.query("slow-2s", messages=[message]).choices[0].message.content
    question = [{"role": "user", "content": "one two three four"}]
    stream = openai.chat.completions.create(model="drip-200ms", messages=question, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def test_scripted_tools_come_and_go(openai: Any) -> None:
    asked = openai.chat.completions.create(model="tool-call", messages=HELLO, tools=[WEATHER])
    (call,) = asked.choices[0].message.tool_calls
    assert asked.choices[0].finish_reason == "tool_calls"
    history = [
        *HELLO,
        asked.choices[0].message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    assert (
        openai.chat.completions.create(model="tool-call", messages=history, tools=[WEATHER]).choices[0].message.content
    )
