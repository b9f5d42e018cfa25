"""How an external model's settings become an address, a key and a set of tasks."""

from typing import Any

import msgspec
import pytest

from tesela.errors import ConfigError
from tesela.providers import ai21, anthropic, bedrock, cohere, gemini, local_fields
from tesela.providers.base import Call
from tesela.providers.registry import PROVIDERS, ROWS, Resolved, resolve
from tesela.serving import ExternalModel, Retries, Timeouts
from tesela.wire.document import decode, decode_value
from tesela.wire.tasks import Task

SECRETS = {"env:KEY": "sk-secret"}
OPENAI = {"openai_api_key": "env:KEY"}


def read(provider: str, config: dict[str, Any] | None, *, task: str = "llm/v1/chat", **more: Any) -> Resolved:
    fields = {"name": "m-1", "provider": provider, "task": task, **more}
    field = ROWS[provider].field if provider in ROWS else "openai_config"
    if config is not None:
        fields[field] = config
    model = msgspec.convert(fields, ExternalModel)
    return resolve(model, at="external_model", place=lambda path: f"<{path}>", secrets=SECRETS, timeouts=Timeouts())


def refusal(provider: str, config: dict[str, Any] | None, **more: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(provider, config, **more)
    assert "sk-" not in caught.value.message
    assert "plain-key" not in caught.value.message
    return caught.value.message


def test_openai_by_default() -> None:
    found = read("openai", {**OPENAI, "openai_organization": "org-1"})
    upstream = found.upstream
    assert found.provider == "openai"
    assert found.tasks == {Task.CHAT, Task.RESPONSES}
    assert (upstream.origin.scheme, upstream.origin.authority, upstream.base_path) == ("https", "api.openai.com", "/v1")
    assert upstream.model == "m-1"
    assert upstream.headers == (("authorization", "Bearer sk-secret"), ("openai-organization", "org-1"))


def test_openai_elsewhere_has_no_responses_of_its_own() -> None:
    found = read(
        "openai", {"openai_api_key_plaintext": "plain-key", "openai_api_base": "http://127.0.0.1:1234/api/v1/"}
    )
    assert found.tasks == {Task.CHAT}
    assert found.upstream.base_path == "/api/v1"
    assert found.upstream.headers == (("authorization", "Bearer plain-key"),)
    assert read("openai", OPENAI, task="llm/v1/embeddings").tasks == {Task.EMBEDDINGS}


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, ["<external_model.openai_config>", "exactly one of openai_api_key and openai_api_key_plaintext"]),
        ({**OPENAI, "openai_api_key_plaintext": "plain-key"}, ["exactly one", "not both"]),
        ({"openai_api_key": "plain-key"}, ["must be a reference", "openai_api_key_plaintext"]),
        ({"openai_api_key": "{{secrets/a/b}}"}, ["there is no secret 'b' in scope 'a'", "tesela secrets put"]),
        ({"openai_api_key": "env:OTHER"}, ["the variable OTHER is not set"]),
        ({"openai_api_key": 5}, ["openai_config.openai_api_key>", "must be a string"]),
        ({**OPENAI, "openai_api_bas": "x"}, ["openai_api_bas>", "did you mean 'openai_api_base'"]),
        ({**OPENAI, "openai_api_type": "azur"}, ["'azur' is no type", "azuread"]),
        ({**OPENAI, "openai_api_base": "api.openai.com/v1"}, ["must begin with http://"]),
        ({**OPENAI, "openai_api_base": "https://x/v1?api-version=1"}, ["must be the base of the API"]),
        ({**OPENAI, "openai_organization": "a\nb"}, ["line break"]),
        ({"openai_api_key_plaintext": "plain-key\r\nx: y"}, ["line break"]),
        (None, ["needs its settings in openai_config"]),
    ],
)
def test_openai_settings_that_cannot_work(config: dict[str, Any] | None, words: list[str]) -> None:
    message = refusal("openai", config)
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("url", "authority", "base_path", "provider"),
    [
        ("http://127.0.0.1:8000/v1", "127.0.0.1:8000", "/v1", "custom"),
        ("http://127.0.0.1:8000/v1/", "127.0.0.1:8000", "/v1", "custom"),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", "", "custom"),
        ("https://example.com/v1/chat/completions", "example.com", "/v1", "custom"),
        ("https://example.com/v1/completions", "example.com", "/v1", "custom"),
        ("https://example.com:444/a/b/embeddings", "example.com:444", "/a/b", "custom"),
        ("https://example.com:443/v1/responses", "example.com", "/v1", "custom"),
        ("http://[::1]:8000/v1", "[::1]:8000", "/v1", "custom"),
        ("https://ws/serving-endpoints/x/invocations", "ws", "/serving-endpoints/x/invocations", "custom-verbatim"),
        ("https://az/d/chat/completions?api-version=1", "az", "/d/chat/completions?api-version=1", "custom-verbatim"),
    ],
)
def test_urls_of_custom_providers(url: str, authority: str, base_path: str, provider: str) -> None:
    found = read("custom", {"custom_provider_url": url})
    assert (found.upstream.origin.authority, found.upstream.base_path) == (authority, base_path)
    assert found.provider == provider
    assert found.provider in PROVIDERS
    assert found.upstream.headers == ()


