"""The guide to the scripted model says all that there is, and its examples work."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tesela.providers.scripted import Script, play, script_from
from tesela.providers.scripted_forms import CREATED, FINGERPRINT
from tesela.providers.scripted_rules import Reply, When
from tesela.providers.scripted_schema import REFUSED
from tesela.providers.scripted_traits import KNOWN, traits

GUIDE = (Path(__file__).parents[2] / "docs" / "guides" / "scripted-model.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", GUIDE, flags=re.DOTALL)


def script(example: str) -> Script:
    (endpoint,) = yaml.safe_load(example)["endpoints"]
    (entity,) = endpoint["config"]["served_entities"]
    model = entity["external_model"]
    assert model["provider"] == "scripted"
    return script_from(model.get("scripted_config"), model["name"])


def said(text: str, attempt: int = 1, **fields: Any) -> Any:
    body = {"messages": [{"role": "user", "content": text}], **fields}
    played = play(script(EXAMPLES[1]), json.dumps(body).encode(), "/chat/completions", attempt)
    return played if played.status != 200 or fields.get("stream") else json.loads(played.parts[0][1])["choices"][0]


def test_the_first_example_is_polite() -> None:
    assert script(EXAMPLES[0]).rules == ()


def test_the_rules_of_the_example() -> None:
    tool = {"type": "function", "function": {"name": "get_weather"}}
    call = said("the weather?", tools=[tool])["message"]["tool_calls"][0]
    assert json.loads(call["function"]["arguments"]) == {"city": "Madrid"}
    assert said("HELLO you")["message"]["content"] == "Hello! You have written 1 messages."
    assert json.loads(said("my order")["message"]["content"]) == {"id": 42, "text": "my order"}
    assert said("x")["message"]["content"] == "I do not know."
    assert said("x", attempt=20).status == 429
    assert said("a long story", stream=True).end == "cut"
    turns = [
        {"role": "user", "content": "the weather?"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "much rain"},
    ]
    assert said("", messages=turns, tools=[tool])["message"]["content"] == "Take an umbrella: much rain"


@pytest.mark.parametrize("name", KNOWN)
def test_every_name_is_in_the_table_and_works(name: str) -> None:
    assert re.search(rf"^\|.*`{name}`.*\|", GUIDE, flags=re.MULTILINE)
    fields, failures = traits(name.replace("N", "429"))
    assert fields or failures


@pytest.mark.parametrize("field", [*When.__struct_fields__, *Reply.__struct_fields__])
def test_every_key_is_in_a_table(field: str) -> None:
    assert re.search(rf"^\| .*`{field}`.*\|", GUIDE, flags=re.MULTILINE)


def test_the_constants() -> None:
    assert str(CREATED) in GUIDE
    assert FINGERPRINT in GUIDE
    named = re.search(r"cannot obey \(([^)]*)\)", GUIDE)
    assert named is not None
    assert set(re.findall(r"`(\w+)`", named[1])) <= set(REFUSED)
