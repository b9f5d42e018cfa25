"""What holds keys shows none of them, however deep in a traceback or a log it is printed."""

from typing import Any

import msgspec
import pytest

from tesela import serve
from tesela.addresses import EngineAddress
from tesela.control.serving_config import Asked
from tesela.control.serving_shape import New, read
from tesela.endpoint_build import Surroundings, build_endpoint
from tesela.places import Places
from tesela.serving import ExternalModel, ServingEndpoint, Timeouts
from tesela.told import Start

KEY = "sk-this-must-never-be-shown"
NOTHING: Any = None
SETTINGS = {"custom_provider_url": "http://127.0.0.1:9/v1", "bearer_token_auth": {"token_plaintext": KEY}}
MODEL = {"name": "m", "provider": "custom", "task": "llm/v1/chat", "custom_provider_config": SETTINGS}
BODY = {"name": "e", "config": {"served_entities": [{"external_model": MODEL}]}}
AROUND = Surroundings(Places(), {"env:A": KEY}, Timeouts(), {"x": EngineAddress("x", frozenset(), key=KEY)})


def holders() -> dict[str, Any]:
    asked = read(New, BODY)
    endpoint = build_endpoint(msgspec.convert(BODY, ServingEndpoint), AROUND, id="", source="store")
    return {
        "surroundings": AROUND,
        "external model": msgspec.convert(MODEL, ExternalModel),
        "request": asked,
        "checked": Asked(BODY, endpoint, ready=True),
        "endpoint": endpoint,
        "parts of a server": serve._Parts(NOTHING, NOTHING, NOTHING, NOTHING, KEY.encode(), NOTHING, NOTHING, NOTHING),
        "start of a worker": Start(NOTHING, 0, NOTHING, 1, 2, "", KEY.encode()),
    }


@pytest.mark.parametrize("name", list(holders()))
def test_no_repr_shows_a_key(name: str) -> None:
    assert KEY not in repr(holders()[name])
