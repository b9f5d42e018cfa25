"""What an exchange can show, and how one sees in it that it does: the columns of the table of providers."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from tests.exchanges.files import Recorded


def _message(exchange: Recorded) -> Any:
    return exchange.answer["choices"][0]["message"]


def _parts(exchange: Recorded) -> list[Any]:
    content = _message(exchange).get("content")
    return content if isinstance(content, list) else []


def _asks(field: str) -> Callable[[Recorded], bool]:
    return lambda exchange: exchange.asked.get(field) is not None


def _picture(exchange: Recorded, beginning: str) -> bool:
    return f'"url":"{beginning}' in json.dumps(exchange.asked, separators=(",", ":"))


def _thinks(exchange: Recorded) -> bool:
    message = _message(exchange)
    counted = (exchange.answer["usage"].get("completion_tokens_details") or {}).get("reasoning_tokens")
    told = message.get("reasoning_content") or any(part["type"] == "reasoning" for part in _parts(exchange))
    return bool(told or counted)


def _cached(exchange: Recorded) -> bool:
    details = exchange.answer["usage"].get("prompt_tokens_details") or {}
    return bool(details.get("cached_tokens"))


def _calls(exchange: Recorded) -> list[Any]:
    return _message(exchange).get("tool_calls") or []


def _place(exchange: Recorded) -> bool:
    try:
        found = json.loads(_message(exchange).get("content") or "")
    except ValueError:
        return False
    return isinstance(found, dict) and list(found) == ["city"]


def _likely(exchange: Recorded) -> bool:
    found = exchange.answer["choices"][0].get("logprobs") or {}
    return bool(found.get("content")) and "logprob" in found["content"][0]


def _refuses(exchange: Recorded) -> bool:
    return bool(_message(exchange).get("refusal")) or exchange.answer["choices"][0]["finish_reason"] == "content_filter"


FEATURES: Mapping[str, Callable[[Recorded], bool]] = {
    "answer": lambda exchange: bool(exchange.answer.get("choices") or exchange.answer.get("data")),
    "usage": lambda exchange: exchange.answer["usage"]["prompt_tokens"] > 0,
    "cached tokens": _cached,
    "finish reasons": lambda exchange: exchange.answer["choices"][0]["finish_reason"] in ("stop", "length"),
    "tools": lambda exchange: _asks("tools")(exchange) and bool(_calls(exchange)),
    "parallel calls": lambda exchange: len(_calls(exchange)) == 2,
    "forced choice": lambda exchange: (
        _asks("tool_choice")(exchange) and [one["function"]["name"] for one in _calls(exchange)] == ["weather"]
    ),
    "tool results": lambda exchange: any(one["role"] == "tool" for one in exchange.asked["messages"]),
    "structured output": _place,
    "images as data": lambda exchange: _picture(exchange, "data:image/png"),
    "images by address": lambda exchange: _picture(exchange, "https://"),
    "reasoning": _thinks,
    "reasoning returned": lambda exchange: len(exchange.asked["messages"]) == 3,
    "log probabilities": _likely,
    "refusals": _refuses,
    "base64": lambda exchange: isinstance(exchange.answer["data"][0]["embedding"], str),
    "dimensions": lambda exchange: len(exchange.answer["data"][0]["embedding"]) == exchange.asked["dimensions"],
    "errors": lambda exchange: exchange.failed is not None,
}
"""Each with the test that an exchange which claims it must pass."""