def test_a_socket_is_a_custom_provider_too() -> None:
    origin = read("custom", {"custom_provider_url": "http+unix://%2Frun%2Fmodel.sock/v1"}).upstream.origin
    assert (origin.unix, origin.authority) == ("/run/model.sock", "localhost")


def test_keys_of_custom_providers() -> None:
    url = {"custom_provider_url": "http://h/v1"}
    bearer = read("custom", {**url, "bearer_token_auth": {"token": "env:KEY"}})
    assert bearer.upstream.headers == (("authorization", "Bearer sk-secret"),)
    header = read("custom", {**url, "api_key_auth": {"key": "X-Api-Key", "value_plaintext": "plain-key"}})
    assert header.upstream.headers == (("x-api-key", "plain-key"),)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, ["custom_provider_url>", "must give the URL"]),
        ({"custom_provider_url": "ftp://x"}, ["must begin with http://"]),
        ({"custom_provider_url": "http://"}, ["name a host"]),
        ({"custom_provider_url": "http://h:99999/"}, ["is not a URL"]),
        ({"custom_provider_url": "http://user:plain-key@h/v1"}, ["must not hold a user or password"]),
        ({"custom_provider_url": "http://h/v1#x"}, ["fragment"]),
        ({"custom_provider_url": "http://h/a b"}, ["blank"]),
        ({"custom_provider_url": "http://h/\r\nx: y"}, ["control character"]),
        ({"custom_provider_url": "http://exämple/v1"}, ["outside ASCII"]),
        ({"custom_provider_url": "http://h", "bearer_token_auth": {}}, ["bearer_token_auth>", "exactly one of token"]),
        ({"custom_provider_url": "http://h", "bearer_token_auth": "x"}, ["must be a mapping"]),
        ({"custom_provider_url": "http://h", "bearer_token_auth": {"tokn": "x"}}, ["did you mean 'token'"]),
        ({"custom_provider_url": "http://h", "api_key_auth": {"value": "env:KEY"}}, ["api_key_auth.key>"]),
        ({"custom_provider_url": "http://h", "api_key_auth": {"key": "a b", "value": "env:KEY"}}, ["'a b' is not"]),
        (
            {
                "custom_provider_url": "http://h",
                "api_key_auth": {"key": "k"},
                "bearer_token_auth": {"token": "env:KEY"},
            },
            ["only one of bearer_token_auth and api_key_auth"],
        ),
    ],
)
def test_custom_settings_that_cannot_work(config: dict[str, Any], words: list[str]) -> None:
    message = refusal("custom", config)
    for word in words:
        assert word in message


def test_every_provider_of_a_workspace_is_there() -> None:
    names = {
        "ai21labs", "amazon-bedrock", "anthropic", "cohere", "custom", "databricks-model-serving",
        "google-cloud-vertex-ai", "openai",
    }  # fmt: skip
    assert names <= ROWS.keys()
    assert "needs its settings in amazon_bedrock_config" in refusal("amazon-bedrock", None)


def test_other_names() -> None:
    palm = refusal("palm", None)
    assert "provider 'palm' was retired by its company; these work: ai21labs, amazon-bedrock, anthropic, " in palm
    assert "did you mean 'openai'" in refusal("opnai", None)
    assert "these work: " in refusal("zzz", None)


def test_a_task_that_is_none_and_settings_of_another() -> None:
    message = refusal("openai", OPENAI, task="llm/v1/chats")
    assert "<external_model.task>: 'llm/v1/chats' is not a task" in message
    assert "llm/v1/embeddings" in message
    message = refusal("openai", OPENAI, anthropic_config={"anthropic_api_key": "plain-key"})
    assert "anthropic_config>: does not belong to provider 'openai'" in message
    assert "must name" in refusal("openai", OPENAI, name="")


