"""The form of the pages offers the providers that there are, with the settings that each of them takes and needs."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tesela.endpoint_build import Surroundings, build_endpoint
from tesela.errors import ConfigError
from tesela.places import Places
from tesela.providers.registry import ROWS
from tesela.serving import ServingEndpoint, Timeouts

TABLE: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "web" / "src" / "lib" / "serving" / "providers.json").read_text(encoding="utf-8")
)
VALUES = {
    "custom_provider_url": "http://127.0.0.1:9/v1",
    "databricks_workspace_url": "https://one.cloud.databricks.com",
    "openai_api_base": "http://127.0.0.1:9/v1",
    "anthropic_api_base": "http://127.0.0.1:9/v1",
    "cohere_api_base": "http://127.0.0.1:9",
    "ai21labs_api_base": "http://127.0.0.1:9/studio/v1",
    "aws_region": "eu-west-1",
    "bedrock_provider": "anthropic",
    "region": "europe-west1",
    "project_id": "some-project",
}


def typed(key: str) -> str:
    """Something that can be the key of this name."""
    if key != "private_key":
        return "typed"
    made = rsa.generate_private_key(65537, 2048)
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    account = {"client_email": "a@b.c", "private_key": made.private_bytes(*form).decode()}
    return json.dumps({"type": "service_account", **account})


def build(provider: str, fields: Collection[str]) -> None:
    """As the form writes it, with a key that was typed."""
    about = TABLE[provider]
    settings: dict[str, Any] = {field: VALUES.get(field, "something") for field in fields}
    settings |= {f"{field}_plaintext": "typed" for field in about.get("sealed", ())}
    outer, _, inner = about["key"].partition(".")
    if inner:
        settings[outer] = {f"{inner}_plaintext": "typed"}
    elif outer:
        settings[f"{outer}_plaintext"] = typed(outer)
    model: dict[str, Any] = {"name": "anthropic.m", "provider": provider, "task": "llm/v1/chat"}
    if settings or provider != "scripted":
        model[about["config"]] = settings
    else:
        model["name"] = "echo"
    asked = msgspec.convert({"name": "e", "config": {"served_entities": [{"external_model": model}]}}, ServingEndpoint)
    build_endpoint(asked, Surroundings(Places(), {}, Timeouts(), {}), id="", source="file")


def test_every_provider_is_offered() -> None:
    assert {name: row["config"] for name, row in TABLE.items()} == {name: row.field for name, row in ROWS.items()}


@pytest.mark.parametrize("provider", TABLE)
def test_a_provider_takes_all_settings_that_are_offered(provider: str) -> None:
    build(provider, set(TABLE[provider]["fields"]) - set(TABLE[provider].get("sealed", ())))


@pytest.mark.parametrize("provider", TABLE)
def test_a_provider_is_content_with_those_that_it_needs(provider: str) -> None:
    needed = TABLE[provider]["required"]
    build(provider, needed)
    for one in needed:
        with pytest.raises(ConfigError, match=one):
            build(provider, [other for other in needed if other != one])
