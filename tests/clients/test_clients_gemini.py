"""Google's client, unchanged, against a local model and scripted ones."""

import asyncio
from typing import Any

import pytest

genai = pytest.importorskip("google.genai", reason="Google's client is not in this environment")
from google.genai import errors, types  # noqa: E402 - only where it is installed

LOCAL = "databricks-meta-llama-3-3-70b-instruct"
EMBEDDINGS = "databricks-gte-large-en"
BASE = "/serving-endpoints/gemini"
PNG = bytes.fromhex("89504e470d0a1a0a")


def made(server: Any, base: str = BASE, **options: Any) -> Any:
    return genai.Client(
        api_key=server.access_token, http_options=types.HttpOptions(base_url=server.host + base, **options)
    )


@pytest.fixture(scope="module")
def client(server: Any) -> Any:
    return made(server)


def short(**more: Any) -> Any:
    return types.GenerateContentConfig(max_output_tokens=24, temperature=0, **more)


@pytest.mark.parametrize("base", [BASE, "/ai-gateway/gemini"])
@pytest.mark.parametrize("version", ["v1beta", "v1", "v1alpha"])
def test_every_path_and_way_to_show_the_access_token(server: Any, base: str, version: str) -> None:
    assert made(server, base, api_version=version).models.generate_content(model="echo", contents="Hi").text
    bearer = {"Authorization": f"Bearer {server.access_token}"}
    options = types.HttpOptions(base_url=server.host + base, api_version=version, headers=bearer)
    assert genai.Client(api_key="any", http_options=options).models.generate_content(model="echo", contents="Hi").text


@pytest.mark.parametrize("model", [LOCAL, "echo", "unicode", "long-300", "models/echo"])
def test_a_stream_says_what_a_whole_answer_says(client: Any, model: str) -> None:
    config = types.GenerateContentConfig(max_output_tokens=400 if model != LOCAL else 24, temperature=0)
    whole = client.models.generate_content(model=model, contents="What is a mosaic?", config=config)
    assert whole.candidates[0].finish_reason in (types.FinishReason.STOP, types.FinishReason.MAX_TOKENS)
    assert whole.usage_metadata.prompt_token_count > 0
    assert whole.usage_metadata.candidates_token_count > 0
    assert whole.response_id
    pieces = list(client.models.generate_content_stream(model=model, contents="What is a mosaic?", config=config))
    assert "".join(piece.text or "" for piece in pieces) == whole.text
    assert pieces[-1].candidates[0].finish_reason == whole.candidates[0].finish_reason
    assert pieces[-1].usage_metadata.candidates_token_count == whole.usage_metadata.candidates_token_count
    assert len(pieces) > 1


def test_the_asynchronous_client(server: Any) -> None:
    async def ask() -> tuple[str, str]:
        async with made(server).aio as client:
            whole = await client.models.generate_content(model="echo", contents="Hi there")
            stream = await client.models.generate_content_stream(model="echo", contents="Hi there")
            return whole.text, "".join([piece.text or "" async for piece in stream])

    whole, streamed = asyncio.run(ask())
    assert whole == streamed


def test_a_chat_remembers(client: Any) -> None:
    chat = client.chats.create(model="echo", config=types.GenerateContentConfig(system_instruction="Be short."))
    assert chat.send_message("One").text
    assert chat.send_message("Two").text
    assert len(chat.get_history()) == 4


@pytest.mark.parametrize("model", [LOCAL, "tool-call"])
def test_a_function_is_called_and_its_result_given_back(client: Any, model: str) -> None:
    weather = types.FunctionDeclaration(
        name="weather",
        description="The weather in a city.",
        parameters=types.Schema(type="OBJECT", properties={"city": types.Schema(type="STRING")}, required=["city"]),
    )
    forced = types.ToolConfig(
        function_calling_config=types.FunctionCallingConfig(mode="ANY", allowed_function_names=["weather"])
    )
    tools = [types.Tool(function_declarations=[weather])]
    asked = types.Content(role="user", parts=[types.Part.from_text(text="What is the weather in Rome?")])
    config = types.GenerateContentConfig(max_output_tokens=128, temperature=0, tools=tools, tool_config=forced)
    answer = client.models.generate_content(model=model, contents=[asked], config=config)
    (call,) = answer.function_calls
    assert (call.name, list(call.args)) == ("weather", ["city"])
    stream = list(client.models.generate_content_stream(model=model, contents=[asked], config=config))
    calls = [one for piece in stream for one in piece.function_calls or ()]
    assert [(one.name, list(one.args)) for one in calls] == [("weather", ["city"])]
    result = types.Part.from_function_response(name="weather", response={"output": "Sunny."})
    none = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="NONE"))
    more = [asked, answer.candidates[0].content, types.Content(role="user", parts=[result])]
    config = types.GenerateContentConfig(max_output_tokens=24, temperature=0, tools=tools, tool_config=none)
    assert client.models.generate_content(model=model, contents=more, config=config).candidates[0].finish_reason


