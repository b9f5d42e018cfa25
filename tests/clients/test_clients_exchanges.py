"""Every exchange before its judges: the provider's own client library, and OpenAI's for what we answer.

What we send must be what the library could have sent; the reply that is kept must be one that the library reads, whole
and streamed; and our answer to it, through a running server, must be one that the openai client reads.
"""

import base64
import importlib
import inspect
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pydantic = pytest.importorskip("pydantic", reason="the official clients live in their own environment")
sys.path.insert(0, str(Path(__file__).parent))
from replaying import EXCHANGES, data, replaying  # noqa: E402 - beside this file, which is in no package

SENT = [
    (name, form)
    for name, one in EXCHANGES.items()
    for form in ("whole", "stream")
    if form in one and "failed" not in one
]
OPENAI_FORM = ("openai", "azure-openai", "custom", "databricks-model-serving")


def folder(name: str) -> str:
    return name.partition("/")[0]


def of(*folders: str) -> list[tuple[str, str]]:
    return [(name, form) for name, form in SENT if folder(name) in folders]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with replaying() as found:
        yield found


# ------------------------------------------------------------ what we send


def strictly(type: Any, body: Any) -> None:
    """A body that the type takes, with no field that it has not."""
    adapter = pydantic.TypeAdapter(type)
    assert set(adapter.validate_python(body)) == set(body), "a field that the client does not have"


PARAMS = {
    ("llm/v1/chat", "whole"): ("openai.types.chat.completion_create_params", "CompletionCreateParamsNonStreaming"),
    ("llm/v1/chat", "stream"): ("openai.types.chat.completion_create_params", "CompletionCreateParamsStreaming"),
    ("llm/v1/completions", "whole"): ("openai.types.completion_create_params", "CompletionCreateParamsNonStreaming"),
    ("llm/v1/completions", "stream"): ("openai.types.completion_create_params", "CompletionCreateParamsStreaming"),
    ("llm/v1/embeddings", "whole"): ("openai.types.embedding_create_params", "EmbeddingCreateParams"),
}


@pytest.mark.parametrize(("name", "form"), of(*OPENAI_FORM))
def test_openais_types_take_what_is_sent(name: str, form: str) -> None:
    module, kind = PARAMS[EXCHANGES[name]["task"], form]
    # A workspace has the model in its path.
    strictly(getattr(importlib.import_module(module), kind), {"model": "m", **EXCHANGES[name][form]["sent"]["body"]})


@pytest.mark.parametrize(("name", "form"), of("anthropic"))
def test_anthropics_types_take_what_is_sent(name: str, form: str) -> None:
    types = pytest.importorskip("anthropic.types.message_create_params")
    body = dict(EXCHANGES[name][form]["sent"]["body"])
    # The API has them, the newest of its clients has them no longer.
    for field in ("temperature", "top_p", "top_k"):
        body.pop(field, None)
    kind = types.MessageCreateParamsStreaming if form == "stream" else types.MessageCreateParamsNonStreaming
    strictly(kind, body)


@pytest.mark.parametrize(("name", "form"), of("cohere"))
def test_cohere_takes_what_is_sent(name: str, form: str, address: str) -> None:
    """Its methods have a parameter for each field, and send what they are given."""
    cohere = pytest.importorskip("cohere")
    client = cohere.ClientV2(api_key="k", base_url=f"{address}/x/{name}")
    body = {key: one for key, one in EXCHANGES[name][form]["sent"]["body"].items() if key != "stream"}
    for message in body.get("messages", ()):
        pydantic.TypeAdapter(cohere.ChatMessageV2).validate_python(message)
    for tool in body.get("tools", ()):
        cohere.ToolV2.model_validate(tool)
    methods = importlib.import_module("cohere.v2.client").V2Client
    known = inspect.signature(methods.embed if "embedding_types" in body else methods.chat).parameters
    assert body.keys() <= known.keys(), "a field that the client does not have"
    method = client.embed if "embedding_types" in body else client.chat_stream if form == "stream" else client.chat
    told = method(**body)
    if form == "stream":
        assert [event.type for event in told][-1] == "message-end"
    elif "embedding_types" in body:
        assert len(told.embeddings.float_) == len(body.get("texts") or body["inputs"])
    else:
        assert told.message.role == "assistant"
        assert told.finish_reason


