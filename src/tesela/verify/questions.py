"""What is asked in every check: short, cheap, and answerable by a very small model."""

from typing import Any

QUESTION: list[dict[str, Any]] = [{"role": "user", "content": "Say hello."}]
SHORT: dict[str, Any] = {"max_tokens": 8}
TOOL: dict[str, Any] = {
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
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}