def test_functions_that_the_client_calls_by_itself(client: Any) -> None:
    called: list[str] = []

    def weather(city: str) -> str:
        """The weather in a city."""
        called.append(city)
        return "Sunny."

    automatic = types.AutomaticFunctionCallingConfig(maximum_remote_calls=2)
    config = types.GenerateContentConfig(tools=[weather], automatic_function_calling=automatic, max_output_tokens=64)
    answer = client.models.generate_content(model="tool-call", contents="What is the weather in Rome?", config=config)
    assert called
    assert answer.automatic_function_calling_history


def test_structured_output(client: Any) -> None:
    pydantic = pytest.importorskip("pydantic")

    class City(pydantic.BaseModel):  # type: ignore[name-defined, misc]
        name: str
        big: bool

    for how in ({"response_schema": City}, {"response_json_schema": City.model_json_schema()}):
        config = types.GenerateContentConfig(response_mime_type="application/json", max_output_tokens=64, **how)
        answer = client.models.generate_content(model=LOCAL, contents="A city as JSON, please.", config=config)
        assert City.model_validate_json(answer.text)
    assert isinstance(
        client.models.generate_content(
            model=LOCAL,
            contents="A city as JSON, please.",
            config=types.GenerateContentConfig(
                response_mime_type="application/json", response_schema=City, max_output_tokens=64
            ),
        ).parsed,
        City,
    )


def test_embeddings(client: Any) -> None:
    answer = client.models.embed_content(model=EMBEDDINGS, contents=["a", "b", "c"])
    assert [len(one.values) for one in answer.embeddings] == [384] * 3


def test_models_are_listed(client: Any) -> None:
    found = {model.name: model for model in client.models.list()}
    assert "generateContent" in found[f"models/{LOCAL}"].supported_actions
    assert client.models.get(model=LOCAL).name == f"models/{LOCAL}"
    with pytest.raises(errors.ClientError) as caught:
        client.models.get(model="nowhere")
    assert caught.value.code == 404


@pytest.mark.parametrize(
    ("model", "more", "code", "word"),
    [
        ("nowhere", {}, 404, "NOT_FOUND"),
        ("error-400", {}, 400, "INVALID_ARGUMENT"),
        ("error-429", {}, 429, "RESOURCE_EXHAUSTED"),
        ("error-500", {}, 502, "UNAVAILABLE"),
        ("echo", {"tools": [types.Tool(google_search=types.GoogleSearch())]}, 400, "INVALID_ARGUMENT"),
        ("embedded", {}, 400, "INVALID_ARGUMENT"),
    ],
)
def test_failures_raise_what_googles_do(client: Any, model: str, more: Any, code: int, word: str) -> None:
    with pytest.raises(errors.APIError) as caught:
        client.models.generate_content(model=model, contents="Hi", config=short(**more))
    assert (caught.value.code, caught.value.status) == (code, word)
    assert caught.value.message


def test_an_image_for_a_model_that_sees_none(client: Any) -> None:
    picture = types.Part.from_bytes(data=PNG, mime_type="image/png")
    with pytest.raises(errors.ClientError) as caught:
        client.models.generate_content(model=LOCAL, contents=["What is this?", picture], config=short())
    assert caught.value.code == 400


def test_a_wrong_token(server: Any) -> None:
    wrong = genai.Client(api_key="any", http_options=types.HttpOptions(base_url=server.host + BASE))
    with pytest.raises(errors.ClientError) as caught:
        wrong.models.generate_content(model="echo", contents="Hi")
    assert (caught.value.code, caught.value.status) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("model", ["cut-after-3", "error-after-3"])
def test_a_stream_that_breaks_raises(client: Any, model: str) -> None:
    stream = client.models.generate_content_stream(model=model, contents="Hi")
    assert next(stream).text
    with pytest.raises(errors.APIError):
        list(stream)


def test_tokens_cannot_be_counted_for_other_models(client: Any) -> None:
    with pytest.raises(errors.ClientError, match="cannot count tokens"):
        client.models.count_tokens(model=LOCAL, contents="Hi")