@pytest.mark.parametrize(("name", "form"), of("ai21labs"))
def test_ai21_takes_what_is_sent(name: str, form: str, address: str) -> None:
    ai21 = pytest.importorskip("ai21")
    models = importlib.import_module("ai21.models.chat")
    kinds = {"user": models.UserMessage, "system": models.SystemMessage, "assistant": models.AssistantMessage,
             "tool": models.ToolMessage}  # fmt: skip
    body = dict(EXCHANGES[name][form]["sent"]["body"])
    client = ai21.AI21Client(api_key="k", api_host=f"{address}/x/{name}", num_retries=0)
    known = inspect.signature(client.chat.completions.create).parameters
    assert body.keys() <= known.keys(), "a field that the client does not have"
    body["messages"] = [kinds[message["role"]].model_validate(message) for message in body["messages"]]
    if "tools" in body:
        body["tools"] = [pydantic.TypeAdapter(models.ToolDefinition).validate_python(tool) for tool in body["tools"]]
    told = client.chat.completions.create(**body)
    if form == "stream":
        chunks = list(told)
        assert chunks[-1].choices[0].finish_reason
    else:
        assert told.choices[0].finish_reason
        assert told.usage.prompt_tokens


@pytest.mark.parametrize(("name", "form"), of("amazon-bedrock"))
def test_botocore_would_send_the_same_and_reads_the_reply(name: str, form: str, address: str) -> None:
    session = pytest.importorskip("botocore.session").Session()
    config = pytest.importorskip("botocore.config").Config(retries={"total_max_attempts": 1})
    validate = pytest.importorskip("botocore.validate").ParamValidator()
    client = session.create_client(
        "bedrock-runtime", region_name="us-east-1", endpoint_url=f"{address}/x/{name}", config=config,
        aws_access_key_id="a", aws_secret_access_key="b",
    )  # fmt: skip
    seen: list[Any] = []
    client.meta.events.register("before-send.bedrock-runtime", lambda request, **_: seen.append(request) or None)
    sent = EXCHANGES[name][form]["sent"]
    if EXCHANGES[name]["task"] == "llm/v1/embeddings":
        told = client.invoke_model(modelId=EXCHANGES[name]["model"], body=json.dumps(sent["body"]))
        assert json.loads(told["body"].read())["embedding"]
        assert seen[0].url.endswith(sent["path"])
        return
    operation = "ConverseStream" if form == "stream" else "Converse"
    body = _with_bytes({"modelId": EXCHANGES[name]["model"], **sent["body"]})
    shape = session.get_service_model("bedrock-runtime").operation_model(operation).input_shape
    assert validate.validate(body, shape).generate_report() == ""
    told = (client.converse_stream if form == "stream" else client.converse)(**body)
    assert seen[0].url.endswith(sent["path"])
    assert json.loads(seen[0].body) == sent["body"]
    if form == "stream":
        events = [next(iter(event)) for event in told["stream"]]
        assert (events[0], events[-1]) == ("messageStart", "metadata")
    else:
        assert told["stopReason"]
        assert told["usage"]["totalTokens"]


def _with_bytes(value: Any) -> Any:
    """The body as botocore takes it: it makes base64 of bytes by itself."""
    if isinstance(value, dict):
        return {key: base64.b64decode(one) if key == "bytes" else _with_bytes(one) for key, one in value.items()}
    return [_with_bytes(one) for one in value] if isinstance(value, list) else value


VERTEX = [(name, form) for name, form in of("google-cloud-vertex-ai") if "embeddings" not in EXCHANGES[name]["task"]]