def test_the_key_is_in_no_repr() -> None:
    assert "sk-secret" not in repr(read("openai", OPENAI))


def test_verbatim_sends_to_the_url_itself() -> None:
    found = read("custom", {"custom_provider_url": "https://ws/serving-endpoints/x/invocations"})
    translate = PROVIDERS[found.provider].translations[Task.CHAT]
    assert translate is not None
    document = decode(b'{"messages":[],"model":"mine","unheard_of":[1]}')
    exchange = translate(Call(Task.CHAT, document, False, found.upstream, 1, "i"))
    assert exchange.path == ""
    assert decode_value(exchange.body) == {"messages": [], "model": "m-1", "unheard_of": [1]}
    assert exchange.answer is None
    assert exchange.chunks is None


def test_a_scripted_model_needs_no_settings_and_counts_for_itself() -> None:
    found = read("scripted", None, name="flaky-2")
    assert found.provider == "scripted"
    assert found.tasks == {Task.CHAT}
    assert found.upstream.origin.scheme == "scripted"
    assert found.upstream.script is not None
    model = msgspec.convert({"name": "flaky-2", "provider": "scripted", "task": "llm/v1/chat"}, ExternalModel)
    other = resolve(model, at="other", place=str, secrets={}, timeouts=Timeouts())
    assert other.upstream.origin != found.upstream.origin
    message = refusal("scripted", {"rules": [{"when": {"contain": "x"}}]})
    assert message.startswith("<external_model.scripted_config>: the script of model 'm-1' is wrong: rules[0].when")


@pytest.mark.parametrize(
    ("provider", "config"),
    [
        ("openai", OPENAI),
        ("anthropic", {"anthropic_api_key": "env:KEY"}),
        (
            "databricks-model-serving",
            {
                "databricks_workspace_url": "https://w",
                "databricks_client_id": "c",
                "databricks_client_secret": "env:KEY",
            },
        ),
        ("groq", {"bearer_token_auth": {"token": "env:KEY"}}),
    ],
)
def test_time_limits_reach_the_transport_and_keys_no_repr(provider: str, config: dict[str, Any]) -> None:
    limits = Timeouts(1.0, 2.0, 3.0, 4.0)
    fields = {"name": "m", "provider": provider, "task": "llm/v1/chat", ROWS[provider].field: config}
    model = msgspec.convert(fields, ExternalModel)
    found = resolve(model, at="external_model", place=str, secrets=SECRETS, timeouts=limits)
    assert found.upstream.timeouts == limits
    assert "sk-secret" not in repr(found)


@pytest.mark.parametrize(
    ("provider", "config"),
    [
        ("openai", OPENAI),
        ("anthropic", {"anthropic_api_key": "env:KEY"}),
        ("groq", {"bearer_token_auth": {"token": "env:KEY"}}),
        ("scripted", {}),
    ],
)
def test_any_model_may_be_asked_again_as_often_as_it_says(provider: str, config: dict[str, Any]) -> None:
    assert read(provider, config).upstream.timeouts.retries == Retries()
    assert read(provider, {**config, "retries": 3}).upstream.timeouts.retries == Retries(count=3)
    assert read(provider, {**config, "retries": 0}).upstream.timeouts.retries == Retries()
    for wrong in (-1, 6, 1.5, "2", True, None):
        assert "retries>: must be a whole number from 0 to 5" in refusal(provider, {**config, "retries": wrong})


@pytest.mark.parametrize("ignore", ["n", [5], ["messages"], ["stream"]])
def test_fields_that_cannot_be_ignored(ignore: Any) -> None:
    message = refusal("anthropic", {"anthropic_api_key": "env:KEY", "ignore": ignore})
    assert "<external_model.anthropic_config.ignore>: " in message


def test_every_row_leads_to_a_provider_and_a_field_that_exist() -> None:
    for row in ROWS.values():
        assert row.field in ExternalModel.__struct_fields__
    for name, provider in PROVIDERS.items():
        assert provider.name == name


@pytest.mark.parametrize("provider", PROVIDERS)
def test_who_refuses_an_effort_says_so_in_its_row(provider: str) -> None:
    refused = {
        "ai21labs": ai21.CHAT.refused, "anthropic": anthropic.CHAT.refused, "amazon-bedrock": bedrock.CHAT.refused,
        "cohere": cohere.CHAT.refused, "google-cloud-vertex-ai": gemini.CHAT.refused,
        "local": local_fields.CHAT.refused,
    }  # fmt: skip
    assert PROVIDERS[provider].reasoning is ("reasoning_effort" not in refused.get(provider, {}))
