"""Anthropic's client, unchanged, against a local model and scripted ones."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

anthropic = pytest.importorskip("anthropic", reason="Anthropic's client is not in this environment")

LOCAL = "databricks-meta-llama-3-3-70b-instruct"
BASE = "/serving-endpoints/anthropic"
HELLO = [{"role": "user", "content": "What is a mosaic?"}]
WEATHER = {
    "name": "weather",
    "description": "The weather in a city.",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def client(server: Any) -> Any:
    with anthropic.Anthropic(
        base_url=server.host + BASE, auth_token=server.access_token, api_key=None, max_retries=0
    ) as made:
        yield made


def ask(**more: Any) -> dict[str, Any]:
    return {"model": LOCAL, "max_tokens": 24, "messages": HELLO, **more}


def read(usage: Any) -> int:
    found: int = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
    return found


@pytest.mark.parametrize("base", [BASE, "/ai-gateway/anthropic"])
def test_every_way_to_show_the_access_token(server: Any, base: str) -> None:
    shown: list[dict[str, Any]] = [
        {"auth_token": server.access_token},
        {"api_key": server.access_token},
        {"api_key": "any", "default_headers": {"Authorization": f"Bearer {server.access_token}"}},
    ]
    for how in shown:
        with anthropic.Anthropic(base_url=server.host + base, max_retries=0, **how) as one:
            assert one.messages.create(**ask(model="echo")).content[0].type == "text"


@pytest.mark.parametrize("model", [LOCAL, "echo", "unicode", "long-300"])
def test_a_whole_message_is_its_type_and_says_what_its_stream_says(client: Any, model: str) -> None:
    asked = ask(model=model, system="Answer in one sentence.", max_tokens=400 if model != LOCAL else 24)
    # The newer client has no parameter of that name; the API still has the field.
    asked["extra_body"] = {"temperature": 0}
    whole = client.messages.create(**asked)
    anthropic.types.Message.model_validate(whole.to_dict())
    assert whole.id.startswith("msg_")
    assert whole.stop_reason in ("end_turn", "max_tokens")
    assert whole.usage.input_tokens > 0
    assert whole.usage.output_tokens > 0
    with client.messages.stream(**asked) as stream:
        text = "".join(stream.text_stream)
        streamed = stream.get_final_message()
    assert text == whole.content[0].text
    assert [block.text for block in streamed.content] == [block.text for block in whole.content]
    assert streamed.stop_reason == whole.stop_reason
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    # What a model still had of an earlier prompt is counted by itself.
    assert read(streamed.usage) == read(whole.usage)


@pytest.mark.parametrize("model", [LOCAL, "tool-call"])
def test_a_tool_is_called_and_its_result_given_back(client: Any, model: str) -> None:
    asked = ask(model=model, max_tokens=128, tools=[WEATHER], tool_choice={"type": "tool", "name": "weather"})
    asked["messages"] = [{"role": "user", "content": "What is the weather in Rome?"}]
    message = client.messages.create(**asked)
    assert message.stop_reason == "tool_use"
    use = next(block for block in message.content if block.type == "tool_use")
    assert (use.name, list(use.input)) == ("weather", ["city"])
    with client.messages.stream(**asked) as stream:
        streamed = next(block for block in stream.get_final_message().content if block.type == "tool_use")
    assert list(streamed.input) == ["city"]
    result = {"type": "tool_result", "tool_use_id": use.id, "content": [{"type": "text", "text": "Sunny."}]}
    asked["messages"] += [
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": [result, {"type": "text", "text": "Go on."}]},
    ]
    asked |= {"tool_choice": {"type": "none"}}
    assert client.messages.create(**asked).stop_reason in ("end_turn", "max_tokens")


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"model": "nowhere"}, "NotFoundError"),
        ({"model": "error-400"}, "BadRequestError"),
        ({"model": "error-429"}, "RateLimitError"),
        ({"model": "error-500"}, "InternalServerError"),
        ({"model": "echo", "tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "BadRequestError"),
        ({"model": LOCAL, "thinking": {"type": "enabled", "budget_tokens": 1024}}, "BadRequestError"),
        ({"model": "embedded"}, "BadRequestError"),
    ],
)
def test_failures_raise_what_anthropics_do(client: Any, more: dict[str, Any], kind: str) -> None:
    with pytest.raises(getattr(anthropic, kind)) as caught:
        client.messages.create(**ask(**more))
    assert caught.value.body["type"] == "error"
    assert caught.value.body["error"]["message"]


def test_a_wrong_token(server: Any) -> None:
    with (
        anthropic.Anthropic(base_url=server.host + BASE, api_key="any", max_retries=0) as one,
        pytest.raises(anthropic.AuthenticationError),
    ):
        one.messages.create(**ask())


@pytest.mark.parametrize("model", ["cut-after-3", "error-after-3"])
def test_a_stream_that_breaks_raises(client: Any, model: str) -> None:
    with client.messages.stream(**ask(model=model)) as stream:
        texts = iter(stream.text_stream)
        assert next(texts)
        with pytest.raises(anthropic.APIError):
            list(texts)


def test_tokens_cannot_be_counted_for_other_models(client: Any) -> None:
    with pytest.raises(anthropic.BadRequestError, match="cannot count tokens"):
        client.messages.count_tokens(model=LOCAL, messages=HELLO)


def test_the_beta_client(client: Any) -> None:
    message = client.beta.messages.create(**ask(model="echo"), betas=["something-2026-01-01"])
    assert message.content[0].text


def test_structured_output(client: Any) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]}
    schema["additionalProperties"] = False
    config = {"format": {"type": "json_schema", "schema": schema}}
    text = client.messages.create(**ask(max_tokens=64, output_config=config)).content[0].text
    assert json.loads(text) in ({"city": "Rome"}, {"city": "Oslo"})


def test_the_asynchronous_client(server: Any) -> None:
    program = f"""
import anthropic, asyncio
async def main():
    async with anthropic.AsyncAnthropic(base_url={server.host + BASE!r}, max_retries=0) as client:
        asked = dict(model="echo", max_tokens=24, messages=[{{"role": "user", "content": "Hi"}}])
        answers = await asyncio.gather(*(client.messages.create(**asked) for _ in range(8)))
        print(len({{answer.id for answer in answers}}))
asyncio.run(main())
"""
    environment = os.environ | {"ANTHROPIC_AUTH_TOKEN": server.access_token}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "8\n", done.stderr