@pytest.mark.parametrize(("name", "form"), VERTEX)
def test_googles_types_take_what_is_sent_and_its_client_reads_the_reply(name: str, form: str, address: str) -> None:
    """Its types forbid every field that they do not know."""
    genai = pytest.importorskip("google.genai")
    types = genai.types
    body = EXCHANGES[name][form]["sent"]["body"]
    known = {"contents", "systemInstruction", "generationConfig", "tools", "toolConfig"}
    assert body.keys() <= known
    for content in body["contents"]:
        types.Content.model_validate(content)
    for field, kind in (("systemInstruction", types.Content), ("generationConfig", types.GenerationConfig),
                        ("toolConfig", types.ToolConfig)):  # fmt: skip
        if field in body:
            kind.model_validate(body[field])
    for tool in body.get("tools", ()):
        types.Tool.model_validate(tool)
    credentials = pytest.importorskip("google.auth.credentials").AnonymousCredentials()
    credentials.token = "t"
    client = genai.Client(
        vertexai=True, project="p-1", location="us-central1", credentials=credentials,
        http_options=types.HttpOptions(base_url=f"{address}/x/{name}"),
    )  # fmt: skip
    asked = {"model": EXCHANGES[name]["model"], "contents": "Hello"}
    if form == "stream":
        events = list(client.models.generate_content_stream(**asked))
        assert events[-1].candidates[0].finish_reason
        told = events[-1]
    else:
        told = client.models.generate_content(**asked)
        assert told.candidates[0].finish_reason
    assert told.usage_metadata.prompt_token_count


@pytest.mark.parametrize(("name", "form"), of("anthropic"))
def test_anthropics_client_reads_the_reply(name: str, form: str, address: str) -> None:
    anthropic = pytest.importorskip("anthropic")
    asked: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "x"}]}
    with anthropic.Anthropic(api_key="k", base_url=f"{address}/x/{name}", max_retries=0) as client:
        if form == "stream":
            with client.messages.stream(**asked) as stream:
                message = stream.get_final_message()
        else:
            message = client.messages.create(**asked)
            anthropic.types.Message.model_validate(json.loads(data(EXCHANGES[name][form]["reply"])))
    assert message.stop_reason
    assert message.usage.output_tokens


@pytest.mark.parametrize(("name", "form"), of(*OPENAI_FORM))
def test_openais_client_reads_the_reply(name: str, form: str, address: str) -> None:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(api_key="k", base_url=f"{address}/x/{name}", max_retries=0) as client:
        _ask(client, "m", name, streaming=form == "stream")


# ------------------------------------------------------------ what we answer


BASES: dict[str, Callable[[str, str], dict[str, str]]] = {
    "openai": lambda address, name: {"openai_api_base": f"{address}/x/{name}/v1"},
    "azure-openai": lambda address, name: {"openai_api_base": f"{address}/x/{name}"},
    "anthropic": lambda address, name: {"anthropic_api_base": f"{address}/x/{name}"},
    "cohere": lambda address, name: {"cohere_api_base": f"{address}/x/{name}"},
    "ai21labs": lambda address, name: {"ai21labs_api_base": f"{address}/x/{name}"},
    "amazon-bedrock": lambda address, name: {"amazon_bedrock_api_base": f"{address}/x/{name}"},
    "google-cloud-vertex-ai": lambda address, name: {"google_api_base": f"{address}/x/{name}"},
    "custom": lambda address, name: {"custom_provider_url": f"{address}/x/{name}/v1"},
    "databricks-model-serving": lambda address, _: {"databricks_workspace_url": address},
}
FIELDS = {"azure-openai": "openai", "custom": "custom_provider"}


def endpoint_of(name: str) -> str:
    return name.replace("/", "--")


def plain(settings: Any, account: str) -> Any:
    """Settings with keys in place of references."""
    if not isinstance(settings, dict):
        return settings
    out = {}
    for key, one in settings.items():
        if isinstance(one, str) and one.startswith("env:"):
            out[f"{key}_plaintext"] = account if one == "env:ACCOUNT" else "key-0123456789"
        else:
            out[key] = plain(one, account)
    return out


def service_account(address: str) -> str:
    rsa = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.rsa")
    serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return json.dumps({"client_email": "a@p.test", "private_key": pem, "token_uri": f"{address}/token"})


def configuration(address: str) -> str:
    """An endpoint for each exchange, over the provider that is played back."""
    account, endpoints = service_account(address), []
    for name, one in EXCHANGES.items():
        settings = plain(one["settings"], account) | BASES[folder(name)](address, name)
        field = FIELDS.get(folder(name), folder(name).replace("-", "_")) + "_config"
        model = endpoint_of(name) if folder(name) == "databricks-model-serving" else one["model"]
        external = {"name": model, "provider": one["provider"], "task": one["task"], field: settings}
        served = {"name": "one", "external_model": external}
        endpoints.append({"name": endpoint_of(name), "config": {"served_entities": [served]}})
    # JSON is YAML.
    return json.dumps({"endpoints": endpoints})


