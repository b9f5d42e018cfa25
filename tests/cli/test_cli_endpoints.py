"""`tesela endpoints` against prepared answers."""

import json
from typing import Any

ENDPOINT = {
    "name": "mine",
    "task": "llm/v1/chat",
    "state": {"ready": "NOT_READY", "config_update": "NOT_UPDATING"},
    "description": "Two models, one name.",
    "config": {
        "served_entities": [
            {
                "name": "a",
                "external_model": {
                    "provider": "openai",
                    "name": "gpt",
                    "task": "llm/v1/chat",
                },
            },
            {"name": "b", "foundation_model": {"name": "small"}},
        ],
        "traffic_config": {
            "routes": [
                {"served_model_name": "a", "traffic_percentage": 90},
                {"served_entity_name": "b", "traffic_percentage": 10},
            ]
        },
    },
}


def test_list_is_one_line_each_when_piped(tesela: Any, server: Any) -> None:
    server.answer("GET", "/api/2.0/serving-endpoints", {"endpoints": [ENDPOINT, {"name": "bare"}]})
    done = tesela("endpoints", "list")
    assert done.stdout.decode().splitlines() == [
        "mine\tllm/v1/chat\tnot ready\topenai/gpt, small",
        "bare\t\t\t",
    ]


def test_list_of_nothing(tesela: Any, server: Any) -> None:
    server.answer("GET", "/api/2.0/serving-endpoints", {})
    done = tesela("endpoints", "list")
    assert (done.returncode, done.stdout) == (0, b"")


def test_get_shows_shares(tesela: Any, server: Any) -> None:
    server.answer("GET", "/api/2.0/serving-endpoints/mine", ENDPOINT)
    lines = tesela("endpoints", "get", "mine").stdout.decode().splitlines()
    assert "Entity a\topenai/gpt, 90 %" in lines
    assert "Entity b\tsmall, 10 %" in lines


def test_json_is_the_answer_as_it_came(tesela: Any, server: Any) -> None:
    server.answer("GET", "/api/2.0/serving-endpoints/a%20b%2Fc", ENDPOINT)
    assert json.loads(tesela("endpoints", "get", "a b/c", "--json").stdout) == ENDPOINT


def test_an_unknown_endpoint(tesela: Any, server: Any) -> None:
    server.answer(
        "GET",
        "/api/2.0/serving-endpoints/x",
        {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "there is no x"},
        404,
    )
    done = tesela("endpoints", "get", "x")
    assert done.returncode == 1
    assert b"there is no x" in done.stderr
