"""The form of the web pages knows every provider, and the names of its settings."""

import json
from pathlib import Path
from typing import Any

import pytest

from tesela.errors import ConfigError
from tesela.providers.registry import ROWS, resolve
from tesela.serving import ExternalModel, Timeouts

TABLE: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "web/src/lib/serving/providers.json").read_text("utf-8")
)


def test_every_provider_is_in_the_form() -> None:
    assert TABLE.keys() == ROWS.keys()


@pytest.mark.parametrize("name", sorted(TABLE))
def test_its_settings_have_the_names_that_are_read(name: str) -> None:
    about = TABLE[name]
    assert about["config"] == ROWS[name].field
    assert set(about["required"]) <= set(about["fields"])
    settings: dict[str, Any] = dict.fromkeys(about["fields"], "x")
    outer, _, inner = about["key"].partition(".")
    if outer:
        settings[outer] = {f"{inner}_plaintext": "k"} if inner else None
    if outer and not inner:
        del settings[outer]
        settings[f"{outer}_plaintext"] = "k"
    model = ExternalModel("m", name, "llm/v1/chat", **{about["config"]: settings})
    said = ""
    try:
        resolve(model, at="m", place=lambda at: at, secrets={}, timeouts=Timeouts())
    except ConfigError as exc:
        said = exc.message
    # Values may be wrong here; a name may not.
    assert "there is no such setting" not in said, said


def test_a_name_that_is_wrong_would_be_found() -> None:
    model = ExternalModel("m", "openai", "llm/v1/chat", openai_config={"openai_key": "k"})
    with pytest.raises(ConfigError) as caught:
        resolve(model, at="m", place=lambda at: at, secrets={}, timeouts=Timeouts())
    assert "there is no such setting" in caught.value.message