@pytest.fixture(scope="module")
def asking(address: str, running: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    openai = pytest.importorskip("openai")
    with (
        running(tmp_path_factory.mktemp("exchanges"), configuration(address)) as server,
        openai.OpenAI(
            api_key=server.access_token, base_url=f"{server.host}/serving-endpoints", max_retries=0
        ) as client,
    ):
        yield client


def _ask(client: Any, model: str, name: str, *, streaming: bool) -> Any:
    """The answer as the openai client has it, as plain values."""
    asked = dict(EXCHANGES[name]["asked"])
    more: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}} if streaming else {}
    if EXCHANGES[name]["task"] == "llm/v1/embeddings":
        asked.setdefault("encoding_format", "float")
        return client.embeddings.create(model=model, **asked).model_dump()
    if EXCHANGES[name]["task"] == "llm/v1/completions":
        told = client.completions.create(model=model, **asked, **more)
        if not streaming:
            return told.model_dump()
        chunks = [chunk.model_dump() for chunk in told]
        text = "".join(choice["text"] for chunk in chunks for choice in chunk["choices"])
        return {"choices": [{"text": text, "finish_reason": _finish(chunks)}], "usage": chunks[-1]["usage"]}
    messages = asked.pop("messages")
    told = client.chat.completions.create(model=model, messages=messages, extra_body=asked, **more)
    return _whole([chunk.model_dump() for chunk in told]) if streaming else told.model_dump()


def _finish(chunks: list[Any]) -> Any:
    return next(c["finish_reason"] for chunk in chunks for c in chunk["choices"] if c["finish_reason"])


def _whole(chunks: list[Any]) -> Any:
    text, calls = "", {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            content = choice["delta"]["content"]
            text += content if isinstance(content, str) else ""
            for piece in choice["delta"].get("tool_calls") or ():
                call = calls.setdefault(piece["index"], {"name": "", "arguments": ""})
                call["name"] += piece["function"]["name"] or ""
                call["arguments"] += piece["function"]["arguments"] or ""
    message = {"content": text, "tool_calls": [{"function": calls[index]} for index in sorted(calls)]}
    return {"choices": [{"message": message, "finish_reason": _finish(chunks)}], "usage": chunks[-1]["usage"]}


def _said(answer: Any) -> Any:
    """What an answer says: its text, its calls, how it ended, what it counted."""
    if answer.get("data"):
        return [one["embedding"] for one in answer["data"]]
    (choice,) = answer["choices"]
    if "text" in choice:
        return choice["text"], choice["finish_reason"], answer["usage"]["total_tokens"]
    content = choice["message"]["content"]
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part["type"] == "text")
    calls = [
        (call["function"]["name"], json.loads(call["function"]["arguments"]))
        for call in choice["message"].get("tool_calls") or ()
    ]
    content = json.loads(content) if content and content.startswith("{") else content or ""
    return content, calls, choice["finish_reason"], answer["usage"]["total_tokens"]


@pytest.mark.parametrize(("name", "form"), SENT)
def test_the_openai_client_reads_what_we_answer(name: str, form: str, asking: Any) -> None:
    told = _ask(asking, endpoint_of(name), name, streaming=form == "stream")
    assert _said(told) == _said(EXCHANGES[name]["answer"])


@pytest.mark.parametrize("name", [name for name, one in EXCHANGES.items() if "failed" in one])
def test_the_openai_client_raises_for_what_failed(name: str, asking: Any) -> None:
    openai = pytest.importorskip("openai")
    with pytest.raises(openai.APIStatusError) as caught:
        _ask(asking, endpoint_of(name), name, streaming=False)
    assert caught.value.status_code == EXCHANGES[name]["failed"]["status"]


@pytest.mark.parametrize("name", [name for name, one in EXCHANGES.items() if "refused" in one])
def test_the_openai_client_raises_for_what_is_refused(name: str, asking: Any) -> None:
    openai = pytest.importorskip("openai")
    with pytest.raises(openai.BadRequestError) as caught:
        _ask(asking, endpoint_of(name), name, streaming=False)
    assert caught.value.param == EXCHANGES[name]["refused"]["param"]
